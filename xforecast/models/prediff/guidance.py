"""Knowledge control: samples that obey a stated constraint (Gao et al. 2023).

A constraint says by how much a forecast misses what is known about it, its *residual*. There are two ways to make
samples obey it, and both change nothing but the noise that the denoiser predicts, so that they work with every sampler:

- :class:`NetworkGuidance`, the paper's: a trained network estimates the functional from the noisy latent, and every
  step goes down the gradient of the estimate's distance from the target;
- :class:`DecoderGuidance`, for any constraint, without training: the residual of the forecast that the denoiser
  expects is reduced by a given share, along the direction in which the denoiser itself is uncertain.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import numpy as np
import torch

from xforecast.errors import InvalidOption
from xforecast.models.prediff.samplers import Denoiser
from xforecast.models.prediff.schedule import NoiseSchedule

__all__ = [
    "ConserveLast",
    "Constraint",
    "DecoderGuidance",
    "InPhysicalUnits",
    "MeanIntensity",
    "NetworkGuidance",
    "RegionTotal",
    "UpperBound",
    "check_constraint",
    "residual_of",
    "violation",
]

Field = torch.Tensor
"""(batch, time, height, width, channel)."""

SMALLEST_COSINE = 0.1
"""Between the gradient and the direction of uncertainty; below it the denoiser's derivative is not to be trusted."""


@runtime_checkable
class Constraint(Protocol):
    """What is asked of an object that constrains forecasts; a plain function of the forecast will do as well.

    Optional attributes: ``strength`` (how hard to pull, see the two ways), ``target``, ``space`` (``"decoded"`` for a
    residual of frames, the default, or ``"latent"``), ``name``, ``functional`` and ``compare`` for use with a trained
    network, and ``prepare(history)``, which gives the constraint for histories (batch, time, height, width, channel).
    """

    def residual(self, forecast: torch.Tensor) -> torch.Tensor:
        """How far a forecast (batch, time, height, width, channel) is off, (batch, ...); zero where it obeys."""
        ...


def _unchanged(x: torch.Tensor) -> torch.Tensor:
    return x


def _mean_of_frames(field: Field) -> torch.Tensor:
    return field.mean(dim=(2, 3, 4))[..., None]


def _tensor(values: Any, like: torch.Tensor) -> torch.Tensor:
    """A number or an array of any library as a tensor of the place and precision of another."""
    return _numbers(values).to(like.device, like.dtype)


def _numbers(values: Any) -> torch.Tensor:
    return values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values, dtype=np.float64))


def _finite_numbers(values: Any) -> bool:
    if isinstance(values, str | bytes):
        return False
    try:
        return bool(_numbers(values).isfinite().all())
    except (TypeError, ValueError):
        return False


class _Targeted:
    """A functional of every frame has a target, by itself or over all frames."""

    target: Any
    per_frame: bool
    to_physical: Callable[[Field], Field]

    def __post_init__(self) -> None:
        if not callable(self.target) and not _finite_numbers(self.target):
            raise InvalidOption(
                "target", self.target, "a finite number, an array of them, or a function of the history"
            )

    def prepare(self, history: Field) -> Self:
        """The constraint for samples with these histories: a target that is a function of the history is evaluated."""
        if not callable(self.target):
            return self
        target = torch.as_tensor(self.target(self.to_physical(history)))
        return replace(self, target=target.reshape(len(history), -1))  # type: ignore[type-var]

    def functional(self, forecast: Field) -> torch.Tensor:
        """What is constrained, for every frame, (batch, time, 1)."""
        raise NotImplementedError

    def over_time(self, values: torch.Tensor) -> torch.Tensor:
        """What is constrained for all frames together, (batch, 1), from that of every frame, (batch, time)."""
        return values.mean(dim=1, keepdim=True)

    def compare(self, values: torch.Tensor) -> torch.Tensor:
        """Distance of the functional from the target, (batch, time) or (batch, 1)."""
        values = values.flatten(1)
        if not self.per_frame:
            values = self.over_time(values)
        target = _tensor(self.target, values)
        if target.ndim == 1 and not self.per_frame:
            target = target[:, None]
        if target.ndim > 2 or any(
            have not in (1, want) for have, want in zip(target.shape[::-1], values.shape[::-1], strict=False)
        ):
            raise InvalidOption(
                "shape of the constraint's target",
                tuple(target.shape),
                f"one number or {tuple(values.shape)}",
            )
        return values - target

    def residual(self, forecast: Field) -> torch.Tensor:
        """Distance of the forecast's functional from the target, (batch, time) or (batch, 1)."""
        return self.compare(self.functional(forecast))


