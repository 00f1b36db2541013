"""Train on the user's own Dataset."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from xforecast._version import __version__
from xforecast.cf.units import compatible, conversion
from xforecast.errors import InvalidOption, TrainingError, require
from xforecast.forecaster import Forecaster
from xforecast.forecaster.lazy import pick_device
from xforecast.labels import Report, make_spec, time_axis
from xforecast.models import MODELS, Ensemble, build, config_class, configure, describe, find_config, find_model, learns
from xforecast.models.contract import Config, check_positive
from xforecast.spec import DataSpec, Variable
from xforecast.training.finetune import Origin, origin_of
from xforecast.training.options import TrainingOptions
from xforecast.training.stages import train_stages
from xforecast.training.windows import LazyWindows, TrainingWindows, cell_weights, in_memory_or_not, windows_of

__all__ = ["fit"]


def fit(
    ds: xr.Dataset | xr.DataArray,
    model: str | os.PathLike | Config | nn.Module | Forecaster = "Earthformer",
    *,
    history: int | None = None,
    horizon: int | None = None,
    variables: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
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
    **training: Any,
) -> Forecaster:
    """Train a model on a Dataset and get a forecaster for data like it.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        CF-compliant, with a regular time axis and two spatial axes; gaps in time are left out, missing
        values (land) count nothing in the loss.
    model : str, path, Config, torch.nn.Module or Forecaster
        A name in `xforecast.models.MODELS`, a configuration, whose lengths, grid and channels are set
        to those of the data, or a module of the contract in `xforecast.models.contract`. A forecaster, its name or
        its folder is fine-tuned: training starts from its weights, with the same or another region, variable set or
        horizon. Where data fit the forecaster's spec it is kept; variables that it knows keep their normalisation;
        weights whose shape does not fit start anew, which a warning and the card say.
    history, horizon : int
        Numbers of steps in and out; those of the forecaster that is fine-tuned by default.
    variables, targets : sequence of str, optional
        What goes in and what comes out; every variable with the three axes by default.
    base : tuple of str, optional
        Base period of a monthly climatology, such as ``("1951", "1980")``; the model then works on
        anomalies, and the forecaster accepts either kind.
    calendar : sequence of {"annual", "diurnal"}
        Cycles that the model is told.
    transform : str, tuple or mapping, optional
        For skewed variables such as rain rate: a name in `xforecast.spec.TRANSFORMS`, or a name and its scale in the
        variable's units, such as ``("log1p", 0.5)``; for all variables or, in a mapping, by name.
    spec : DataSpec, optional
        In place of the seven above.
    valid : float, slice, Dataset or None
        What is held out to choose the best weights: the last share of the record, a period, other
        data, or nothing. No window for training reaches into a held-out period.
    in_memory : bool, optional
        Load the data, or read them block by block in the course of training. By default dask data of more than 2 GiB
        are not loaded.
    members : int, optional
        Independently trained networks, 1 by default; more than one make an `Ensemble`, whose samples they are. Of an
        ensemble that is fine-tuned, each network is.
    stages : mapping, optional
        For a model that is trained in parts, such as `PreDiff` (autoencoder, denoiser, alignment): options of each
        part by name. Fields of `TrainingOptions` there go before those of the whole call; others are the part's own,
        such as ``adversary`` of the autoencoder and ``functional`` of the alignment network, a function of the
        physical field or a constraint. None leaves a part as it is. The alignment network is trained if it is named.
    area_weights : bool
        Weigh cells by their area where latitudes are known.
    name : str, optional
        Of the forecaster.
    folder : path, optional
        For checkpoints, the log of losses and previews, a folder for each part; needed to resume.
    resume : bool
        Go on from the checkpoints in ``folder``.
    device : str
        As in `xforecast.forecast`.
    progress : bool, optional
        Draw a bar.
    **training
        Fields of `TrainingOptions`: ``epochs``, ``batch_size``, ``learning_rate``, ``patience`` ...

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
    options = TrainingOptions.from_dict(dict(training))
    _check_call(ds, valid, members, device, options)
    if resume and folder is None:
        raise InvalidOption("resume", True, "a folder with the checkpoints to go on from", "folder=")
    ds, valid = (in_memory_or_not(data, in_memory) for data in (ds, valid))
    training_period, held_out = _split(ds, valid)
    origin = origin_of(model)
    if spec is None:
        described: dict[str, Any] = {
            "history": history, "horizon": horizon, "variables": variables, "targets": targets, "base": base,
            "calendar": calendar, "transform": transform,
        }  # fmt: skip
        if origin is None:
            described["history"], described["horizon"] = _lengths(model, history, horizon)
            spec = make_spec(ds, **described, train=training_period)
        else:
            spec = origin.spec(ds, training_period, **described)
    label = name or _label(model, origin)
    if origin is not None:
        members, model = origin.members(members), origin.model
    if units := _physical_units(model):
        spec = _without_normalisation(spec, units)
    data, valid_data, period = _windows(ds, spec, held_out, label)
    if held_out is not None and valid_data is None:
        _without_held_out(label, spec, chosen=not isinstance(valid, float))
    weight = torch.from_numpy(cell_weights(spec, area=area_weights))[None, None, :, :, None]
    contract = hashlib.sha256(json.dumps(spec.to_dict(), sort_keys=True).encode()).hexdigest()
    place = tempfile.TemporaryDirectory() if folder is None else nullcontext(os.fspath(folder))
    networks = []
    with place as root:
        for member in range(members or 1):
            # Each member's weights and order of data come from a seed of its own.
            own = dataclasses.replace(options, seed=options.seed + member)
            torch.manual_seed(own.seed)
            network = _network(model, spec, fresh=member > 0)
            if origin is not None:
                origin.give(network, member)
                if member == 0:
                    origin.tell()
            course = {
                "folder": Path(root) / f"member-{member}",
                "device": device,
                "resume": resume,
                "progress": progress,
                "contract": contract,
            }
            if hasattr(network, "stages"):
                if members is not None and members > 1:
                    raise InvalidOption("members", members, "1 for a model that draws samples itself", "members=1")
                train_stages(network, stages or {}, data, valid_data, weight, spec, training, course)
            elif stages:
                raise InvalidOption("stages", stages, f"none: {type(network).__name__} is trained as a whole")
            else:
                _train_whole(network, data, valid_data, weight, own, course)
            networks.append(network.eval())
    card = _card(label, period, options, networks) | (origin.card() if origin is not None else {})
    return Forecaster(networks[0] if len(networks) == 1 else Ensemble.of(networks), spec, card)


