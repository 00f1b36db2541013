"""Training data without end: simulated histories, and what a fitted linear model expects after each.

Observations give a few hundred independent months; a linear inverse model fitted to them makes thousands of years of
the same climate, and knows the expectation after every history. A network that learns that expectation, from simulated
and from observed histories with noise added, starts where linear forecasting ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

__all__ = ["Imitation", "lead_weights"]


@dataclass
class Imitation(torch.utils.data.Dataset):
    """Pairs of a history and the expectation of a teacher, drawn anew for every index.

    Parameters
    ----------
    teacher : torch.nn.Module
        From histories (batch, history, height, width, channel) to their expectation.
    simulated : Tensor, (series, time, height, width, channel)
        Long series with the teacher's input channels.
    observed : Tensor, (window, history, height, width, channel)
        Histories that were observed.
    cells : Tensor of bool, (height, width)
        Where there are values; noise is added there.
    count : int
        Number of pairs.
    share : float
        Of observed histories.
    noise : float
        Standard deviation of white noise added to the target's channels of the history, in network units.
    drift : float
        Standard deviation of one number added to the complete history: a climate warmer or colder than any observed,
        which the linear teacher extrapolates and a network has to be shown.
    seed : int
        Pair k under a seed is always the same.
    """

    teacher: nn.Module
    simulated: torch.Tensor
    observed: torch.Tensor
    cells: torch.Tensor
    count: int
    share: float = 0.25
    noise: float = 0.2
    drift: float = 0.0
    seed: int = 0

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.__getitems__([index])[0]

    @torch.no_grad()
    def __getitems__(self, indices: list[int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """A batch at once, which the teacher takes faster than one by one."""
        histories = torch.stack([self._history(index) for index in indices])
        return list(zip(histories, self.teacher(histories), strict=True))

    def _history(self, index: int) -> torch.Tensor:
        rng = np.random.default_rng([abs(self.seed), index])
        length = self.observed.shape[1]
        if rng.random() < self.share:
            history = self.observed[rng.integers(len(self.observed))].clone()
        else:
            start = rng.integers(self.simulated.shape[1] - length + 1)
            history = self.simulated[rng.integers(len(self.simulated)), start : start + length].clone()
        shape = history[..., 0].shape
        noise = self.noise * torch.from_numpy(rng.standard_normal(shape, dtype=np.float32))
        history[..., 0] += (noise + self.drift * rng.standard_normal()) * self.cells
        return history


@torch.no_grad()
def lead_weights(pairs: Imitation, cell_weights: torch.Tensor, batches: int = 16) -> torch.Tensor:
    """Inverse variance of the teacher's forecasts by lead, mean 1: each lead counts as much as the next.

    Parameters
    ----------
    pairs : Imitation
        Gives the forecasts.
    cell_weights : Tensor, (height, width)
        Of the cells in the variance.

    Returns
    -------
    Tensor, (horizon, 1, 1, 1)
    """
    forecasts = torch.stack(
        [y for index in range(batches) for _, y in pairs.__getitems__(list(range(16 * index, 16 * index + 16)))]
    )
    variance = (forecasts.square() * cell_weights[..., None]).mean(dim=(0, 2, 3, 4))
    weights = 1 / variance
    return (weights / weights.mean())[:, None, None, None]
