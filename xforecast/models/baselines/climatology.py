"""References without dynamics: the mean of the training data, and anomalies that fade towards it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.catalogue import register
from xforecast.models.contract import Abilities, Config, check_axes, check_positive, check_shape, weighted_mse

__all__ = ["ClimatologyForecast", "ClimatologyForecastConfig", "DampedPersistence", "DampedPersistenceConfig"]


@dataclass(frozen=True, kw_only=True)
class ClimatologyForecastConfig(Config):
    """Configuration of :class:`ClimatologyForecast`.

    Parameters
    ----------
    horizon : int
        Number of time steps that come out.
    grid : (int, int)
        Height and width of the data.
    output_channels : int
        Number of channels that come out, the first of those that go in.
    """

    horizon: int
    grid: tuple[int, int]
    output_channels: int = 1

    def validate(self) -> None:
        check_positive("horizon, output_channels", self.horizon, self.output_channels)
        check_axes("grid", self.grid, (24, 48))


@dataclass(frozen=True, kw_only=True)
class DampedPersistenceConfig(ClimatologyForecastConfig):
    """Configuration of :class:`DampedPersistence`; its fields are those of :class:`ClimatologyForecastConfig`."""


class ClimatologyForecast(nn.Module):
    """The mean of the training data at every place, for every lead; before `fit_series`, zero.

    For anomalies this is the climatological forecast, an anomaly of zero.

    Parameters
    ----------
    config : ClimatologyForecastConfig
        Sizes and options of the model.

    Examples
    --------
    >>> series = torch.tensor([1.0, 2.0, 6.0]).reshape(3, 1, 1, 1)
    >>> model = ClimatologyForecast(ClimatologyForecastConfig(horizon=2, grid=(1, 1))).fit_series(series)
    >>> model(series[None]).flatten().tolist()
    [3.0, 3.0]
    """

    abilities = Abilities(bound_to_places=True, closed_form=True)
    mean: torch.Tensor

    def __init__(self, config: ClimatologyForecastConfig):
        super().__init__()
        self.config = config
        self.register_buffer("mean", torch.zeros(*config.grid, config.output_channels))

    def _frames(self, series: torch.Tensor) -> torch.Tensor:
        """The forecast's channels of a series, float64, if it has the model's cells and something to learn from."""
        channels = self.config.output_channels
        frames = series[..., :channels].to(self.mean.device, torch.float64)
        check_shape(frames, (*self.config.grid, channels), "series")
        if not frames.isfinite().any():
            found = f"{len(frames)} frames without a value"
            raise InvalidOption("series", found, "some values", "give frames that are not all NaN")
        return frames

    @torch.no_grad()
    def fit_series(self, series: torch.Tensor, weight: torch.Tensor | None = None) -> Self:
        """Take the mean of one long series.

        Parameters
        ----------
        series : Tensor, (time, height, width, channel)
            NaN is a gap.
        weight : Tensor, optional
            Ignored, because every place is fitted by itself.

        Returns
        -------
        ClimatologyForecast
            Itself, fitted.

        Raises
        ------
        InvalidOption
            If the series does not have the model's cells, or no value at all.
        """
        self.mean.copy_(self._frames(series).nanmean(dim=0).nan_to_num())
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast (batch, horizon, height, width, channel) from (batch, history, height, width, channel)."""
        return self.mean.expand(len(x), self.config.horizon, -1, -1, -1)

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted mean squared error; there is nothing to learn from it."""
        return weighted_mse(self(x), y, weight)


register(ClimatologyForecast, ClimatologyForecastConfig, name="Climatology")


class DampedPersistence(ClimatologyForecast):
    """The last anomaly, damped: ``mean + damping(lead, place) (x - mean)``.

    The damping is the regression on the anomaly as many steps before as the lead, ``C(lead) / C(0)`` at each place; the
    mean is that of the training data. Nothing is learnt by gradient: call `fit_series`. Before it, persistence.

    Parameters
    ----------
    config : DampedPersistenceConfig
        Sizes and options of the model.

    References
    ----------
    van den Dool (2007), Empirical methods in short-term climate prediction, Oxford University Press.

    Examples
    --------
    >>> series = (0.5 ** torch.arange(6.0)).reshape(6, 1, 1, 1) * torch.tensor([1.0, -1.0]).reshape(1, 1, 2, 1)
    >>> model = DampedPersistence(DampedPersistenceConfig(horizon=2, grid=(1, 2)))
    >>> model.fit_series(series).damping.shape
    torch.Size([2, 1, 2, 1])
    """

    damping: torch.Tensor

    def __init__(self, config: DampedPersistenceConfig):
        super().__init__(config)
        self.register_buffer("damping", torch.ones(config.horizon, *config.grid, config.output_channels))

    @torch.no_grad()
    def fit_series(self, series: torch.Tensor, weight: torch.Tensor | None = None) -> Self:
        """Estimate mean and damping from one long series, as :meth:`ClimatologyForecast.fit_series` takes it.

        Raises
        ------
        InvalidOption
            As for :meth:`ClimatologyForecast.fit_series`, or if the series is not longer than the horizon.
        """
        super().fit_series(series, weight)
        frames, horizon = self._frames(series), self.config.horizon
        if len(frames) <= horizon:
            wanted = f"more than the horizon of {horizon}"
            raise InvalidOption("series", f"{len(frames)} frames", wanted, "give a longer series, or a shorter horizon")
        anomaly = frames - self.mean
        present, anomaly = anomaly.isfinite(), anomaly.nan_to_num()
        for lead in range(1, horizon + 1):
            now, later = anomaly[:-lead], anomaly[lead:]
            variance = (now.square() * present[lead:]).sum(0)
            regression = (now * later).sum(0) / variance
            self.damping[lead - 1] = torch.where(variance > 0, regression, 0.0)
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast (batch, horizon, height, width, channel) from (batch, history, height, width, channel)."""
        anomaly = x[:, -1:, ..., : self.config.output_channels] - self.mean
        return self.mean + self.damping * anomaly


register(DampedPersistence, DampedPersistenceConfig)