def _label(model: Any, origin: Origin | None) -> str:
    """What to call the forecaster."""
    if origin is not None:
        return f"{origin.forecaster.name}-tuned"
    return model if isinstance(model, str) else type(model).__name__.removesuffix("Config")


# ------------------------------------------------------------------ the model


def _network(model: Any, spec: DataSpec, *, fresh: bool) -> nn.Module:
    if isinstance(model, nn.Module):
        if not fresh:
            return _checked(model, spec)
        described = describe(model)
        return build(**described)
    if isinstance(model, Config):
        name = find_config(model)
        if name is None:
            raise InvalidOption("model", type(model).__name__, f"a configuration of {', '.join(MODELS)}")
        if hasattr(model, "fitted"):
            _check_alike(spec)
        return build(name, configure(model, _shape(spec)))
    name = find_model(model)
    if name is None:
        raise InvalidOption("model", model, f"one of {', '.join(MODELS)}, a configuration or a module")
    if hasattr(config_class(name), "of_size"):
        _check_alike(spec)
    return build(name, configure(name, _shape(spec)))


def _check_alike(spec: DataSpec) -> None:
    """For a model that forecasts all that it sees."""
    if spec.channels != len(spec.targets):
        raise InvalidOption(
            "variables, calendar", f"{spec.channels} channels in, {len(spec.targets)} out", "as many out as in for a "
            "model that encodes both alike", "leave calendar= and targets= out",
        )  # fmt: skip


