"""Models that are trained in parts, one after the other, and one part trained anew."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save as safetensors
from torch import nn
from torch.utils.data import Dataset

from xforecast.errors import InvalidOption, require
from xforecast.models import Moving, constraints, contract
from xforecast.models.prediff import TrainingStage
from xforecast.spec import DataSpec
from xforecast.training.loader import OrderedPairs, shuffled
from xforecast.training.options import TrainingOptions

__all__ = ["MovedPairs", "train_stages"]

EXAMPLES = 64
"""Training pairs from which a part takes what the data decide, such as a scale."""
FINISHED = "trained.safetensors"


def train_stages(
    model: nn.Module,
    stages: Mapping[str, Mapping[str, Any] | None],
    data: Dataset,
    valid: Dataset | None,
    weight: torch.Tensor,
    spec: DataSpec,
    training: Mapping[str, Any],
    run: Mapping[str, Any],
) -> None:
    """Train the parts of a model in place and in order, each with checkpoints of its own.

    Parameters
    ----------
    model : torch.nn.Module
        Has parts, as its abilities say, and ``stage(name, **options)``, which gives each as a
        `xforecast.models.prediff.TrainingStage`. That of a `Moving` learns from pairs in moving coordinates.
    stages : mapping
        Options of the parts by name; None leaves a part as it is.
    data, valid, weight
        As in `xforecast.training.loop.train`.
    spec : DataSpec
        For functionals, which are of the physical field.
    training : mapping
        Fields of `TrainingOptions` for all parts; they go before a part's own defaults.
    run : mapping
        The other options of `xforecast.training.loop.train`. The folder gets one for each part; a part that was
        finished there with the same options is read when resuming, not trained.
    """
    able = contract.abilities_of(model)
    if unknown := sorted(set(stages) - set(able.parts)):
        raise InvalidOption("stages", unknown, f"names among {', '.join(able.parts)}", f"leave out {unknown[0]!r}")
    require("lightning", extra="train", purpose="training")
    from xforecast.training.loop import train

    moving = model if isinstance(model, Moving) else None
    if moving is not None:
        data, valid = MovedPairs(data, moving, weight), valid and MovedPairs(valid, moving, weight)
        model, weight = moving.network, torch.ones(1)
    for number, name in enumerate(able.parts):
        given = stages.get(name, None if name in able.optional_parts else {})
        if given is None:
            continue
        folder = Path(run["folder"]) / name
        torch.manual_seed(training.get("seed", 0) + number)
        stage, own = _stage(model, name, given, training, spec)
        stage.prepare(*_examples(data))
        facts = {**own.to_dict(), "moving": moving is not None, "contract": run.get("contract", "")}
        summary = json.dumps(facts, sort_keys=True)
        if run.get("resume") and _read(stage, summary, folder):
            continue
        pairs, held_out, weights = data, valid, weight
        if stage.encoded_pairs:
            pairs = stage.encode_pairs(data, weight)
            held_out = valid and stage.encode_pairs(valid, weight)
            weights = torch.ones(1)  # encoded with the pairs
        about = f"{name}{' in moving coordinates' if moving is not None else ''}"
        train(stage, pairs, held_out, weights, own, **{**run, "folder": folder, "about": about})
        _keep(stage, summary, folder)
    model.eval()
    if moving is not None and moving.detail is not None:
        moving.learn_detail(data)


class MovedPairs(OrderedPairs):
    """Pairs in coordinates that move with the history; targets are NaN where they have moved to what is not known.

    Parameters
    ----------
    pairs : Dataset
        Of (x, y).
    moving : Moving
    weight : Tensor
        Broadcasts against y; where it is zero, nothing is known.
    """

    def __init__(self, pairs: Any, moving: Moving, weight: torch.Tensor):
        self.pairs, self.moving, self.weight = pairs, moving, weight

    def __len__(self) -> int:
        return len(self.pairs)

    def shuffled(self, generator: torch.Generator) -> list[int]:
        return shuffled(self.pairs, generator)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = (part[None] for part in self.pairs[index])
        moved, target, _ = self.moving.moved(x, y, self.weight)
        return moved[0], target[0]


def _stage(
    model: nn.Module, name: str, given: Mapping[str, Any], training: Mapping[str, Any], spec: DataSpec
) -> tuple[TrainingStage, TrainingOptions]:
    """A part of the model, and how it is to be trained."""
    fields = {field.name for field in dataclasses.fields(TrainingOptions)}
    special = {key: value for key, value in given.items() if key not in fields}
    if "functional" in special:
        special |= _functional(special["functional"], special.get("name"), spec)
    stage: TrainingStage = model.stage(name, **special)  # type: ignore[operator]
    trained = {key: value for key, value in given.items() if key in fields}
    return stage, TrainingOptions.from_dict({**stage.training_options, **training, **trained})


def _functional(functional: Any, name: str | None, spec: DataSpec) -> dict[str, Any]:
    """The functional of what the network gives, and its name, from a function of the physical field or a constraint."""
    function, own = constraints.functional_of(functional)
    name = name or own
    if not callable(function) or not name:
        raise InvalidOption(
            "functional", functional, "a function of the forecast, or a constraint with a functional, with a name",
            "pass name= as well" if callable(function) else "MeanIntensity, RegionTotal and ConserveLast have one; "
            "others work without a network, guidance='decoder'",
        )  # fmt: skip
    return {"functional": lambda values: function(spec.to_physical(values)), "name": name}


def _examples(data: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Pairs spread evenly over the data."""
    count = min(EXAMPLES, len(data))
    pairs = [data[index * len(data) // count] for index in range(count)]
    x, y = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    return x, y


def _keep(stage: nn.Module, training: str, folder: Path) -> None:
    """Write a finished part, with the options and coordinates that it was trained in."""
    state = {key: value.detach().cpu().contiguous().clone() for key, value in stage.state_dict().items()}
    unfinished = folder / f"{FINISHED}.part"
    unfinished.write_bytes(safetensors(state, metadata={"training": training}))
    os.replace(unfinished, folder / FINISHED)  # never half-written


def _read(stage: nn.Module, training: str, folder: Path) -> bool:
    """Take a finished part over, if it was trained so."""
    if not (folder / FINISHED).exists():
        return False
    with safe_open(folder / FINISHED, "pt") as file:
        if file.metadata()["training"] != training:
            return False
        stage.load_state_dict({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118 - no mapping
    return True
