"""From a Dataset to a spec, and to windows of normalised history and future for training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from xforecast.climatology import climatology
from xforecast.conform import Conformed, as_dataset, conform
from xforecast.errors import InvalidOption, SpecMismatch
from xforecast.find import Ambiguous, find_axis, is_anomaly
from xforecast.forecaster import normalise
from xforecast.report import Report
from xforecast.spec import Climatology, DataSpec, Grid, Variable
from xforecast.timestep import TimeStep, cycle_phases, month_numbers, seconds_between

__all__ = ["TrainingWindows", "cell_weights", "make_spec", "windows_of"]


# ------------------------------------------------------------------ a spec from data


def make_spec(
    ds: xr.Dataset | xr.DataArray,
    *,
    history: int,
    horizon: int,
    variables: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    base: tuple[str, str] | None = None,
    calendar: Sequence[str] = (),
    transform: str | tuple[str, float] | Mapping[str, str | tuple[str, float]] | None = None,
    train: slice | None = None,
) -> DataSpec:
    """The specification that describes a Dataset.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        The data to train on.
    history, horizon : int
        Numbers of steps in and out.
    variables, targets : sequence of str, optional
        Names of the variables that go in, and of those that come out; all by default.
    base : tuple of str, optional
        Base period of a climatology; with it the network sees anomalies.
    calendar : sequence of {"annual", "diurnal"}
        Cycles to give to the network.
    transform : str, tuple or mapping, optional
        For skewed variables such as rain rate: a name in `xforecast.spec.TRANSFORMS`, or a name and its scale in the
        variable's units, such as ``("log1p", 0.5)``; for all variables or, in a mapping, by name.
    train : slice, optional
        The training period; statistics come from it alone.

    Returns
    -------
    DataSpec
    """
    ds = ds.to_dataset(name=ds.name or "data") if isinstance(ds, xr.DataArray) else ds
    names = list(variables or _fields(ds))
    if missing := [name for name in names if name not in ds]:
        raise InvalidOption("variables", missing, f"names among {list(ds.data_vars)}")
    if not names:
        raise InvalidOption("ds", list(ds.data_vars), "a variable with a time, a y and an x axis")
    dims = _axes(ds[names[0]])
    times = ds[dims["time"]].values
    if len(times) < 2:
        raise InvalidOption("ds", f"{len(times)} time steps", f"at least {history + horizon}")
    period = ds if train is None else ds.sel({dims["time"]: train})
    names.sort(key=lambda name: name not in (targets or names))  # targets first, as the models have it
    transforms = _transforms(transform, names)
    described = [_describe(ds[name], period[name], dims, base, transforms.get(name)) for name in names]
    mask = np.ones([ds.sizes[dims["y"]], ds.sizes[dims["x"]]], bool)
    for name in targets or names:
        valid = period[name].notnull().any([dims["time"]])
        mask &= valid.transpose(dims["y"], dims["x"], ...).values.reshape(mask.shape)
    return DataSpec(
        described,
        _grid(ds, dims),
        str(_time_step(np.sort(times))),
        history=history,
        horizon=horizon,
        targets=tuple(targets or names),
        calendar=calendar,
        mask=None if mask.all() else mask,
    )


def _fields(ds: xr.Dataset) -> list[str]:
    return [str(name) for name in ds.data_vars if all(_found(ds[name], axis) for axis in ("time", "y", "x"))]


def _found(array: xr.DataArray, axis: str) -> Hashable | None:
    try:
        return find_axis(array, axis)
    except Ambiguous:
        return None


def _axes(array: xr.DataArray) -> dict[str, Hashable]:
    dims = {axis: _found(array, axis) for axis in ("time", "y", "x")}
    if absent := [axis for axis, dim in dims.items() if dim is None]:
        raise InvalidOption(
            f"variable {array.name!r}", array.dims, f"one {' and one '.join(absent)} axis, named or with CF attributes"
        )
    return {axis: dim for axis, dim in dims.items() if dim is not None}


def _transforms(transform: Any, names: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Name and scale of the transform of every variable that has one."""
    chosen = dict(transform) if isinstance(transform, Mapping) else dict.fromkeys(names if transform else (), transform)
    if unknown := sorted(set(chosen) - set(names)):
        raise InvalidOption("transform", unknown, f"names among {', '.join(names)}")
    pairs = {name: (entry, 1.0) if isinstance(entry, str) else tuple(entry) for name, entry in chosen.items()}
    if odd := [entry for entry in pairs.values() if len(entry) != 2]:
        raise InvalidOption("transform", odd[0], "a name, or a name and its scale, such as ('log1p', 0.5)")
    return pairs