@dataclass(frozen=True, eq=False)
class MeanIntensity(_Targeted):
    """The mean over the field has a target: the anticipated intensity of the paper.

    Parameters
    ----------
    target : float, Tensor or callable
        Wanted mean; one for each sample, or one for each frame with `per_frame`; or a function that gives it from the
        history, (batch, time, height, width, channel).
    per_frame : bool
        Every frame has the target, or their mean.
    strength : float, optional
        How hard to pull.
    to_physical : callable
        From what the model works on to the units of the target.

    Examples
    --------
    >>> MeanIntensity(2.0).residual(torch.ones(3, 2, 4, 4, 1)).tolist()
    [[-1.0], [-1.0], [-1.0]]
    """

    target: Any
    per_frame: bool = False
    strength: float | None = None
    to_physical: Callable[[Field], Field] = dataclasses.field(default=_unchanged, repr=False)

    name: ClassVar[str] = "mean_intensity"

    @classmethod
    def anticipated(cls, mean: float, deviation: float, n: float, **options: Any) -> MeanIntensity:
        """Target ``mean + n deviation``: n standard deviations from what is usual, as in the paper's experiments.

        Examples
        --------
        >>> MeanIntensity.anticipated(0.2, 0.05, -2).target
        0.1
        """
        return cls(mean + n * deviation, **options)

    def functional(self, forecast: Field) -> torch.Tensor:
        """Mean of every frame, (batch, time, 1)."""
        return _mean_of_frames(self.to_physical(forecast))


