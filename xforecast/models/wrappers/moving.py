"""Models that see rain in coordinates that move with it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Self

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.blocks.tiling import tiled
from xforecast.models.contract import ConfigOfModel, check_choice, draws_samples
from xforecast.models.earthformer import Earthformer, EarthformerConfig
from xforecast.models.prediff.guidance import residual_of
from xforecast.models.wrappers.motion import displacements, estimate_motion, inside, softened, warp

__all__ = ["Moving", "MovingConfig"]

STARTS = ("none", "last", "fading", "detail")
NOT_IN_MOTION = ("fit_series", "takes_physical_units")
"""What marks models that are fitted to places or move by themselves."""
LAST_WIDTH = 4.0
"""Cells that the last lead is smoothed with before training."""
WHOLE = 0.999
"""Share of known values from which a value between them is known."""
DETAIL_PAIRS = 64
"""Pairs from which it is learnt how long detail lasts."""
REACH = 16
"""Cells to each side that smoothing looks at."""
PASSED_ON = ("at_step", "default_sampling", "sampling_options")
"""What a model that is made of another one has from it."""


@dataclass(frozen=True)
class MovingConfig(ConfigOfModel):
    """Configuration of :class:`Moving`.

    Parameters
    ----------
    model : str
        A name in :data:`xforecast.models.MODELS`.
    config : Config
        Of that model; it says history, horizon and grid.
    start : {"none", "last", "fading", "detail"}
        What the model gives is the forecast, or is added to the last frame, whose motion goes on: then a model that
        gives nothing is an extrapolation. Or to the last frame smoothed more and more with lead, as small rain does not
        last (Germann and Zawadzki 2002); how much is learnt. Or, of a `PreDiff`, to the detail of the last frame that
        its autoencoder cannot hold, as far as that lasts.
    emphasis : float
        In the loss, squared errors weigh exp(emphasis * target), so that a model that gives one answer is not too
        weak where it rains hard; compare the balanced loss of Shi et al. (2017).

    Examples
    --------
    >>> from xforecast.models import EarthformerConfig
    >>> inner = EarthformerConfig(history=2, horizon=3, grid=(16, 16), base_channels=8)
    >>> MovingConfig("Earthformer", inner, start="last").horizon
    3
    """

    start: str = "none"
    emphasis: float = 0.0

    def validate(self) -> None:
        super().validate()
        from xforecast.models import MODELS

        check_choice("start", self.start, STARTS)
        kind = MODELS[self.model][0]
        if any(hasattr(kind, name) for name in NOT_IN_MOTION) or issubclass(MODELS[self.model][1], ConfigOfModel):
            raise InvalidOption("model", self.model, "a model that learns by gradient, or persistence")
        in_parts = hasattr(kind, "stages")
        if self.start != "none" and (self.start == "detail") != in_parts:
            starts = "none, detail" if in_parts else "none, last, fading"
            raise InvalidOption("start", self.start, f"one of {starts} for {self.model}")
        if not math.isfinite(self.emphasis) or (in_parts and self.emphasis):
            raise InvalidOption("emphasis", self.emphasis, f"{'0' if in_parts else 'a finite number'} for {self.model}")
        if getattr(self.config, "history", 2) < 2:
            raise InvalidOption("history", self.config.history, "2 or more, to see a motion")  # type: ignore[attr-defined]

    @property
    def history(self) -> int:
        """Number of frames that go in."""
        return self.config.history  # type: ignore[attr-defined]

    @property
    def horizon(self) -> int:
        """Number of frames that come out."""
        return self.config.horizon  # type: ignore[attr-defined]

    @property
    def frame_grid(self) -> tuple[int, int]:
        """Height and width of the fields that the model was made for."""
        config: Any = self.config
        return config.frame_grid if hasattr(config, "frame_grid") else config.grid

    @classmethod
    def of_size(cls, *, history: int, horizon: int, grid: tuple[int, int], channels: int = 1) -> Self:
        """An Earthformer that corrects a fading extrapolation, to train on rain of one's own.

        Examples
        --------
        >>> MovingConfig.of_size(history=4, horizon=3, grid=(64, 64)).model
        'Earthformer'
        """
        size: dict[str, Any] = {"history": history, "horizon": horizon, "grid": grid}
        inner = EarthformerConfig(**size, input_channels=channels, output_channels=channels)
        return cls("Earthformer", inner, start="fading", emphasis=0.5)

    def fitted(self, *, history: int, horizon: int, grid: tuple[int, int], channels: int = 1) -> Self:
        """The same model for data of another size."""
        config: Any = self.config
        size: dict[str, Any] = {"history": history, "horizon": horizon, "grid": grid}
        if hasattr(config, "fitted"):
            return replace(self, config=config.fitted(**size, channels=channels))
        known = {field.name for field in fields(config)}
        size |= {"input_channels": channels, "output_channels": channels}
        return replace(self, config=replace(config, **{key: value for key, value in size.items() if key in known}))


class Moving(nn.Module):
    """Another model of what rain does, where its motion is known: growth and decay, not advection.

    The motion of the first channel is estimated by least squares (`xforecast.models.wrappers.motion`) and taken to be
    steady.
    The model gets the history in coordinates that move with it, in which it forecasts; the forecast is moved to where
    the rain will be. Extrapolations of radar rain work so (Germann and Zawadzki 2002), and networks that learn in
    these coordinates need not learn advection (Ritvanen et al. 2023). Constraints go through the decoder: a network
    for them would have to know where the rain will be.

    Parameters
    ----------
    config : MovingConfig

    Attributes
    ----------
    network : Module
        The model.

    Examples
    --------
    >>> from xforecast.models import PersistenceConfig
    >>> moving = Moving(MovingConfig("Persistence", PersistenceConfig(horizon=2)))
    >>> y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    >>> blobs = [torch.exp(-((y - 14) ** 2 + (x - 8 - 2 * step) ** 2) / 40) for step in range(5)]
    >>> frames = torch.stack(blobs)[None, ..., None]
    >>> bool((moving(frames[:, :3]) - frames[:, 3:]).abs().mean() < 0.02)
    True
    """

    any_grid = True

    def __init__(self, config: MovingConfig):
        super().__init__()
        from xforecast.models import build

        self._config = config
        self.network: Any = build(config.model, config.config)
        self.fading = Fading(config.horizon) if config.start == "fading" else None
        self.detail = nn.Parameter(torch.zeros(config.horizon)) if config.start == "detail" else None
        if config.start in ("last", "fading") and isinstance(self.network, Earthformer):
            nn.init.zeros_(self.network.head.projection.weight)  # begins as an extrapolation

    def __getattr__(self, name: str) -> Any:
        if name in PASSED_ON:
            return getattr(self.network, name)
        if name == "encode_context" and hasattr(self.network, name):
            return self._encode_moving
        return super().__getattr__(name)

    @property
    def config(self) -> MovingConfig:
        """Its configuration, with what the model's own has learnt from data."""
        return replace(self._config, config=self.network.config)

    @property
    def stages(self) -> tuple[str, ...]:
        """Parts that are trained in order, if the model has such: all but networks for constraints, which are of the
        field at rest."""
        return tuple(part for part in self.network.stages if part not in self.network.optional_stages)

    optional_stages = ()

    @property
    def deterministic(self) -> bool:
        """Whether the model gives one answer only."""
        return not draws_samples(self.network)

    @property
    def summary(self) -> str:
        """What it consists of."""
        return self.config.model

    def check_sampling(self, *, guidance: str = "auto", **options: Any) -> None:
        """Raise :class:`~xforecast.errors.InvalidOption` for options of :meth:`sample` that cannot work."""
        if guidance == "network":
            raise InvalidOption(
                "guidance", guidance, "a forecaster at rest: this one's frames move, and no network knows where to",
                "guidance='decoder' needs no network",
            )  # fmt: skip
        if hasattr(self.network, "check_sampling"):
            self.network.check_sampling(guidance=guidance, **options)

    # ---------------------------------------------------------------- coordinates

    def motion(self, x: torch.Tensor) -> torch.Tensor:
        """Motion of histories, (batch, 2, height, width) in cells per step along y and x."""
        return estimate_motion(x[..., 0].float())

    def gathered(self, x: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        """Histories in moving coordinates, which are those of the last frame."""
        back = displacements(motion, 1 - x.shape[1]).flip(1)
        return torch.cat([warp(x[:, :-1], back), x[:, -1:]], dim=1)

    def targets(self, y: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        """What comes after, in moving coordinates; NaN where it has moved to what is not known."""
        ahead = displacements(motion, y.shape[1])
        finite = y.isfinite()
        filled = torch.where(finite, y, 0.0)
        known = warp(finite.to(y.dtype), ahead, mode="bilinear", beyond="border") > WHOLE
        near = warp(_all_around(finite).to(y.dtype), ahead, mode="bilinear", beyond="border") > WHOLE
        moved = torch.where(near, warp(filled, ahead), warp(filled, ahead, mode="bilinear"))  # nothing filled gets in
        return torch.where(known & inside(ahead)[..., None], moved, torch.nan)

    def scattered(self, y: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        """Forecasts in moving coordinates, where the rain will be; the inverse of `targets`. Differentiable.

        What comes from beyond the map is mirrored, and smoothed the more the farther it comes from.
        """
        back = displacements(motion, -y.shape[1])
        return softened(warp(y, back), back)

    def moved(
        self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Histories and targets in moving coordinates, and the motion; nothing is known where the weight is zero."""
        motion = self.motion(x)
        if weight is not None:
            y = torch.where(weight == 0, torch.nan, y)
        return self.gathered(x, motion), self.targets(y, motion), motion

    # ---------------------------------------------------------------- the contract of models

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast (batch, horizon, height, width, channel) from (batch, history, height, width, channel)."""
        motion = self.motion(x)
        return self._kept(x, self.scattered(self._forecast(self.gathered(x, motion)), motion))

    def _kept(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """Forecasts; where the history is one value throughout, as without any rain, nothing is known to come of it."""
        values = x[..., : y.shape[-1]].flatten(1, 3)
        one = (values == values[:, :1]).flatten(1).all(dim=1)
        return torch.where(one[:, None, None, None, None], values[:, :1, None, None], y)

    def _forecast(self, moving: torch.Tensor) -> torch.Tensor:
        if getattr(self.network, "any_grid", False) or not hasattr(self.network.config, "grid"):
            found = self.network(moving)
        else:
            found = tiled(self.network, moving, self._config.frame_grid)
        return self._start(moving, found.shape[-1]) + found

    def _start(self, moving: torch.Tensor, channels: int) -> torch.Tensor | float:
        """What the model's own forecast, of the first channels, is added to."""
        last = moving[:, -1:, ..., :channels]
        if self.fading is not None:
            return self.fading(last[:, 0])
        if self.detail is not None:
            return self.detail[:, None, None, None] * self._lost(last)
        return last if self._config.start == "last" else 0.0

    def _lost(self, frames: torch.Tensor) -> torch.Tensor:
        """Detail of frames that the model cannot hold."""
        return frames - self.network.reconstruct(frames)

    @torch.no_grad()
    def learn_detail(self, pairs: Any) -> None:
        """Set how much of the last frame's detail is left at each lead, by least squares.

        Parameters
        ----------
        pairs : Dataset
            Of (x, y) in moving coordinates; missing values of y are NaN.

        Raises
        ------
        InvalidOption
            It does not start from detail.
        """
        if self.detail is None:
            raise InvalidOption("start", self.config.start, "'detail'")
        common, power = torch.zeros_like(self.detail), torch.zeros_like(self.detail)
        count = min(DETAIL_PAIRS, len(pairs))
        for number in range(count):
            x, y = (part[None].to(self.detail.device) for part in pairs[number * len(pairs) // count])
            known = y.isfinite()
            lost = self._lost(torch.cat([x[:, -1:], torch.where(known, y, x[:, -1:])], dim=1))
            now, later = lost[:, :1], lost[:, 1:]
            common += (known * now * later).sum((0, 2, 3, 4))
            power += (known * now.square()).sum((0, 2, 3, 4))
        self.detail.copy_((common / power.clamp(min=torch.finfo(power.dtype).tiny)).clamp(0, 1))

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """The model's own loss, in moving coordinates, of what is known there.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
        y : Tensor, (batch, horizon, height, width, channel)
        weight : Tensor, optional
            Broadcasts against `y`. Where it is zero `y` may be missing (NaN).
        """
        moving, y, motion = self.moved(x, y, weight)
        known = y.isfinite()
        y = torch.where(known, y, 0.0)
        weights = known * (self._config.emphasis * y).exp()
        if weight is not None:
            weights = weights * warp(
                weight.to(y.dtype).expand_as(y), displacements(motion, y.shape[1]), mode="bilinear"
            )
        # Detail is no part of what is learnt.
        start = 0.0 if self.detail is not None else self._start(moving, y.shape[-1])
        return self.network.loss(moving, y - start, weights)

    # ---------------------------------------------------------------- samples

    def _encode_moving(self, x: torch.Tensor) -> torch.Tensor:
        """What the model makes of histories before it samples."""
        return self.network.encode_context(self.gathered(x, self.motion(x)))

    def sample(
        self,
        x: torch.Tensor,
        rows: torch.Tensor,
        members: torch.Tensor,
        generators: Sequence[torch.Generator],
        *,
        constraint: Any = None,
        **options: Any,
    ) -> Any:
        """Samples of the model, moved; a constraint is one of the moved field.

        Parameters and result are those of the model's own method.
        """
        with torch.inference_mode(False), torch.no_grad():
            x = x.clone()
            motion = self.motion(x)
            own = rows.to(x.device)
            moving, paths = self.gathered(x, motion), motion[own]
            start = self._start(moving, moving.shape[-1])
            start = start[own] if isinstance(start, torch.Tensor) else start
            if constraint is not None and getattr(constraint, "space", "decoded") != "latent":
                if hasattr(constraint, "prepare"):
                    constraint = constraint.prepare(x[own])
                constraint = _Moved(constraint, lambda field: self.scattered(start + field, paths))
            if constraint is not None:
                options["constraint"] = constraint
            found = self.network.sample(moving, rows, members, generators, **options)
            if isinstance(found, tuple):
                return self.scattered(start + found[0], paths), *found[1:]
            return self._kept(x[own], self.scattered(start + found, paths))


class Fading(nn.Module):
    """A frame smoothed with normal weights that are the wider the longer the lead; the widths are learnt.

    Smoothed is exp(x), by which large values count more, as means of a rate whose logarithm is x.

    Parameters
    ----------
    horizon : int
        Number of leads.

    Examples
    --------
    >>> Fading(3)(torch.ones(2, 16, 16, 1)).shape
    torch.Size([2, 3, 16, 16, 1])
    """

    def __init__(self, horizon: int):
        super().__init__()
        widths = torch.arange(1.0, horizon + 1) * LAST_WIDTH / horizon
        self.log_widths = nn.Parameter(widths.log())
        self.log_emphasis = nn.Parameter(torch.zeros(()))

    def forward(self, frame: torch.Tensor) -> torch.Tensor:
        """Frames (batch, horizon, height, width, channel) of one (batch, height, width, channel)."""
        emphasis = self.log_emphasis.exp()
        batch, height, width, channels = frame.shape
        leads = len(self.log_widths)
        field = (emphasis * frame).exp().movedim(-1, 1).reshape(batch * channels, 1, height, width)
        place = torch.arange(-REACH, REACH + 1, device=frame.device, dtype=frame.dtype)
        weights = torch.exp(-(place**2) / (2 * self.log_widths[:, None].exp() ** 2))
        weights = (weights / weights.sum(1, keepdim=True))[:, None]
        field = nn.functional.pad(field, (REACH,) * 4, mode="replicate")
        field = nn.functional.conv2d(field, weights[:, :, None, :])
        field = nn.functional.conv2d(field, weights[..., None], groups=leads)
        smooth = field.clamp(min=torch.finfo(field.dtype).tiny).log() / emphasis
        return smooth.reshape(batch, channels, leads, height, width).movedim(1, -1)


def _all_around(finite: torch.Tensor) -> torch.Tensor:
    """Whether a cell of (batch, time, height, width, channel) and all beside it are finite."""
    missing = (~finite).float().flatten(0, 1).movedim(-1, 1)
    return (nn.functional.max_pool2d(missing, 3, stride=1, padding=1) == 0).movedim(1, -1).reshape(finite.shape)


class _Moved:
    """A constraint on moved fields, for a model in moving coordinates."""

    def __init__(self, constraint: Any, move: Any):
        self.strength = getattr(constraint, "strength", None)
        self._residual, self._move = residual_of(constraint), move

    def residual(self, field: torch.Tensor) -> torch.Tensor:
        return self._residual(self._move(field))