def _train_whole(network: nn.Module, data, valid_data, weight: torch.Tensor, options: TrainingOptions, course) -> None:
    """By gradient, in closed form, or not at all: as the model needs."""
    if hasattr(network, "fit_series"):
        series = torch.from_numpy(data.regular_series())
        network.fit_series(series, weight[0, 0])  # type: ignore[operator]
        return
    if not learns(network):
        return
    require("lightning", extra="train", purpose="training")
    from xforecast.training.loop import train

    train(network, data, valid_data, weight, options, **course)


def _physical_units(model: Any) -> str | None:
    """The unit of the quantity itself, for a model that works on that, such as pySTEPS on rain rates."""
    if isinstance(model, nn.Module):
        return getattr(model, "takes_physical_units", None)
    name = find_config(model) if isinstance(model, Config) else find_model(model)
    return None if name is None else getattr(MODELS[name][0], "takes_physical_units", None)


def _without_normalisation(spec: DataSpec, units: str) -> DataSpec:
    """For values as they are, in a unit."""
    plain: dict[str, Any] = {"offset": 0.0, "scale": 1.0, "transform": None, "units": units}
    odd = {variable.name: variable.units for variable in spec.variables if not compatible(variable.units, units)}
    if odd:
        raise InvalidOption(
            "units", odd, f"a rate that converts to {units}", "ds[name].attrs['units'] = ... says what it is; "
            "xforecast.datasets.open_radar turns reflectivity (dBZ) into a rate",
        )  # fmt: skip
    return spec.replace(
        variables=[
            dataclasses.replace(
                variable,
                **plain,
                fill=None if variable.fill is None else 0.0,
                statistics=_converted(variable, units),
            )
            for variable in spec.variables
        ]
    )


def _converted(variable: Variable, units: str) -> tuple[float, float] | None:
    if variable.statistics is None:
        return None
    linear, (mean, deviation) = conversion(variable.units, units), variable.statistics
    return linear(mean), abs(linear.scale) * deviation


def _shape(spec: DataSpec) -> dict[str, Any]:
    """What the data decide, by the names that configurations have for it."""
    decided: dict[str, Any] = {
        "history": spec.history,
        "horizon": spec.horizon,
        "grid": spec.grid.shape,
        "input_channels": spec.channels,
        "output_channels": len(spec.targets),
    }
    if not spec.step.monthly:
        decided["minutes"] = spec.step.seconds / 60
    if spec.grid.kind == "projected" and spec.grid.x is not None and len(spec.grid.x) > 1:
        decided["kilometres"] = abs(spec.grid.x[1] - spec.grid.x[0]) / 1000
    return decided


def _checked(model: nn.Module, spec: DataSpec) -> nn.Module:
    if not hasattr(model, "loss"):
        raise InvalidOption("model", type(model).__name__, "a module with a method loss(x, y, weight)")
    try:
        with torch.no_grad():
            shape = tuple(model(torch.zeros(1, *spec.input_shape)).shape[1:])
    except (RuntimeError, ValueError) as error:
        raise InvalidOption(
            "model", type(model).__name__, f"one that takes {spec.input_shape} and gives {spec.target_shape}: {error}"
        ) from error
    if shape != spec.target_shape:
        raise InvalidOption("model", f"output of shape {shape}", f"{spec.target_shape}")
    if not hasattr(model, "config"):
        model.__dict__["config"] = None  # it cannot be built anew, and so not be saved
    return model


def _lengths(model, history: int | None, horizon: int | None) -> tuple[int, int]:
    history = history or getattr(model, "history", None)
    horizon = horizon or getattr(model, "horizon", None)
    if not history or not horizon:
        raise InvalidOption(
            "history, horizon", (history, horizon), "two numbers of steps, such as history=12, horizon=6"
        )
    return history, horizon


# ------------------------------------------------------------------ the data