def _describe(
    array: xr.DataArray, period: xr.DataArray, dims: Mapping[str, Hashable], base, transform: tuple[str, float] | None
) -> Variable:
    cycle = None
    if base is not None and not is_anomaly(array, str(array.name)):
        monthly = climatology(array, base).transpose("month", dims["y"], dims["x"], ...)
        cycle = Climatology(base, monthly.values.reshape(12, array.sizes[dims["y"]], array.sizes[dims["x"]]))
        months = period[dims["time"]].dt.month
        period = period - climatology(array, base).sel(month=months).drop_vars("month")
    mean, deviation = float(period.mean()), float(period.std())
    if not np.isfinite(mean):
        raise InvalidOption(f"variable {array.name!r}", "no values in the training period", "some values")
    if deviation <= 1e-6 * float(abs(array).max()):
        raise InvalidOption(f"variable {array.name!r}", f"{mean:g} everywhere", "values that vary", "leave it out")
    standard_name = array.attrs.get("standard_name")
    anomalies = cycle is not None
    variable = Variable(
        name=str(array.name),
        units=str(array.attrs.get("units", "1")),
        standard_names=[standard_name] if standard_name else [],
        long_name=str(array.attrs.get("long_name", "")),
        offset=0.0 if anomalies else mean,
        scale=deviation,
        climatology=cycle,
        fill=(0.0 if anomalies else mean) if bool(array.isnull().any()) else None,
        statistics=(mean, deviation),
    )
    return variable if transform is None else _transformed(variable, period, *transform)


def _transformed(variable: Variable, period: xr.DataArray, transform: str, scale: float) -> Variable:
    """The variable with a transform, normalised by the statistics of the transformed values; missing values are 0."""
    bare = replace(variable, offset=0.0, scale=1.0, transform=transform, transform_scale=scale)
    values = bare.to_network(period.values)
    fill = None if variable.fill is None else 0.0
    return replace(bare, offset=float(np.nanmean(values)), scale=float(np.nanstd(values)), fill=fill)


def _grid(ds: xr.Dataset, dims: Mapping[str, Hashable]) -> Grid:
    shape = (ds.sizes[dims["y"]], ds.sizes[dims["x"]])
    coordinates = [ds[dims[axis]] for axis in ("y", "x") if dims[axis] in ds.coords]
    if len(coordinates) < 2 or any(coordinate.dtype.kind not in "iuf" for coordinate in coordinates):
        return Grid("pixel", shape)
    y, x = coordinates
    standard_name = str(y.attrs.get("standard_name", ""))
    degrees = "degree" in str(y.attrs.get("units", "")) or standard_name == "latitude"
    if degrees or (not standard_name and str(dims["y"]).lower().startswith("lat")):
        return Grid.latlon(y.values, x.values)
    from xforecast.units import compatible, conversion

    unit = str(y.attrs.get("units", ""))
    if not compatible(unit, "m"):
        return Grid("pixel", shape)
    metres = conversion(unit, "m")
    return Grid("projected", shape, tuple(metres(y.values.astype(float))), tuple(metres(x.values.astype(float))))


def _time_step(times: np.ndarray) -> TimeStep:
    months = np.diff(month_numbers(times))
    if np.median(months) >= 1:
        return TimeStep(months=int(np.median(months)))
    return TimeStep(seconds=max(1, round(float(np.median(np.diff(seconds_between(times, times[0])))))))


# ------------------------------------------------------------------ windows for training


