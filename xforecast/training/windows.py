"""Windows of normalised history and future for training, of data in memory and of larger ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import xarray as xr

from xforecast.labels import Conformed, Report, arrays_of, as_dataset, conform_record, time_axis
from xforecast.spec import DataSpec, calendar_waves, normalise
from xforecast.training.loader import OrderedPairs

__all__ = ["LazyWindows", "TrainingWindows", "cell_weights", "in_memory_or_not", "windows_of"]

MEMORY = 2 * 2**30
"""Bytes of lazy data that are loaded to train on them; of larger ones no more than this is kept."""
TOGETHER = 4
"""Blocks of lazy data whose windows are mixed; as many again may be needed for windows that reach over their ends."""


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
class LazyWindows(OrderedPairs):
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
        """As that of `TrainingWindows`; a model that is fitted in closed form needs all of the record at once."""
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
        times = {dim for array in arrays_of(ds) if (dim := time_axis(array)) is not None}
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
    calendar = calendar_waves(times, spec.calendar)
    numbers = spec.step.numbers(times)
    positions = np.arange(spec.history - 1, len(times) - spec.horizon)
    spanned = numbers[positions + spec.horizon] - numbers[positions - spec.history + 1]
    positions = positions[spanned == spec.history + spec.horizon - 1]  # others reach over a gap
    if raw.chunks is not None:
        return LazyWindows(raw, calendar, spec, numbers, positions), times
    series, truth = network_values(raw.values, calendar, spec)
    return TrainingWindows(series, truth, numbers, positions, spec.history, spec.horizon), times


def _every_step(ds, spec: DataSpec, against: str) -> Conformed:
    """The record as the spec wants it, or an error with all that is amiss."""
    ds = as_dataset(ds, spec)
    own = {variable.name: variable.name for variable in spec.variables if variable.name in ds}
    ready = conform_record(ds, spec, variables=own, against=against)
    if isinstance(ready, Report):
        ready.raise_errors()
        raise AssertionError("a report without errors must come with data")
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
