"""From a Dataset to a spec, and to windows of normalised history and future for training."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import xarray as xr

from xforecast.cf import Ambiguous, find_axis, is_anomaly
from xforecast.errors import InvalidOption, SpecMismatch
from xforecast.forecaster.forecaster import normalise
from xforecast.labels.climatology import monthly_climatology
from xforecast.labels.conform import Conformed, as_dataset, conform, match_climatology, stamps_like
from xforecast.labels.report import Report
from xforecast.spec import Climatology, DataSpec, Grid, Variable
from xforecast.spec.timestep import TimeStep, cycle_phases, month_numbers, seconds_between

__all__ = [
    "LazyWindows",
    "TrainingWindows",
    "arrays_of",
    "cell_weights",
    "dataset_of",
    "fields_of",
    "in_memory_or_not",
    "make_spec",
    "names_of",
    "time_axis",
    "windows_of",
]

MEMORY = 2 * 2**30
"""Bytes of lazy data that are loaded to train on them; of larger ones no more than this is kept."""
TOGETHER = 4
"""Blocks of lazy data whose windows are mixed; as many again may be needed for windows that reach over their ends."""


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
    ds = dataset_of(ds)
    names = names_of(variables) or fields_of(ds)
    if missing := [name for name in names if name not in ds]:
        raise InvalidOption("variables", missing, f"names among {list(ds.data_vars)}")
    if not names:
        raise InvalidOption("ds", list(ds.data_vars), "a variable with a time, a y and an x axis")
    goals = names_of(targets) or names
    if missing := [name for name in goals if name not in names]:
        raise InvalidOption("targets", missing, f"names among {names}")
    dims = _axes(ds[names[0]])
    times = ds[dims["time"]].values
    if len(times) < 2:
        raise InvalidOption("ds", f"{len(times)} time steps", f"at least {history + horizon}")
    period = ds if train is None else ds.sel({dims["time"]: train})
    names = [*goals, *(name for name in names if name not in goals)]  # targets first and in order, as models have it
    transforms = _transforms(transform, names)
    described = [_describe(ds[name], period[name], dims, base, transforms.get(name)) for name in names]
    known = xr.Dataset({str(name): period[name].notnull().any([dims["time"]]) for name in goals}).compute()
    mask = np.ones([ds.sizes[dims["y"]], ds.sizes[dims["x"]]], bool)
    for valid in known.data_vars.values():
        mask &= valid.transpose(dims["y"], dims["x"], ...).values.reshape(mask.shape)
    return DataSpec(
        described,
        _grid(ds, dims),
        str(_time_step(np.sort(times))),
        history=history,
        horizon=horizon,
        targets=tuple(goals),
        calendar=names_of(calendar),
        mask=None if mask.all() else mask,
    )


def dataset_of(ds: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """A Dataset from either, before there is a spec that could name an array without a name."""
    return ds.to_dataset(name=ds.name or "data") if isinstance(ds, xr.DataArray) else ds


def arrays_of(ds: xr.Dataset | xr.DataArray) -> list[xr.DataArray]:
    """The variables, or the one array."""
    return [ds] if isinstance(ds, xr.DataArray) else list(ds.data_vars.values())


def time_axis(ds: xr.Dataset | xr.DataArray) -> Hashable | None:
    """The time axis of the first variable that has one."""
    return next((dim for array in arrays_of(ds) if (dim := _found(array, "time")) is not None), None)


def names_of(given: str | Sequence[str] | None) -> list[str]:
    """One name or several, as a list."""
    return [given] if isinstance(given, str) else list(given or ())


def fields_of(ds: xr.Dataset) -> list[str]:
    """Variables that have a time, a y and an x axis."""
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
        monthly = monthly_climatology(array, base).transpose("month", dims["y"], dims["x"], ...)
        cycle = Climatology(base, monthly.values.reshape(12, array.sizes[dims["y"]], array.sizes[dims["x"]]))
        stamps = stamps_like(period[dims["time"]].values, (str(dims["time"]),), period)
        period = period - match_climatology(cycle, stamps).rename(y=dims["y"], x=dims["x"])
    facts = _facts(mean=period.mean(), deviation=period.std(), largest=abs(array).max(), missing=array.isnull().any())
    mean, deviation = facts["mean"], facts["deviation"]
    if not np.isfinite(mean):
        infinite = bool(np.isinf(period).any())
        found = "infinite values" if infinite else "no values in the training period"
        remedy = f"ds[{str(array.name)!r}].where(abs(ds[{str(array.name)!r}]) < float('inf'))" if infinite else ""
        raise InvalidOption(f"variable {array.name!r}", found, "some values, all finite or missing", remedy)
    if deviation <= 1e-6 * facts["largest"]:
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
        fill=(0.0 if anomalies else mean) if facts["missing"] else None,
        statistics=(mean, deviation),
    )
    return variable if transform is None else _transformed(variable, period, *transform)


def _transformed(variable: Variable, period: xr.DataArray, transform: str, scale: float) -> Variable:
    """The variable with a transform, normalised by the statistics of the transformed values; missing values are 0."""
    bare = replace(variable, offset=0.0, scale=1.0, transform=transform, transform_scale=scale)
    values = xr.apply_ufunc(bare.to_network, period, dask="parallelized", output_dtypes=[period.dtype])
    facts = _facts(mean=values.mean(), deviation=values.std())
    fill = None if variable.fill is None else 0.0
    return replace(bare, offset=facts["mean"], scale=facts["deviation"], fill=fill)


def _facts(**found: xr.DataArray) -> dict[str, float]:
    """Numbers about a record; lazy data are read once for all of them, piece by piece."""
    return {str(name): float(value) for name, value in xr.Dataset(found).compute().data_vars.items()}


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
    from xforecast.cf.units import compatible, conversion

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


def network_values(raw: np.ndarray, calendar: np.ndarray, spec: DataSpec) -> tuple[np.ndarray, np.ndarray]:
    """Network input, normalised and filled, and normalised targets with missing values as NaN.

    Parameters
    ----------
    raw : numpy.ndarray
        The spec's variables in their units, shape (time, y, x, variable).
    calendar : numpy.ndarray
        Calendar channels, shape (time, channel).
    spec : DataSpec
        The contract.

    Returns
    -------
    numpy.ndarray, numpy.ndarray
        Shapes (time, y, x, channel) and (time, y, x, target), float32.
    """
    waves = np.broadcast_to(calendar[:, None, None], (*raw.shape[:-1], calendar.shape[-1]))
    series = normalise(np.concatenate([raw, waves], axis=-1, dtype=np.float32)[None], spec)[0]
    names = [variable.name for variable in spec.variables]
    truth = np.stack([v.to_network(raw[..., names.index(v.name)]) for v in spec.target_variables], axis=-1)
    truth = truth.astype(np.float32)
    if spec.mask is not None:
        truth[:, ~spec.mask] = np.nan
    return series, truth


@dataclass
class LazyWindows(torch.utils.data.Dataset):
    """The same pairs as `TrainingWindows`, of data larger than memory: read in blocks of time, a few of which are kept.

    Parameters
    ----------
    raw : xarray.DataArray
        The spec's variables in their units, dims (time, y, x, channel), over dask.
    calendar : numpy.ndarray
        Calendar channels, shape (time, channel).
    spec : DataSpec
        The contract.
    numbers, positions
        As in `TrainingWindows`.
    """

    raw: xr.DataArray
    calendar: np.ndarray
    spec: DataSpec
    numbers: np.ndarray
    positions: np.ndarray
    _kept: dict[int, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self):
        self.history, self.horizon = self.spec.history, self.spec.horizon
        # Chunks of the data as they are, or several where they are shorter than a window: it then needs two at most.
        ends = np.cumsum(self.raw.chunksizes["time"]).tolist()
        length, edges = self.history + self.horizon, [0]
        for end in ends[:-1]:
            if end - edges[-1] >= length and ends[-1] - end >= length:
                edges.append(end)
        self.edges = np.array([*edges, ends[-1]])
        values = np.prod(self.spec.grid.shape) * (self.spec.channels + len(self.spec.targets))
        largest = 4 * values * np.diff(self.edges).max()
        self.together = int(np.clip(MEMORY // (2 * largest), 1, TOGETHER))

    def __getstate__(self):
        return {**self.__dict__, "_kept": {}}

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        now = int(self.positions[index])
        first, last = now - self.history + 1, now + self.horizon
        blocks = range(self._block_of(first), self._block_of(last) + 1)
        series, truth = (np.concatenate(parts) for parts in zip(*map(self._cut(first, last), blocks), strict=True))
        return torch.from_numpy(series[: self.history]), torch.from_numpy(truth[self.history :])

    def _block_of(self, step) -> Any:
        return np.searchsorted(self.edges, step, side="right") - 1

    def _cut(self, first: int, last: int):
        def part(block: int) -> list[np.ndarray]:
            begin = self.edges[block]
            return [values[max(first - begin, 0) : last + 1 - begin] for values in self._block(block)]

        return part

    def _block(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        found = self._kept.get(block)
        if found is None:
            steps = slice(int(self.edges[block]), int(self.edges[block + 1]))
            found = network_values(self.raw[steps].values, self.calendar[steps], self.spec)
            while len(self._kept) >= 2 * self.together:
                self._kept.pop(next(iter(self._kept)), None)
            self._kept[block] = found
        return found

    def shuffled(self, generator: torch.Generator) -> list[int]:
        """An order in which a block is read once or twice: windows that begin in a few random blocks are mixed."""
        blocks = self._block_of(self.positions - self.history + 1)
        order = torch.randperm(len(self.edges) - 1, generator=generator).numpy()
        mixed: list[int] = []
        for first in range(0, len(order), self.together):
            inside = np.flatnonzero(np.isin(blocks, order[first : first + self.together]))
            mixed += inside[torch.randperm(len(inside), generator=generator).numpy()].tolist()
        return mixed

    def regular_series(self) -> np.ndarray:
        """As that of `TrainingWindows`; a model that is fitted in closed form needs the whole record at once."""
        series, truth = network_values(self.raw.values, self.calendar, self.spec)
        return TrainingWindows(series, truth, self.numbers, self.positions, self.history, self.horizon).regular_series()


def in_memory_or_not(ds: Any, wanted: bool | None) -> Any:
    """Data to train on: lazy data are loaded unless they are large, others are made lazy if that is wanted.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        Anything else is given back.
    wanted : bool or None
        None decides by the size.
    """
    if not isinstance(ds, xr.Dataset | xr.DataArray):
        return ds
    if not ds.chunks:
        times = {dim for array in arrays_of(ds) if (dim := _found(array, "time")) is not None}
        return ds.chunk(dict.fromkeys(times, "auto")) if wanted is False else ds
    return ds.compute() if wanted or (wanted is None and ds.nbytes <= MEMORY) else ds


def windows_of(ds: xr.Dataset | xr.DataArray, spec: DataSpec, *, against: str = "the data") -> tuple:
    """All training windows of a Dataset, and the stamps of its steps; of lazy data the windows are lazy.

    Variables that have the very names of the spec are those, whatever else there is of their standard names.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        Data that fit the spec; gaps are left out.
    spec : DataSpec
        The contract.

    Returns
    -------
    TrainingWindows or LazyWindows, numpy.ndarray
    """
    ready = _every_step(ds, spec, against)
    times = ready.starts.times
    fields = ready.dataset[[variable.name for variable in spec.variables]]
    raw = fields.to_dataarray("channel").transpose("time", "y", "x", "channel")
    waves = [wave(cycle_phases(times, cycle)) for cycle in spec.calendar for wave in (np.sin, np.cos)]
    calendar = np.stack(waves, axis=-1).astype(np.float32) if waves else np.empty((len(times), 0), np.float32)
    numbers = spec.step.numbers(times)
    positions = np.arange(spec.history - 1, len(times) - spec.horizon)
    whole = numbers[positions + spec.horizon] - numbers[positions - spec.history + 1]
    positions = positions[whole == spec.history + spec.horizon - 1]
    if raw.chunks is not None:
        return LazyWindows(raw, calendar, spec, numbers, positions), times
    series, truth = network_values(raw.values, calendar, spec)
    return TrainingWindows(series, truth, numbers, positions, spec.history, spec.horizon), times


def _every_step(ds, spec: DataSpec, against: str) -> Conformed:
    """Conform the whole record, whatever its length and gaps."""
    single = spec.replace(history=1, horizon=1)
    ds = as_dataset(ds, spec)
    own = {variable.name: variable.name for variable in spec.variables if variable.name in ds}
    ready = conform(ds, single, init="all", variables=own, against=against)
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
