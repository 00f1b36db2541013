"""What a training needs before it starts: the spec of the data, pairs to learn from, and what is held out."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import nn

from xforecast.cf import compatible, conversion, with_index
from xforecast.errors import InvalidOption, TrainingError
from xforecast.forecaster import pick_device
from xforecast.labels import Report, make_spec, time_axis
from xforecast.models import MODELS, Config, contract, find_config, find_model
from xforecast.spec import DataSpec, Variable
from xforecast.training.finetune import Origin
from xforecast.training.options import TrainingOptions
from xforecast.training.windows import LazyWindows, TrainingWindows, cell_weights, in_memory_or_not, windows_of

__all__ = ["Prepared", "check_call", "prepare"]


@dataclass(frozen=True)
class Prepared:
    """Data that are ready to train on.

    Parameters
    ----------
    spec : DataSpec
        The contract of the forecaster to be.
    pairs, held_out : torch.utils.data.Dataset
        Windows of history and future; none is held out where there is nothing to choose the best weights by.
    weight : torch.Tensor
        Of each cell in the loss; broadcasts against (batch, time, y, x, channel).
    period : str
        The time that the pairs are of, in words.
    """

    spec: DataSpec
    pairs: Any
    held_out: Any
    weight: torch.Tensor
    period: str

    @property
    def contract(self) -> str:
        """Digest of the spec, which has the statistics of the data."""
        return hashlib.sha256(json.dumps(self.spec.to_dict(), sort_keys=True).encode()).hexdigest()


def prepare(
    ds: Any,
    model: Any,
    origin: Origin | None,
    *,
    label: str,
    spec: DataSpec | None,
    valid: Any,
    in_memory: bool | None,
    area_weights: bool,
    **described: Any,
) -> Prepared:
    """Describe the data, unless a spec does, and cut them into windows.

    Parameters
    ----------
    ds, model, spec, valid, in_memory, area_weights
        As in `xforecast.fit`.
    origin : Origin, optional
        The forecaster that training starts from.
    label : str
        What to call the forecaster in messages.
    **described
        Options of `make_spec`.
    """
    ds, valid = (in_memory_or_not(_with_times(data), in_memory) for data in (ds, valid))
    training_period, held_out = _split(ds, valid)
    if spec is None and origin is not None:
        spec = origin.spec(ds, training_period, **described)
    if spec is None:
        described["history"], described["horizon"] = _lengths(model, described["history"], described["horizon"])
        spec = make_spec(ds, **described, train=training_period)
    if units := _physical_units(model if origin is None else origin.model):
        spec = _without_normalisation(spec, units)
    pairs, held_out_pairs, period = _windows(ds, spec, held_out, label)
    if held_out is not None and held_out_pairs is None:
        _without_held_out(label, spec, chosen=not isinstance(valid, float))
    weight = torch.from_numpy(cell_weights(spec, area=area_weights))[None, None, :, :, None]
    return Prepared(spec, pairs, held_out_pairs, weight, period)


def check_call(ds: Any, valid: Any, members: int | None, device: str, options: TrainingOptions) -> None:
    """Refuse options that cannot work before anything is read."""
    if not isinstance(ds, xr.Dataset | xr.DataArray):
        raise InvalidOption("ds", type(ds).__name__, "an xarray Dataset or DataArray", "xarray.open_dataset(path)")
    if members is not None:
        contract.check_positive("members", members)
    if valid is None and options.patience is not None:
        raise InvalidOption("patience", options.patience, "None without held-out data", "valid=0.15")
    pick_device(device)
    dim = time_axis(ds)
    if dim is not None and dim in ds.coords and (repeated := len(ds[dim]) - len(np.unique(ds[dim].values))):
        raise InvalidOption(
            f"times of {dim!r}", f"{repeated} that are there twice", "every time once", f"ds.drop_duplicates({dim!r})"
        )


def _with_times(data: Any) -> Any:
    """Data whose time dimension has the name of its coordinate; what is no data stays as it is."""
    if isinstance(data, xr.Dataset):
        return with_index(data, "time")
    return with_index(data, "time") if isinstance(data, xr.DataArray) else data


def _lengths(model: Any, history: int | None, horizon: int | None) -> tuple[int, int]:
    """Numbers of steps in and out: those asked for, else those of the model's configuration."""
    config = model if isinstance(model, Config) else contract.config_of(model) if isinstance(model, nn.Module) else None
    own = (None, None) if config is None else config.lengths
    for option, value in (("history", history), ("horizon", horizon)):
        if value is not None:
            contract.check_positive(option, value)
    lengths = (own[0] if history is None else history, own[1] if horizon is None else horizon)
    if None in lengths:
        wanted = "two numbers of steps, such as history=12, horizon=6"
        raise InvalidOption("history, horizon", lengths, wanted, "history=12, horizon=6")
    return lengths  # type: ignore[return-value]


def _split(ds, valid) -> tuple[slice | None, Any]:
    """The training period, None for all of it, and what is held out."""
    if isinstance(valid, float | int) and not isinstance(valid, bool):
        if not 0 <= valid < 1:
            wanted = "a share of the record from 0 to below 1, a slice or a Dataset"
            raise InvalidOption("valid", valid, wanted, "valid=0.15")
        if valid == 0:
            return None, None
        dim = time_axis(ds)
        if dim is None:
            raise InvalidOption("ds", dict(ds.sizes), "a time axis with dates", "xarray.decode_cf(ds)")
        times = np.sort(ds[dim].values)
        if len(times) < 2:
            raise InvalidOption("ds", f"{len(times)} time steps", "a record of several", "open a longer record")
        first = times[int(len(times) * (1 - valid))]
        return slice(None, times[int(len(times) * (1 - valid)) - 1]), slice(first, None)
    return None, valid


def _physical_units(model: Any) -> str | None:
    """The unit of the quantity itself, for a model that works on that, such as pySTEPS on rain rates."""
    if isinstance(model, nn.Module):
        return contract.abilities_of(model).units
    if not isinstance(model, Config | str):
        return None
    name = find_config(model) if isinstance(model, Config) else find_model(model)
    return None if name is None else contract.abilities_of(MODELS[name][0]).units


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


def _without_held_out(label: str, spec: DataSpec, *, chosen: bool) -> None:
    """Say that nothing is left to choose the best weights by: an error where the user said what to hold out."""
    wanted = f"at least {spec.horizon} steps in a row, after {spec.history} of history"
    if chosen:
        raise InvalidOption("valid", "held-out data without a whole window", wanted, "a longer period, or valid=None")
    report = Report(label)
    report.warn("held out", f"too little for a window ({wanted}): the last weights are kept, unjudged")
    report.emit_warnings()


def _windows(ds, spec: DataSpec, held_out: Any, label: str) -> tuple[Any, Any, str]:
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
