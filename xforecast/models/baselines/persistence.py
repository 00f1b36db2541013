"""Persistence: the weather stays as it is."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from xforecast.models.catalogue import register
from xforecast.models.contract import Abilities, Config, check_positive, weighted_mse

__all__ = ["Persistence", "PersistenceConfig"]


@dataclass(frozen=True)
class PersistenceConfig(Config):
    """What :class:`Persistence` needs to know.

    Parameters
    ----------
    horizon : int
        Number of time steps that come out.
    output_channels : int, optional
        Number of channels that come out, the first of those that go in; all of them if left out.
    """

    horizon: int
    output_channels: int | None = None

    def validate(self) -> None:
        check_positive("horizon", self.horizon)
        if self.output_channels is not None:
            check_positive("output_channels", self.output_channels)


class Persistence(nn.Module):
    """Repeat the last frame of the history.

    Parameters
    ----------
    config : PersistenceConfig
        Sizes and options of the model.

    Examples
    --------
    >>> model = Persistence(PersistenceConfig(horizon=3))
    >>> model(torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1, 1)).flatten().tolist()
    [2.0, 2.0, 2.0]
    """

    abilities = Abilities(any_grid=True)

    def __init__(self, config: PersistenceConfig):
        super().__init__()
        self.config = config

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast (batch, horizon, height, width, channel) from (batch, history, height, width, channel)."""
        return x[:, -1:, ..., : self.config.output_channels].expand(-1, self.config.horizon, -1, -1, -1)

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted mean squared error; there is nothing to learn from it."""
        return weighted_mse(self(x), y, weight)


register(Persistence, PersistenceConfig)