@dataclass
class TrainingWindows(torch.utils.data.Dataset):
    """Pairs of normalised history and future cut from one series.

    Parameters
    ----------
    series : numpy.ndarray
        Network input, normalised and filled, shape (time, y, x, channel).
    truth : numpy.ndarray
        Normalised targets, missing values as NaN, shape (time, y, x, target).
    numbers : numpy.ndarray
        Place of each step on the regular time axis; gaps are jumps.
    positions : numpy.ndarray
        Place in the series of the last history step of each window.
    history, horizon : int
        Lengths.
    """

    series: np.ndarray
    truth: np.ndarray
    numbers: np.ndarray
    positions: np.ndarray
    history: int
    horizon: int

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        now = int(self.positions[index])
        x = self.series[now - self.history + 1 : now + 1]
        y = self.truth[now + 1 : now + 1 + self.horizon]
        return torch.from_numpy(np.ascontiguousarray(x)), torch.from_numpy(np.ascontiguousarray(y))

    def regular_series(self) -> np.ndarray:
        """The network input at every step of the regular axis; NaN in gaps and where no window reaches."""
        reached = np.zeros(len(self.series), bool)
        for now in self.positions:
            reached[now - self.history + 1 : now + self.horizon + 1] = True
        places = self.numbers - self.numbers[0]
        regular = np.full((places[-1] + 1, *self.series.shape[1:]), np.nan, np.float32)
        regular[places[reached]] = self.series[reached]
        return regular


def windows_of(ds: xr.Dataset | xr.DataArray, spec: DataSpec, *, variables=None, against: str = "the data") -> tuple:
    """All training windows of a Dataset, and the stamps of their last history steps.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        Data that fit the spec; gaps are left out.
    spec : DataSpec
        The contract.

    Returns
    -------
    TrainingWindows, numpy.ndarray
    """
    ready = _every_step(ds, spec, variables, against)
    times = ready.starts.times
    fields = ready.dataset[[variable.name for variable in spec.variables]]
    raw = fields.to_dataarray("channel").transpose("time", "y", "x", "channel").values
    waves = [wave(cycle_phases(times, cycle)) for cycle in spec.calendar for wave in (np.sin, np.cos)]
    shape = (*raw.shape[:-1], 1)
    raw = np.concatenate([raw, *(np.broadcast_to(wave[:, None, None, None], shape) for wave in waves)], axis=-1)
    series = normalise(raw[None].astype(np.float32), spec)[0]
    names = [variable.name for variable in spec.variables]
    truth = np.stack([v.to_network(raw[..., names.index(v.name)]) for v in spec.target_variables], axis=-1)
    truth = truth.astype(np.float32)
    if spec.mask is not None:
        truth[:, ~spec.mask] = np.nan
    numbers = spec.step.numbers(times)
    positions = np.arange(spec.history - 1, len(times) - spec.horizon)
    whole = numbers[positions + spec.horizon] - numbers[positions - spec.history + 1]
    positions = positions[whole == spec.history + spec.horizon - 1]
    return TrainingWindows(series, truth, numbers, positions, spec.history, spec.horizon), times


def _every_step(ds, spec: DataSpec, variables, against: str) -> Conformed:
    """Conform the whole record, whatever its length and gaps."""
    single = spec.replace(history=1, horizon=1)
    ready = conform(as_dataset(ds, spec), single, init="all", variables=variables, against=against)
    if isinstance(ready, Report):
        ready.raise_errors()
        raise SpecMismatch("the data do not fit their own spec", ready)
    return ready


def cell_weights(spec: DataSpec, *, area: bool = True) -> np.ndarray:
    """Weight of each cell in the loss, shape (y, x): its area where latitudes are known, 0 off the mask.

    Examples
    --------
    >>> from xforecast.spec import DataSpec, Grid, Variable
    >>> spec = DataSpec([Variable("t", "K")], Grid.latlon([0, 60], [0, 10]), "1 day", history=1, horizon=1)
    >>> cell_weights(spec).round(3).tolist()
    [[1.0, 1.0], [0.5, 0.5]]
    """
    weights = np.ones(spec.grid.shape)
    if area and spec.grid.kind == "latlon" and spec.grid.y is not None:
        weights *= np.cos(np.deg2rad(np.asarray(spec.grid.y)))[:, None]
    if spec.mask is not None:
        weights *= spec.mask
    return weights.astype(np.float32)