@dataclass(frozen=True, eq=False)
class RegionTotal(_Targeted):
    """The total over a region, such as the water that falls into a catchment, has a target.

    Parameters
    ----------
    mask : array or Tensor, (height, width), or mapping
        The region, or weights such as areas of the cells. In a forecast of labelled data also a DataArray, or slices of
        coordinates by name, such as ``{"lat": slice(50, 52), "lon": slice(5, 7)}``.
    target : float, Tensor or callable
        Wanted total of all frames; of every frame with `per_frame`. As in :class:`MeanIntensity`.
    per_frame, strength, to_physical
        As in :class:`MeanIntensity`.

    Examples
    --------
    >>> mask = torch.zeros(4, 4)
    >>> mask[:2] = 1
    >>> RegionTotal(mask, 20.0).residual(torch.ones(1, 2, 4, 4, 1)).tolist()
    [[-4.0]]
    """

    mask: Any
    target: Any
    per_frame: bool = False
    strength: float | None = None
    to_physical: Callable[[Field], Field] = dataclasses.field(default=_unchanged, repr=False)

    name: ClassVar[str] = "region_total"

    def functional(self, forecast: Field) -> torch.Tensor:
        """Total of every frame, (batch, time, 1)."""
        if isinstance(self.mask, Mapping):
            raise InvalidOption("mask of the region", self.mask, "an array, where the fields have no labels")
        mask = _tensor(self.mask, forecast)
        if mask.shape != forecast.shape[2:4]:
            raise InvalidOption("mask of the region", tuple(mask.shape), f"{tuple(forecast.shape[2:4])}")
        return (self.to_physical(forecast) * mask[..., None]).sum(dim=(2, 3, 4))[..., None]

    def over_time(self, values: torch.Tensor) -> torch.Tensor:
        """Total of all frames, (batch, 1)."""
        return values.sum(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class UpperBound:
    """No value is above a limit.

    Parameters
    ----------
    limit : float or Tensor
        Broadcasts against (time, height, width, channel).
    strength, to_physical
        As in :class:`MeanIntensity`.

    Examples
    --------
    >>> UpperBound(1.0).residual(torch.full((1, 1, 1, 2, 1), 3.0)).tolist()
    [[2.0, 2.0]]
    """

    limit: Any
    strength: float | None = None
    to_physical: Callable[[Field], Field] = dataclasses.field(default=_unchanged, repr=False)

    def residual(self, forecast: Field) -> torch.Tensor:
        """What is above the limit, (batch, values)."""
        field = self.to_physical(forecast)
        return torch.relu(field - _tensor(self.limit, field)).flatten(1)


@dataclass(frozen=True, eq=False)
class ConserveLast:
    """A functional keeps the value that it had when last observed, as energy and mass may do.

    Parameters
    ----------
    functional : callable
        From fields (batch, time, height, width, channel) to (batch, time) or (batch, time, numbers); by default their
        mean.
    target : Tensor, optional
        The value to keep; :meth:`prepare` takes it from the history.
    strength, to_physical
        As in :class:`MeanIntensity`.
    name : str, optional
        Of the functional, where an alignment network was trained on it.

    Examples
    --------
    >>> constraint = ConserveLast().prepare(torch.ones(1, 5, 4, 4, 1))
    >>> constraint.residual(torch.full((1, 2, 4, 4, 1), 3.0)).tolist()
    [[2.0, 2.0]]
    """

    functional: Callable[[Field], torch.Tensor] = dataclasses.field(default=_mean_of_frames, repr=False)
    target: torch.Tensor | None = None
    strength: float | None = None
    to_physical: Callable[[Field], Field] = dataclasses.field(default=_unchanged, repr=False)
    name: str | None = None

    def prepare(self, history: Field) -> ConserveLast:
        """The constraint for samples with these histories: the target is the functional's last observed value."""
        return replace(self, target=self.functional(self.to_physical(history[:, -1:])))

    def compare(self, values: torch.Tensor) -> torch.Tensor:
        """Distance of the functional from its last observed value, (batch, values)."""
        if self.target is None:
            raise InvalidOption("target of ConserveLast", None, "the observed value", "call prepare(history) first")
        return (values - self.target.reshape(len(values), 1, *values.shape[2:])).flatten(1)

    def residual(self, forecast: Field) -> torch.Tensor:
        """Distance of every frame's functional from its last observed value, (batch, values)."""
        return self.compare(self.functional(self.to_physical(forecast)))


class InPhysicalUnits:
    """A constraint on the physical field, for a model that works on another form of it.

    Parameters
    ----------
    constraint : Constraint or callable
        Of fields in physical units; one of the latent stays one of the latent.
    to_physical : callable
        From the model's fields to physical ones, differentiable.

    Examples
    --------
    >>> constraint = InPhysicalUnits(MeanIntensity(2.0), lambda field: 10 * field)
    >>> constraint.residual(torch.ones(1, 2, 4, 4, 1)).tolist(), constraint.name
    ([[8.0]], 'mean_intensity')
    """

    def __init__(self, constraint: Any, to_physical: Callable[[Field], Field]):
        self.constraint, self.to_physical = constraint, to_physical

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("constraint", "to_physical"):
            raise AttributeError(name)
        return getattr(self.constraint, name)

    def _seen(self, field: Field) -> Field:
        return field if getattr(self.constraint, "space", "decoded") == "latent" else self.to_physical(field)

    def prepare(self, history: Field) -> InPhysicalUnits:
        """The constraint for samples with these histories."""
        prepare = getattr(self.constraint, "prepare", None)
        return self if prepare is None else InPhysicalUnits(prepare(self.to_physical(history)), self.to_physical)

    def residual(self, field: Field) -> torch.Tensor:
        """Residual of the physical field."""
        return residual_of(self.constraint)(self._seen(field))


def residual_of(constraint: Constraint | Callable[[Field], torch.Tensor]) -> Callable[[Field], torch.Tensor]:
    """The function that gives the residual: the constraint's method, or the constraint itself.

    Raises
    ------
    InvalidOption
        If it is neither.

    Examples
    --------
    >>> residual_of(lambda forecast: forecast.mean(dim=(1, 2, 3, 4)) - 1)(torch.ones(2, 1, 4, 4, 1)).tolist()
    [0.0, 0.0]
    """
    residual = getattr(constraint, "residual", constraint)
    if not callable(residual) or isinstance(constraint, type):
        raise InvalidOption(
            "constraint",
            constraint,
            "an object with a method residual(forecast), or a function of the forecast",
        )
    return residual


def check_constraint(constraint: Any, history: Field, frames: Sequence[int]) -> None:
    """Try a constraint of decoded fields before anything is sampled.

    Parameters
    ----------
    constraint : Constraint or callable
    history : Tensor, (batch, time, height, width, channel)
        One for each sample.
    frames : sequence of int
        Time, height, width and channel of a forecast.

    Raises
    ------
    InvalidOption
        Its residual is no tensor, not one for each sample, or cannot be differentiated.

    Examples
    --------
    >>> check_constraint(lambda forecast: 3.0, torch.zeros(2, 3, 4, 4, 1), (2, 4, 4, 1))
    Traceback (most recent call last):
    xforecast.errors.InvalidOption: constraint: found 'a residual of type float', wanted a tensor (sample, ...)
    """
    if getattr(constraint, "space", "decoded") == "latent":
        return
    residual_of(constraint)
    with torch.inference_mode(False), torch.enable_grad():
        history = history.clone()
        forecast = torch.zeros(len(history), *frames, device=history.device, requires_grad=True)
        try:
            prepared = constraint.prepare(history) if hasattr(constraint, "prepare") else constraint
            residual = residual_of(prepared)(forecast)
        except InvalidOption:
            raise
        except Exception as error:  # of the user's own function
            wanted = "torch operations on tensors (sample, time, height, width, channel)"
            raise InvalidOption("constraint", f"{type(error).__name__}: {error}", wanted) from error
    if not isinstance(residual, torch.Tensor):
        raise InvalidOption("constraint", f"a residual of type {type(residual).__name__}", "a tensor (sample, ...)")
    if not residual.ndim or len(residual) != len(history):
        found, wanted = f"a residual of shape {tuple(residual.shape)}", f"({len(history)}, ...), one for each sample"
        raise InvalidOption(
            "constraint", found, wanted, "take means over all dims but the first: .mean(dim=(1, 2, 3, 4))"
        )
    if not residual.requires_grad:
        wanted = "one that torch can differentiate with respect to the forecast"
        raise InvalidOption(
            "constraint", "a residual without gradient", wanted, "no numpy, .item() or comparisons in it"
        )


def violation(residual: torch.Tensor) -> torch.Tensor:
    """Euclidean norm of every sample's residual, (batch,).

    Examples
    --------
    >>> violation(torch.tensor([[3.0, 4.0], [0.0, 0.0]])).tolist()
    [5.0, 0.0]
    """
    return torch.linalg.vector_norm(residual.float().reshape(len(residual), -1), dim=1)


class _Guided:
    """A denoiser that is guided; `trace` has the violation that it saw at each step, (batch,) each."""

    def __init__(self, denoise: Denoiser, schedule: NoiseSchedule, strength: float):
        self.denoise, self.schedule, self.strength = denoise, schedule, strength
        self.trace: list[torch.Tensor] = []


class NetworkGuidance(_Guided):
    """The paper's knowledge alignment: guidance by a network that estimates the functional from the noisy latent.

    The mean of each ancestral step is shifted by ``-sigma_t strength grad E`` with the step's standard deviation, as in
    the authors' code, where E is the distance of the estimate from the target and the gradient is that with respect to
    z_t. For other samplers the same is said of the predicted noise; see
    :attr:`~xforecast.models.prediff.schedule.NoiseSchedule.guidance_factor`.

    Parameters
    ----------
    denoise : callable
        ``eps(z, t)``.
    schedule : NoiseSchedule
    network : callable
        Estimate from z_t and steps (batch,), such as :class:`~xforecast.models.prediff.alignment.KnowledgeAlignment`.
    compare : callable
        From estimates to residuals, (batch, ...).
    strength : float
        The published 50 is for 1000 ancestral steps; with few steps try once or twice as much.
    coupled : bool
        One distance for the whole batch as in the authors' code, so that samples depend on one another; otherwise one
        for each sample.

    Examples
    --------
    >>> network = lambda z, t: z.mean(dim=(2, 3, 4))[..., None]
    >>> denoise, schedule = lambda z, t: torch.zeros_like(z), NoiseSchedule()
    >>> guided = NetworkGuidance(denoise, schedule, network, MeanIntensity(1.0).compare, strength=50.0)
    >>> guided(torch.zeros(1, 2, 4, 4, 1), 500).mean().item() < 0  # less noise means more signal
    True
    """

    def __init__(
        self,
        denoise: Denoiser,
        schedule: NoiseSchedule,
        network: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
        compare: Callable[[torch.Tensor], torch.Tensor],
        strength: float = 50.0,
        *,
        coupled: bool = False,
    ):
        super().__init__(denoise, schedule, strength)
        self.network, self.compare, self.coupled = network, compare, coupled

    def __call__(self, z: torch.Tensor, t: int) -> torch.Tensor:
        noise = self.denoise(z, t)
        return noise + float(self.schedule.guidance_factor[t]) * self.shift(z, t)

    def shift(self, z: torch.Tensor, t: int) -> torch.Tensor:
        """Strength times the gradient of the distance, of the shape of `z`."""
        with torch.enable_grad():
            z = z.detach().requires_grad_()
            steps = torch.full((len(z),), t, device=z.device)
            residual = self.compare(self.network(z, steps).float())
            distance = violation(residual)
            self.trace.append(distance.detach())
            whole = torch.linalg.vector_norm(residual) if self.coupled else distance.sum()
            (gradient,) = torch.autograd.grad(whole, z)
        return self.strength * gradient


class DecoderGuidance(_Guided):
    """Denoiser guided by the residual of the forecast that it expects; needs no training.

    The latent z_0 that the denoiser expects is decoded, and moved so that the norm of the residual falls by the share
    `strength`, to first order. It is moved along J grad E, where J, the derivative of the expected z_0 with respect to
    z_t, is proportional to the covariance of z_0 given z_t: where the denoiser is certain nothing changes. For one
    linear constraint, a normal distribution and strength 1 the samples are exactly those of the distribution given the
    constraint (compare Song et al. 2023, pseudoinverse guidance).

    Parameters
    ----------
    denoise : callable
        ``eps(z, t)``, differentiable.
    schedule : NoiseSchedule
    residual : callable
        Residual (batch, ...) of what `decode` gives.
    decode : callable
        From a clean latent to what is constrained, differentiable.
    strength : float
        Share of the residual that every step removes, in any units; 1 for all of it.
    through_denoiser : bool
        With False, J is taken as the identity: cheaper, since the denoiser need not be differentiated, but less
        faithful.
    cap : float, optional
        The most that one value of the decoded field may count in the direction, in means of what values count. Where
        the field is a logarithm, a mean is most easily raised by the largest values alone; with a cap of 1 all that
        is more than usual is raised by the same factor.

    Examples
    --------
    >>> denoise, schedule = lambda z, t: torch.zeros_like(z), NoiseSchedule()
    >>> guided = DecoderGuidance(denoise, schedule, MeanIntensity(1.0).residual)
    >>> z = torch.zeros(1, 2, 4, 4, 1)
    >>> schedule.predict_clean(z, torch.tensor([500]), guided(z, 500)).mean().round(decimals=4).item()
    1.0
    """

    def __init__(
        self,
        denoise: Denoiser,
        schedule: NoiseSchedule,
        residual: Callable[[torch.Tensor], torch.Tensor],
        decode: Callable[[torch.Tensor], torch.Tensor] = _unchanged,
        strength: float = 1.0,
        *,
        through_denoiser: bool = True,
        cap: float | None = None,
    ):
        super().__init__(denoise, schedule, strength)
        self.residual, self.decode, self.through_denoiser, self.cap = residual, decode, through_denoiser, cap

    def __call__(self, z: torch.Tensor, t: int) -> torch.Tensor:
        kept = float(self.schedule.alphas_cumprod[t])
        with torch.set_grad_enabled(self.through_denoiser):
            z = z.detach().requires_grad_(self.through_denoiser)
            noise = self.denoise(z, t)
            clean = math.sqrt(1 / kept) * z - math.sqrt(1 / kept - 1) * noise
        residual, gradient, steeper = self._downhill(clean.detach())
        squared = _dot(residual, residual)
        self.trace.append(squared.sqrt())
        direction = gradient
        if self.through_denoiser:
            (uncertain,) = torch.autograd.grad(clean, z, gradient)
            direction = _trusted(uncertain, gradient)
        slope = steeper * _dot(direction, gradient)
        # To first order the norm then falls by the share `strength`; where it is zero there is nothing to move.
        share = torch.where(slope > 0, self.strength * squared / slope, 0.0)
        move = _rows(share, z) * direction
        return noise.detach() + math.sqrt(kept / (1 - kept)) * move

    def _downhill(self, guess: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Residual (batch, values), the gradient of half its square with the cap, and how much steeper the true one is.

        The last is that of the decoded values: to know it in the latent would take another pass through the decoder.
        """
        with torch.enable_grad():
            guess = guess.clone().requires_grad_()
            decoded = self.decode(guess)
            values = decoded.detach().requires_grad_()
            residual = self._residuals(values)
            (counts,) = torch.autograd.grad(0.5 * residual.square().sum(), values)
            capped = counts if self.cap is None else _capped(counts, self.cap)
            (gradient,) = torch.autograd.grad(decoded, guess, capped)
        square = _dot(capped, capped)
        return residual.detach(), gradient, torch.where(square > 0, _dot(counts, capped) / square, 1.0)

    def _residuals(self, decoded: torch.Tensor) -> torch.Tensor:
        return self.residual(decoded).float().reshape(len(decoded), -1)


def _capped(counts: torch.Tensor, cap: float) -> torch.Tensor:
    """Numbers of no more than `cap` times the mean size of those of the sample that are not zero."""
    sizes = counts.abs().flatten(1)
    mean = sizes.sum(dim=1) / (sizes > 0).sum(dim=1).clamp(min=1)
    limit = _rows(cap * mean, counts)
    return counts.clamp(-limit, limit)


def _rows(values: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    return values.reshape(-1, *(1,) * (like.ndim - 1))


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Inner product of every sample, (batch,)."""
    return (a * b).flatten(1).sum(dim=1)


def _trusted(direction: torch.Tensor, gradient: torch.Tensor) -> torch.Tensor:
    """The direction where it agrees with the gradient, else the gradient itself."""
    cosine = torch.cosine_similarity(direction.flatten(1), gradient.flatten(1), dim=1)
    return torch.where(_rows(cosine > SMALLEST_COSINE, gradient), direction, gradient)
