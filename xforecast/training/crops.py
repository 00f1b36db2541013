"""Training pairs cut at random from sequences that are larger and longer than a model's window."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from xforecast.errors import TrainingError
from xforecast.spec import DataSpec

__all__ = ["Crops", "coarsened"]

TRIES = 50


@dataclass
class Crops(torch.utils.data.Dataset):
    """Histories and futures of random crops: any place, turned and mirrored, with an error of calibration.

    Rain has no preferred direction on a map of this size, and radars differ by a decibel or so; time has a direction,
    and is left as it is.

    Parameters
    ----------
    sequences : sequence of numpy.ndarray
        Physical values (time, y, x) of a finer grid, in the units of the spec; missing values are NaN.
    spec : DataSpec
        Gives the grid, the lengths and the normalisation, of its only variable.
    count : int
        Number of pairs.
    coarsen : int
        Cells of the sequences on a side of a cell of the spec, which is their mean.
    calibration : float
        Rates are multiplied by a number between this and its inverse, the same for all frames of a pair.
    coverage : float
        Least share of cells of a crop that have a value in its first frame.
    seed : int
        Pair k under a seed is always the same.
    """

    sequences: Sequence[np.ndarray]
    spec: DataSpec
    count: int
    coarsen: int = 1
    calibration: float = 1.0
    coverage: float = 0.9
    seed: int = 0

    def __post_init__(self):
        length = self.spec.history + self.spec.horizon
        starts = np.array([len(sequence) - length + 1 for sequence in self.sequences])
        if not len(starts) or starts.min() < 1:
            shortest = min((len(sequence) for sequence in self.sequences), default=0)
            raise TrainingError(f"found sequences of {shortest} frames, wanted at least {length}\n  -> leave them out")
        self.starts, self.length = starts, length

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        rng = np.random.default_rng([abs(self.seed), index])
        values = coarsened(self._cut(rng), self.coarsen)
        values = np.rot90(values, int(rng.integers(4)), axes=(1, 2))
        if rng.random() < 0.5:
            values = values[:, ::-1]
        values = values * self.calibration ** rng.uniform(-1, 1)
        variable = self.spec.variables[0]
        y = variable.to_network(values).astype(np.float32)[..., None]
        x = variable.to_network(np.nan_to_num(values, nan=0.0)).astype(np.float32)[..., None]
        history = self.spec.history
        return torch.from_numpy(x[:history].copy()), torch.from_numpy(y[history:].copy())

    def _cut(self, rng: np.random.Generator) -> np.ndarray:
        rows, columns = (size * self.coarsen for size in self.spec.grid.shape)
        for _ in range(TRIES):
            number = rng.choice(len(self.sequences), p=self.starts / self.starts.sum())
            sequence = self.sequences[number]
            first = rng.integers(self.starts[number])
            top, left = (
                rng.integers(have - want + 1) for have, want in zip(sequence.shape[1:], (rows, columns), strict=True)
            )
            crop = sequence[first : first + self.length, top : top + rows, left : left + columns]
            if np.isfinite(crop[0]).mean() >= self.coverage:
                return crop
        raise TrainingError(
            f"no crop of {rows} x {columns} cells has values in {self.coverage:.0%}\n  -> a lower coverage"
        )


def coarsened(values: np.ndarray, factor: int) -> np.ndarray:
    """Means of squares of cells, NaN where a cell is missing; (time, y, x), cells left over at the end are dropped.

    Examples
    --------
    >>> coarsened(np.arange(8.0).reshape(1, 2, 4), 2).tolist()
    [[[2.5, 4.5]]]
    """
    frames, rows, columns = values.shape
    trimmed = values[:, : rows // factor * factor, : columns // factor * factor]
    return trimmed.reshape(frames, rows // factor, factor, columns // factor, factor).mean(axis=(2, 4))