def _check_call(ds, valid, members: int | None, device: str, options: TrainingOptions) -> None:
    """Before anything is read."""
    if not isinstance(ds, xr.Dataset | xr.DataArray):
        raise InvalidOption("ds", type(ds).__name__, "an xarray Dataset or DataArray", "xarray.open_dataset(path)")
    if members is not None:
        check_positive("members", members)
    if valid is None and options.patience is not None:
        raise InvalidOption("patience", options.patience, "None without held-out data", "valid=0.15")
    pick_device(device)
    dim = time_axis(ds)
    if dim is not None and dim in ds.coords and (repeated := len(ds[dim]) - len(np.unique(ds[dim].values))):
        raise InvalidOption(
            f"times of {dim!r}", f"{repeated} that are there twice", "every time once", f"ds.drop_duplicates({dim!r})"
        )


def _split(ds, valid) -> tuple[slice | None, Any]:
    """The training period, None for all of it, and what is held out."""
    if isinstance(valid, float | int) and not isinstance(valid, bool):
        if not 0 <= valid < 1:
            raise InvalidOption("valid", valid, "a share of the record from 0 to below 1, a slice or a Dataset")
        if valid == 0:
            return None, None
        dim = time_axis(ds)
        if dim is None:
            raise InvalidOption("ds", dict(ds.sizes), "a time axis with dates", "xarray.decode_cf(ds)")
        times = np.sort(ds[dim].values)
        if len(times) < 2:
            raise InvalidOption("ds", f"{len(times)} time steps", "a record of several")
        first = times[int(len(times) * (1 - valid))]
        return slice(None, times[int(len(times) * (1 - valid)) - 1]), slice(first, None)
    return None, valid


def _without_held_out(label: str, spec: DataSpec, *, chosen: bool) -> None:
    """Say that nothing is left to choose the best weights by: an error where the user said what to hold out."""
    wanted = f"at least {spec.horizon} steps in a row, after {spec.history} of history"
    if chosen:
        raise InvalidOption("valid", "held-out data without a whole window", wanted, "a longer period, or valid=None")
    report = Report(label)
    report.warn("held out", f"too little for a window ({wanted}): the last weights are kept, unjudged")
    report.emit_warnings()


def _windows(ds, spec: DataSpec, held_out, label: str):
    """Training and validation windows; none of the former reaches into the held-out period."""
    windows, times = windows_of(ds, spec, against=label)
    period = f"{str(times[0])[:10]} to {str(times[-1])[:10]}"
    if isinstance(held_out, slice):
        inside = np.isin(times, xr.DataArray(times, dims="t", coords={"t": times}).sel(t=held_out).values)
        touched = _touching(windows, inside)
        valid = dataclasses.replace(windows, positions=windows.positions[_starting(windows, inside)])
        windows = dataclasses.replace(windows, positions=windows.positions[~touched])
        if len(valid):
            period += f", without {str(times[inside][0])[:10]} to {str(times[inside][-1])[:10]} held out"
    else:
        valid = None if held_out is None else windows_of(held_out, spec, against=label)[0]
    if not len(windows):
        raise TrainingError(
            f"no training windows: {len(times)} steps, and each window needs {spec.history} + {spec.horizon}\n"
            "  -> a longer record, or a shorter history, horizon or held-out period"
        )
    return windows, valid if valid is not None and len(valid) else None, period


def _touching(windows: TrainingWindows | LazyWindows, inside: np.ndarray) -> np.ndarray:
    """Which windows have a step inside the held-out period."""
    count = np.concatenate([[0], np.cumsum(inside)])
    first = windows.positions - windows.history + 1
    return count[windows.positions + windows.horizon + 1] - count[first] > 0


def _starting(windows: TrainingWindows | LazyWindows, inside: np.ndarray) -> np.ndarray:
    """Which windows forecast the held-out period only; their history may begin before it."""
    count = np.concatenate([[0], np.cumsum(inside)])
    return count[windows.positions + windows.horizon + 1] - count[windows.positions + 1] == windows.horizon


def _card(label: str, period: str, options: TrainingOptions, networks: list[nn.Module]) -> dict[str, Any]:
    return {
        "name": label,
        "title": f"{type(networks[0]).__name__} trained with xforecast.fit",
        "period": period,
        "training": options.to_dict(),
        "xforecast": __version__,
    }
