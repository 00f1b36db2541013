"""Train on the user's own Dataset."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
import xarray as xr
from torch import nn

from xforecast._doors import FIT, door, one_of_two_names
from xforecast._version import __version__
from xforecast.errors import InvalidOption
from xforecast.forecaster import Forecaster
from xforecast.models import Config, Ensemble, contract
from xforecast.spec import DataSpec
from xforecast.training.finetune import Origin, origin_of
from xforecast.training.networks import network_for, train_network
from xforecast.training.options import TrainingOptions
from xforecast.training.prepare import Prepared, check_call, prepare
from xforecast.training.stages import train_stages

__all__ = ["fit"]


@door(FIT)
def fit(
    ds: xr.Dataset | xr.DataArray,
    model: str | os.PathLike | Config | nn.Module | Forecaster = "Earthformer",
    *,
    history: int | None = None,
    horizon: int | None = None,
    variables: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    base_period: tuple[str, str] | None = None,
    base: tuple[str, str] | None = None,
    calendar: Sequence[str] = (),
    transform: str | tuple[str, float] | Mapping[str, str | tuple[str, float]] | None = None,
    spec: DataSpec | None = None,
    valid: float | slice | xr.Dataset | xr.DataArray | None = 0.15,
    in_memory: bool | None = None,
    members: int | None = None,
    stages: Mapping[str, Mapping[str, Any] | None] | None = None,
    area_weights: bool = True,
    name: str | None = None,
    folder: str | os.PathLike | None = None,
    resume: bool = False,
    device: str = "auto",
    progress: bool | None = None,
    epochs: int = 50,
    steps: int | None = None,
    batch_size: int = 32,
    accumulate: int = 1,
    learning_rate: float = 1e-3,
    weight_decay: float = 1e-5,
    warmup: float = 0.2,
    final_learning_rate: float = 1e-3,
    gradient_clip: float = 1.0,
    patience: int | None = None,
    average: float | str | None = "auto",
    precision: str = "float32",
    activation_checkpointing: bool = False,
    devices: int = 1,
    strategy: str = "auto",
    seed: int = 0,
) -> Forecaster:
    """Train a model on a Dataset and get a forecaster for data like it.

    Parameters
    ----------
    {options}

    Returns
    -------
    Forecaster
        Save it with ``forecaster.save(folder)``.

    Raises
    ------
    InvalidOption
        An option that cannot work.
    TrainingError
        Nothing to train on, a loss that is not finite, or a checkpoint that cannot be written.
    CheckpointError
        The folder to resume from has checkpoints of another training.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xforecast as xf
    >>> from xforecast.models import EarthformerConfig
    >>> time = xr.date_range("2000-01", periods=60, freq="MS")
    >>> rng = np.random.default_rng(0)
    >>> field = xr.DataArray(
    ...     rng.normal(size=(60, 4, 6)), [("time", time), ("lat", np.arange(4.0)), ("lon", np.arange(6.0))],
    ...     name="t", attrs={"units": "K"},
    ... )
    >>> small = EarthformerConfig(history=3, horizon=2, grid=(4, 6), base_channels=16)
    >>> forecaster = xf.fit(field, small, epochs=1, device="cpu", progress=False)
    >>> forecaster.forecast(field).t.dims
    ('sample', 'lead', 'lat', 'lon')
    """
    chosen = _chosen(
        epochs=epochs,
        steps=steps,
        batch_size=batch_size,
        accumulate=accumulate,
        learning_rate=learning_rate,
        weight_decay=weight_decay,
        warmup=warmup,
        final_learning_rate=final_learning_rate,
        gradient_clip=gradient_clip,
        patience=patience,
        precision=precision,
        activation_checkpointing=activation_checkpointing,
        devices=devices,
        strategy=strategy,
        seed=seed,
    )
    if average != "auto":
        chosen["average"] = average
    options = TrainingOptions.from_dict(chosen)
    check_call(ds, valid, members, device, options)
    if resume and folder is None:
        raise InvalidOption("resume", True, "a folder with the checkpoints to go on from", "folder=")
    origin = origin_of(model)
    label = name or _label(model, origin)
    prepared = prepare(
        ds, model, origin, label=label, spec=spec, valid=valid, in_memory=in_memory, area_weights=area_weights,
        history=history, horizon=horizon, variables=variables, targets=targets,
        base=one_of_two_names("base", base, "base_period", base_period), calendar=calendar, transform=transform,
    )  # fmt: skip
    if origin is not None:
        members, model = origin.members(members), origin.model
    run = {"device": device, "resume": resume, "progress": progress, "contract": prepared.contract}
    networks = _trained(model, origin, prepared, members, stages, chosen, folder, run)
    return _assembled(label, networks, prepared, options, origin)


def _chosen(**given: Any) -> dict[str, Any]:
    """Options that are others than the defaults: they go before what a part of a model asks for by itself."""
    usual = TrainingOptions().to_dict()
    return {name: value for name, value in given.items() if value != usual[name]}


def _label(model: Any, origin: Origin | None) -> str:
    """What to call the forecaster."""
    if origin is not None:
        return f"{origin.forecaster.name}-tuned"
    return model if isinstance(model, str) else type(model).__name__.removesuffix("Config")


def _trained(
    model: Any,
    origin: Origin | None,
    prepared: Prepared,
    members: int | None,
    stages: Mapping[str, Mapping[str, Any] | None] | None,
    chosen: Mapping[str, Any],
    folder: str | os.PathLike | None,
    run: Mapping[str, Any],
) -> list[nn.Module]:
    """The networks, trained one after the other; each one's weights and order of data come from a seed of its own."""
    options, networks = TrainingOptions.from_dict(chosen), []
    with tempfile.TemporaryDirectory() if folder is None else nullcontext(os.fspath(folder)) as root:
        for member in range(members or 1):
            own = dataclasses.replace(options, seed=options.seed + member)
            torch.manual_seed(own.seed)
            network = network_for(model, prepared.spec, fresh=member > 0)
            if origin is not None:
                origin.give(network, member)
                if member == 0:
                    origin.warn()
            place = {**run, "folder": Path(root) / f"member-{member}"}
            if contract.abilities_of(network).parts:
                if members is not None and members > 1:
                    raise InvalidOption("members", members, "1 for a model that draws samples itself", "members=1")
                train_stages(
                    network,
                    stages or {},
                    prepared.pairs,
                    prepared.held_out,
                    prepared.weight,
                    prepared.spec,
                    chosen,
                    place,
                )
            elif stages:
                wanted = f"none: {type(network).__name__} is trained as a whole"
                raise InvalidOption("stages", stages, wanted, "leave stages= out")
            else:
                train_network(network, prepared, own, place)
            networks.append(network.eval())
    return networks


def _assembled(
    label: str, networks: list[nn.Module], prepared: Prepared, options: TrainingOptions, origin: Origin | None
) -> Forecaster:
    """A forecaster with its card."""
    card = {
        "name": label,
        "title": f"{type(networks[0]).__name__} trained with xforecast.fit",
        "period": prepared.period,
        "training": options.to_dict(),
        "xforecast": __version__,
    }
    if origin is not None:
        card |= origin.card()
    return Forecaster(networks[0] if len(networks) == 1 else Ensemble.of(networks), prepared.spec, card)
