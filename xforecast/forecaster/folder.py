"""A forecaster in a folder: weights, architecture, spec and card, written in one step and read strictly."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_bytes
from safetensors.torch import save as safetensors

from xforecast._version import __version__
from xforecast.errors import CheckpointError, InvalidOption
from xforecast.models import MODELS, build, contract, describe, name_of
from xforecast.spec import DataSpec

__all__ = ["CONFIG_FILE", "identity", "read", "read_card", "write"]

FORMAT = 1
CONFIG_FILE = "forecaster.json"
WEIGHTS_FILE = "weights.safetensors"


def write(
    folder: str | os.PathLike, model: torch.nn.Module, spec: DataSpec, card: Mapping[str, Any], *, half: bool = False
) -> Path:
    """Write a forecaster to a folder; see `Forecaster.save`."""
    folder = Path(folder)
    if folder.exists() and not folder.is_dir():
        raise CheckpointError(f"{folder} is a file\n  -> choose a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / CONFIG_FILE).exists():
        raise CheckpointError(f"{folder} holds other files, not a forecaster\n  -> choose an empty folder")
    if name_of(model) is None:
        raise CheckpointError(
            f"the model is {type(model).__qualname__}, wanted one of {', '.join(MODELS)}\n"
            "  -> xforecast.models.register(...) makes a class of your own known, or keep its weights alone with "
            "torch.save(model.state_dict(), file)"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    state = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    if half:
        state = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
    stored = {
        "format": FORMAT,
        "xforecast": __version__,
        "model": describe(model),
        "spec": spec.to_dict(),
        "card": dict(card),
    }
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".xforecast-") as scratch:
        weights = Path(scratch) / WEIGHTS_FILE
        weights.write_bytes(safetensors(state))  # with the rights that files have here
        stored["weights_sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
        (Path(scratch) / CONFIG_FILE).write_text(json.dumps(stored, indent=1) + "\n")
        folder.mkdir(exist_ok=True)
        for name in (WEIGHTS_FILE, CONFIG_FILE):
            shutil.move(Path(scratch) / name, folder / name)
    return folder


def read(folder: str | os.PathLike) -> tuple[torch.nn.Module, DataSpec, dict[str, Any]]:
    """Model, spec and card of what `write` wrote; strict about every key, and the digest of the weights is checked."""
    folder = Path(folder)
    stored = _stored(folder)
    state = _weights(folder, stored["weights_sha256"])
    try:
        model, spec = build(**stored["model"]), DataSpec.from_dict(stored["spec"])
    except (InvalidOption, LookupError, TypeError, AttributeError, ValueError) as error:
        raise _misfit(folder, error) from error
    contract.load_strictly(model, {key: _single(value) for key, value in state.items()}, source=str(folder))
    return model, spec, stored["card"]


def read_card(folder: str | os.PathLike) -> tuple[DataSpec, dict[str, Any]]:
    """Spec and card alone: no network is built and no weights are read."""
    folder = Path(folder)
    stored = _stored(folder)
    try:
        return DataSpec.from_dict(stored["spec"]), stored["card"]
    except (InvalidOption, LookupError, TypeError, AttributeError, ValueError) as error:
        raise _misfit(folder, error) from error


def _misfit(folder: Path, error: Exception) -> CheckpointError:
    return CheckpointError(
        f"{folder / CONFIG_FILE} describes no model of this version: {type(error).__name__}: {error}\n"
        "  -> copy the folder anew, or upgrade xforecast"
    )


def _stored(folder: Path) -> dict[str, Any]:
    """The description beside the weights, complete and of this format."""
    file = folder / CONFIG_FILE
    for name in (CONFIG_FILE, WEIGHTS_FILE):
        if not (folder / name).is_file():
            raise CheckpointError(
                f"no forecaster in {folder}: {name} is missing\n"
                "  -> give a folder written by Forecaster.save, or a name of xforecast.list_models()"
            )
    try:
        stored = json.loads(file.read_text())
    except ValueError as error:  # not JSON, or not even text
        raise CheckpointError(f"{file} is damaged: {error}\n  -> copy the folder anew") from error
    if not isinstance(stored, dict):
        raise CheckpointError(f"{file} is damaged: found no table\n  -> copy the folder anew")
    if stored.get("format") != FORMAT:
        raise CheckpointError(f"{file}: found format {stored.get('format')!r}, wanted {FORMAT}\n  -> upgrade xforecast")
    if missing := sorted({"model", "spec", "card", "weights_sha256"} - set(stored)):
        raise CheckpointError(f"{file} is damaged: {', '.join(missing)} missing\n  -> copy the folder anew")
    return stored


def _weights(folder: Path, wanted: str) -> dict[str, torch.Tensor]:
    """The weights, if they have that SHA-256."""
    file = folder / WEIGHTS_FILE
    raw = file.read_bytes()
    found = hashlib.sha256(raw).hexdigest()
    if found != wanted:
        raise CheckpointError(
            f"{file}: found sha256 {found[:16]}..., wanted {str(wanted)[:16]}...\n"
            "  -> the file is damaged or was exchanged; copy the folder anew"
        )
    try:
        return load_bytes(raw)
    except SafetensorError as error:
        raise CheckpointError(f"{file} is damaged: {error}\n  -> copy the folder anew") from error


def identity(model: torch.nn.Module) -> dict[str, Any]:
    """Name and configuration of a model, for a module of the user's own as well."""
    if name_of(model) is not None:
        return describe(model)
    return {"model": f"{type(model).__module__}.{type(model).__qualname__}", "config": repr(contract.config_of(model))}


def _single(value: torch.Tensor) -> torch.Tensor:
    return value.float() if value.dtype == torch.float16 else value
