"""Models that are trained in parts, one after the other, and one part trained anew."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from safetensors import safe_open
from safetensors.torch import save as safetensors
from torch import nn
from torch.utils.data import Dataset

from xforecast.errors import InvalidOption, require
from xforecast.forecaster import Forecaster
from xforecast.models.contract import Config
from xforecast.models.wrappers.moving import Moving
from xforecast.spec import DataSpec
from xforecast.training.options import TrainingOptions

__all__ = ["align", "train_stages"]

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
    course: Mapping[str, Any],
) -> None:
    """Train the parts of a model in place and in order, each with checkpoints of its own.

    Parameters
    ----------
    model : torch.nn.Module
        Has ``stages``, the names of its parts in order, those among them that are ``optional_stages``, and
        ``stage(name, **options)``, which gives a module with the part's parameters, its ``loss``,
        ``training_options`` and ``prepare(x, y)``. That of a `Moving` learns from pairs in moving coordinates.
    stages : mapping
        Options of the parts by name; None leaves a part as it is.
    data, valid, weight
        As in `xforecast.training.loop.train`.
    spec : DataSpec
        For functionals, which are of the physical field.
    training : mapping
        Fields of `TrainingOptions` for all parts; they go before a part's own defaults.
    course : mapping
        The other options of `xforecast.training.loop.train`. The folder gets one for each part; a part that was
        finished there with the same options is read when resuming, not trained.
    """
    names: tuple[str, ...] = model.stages  # type: ignore[assignment]
    if unknown := sorted(set(stages) - set(names)):
        raise InvalidOption("stages", unknown, f"names among {', '.join(names)}")
    require("lightning", extra="train", purpose="training")
    from xforecast.training.loop import train

    moving = model if isinstance(model, Moving) else None
    if moving is not None:
        data, valid = MovedPairs(data, moving, weight), valid and MovedPairs(valid, moving, weight)
        model, weight = moving.network, torch.ones(1)
    for number, name in enumerate(names):
        given = stages.get(name, None if name in model.optional_stages else {})  # type: ignore[operator]
        if given is None:
            continue
        folder = Path(course["folder"]) / name
        torch.manual_seed(training.get("seed", 0) + number)
        stage, own = _stage(model, name, given, training, spec)
        stage.prepare(*_examples(data))  # type: ignore[operator]
        stage.moving = moving is not None  # type: ignore[assignment]
        facts = {**own.to_dict(), "moving": stage.moving, "contract": course.get("contract", "")}
        summary = json.dumps(facts, sort_keys=True)
        if course.get("resume") and _read(stage, summary, folder):
            continue
        pairs, held_out, weights = data, valid, weight
        if getattr(stage, "encoded_pairs", None):
            pairs, held_out = (part and stage.encode_pairs(part, weight) for part in (data, valid))  # type: ignore
            weights = torch.ones(1)  # encoded with the pairs
        train(stage, pairs, held_out, weights, own, **{**course, "folder": folder})
        _keep(stage, summary, folder)
    model.eval()
    if moving is not None and moving.detail is not None:
        moving.learn_detail(data)


class MovedPairs(Dataset):
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

    def __getattr__(self, name: str) -> Any:
        if name != "shuffled":  # the order of data that are read in blocks
            raise AttributeError(name)
        return getattr(self.pairs, name)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = (part[None] for part in self.pairs[index])
        moved, target, _ = self.moving.moved(x, y, self.weight)
        return moved[0], target[0]


def _stage(
    model: nn.Module, name: str, given: Mapping[str, Any], training: Mapping[str, Any], spec: DataSpec
) -> tuple[nn.Module, TrainingOptions]:
    """A part of the model, and how it is to be trained."""
    fields = {field.name for field in dataclasses.fields(TrainingOptions)}
    special = {key: value for key, value in given.items() if key not in fields}
    if "functional" in special:
        special |= _functional(special["functional"], special.get("name"), spec)
    try:
        stage = model.stage(name, **special)  # type: ignore[operator]
    except TypeError as error:
        raise InvalidOption(
            f"stages[{name!r}]", sorted(special), f"fields of TrainingOptions or options of the part: {error}"
        ) from error
    trained = {key: value for key, value in given.items() if key in fields}
    return stage, TrainingOptions.from_dict({**stage.training_options, **training, **trained})


def _functional(functional: Any, name: str | None, spec: DataSpec) -> dict[str, Any]:
    """The functional of what the network gives, and its name, from a function of the physical field or a constraint."""
    function = getattr(functional, "functional", functional)
    name = name or getattr(functional, "name", None) or getattr(functional, "__name__", None)
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


def align(
    forecaster: Forecaster,
    ds: xr.Dataset | xr.DataArray,
    functional: Callable[[torch.Tensor], torch.Tensor] | Any,
    *,
    name: str | None = None,
    network: Config | None = None,
    **options: Any,
) -> Forecaster:
    """Teach a forecaster a quantity of one's own, so that its samples can be steered by it.

    A new alignment network learns to estimate the quantity from a noisy latent; autoencoder and denoiser stay as they
    are.

    Parameters
    ----------
    forecaster : Forecaster
        Of a `PreDiff`.
    ds : xarray.Dataset or xarray.DataArray
        Data that fit the forecaster.
    functional : callable or Constraint
        The quantity: a torch function from physical fields (batch, time, y, x, channel), in the units of
        ``forecaster.spec``, to (batch, time, numbers) or (batch, numbers); or a constraint, whose functional it is.
    name : str, optional
        Of the quantity: constraints of that name are applied through the network. That of the functional by default.
    network : KnowledgeAlignmentConfig, optional
        The network; by default half as wide as the denoiser.
    **options
        Of `fit`: ``valid``, ``folder``, ``resume``, ``device``, ``epochs``, ``steps`` ...

    Returns
    -------
    Forecaster
        A new one; the one given is left as it is.

    Raises
    ------
    InvalidOption
        The forecaster's model has no alignment network, or the functional does not give such numbers.

    Examples
    --------
    >>> from xforecast.models import MeanIntensity, PreDiff, PreDiffConfig
    >>> from xforecast.spec import DataSpec, Grid, Variable
    >>> spec = DataSpec([Variable("rain", "mm/h")], Grid("pixel", (16, 16)), "5 minutes", history=2, horizon=2)
    >>> forecaster = Forecaster(PreDiff(PreDiffConfig.of_size(history=2, horizon=2, grid=(16, 16))), spec)
    >>> rng, time = torch.Generator().manual_seed(0), xr.date_range("2024-06-01", periods=8, freq="5min")
    >>> rain = xr.DataArray(torch.rand(8, 16, 16, generator=rng).numpy(), dims=("time", "y", "x"), name="rain")
    >>> rain = rain.assign_coords(time=time).assign_attrs(units="mm/h")
    >>> able = align(forecaster, rain, MeanIntensity(0.0), steps=1, valid=None, progress=False)
    >>> able.model.alignment.config.functional
    'mean_intensity'
    """
    from xforecast.training.fit import fit

    if "alignment" not in getattr(forecaster.model, "stages", ()):
        raise InvalidOption(
            "forecaster", forecaster.name, "a PreDiff that is not in moving coordinates: alignment networks see fields "
            "before they are moved", "constraint= works without a network, guidance='decoder'",
        )  # fmt: skip
    model = copy.deepcopy(forecaster.model)
    own: dict[str, Any] = {"functional": functional, "name": name}
    if network is not None:
        own["network"] = network
    stages: dict[str, Any] = dict.fromkeys(model.stages) | {"alignment": own}  # type: ignore[arg-type]
    taught = fit(ds, model, spec=forecaster.spec, stages=stages, name=forecaster.name, **options)
    taught.card = {**forecaster.card, "alignment": model.alignment.config.functional}  # type: ignore[union-attr]
    return taught
