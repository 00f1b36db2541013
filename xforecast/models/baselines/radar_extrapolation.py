"""Radar rain moved along by its own motion, and STEPS on top of it: what nowcasting services use today.

Both models call pySTEPS (extra ``pysteps``), so that its nowcasts are made, labelled and scored as those of any other
model. They have nothing to learn, and take rain rates in mm/h without normalisation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.baselines import _pysteps
from xforecast.models.catalogue import register
from xforecast.models.contract import Abilities, Config, check_positive, weighted_mse

__all__ = ["STEPS", "Extrapolation", "ExtrapolationConfig", "STEPSConfig"]

MOTION_FRAMES = 3
"""Number of newest frames from which the motion is estimated, and for STEPS the correlation in time."""
ZERO_RAIN = -15.0
"""Level that stands for no rain, in dB of 1 mm/h."""


@dataclass(frozen=True, kw_only=True)
class ExtrapolationConfig(Config):
    """Configuration of `Extrapolation`.

    Parameters
    ----------
    history, horizon : int
        Number of time steps that go in, 3 or more, and that come out.
    threshold : float
        Rain rate below which there is no rain, in mm/h.
    """

    history: int
    horizon: int
    threshold: float = 0.1

    def validate(self) -> None:
        check_positive("history", self.history, least=MOTION_FRAMES)
        check_positive("horizon", self.horizon)
        if not self.threshold > 0:
            raise InvalidOption("threshold", self.threshold, "a rain rate above 0 mm/h", "threshold=0.1")


@dataclass(frozen=True, kw_only=True)
class STEPSConfig(ExtrapolationConfig):
    """Configuration of `STEPS`.

    Parameters
    ----------
    history, horizon : int
        Number of time steps that go in, 3 or more, and that come out.
    threshold : float
        Rain rate below which there is no rain, in mm/h.
    minutes, kilometres : float
        Time step and size of a pixel.
    cascade_levels : int
        Number of scales into which the field is taken apart, 3 or more.
    """

    minutes: float = 5.0
    kilometres: float = 1.0
    cascade_levels: int = 6

    def validate(self) -> None:
        super().validate()
        check_positive("cascade_levels", self.cascade_levels, least=3)
        for name in ("minutes", "kilometres"):
            if not getattr(self, name) > 0:
                raise InvalidOption(name, getattr(self, name), "a number above 0", f"{name}=5.0")


class Extrapolation(nn.Module):
    """Rain carried along a motion field that is found by Lucas-Kanade optical flow, without growth or decay.

    Pixels into which nothing was carried from inside the domain are missing in the forecast.

    Parameters
    ----------
    config : ExtrapolationConfig
        Sizes and options of the model.

    Raises
    ------
    MissingExtra
        pySTEPS is not installed, or in a version that takes no arrays.

    References
    ----------
    Germann and Zawadzki (2002), Mon. Wea. Rev. 130, 2859-2873; Pulkkinen et al. (2019), Geosci. Model Dev. 12,
    4185-4219.

    Examples
    --------
    >>> model = Extrapolation(ExtrapolationConfig(history=3, horizon=2))
    >>> model(torch.zeros(1, 3, 64, 64, 1)).shape
    torch.Size([1, 2, 64, 64, 1])
    """

    abilities = Abilities(any_grid=True, units="mm h-1")

    def __init__(self, config: ExtrapolationConfig):
        super().__init__()
        _pysteps.prepare()
        self.config = config

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast (batch, horizon, height, width, channel) from (batch, history, height, width, channel)."""
        fields = [self._carried(_frames(history)) for history in x]
        return torch.from_numpy(np.stack(fields)[..., None]).to(x)

    def _carried(self, rain: np.ndarray) -> np.ndarray:
        if not (rain > self.config.threshold).any():
            return np.zeros((self.config.horizon, *rain.shape[1:]), np.float32)
        motion = _motion(rain, self.config.threshold)
        return _pysteps.extrapolate(rain[-1], motion, self.config.horizon).astype(np.float32)

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted mean squared error where the forecast has a value; there is nothing to learn from it."""
        forecast = self(x)
        known = torch.isfinite(forecast)
        weight = known.to(y) if weight is None else known * weight
        return weighted_mse(torch.where(known, forecast, torch.zeros_like(forecast)), y, weight)


register(Extrapolation, ExtrapolationConfig)


class STEPS(Extrapolation):
    """STEPS: extrapolation in which every scale loses its memory at its own rate and noise takes its place.

    Each sample is drawn by itself from its own generator, and so does not depend on how many are drawn.

    Parameters
    ----------
    config : STEPSConfig
        Sizes and options of the model.

    References
    ----------
    Bowler, Pierce and Seed (2006), Q. J. R. Meteorol. Soc. 132, 2127-2155; Pulkkinen et al. (2019), Geosci. Model
    Dev. 12, 4185-4219.

    Examples
    --------
    >>> model = STEPS(STEPSConfig(history=3, horizon=2, kilometres=2.0))
    >>> starts, samples = torch.zeros(2, dtype=torch.long), torch.arange(2)
    >>> model.sample(torch.zeros(1, 3, 64, 64, 1), starts, samples, [torch.Generator(), torch.Generator()]).shape
    torch.Size([2, 2, 64, 64, 1])
    """

    abilities = Abilities(samples=None, any_grid=True, units="mm h-1")
    config: STEPSConfig

    def __init__(self, config: STEPSConfig):
        super().__init__(config)

    def sample(
        self,
        x: torch.Tensor,
        starts: torch.Tensor,
        samples: torch.Tensor,
        generators: Sequence[torch.Generator],
    ) -> torch.Tensor:
        """Draw samples; see :meth:`xforecast.models.contract.ProbabilisticModel.sample`."""
        histories: dict[int, tuple[np.ndarray, np.ndarray | None]] = {}
        fields = []
        for start, generator in zip(starts.tolist(), generators, strict=True):
            if start not in histories:
                rain = _frames(x[start])
                wet = (rain > self.config.threshold).any(axis=(1, 2)).all()
                histories[start] = rain, _motion(rain, self.config.threshold) if wet else None
            seed = int(torch.randint(2**31 - 1, (), generator=generator))
            fields.append(self._drawn(*histories[start], seed))
        return torch.from_numpy(np.stack(fields)[..., None]).to(x)

    def _drawn(self, rain: np.ndarray, motion: np.ndarray | None, seed: int) -> np.ndarray:
        config = self.config
        if motion is None:
            return self._carried(rain)
        rainy = float(10 * np.log10(config.threshold))
        levels = _pysteps.steps(
            _decibels(rain[-MOTION_FRAMES:], config.threshold),
            motion,
            config.horizon,
            threshold=rainy,
            levels=config.cascade_levels,
            kilometres=config.kilometres,
            minutes=config.minutes,
            seed=seed,
        )
        rates = np.where(levels > rainy, 10 ** (levels / 10), 0.0)
        return np.where(np.isnan(levels), np.nan, rates).astype(np.float32)


register(STEPS, STEPSConfig)


# ------------------------------------------------------------------ on one history, in numpy


def _frames(history: torch.Tensor) -> np.ndarray:
    """Rain rates of the first channel, (history, height, width)."""
    return np.maximum(history[..., 0].detach().double().cpu().numpy(), 0.0)


def _decibels(rain: np.ndarray, threshold: float) -> np.ndarray:
    return np.where(rain > threshold, 10 * np.log10(np.maximum(rain, threshold)), ZERO_RAIN)


def _motion(rain: np.ndarray, threshold: float) -> np.ndarray:
    """Motion in pixels a step, (2, height, width), from the newest frames."""
    return _pysteps.motion(_decibels(rain[-MOTION_FRAMES:], threshold))
