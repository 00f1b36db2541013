"""Models that see rain in coordinates that move with it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Self

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.blocks import tiled
from xforecast.models.catalogue import MODELS, build, register
from xforecast.models.config import size_of
from xforecast.models.constraints import as_constraint, is_latent
from xforecast.models.contract import abilities_of, check_choice, draws_samples
from xforecast.models.earthformer import Earthformer, EarthformerConfig
from xforecast.models.wrappers.config import ConfigOfModel
from xforecast.models.wrappers.fading import Fading
from xforecast.models.wrappers.motion import displacements, estimate_motion, inside, softened, warp

__all__ = ["Moving", "MovingConfig"]

STARTS = ("none", "last", "fading", "detail")
KNOWN = 0.999
"""Share of known values from which a value between them is known."""
DETAIL_PAIRS = 64
"""Number of pairs from which it is learnt how long detail lasts."""


@dataclass(frozen=True)
class MovingConfig(ConfigOfModel):
    """Configuration of :class:`Moving`.

    Parameters
    ----------
    model : str
        A name in :data:`xforecast.models.MODELS`.
    config : Config
        Configuration of that model; it has history, horizon and grid.
    start : {"none", "last", "fading", "detail"}
        What the output of the model is added to. "none": nothing, the output is the forecast. "last": the last frame,
        whose motion goes on, so that an output of zero is an extrapolation. "fading": the last frame, smoothed more and
        more with lead, as small rain does not last (Germann and Zawadzki 2002); how much is learnt. "detail", for a
        `PreDiff`: the detail of the last frame that its autoencoder cannot hold, as far as that lasts.
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

    same_channels: ClassVar[bool] = True

    start: str = "none"
    emphasis: float = 0.0

    def validate(self) -> None:
        super().validate()
        check_choice("start", self.start, STARTS)
        kind, config = MODELS[self.model]
        able = abilities_of(kind)
        # A model that works on the quantity itself moves the rain on its own.
        if able.closed_form or able.units is not None or issubclass(config, ConfigOfModel):
            wanted = "a model that learns by gradient, or persistence"
            raise InvalidOption("model", self.model, wanted, 'model="Earthformer"')
        in_parts = bool(able.parts)
        if self.start != "none" and (self.start == "detail") != in_parts:
            starts = "none, detail" if in_parts else "none, last, fading"
            raise InvalidOption("start", self.start, f"one of {starts} for {self.model}", 'start="none"')
        if not math.isfinite(self.emphasis) or (in_parts and self.emphasis):
            wanted = f"{'0' if in_parts else 'a finite number'} for {self.model}"
            raise InvalidOption("emphasis", self.emphasis, wanted, "emphasis=0.0")
        history = self.lengths[0]
        if history is not None and history < 2:
            raise InvalidOption("history", history, "2 or more, to see a motion", "history=2")

    @property
    def history(self) -> int | None:
        """Number of frames that go in."""
        return self.lengths[0]

    @property
    def horizon(self) -> int:
        """Number of frames that come out."""
        return self.lengths[1]  # type: ignore[return-value]

    @classmethod
    def for_data(cls, shape: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Self:
        return super().for_data(shape, options) if options else cls.of_size(**size_of(shape))

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
        shape = {"history": history, "horizon": horizon, "grid": grid}
        return self.fitted_to(shape | {"input_channels": channels, "output_channels": channels})


class Moving(nn.Module):
    """A model in coordinates that move with the rain, in which it learns growth and decay, and not advection.

    The motion of the first channel is estimated by least squares (`xforecast.models.wrappers.motion`) and taken to be
    steady. The model gets the history in coordinates that move with it, and forecasts there; the forecast is then moved
    to where the rain will be. Extrapolations of radar rain work so (Germann and Zawadzki 2002), and networks that learn
    in these coordinates need not learn advection (Ritvanen et al. 2023). Constraints go through the decoder: a network
    for them would have to know where the rain will be.

    Parameters
    ----------
    config : MovingConfig
        Sizes and options of the model.

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

    def __init__(self, config: MovingConfig):
        super().__init__()
        self._config = config
        self.network: Any = build(config.model, config.config)
        able = abilities_of(self.network)
        self.abilities = replace(
            able,
            any_grid=True,
            bound_to_places=False,
            # Networks for constraints know fields at rest only.
            parts=tuple(part for part in able.parts if part not in able.optional_parts),
            optional_parts=(),
            shares_context=draws_samples(self.network),
        )
        if able.follows_training:
            self.at_step = self.network.at_step
        self.fading = Fading(config.horizon) if config.start == "fading" else None
        self.detail = nn.Parameter(torch.zeros(config.horizon)) if config.start == "detail" else None
        if config.start in ("last", "fading") and isinstance(self.network, Earthformer):
            nn.init.zeros_(self.network.head.projection.weight)  # begins as an extrapolation

    @property
    def config(self) -> MovingConfig:
        """The configuration, in which that of the model has what was learnt from data, such as a scale of latents."""
        if self._config.config is not self.network.config:
            self._config = replace(self._config, config=self.network.config)
        return self._config

    def extra_repr(self) -> str:
        return f"{self._config.model} in moving coordinates"

    def check_sampling(self, *, guidance: str = "auto", **options: Any) -> None:
        """Raise :class:`~xforecast.errors.InvalidOption` for options of :meth:`sample` that cannot work."""
        if guidance == "network":
            raise InvalidOption(
                "guidance", "network", "a forecaster at rest: this one's frames move, and no network knows where to",
                "guidance='decoder' needs no network",
            )  # fmt: skip
        self.network.check_sampling(guidance=guidance, **options)

    # ---------------------------------------------------------------- coordinates

    def motion(self, x: torch.Tensor) -> torch.Tensor:
        """Motion of histories, (batch, 2, height, width) in cells per step along y and x."""
        return estimate_motion(x[..., 0].float())

    def gathered(self, x: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        """Histories in moving coordinates, in which every place is where it is in the last frame."""
        back = displacements(motion, 1 - x.shape[1]).flip(1)
        return torch.cat([warp(x[:, :-1], back), x[:, -1:]], dim=1)

    def targets(self, y: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        """Targets in moving coordinates; NaN where they would come from places that are not known."""
        ahead = displacements(motion, y.shape[1])
        finite = y.isfinite()
        filled = torch.where(finite, y, 0.0)
        known = warp(finite.to(y.dtype), ahead, mode="bilinear", beyond="border") > KNOWN
        near = warp(_all_around(finite).to(y.dtype), ahead, mode="bilinear", beyond="border") > KNOWN
        moved = torch.where(near, warp(filled, ahead), warp(filled, ahead, mode="bilinear"))  # nothing filled gets in
        return torch.where(known & inside(ahead)[..., None], moved, torch.nan)

    def scattered(self, y: torch.Tensor, motion: torch.Tensor) -> torch.Tensor:
        """Forecasts, moved from moving coordinates to where the rain will be; differentiable inverse of `targets`.

        What comes from beyond the map is the field mirrored at the edge, smoothed the more the farther it comes.
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
        """Forecasts, replaced by the history's value where that is the same everywhere, as it is without rain."""
        values = x[..., : y.shape[-1]].flatten(1, 3)
        one = (values == values[:, :1]).flatten(1).all(dim=1)
        return torch.where(one[:, None, None, None, None], values[:, :1, None, None], y)

    def _forecast(self, moving: torch.Tensor) -> torch.Tensor:
        window = self._config.frame_grid
        if abilities_of(self.network).any_grid or window is None:
            found = self.network(moving)
        else:
            found = tiled(self.network, moving, window)
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
            Pairs (x, y) in moving coordinates; missing values of y are NaN.

        Raises
        ------
        InvalidOption
            The configuration has another start than "detail".
        """
        if self.detail is None:
            remedy = 'MovingConfig("PreDiff", config, start="detail")'
            raise InvalidOption("start", self.config.start, "'detail'", remedy)
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
            The histories.
        y : Tensor, (batch, horizon, height, width, channel)
            The frames that followed the histories.
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
        # The detail is added after training, by learn_detail.
        start = 0.0 if self.detail is not None else self._start(moving, y.shape[-1])
        return self.network.loss(moving, y - start, weights)

    def stage(self, part: str, **options: Any) -> nn.Module:
        """A part of the model as a module to be trained, on pairs that :meth:`moved` gives.

        Parameters
        ----------
        part : str
            A name among the parts in `abilities`.
        **options
            Options of that part, as the model's own method has them.
        """
        return self.network.stage(part, **options)

    # ---------------------------------------------------------------- samples

    def encode_context(self, x: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """What :meth:`sample` needs of histories, made once for all of their samples.

        Returns
        -------
        tuple of Tensor
            The motion, the histories in moving coordinates, and the context that the model makes of these, if any.
        """
        motion = self.motion(x)
        moving = self.gathered(x, motion)
        if not abilities_of(self.network).shares_context:
            return motion, moving
        return motion, moving, self.network.encode_context(moving)

    def sample(
        self,
        x: torch.Tensor,
        starts: torch.Tensor,
        samples: torch.Tensor,
        generators: Sequence[torch.Generator],
        *,
        constraint: Any = None,
        context: tuple[torch.Tensor, ...] | None = None,
        **options: Any,
    ) -> Any:
        """Samples of the model, moved to where the rain will be; a constraint is about the moved field.

        Parameters and result are those of the model's own method; `context` is what :meth:`encode_context` gave.
        """
        with torch.inference_mode(False), torch.no_grad():
            x = x.clone()
            motion, moving, *known = (part.clone() for part in context) if context else self.encode_context(x)
            own = starts.to(x.device)
            paths = motion[own]
            start = self._start(moving, moving.shape[-1])
            start = start[own] if isinstance(start, torch.Tensor) else start
            if constraint is not None:
                constraint = as_constraint(constraint)
                if not is_latent(constraint):
                    constraint = constraint.prepare(x[own])
                options["constraint"] = constraint.seen_through(
                    lambda field: self.scattered(start + field, paths), settled=True
                )
            if known:
                options["context"] = known[0]
            found = self.network.sample(moving, starts, samples, generators, **options)
            if isinstance(found, tuple):
                return self.scattered(start + found[0], paths), *found[1:]
            return self._kept(x[own], self.scattered(start + found, paths))


register(Moving, MovingConfig)


def _all_around(finite: torch.Tensor) -> torch.Tensor:
    """Whether a cell of (batch, time, height, width, channel) and all beside it are finite."""
    missing = (~finite).float().flatten(0, 1).movedim(-1, 1)
    return (nn.functional.max_pool2d(missing, 3, stride=1, padding=1) == 0).movedim(1, -1).reshape(finite.shape)
