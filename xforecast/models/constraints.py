"""What is known about a forecast: constraints that its samples shall obey (Gao et al. 2023, knowledge control).

A constraint says by how much a forecast misses what is known about it, its *residual*. It knows nothing of how a model
draws its samples, and a model asks nothing of it but what :class:`Constraint` has.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
import torch

from xforecast.errors import InvalidOption

__all__ = [
    "ConserveLast",
    "Constraint",
    "MeanIntensity",
    "RegionTotal",
    "UpperBound",
    "as_constraint",
    "check_constraint",
    "functional_of",
    "is_latent",
    "target_size",
    "violation",
]

Field = torch.Tensor
"""(batch, time, height, width, channel)."""


class Constraint:
    """Base of all constraints: a subclass needs no more than :meth:`residual`.

    Attributes
    ----------
    name : str, optional
        Name of the functional that is constrained. A network that was trained on the functional of this name can be
        used to reach the target.
    strength : float, optional
        How hard to pull; :meth:`PreDiff.sample <xforecast.models.PreDiff.sample>` explains the number.
    space : {"decoded", "latent"}
        Whether :meth:`residual` takes the forecast itself or its latent.

    Examples
    --------
    >>> class NoTrend(Constraint):
    ...     def residual(self, forecast):
    ...         return (forecast[:, -1] - forecast[:, 0]).mean(dim=(1, 2))
    >>> NoTrend().residual(torch.ones(3, 2, 4, 4, 1)).shape
    torch.Size([3, 1])
    """

    name: str | None = None
    strength: float | None = None
    space: str = "decoded"

    def residual(self, forecast: Field) -> torch.Tensor:
        """How far a forecast (batch, time, height, width, channel) is from what is known, (batch, ...).

        It is zero where the forecast obeys, and must be differentiable by torch.
        """
        wanted = "one with a method residual(forecast)"
        raise InvalidOption(
            "constraint", type(self).__name__, wanted, "write the method; it gives a tensor (sample, ...)"
        )

    def prepare(self, history: Field) -> Constraint:
        """The constraint for samples with these histories (batch, time, height, width, channel)."""
        return self

    def compare(self, values: torch.Tensor) -> torch.Tensor:
        """Distance of the functional from the target, (batch, ...), from an estimate (batch, time, numbers)."""
        wanted = "one whose functional a network can estimate, by a method compare(values)"
        raise InvalidOption("constraint", self, wanted, "guidance='decoder' needs no network")

    def seen_through(self, change: Callable[[Field], Field], *, settled: bool = False) -> Constraint:
        """The same constraint for a model that works on another form of the field.

        Parameters
        ----------
        change : callable
            Function from the model's fields to those that the constraint is about; differentiable.
        settled : bool
            Whether :meth:`prepare` was called before, because the model's histories are not those of the constraint.

        Examples
        --------
        >>> constraint = MeanIntensity(2.0).seen_through(lambda field: 10 * field)
        >>> constraint.residual(torch.ones(1, 2, 4, 4, 1)).tolist(), constraint.name
        ([[8.0]], 'mean_intensity')
        """
        return self if is_latent(self) else _SeenThrough(self, change, settled)

    def with_regions(self, place: Callable[[Any, str], Any]) -> Constraint:
        """The constraint with arrays in place of what has labels, such as slices of coordinates.

        Parameters
        ----------
        place : callable
            Function from a value and its name to an array (height, width) of the model's cells; it returns a value
            without labels as it is.
        """
        return _with_regions(self, place)


def _with_regions(holder: Any, place: Callable[[Any, str], Any]) -> Any:
    """A dataclass with what `place` makes of its fields; a mask is (height, width), other arrays have a channel."""
    if not dataclasses.is_dataclass(holder) or isinstance(holder, type):
        return holder
    placed = {name: (value, place(value, name)) for name, value in vars(holder).items()}
    changes = {
        name: cells if name == "mask" else cells[..., None]
        for name, (value, cells) in placed.items()
        if cells is not value
    }
    return replace(holder, **changes) if changes else holder


class _SeenThrough(Constraint):
    """A constraint on another form of the field than that which a model works on."""

    def __init__(self, constraint: Constraint, change: Callable[[Field], Field], settled: bool):
        self.constraint, self.change, self.settled = constraint, change, settled
        self.strength = constraint.strength
        # A network estimates the functional of the model's own fields, not of changed ones.
        self.name = None if settled else constraint.name

    def prepare(self, history: Field) -> Constraint:
        if self.settled:
            return self
        return self.constraint.prepare(self.change(history)).seen_through(self.change)

    def compare(self, values: torch.Tensor) -> torch.Tensor:
        return self.constraint.compare(values)

    def residual(self, forecast: Field) -> torch.Tensor:
        return self.constraint.residual(self.change(forecast))


class _Function(Constraint):
    """A function of the forecast that gives the residual."""

    def __init__(self, residual: Callable[[Field], torch.Tensor]):
        self.residual = residual  # type: ignore[method-assign, assignment]


class _Foreign(Constraint):
    """An object that is no `Constraint` and has some of its attributes."""

    def __init__(self, owner: Any):
        self.owner = owner
        self.residual = owner.residual  # type: ignore[method-assign]
        for name in ("name", "strength", "space"):
            setattr(self, name, getattr(owner, name, getattr(Constraint, name)))
        if callable(getattr(owner, "compare", None)):
            self.compare = owner.compare  # type: ignore[method-assign]

    def prepare(self, history: Field) -> Constraint:
        prepare = getattr(self.owner, "prepare", None)
        return self if prepare is None else as_constraint(prepare(history))

    def with_regions(self, place: Callable[[Any, str], Any]) -> Constraint:
        placed = _with_regions(self.owner, place)
        return self if placed is self.owner else _Foreign(placed)


def as_constraint(constraint: Constraint | Callable[[Field], torch.Tensor] | Any) -> Constraint:
    """A constraint from one, from a function that gives the residual, or from any object with such a method.

    Raises
    ------
    InvalidOption
        If it is none of these.

    Examples
    --------
    >>> as_constraint(lambda forecast: forecast.mean(dim=(1, 2, 3, 4)) - 1).residual(torch.ones(2, 1, 4, 4, 1)).tolist()
    [0.0, 0.0]
    """
    if isinstance(constraint, Constraint):
        return constraint
    if not isinstance(constraint, type):
        if callable(getattr(constraint, "residual", None)):
            return _Foreign(constraint)
        if callable(constraint):
            return _Function(constraint)
    raise InvalidOption(
        "constraint",
        constraint,
        "a Constraint, an object with a method residual(forecast), or a function of the forecast",
        "xforecast.models.MeanIntensity(2.0) is one",
    )


def functional_of(quantity: Any) -> tuple[Any, str | None]:
    """What is constrained, and its name: from a constraint that has a functional, or from a function itself.

    Examples
    --------
    >>> functional_of(MeanIntensity(2.0))[1]
    'mean_intensity'
    """
    function = getattr(quantity, "functional", quantity)
    return function, getattr(quantity, "name", None) or getattr(quantity, "__name__", None)


# ------------------------------------------------------------------ constraints of the package


def _unchanged(x: torch.Tensor) -> torch.Tensor:
    return x


def _mean_of_frames(field: Field) -> torch.Tensor:
    return field.mean(dim=(2, 3, 4))[..., None]


def _tensor(values: Any, like: torch.Tensor) -> torch.Tensor:
    """A number or an array of any library as a tensor of the place and precision of another."""
    return _numbers(values).to(like.device, like.dtype)


def _numbers(values: Any) -> torch.Tensor:
    return values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values, dtype=np.float64))


def target_size(constraint: Constraint) -> float:
    """Absolute value of a constraint's target, with which residuals are compared; 0 where there is no such number."""
    if isinstance(constraint, _SeenThrough):
        return target_size(constraint.constraint)
    target = getattr(constraint.owner if isinstance(constraint, _Foreign) else constraint, "target", None)
    return abs(float(target)) if isinstance(target, float | int) else 0.0


def is_latent(constraint: Constraint) -> bool:
    """Whether the residual is that of the latent of a forecast."""
    return constraint.space == "latent"


def _finite_numbers(values: Any) -> bool:
    if isinstance(values, str | bytes):
        return False
    try:
        return bool(_numbers(values).isfinite().all())
    except (TypeError, ValueError):
        return False


class _Targeted(Constraint):
    """Base of the constraints that give a functional of the frames a target, for each frame or for all together."""

    target: Any
    per_frame: bool
    to_physical: Callable[[Field], Field]

    def __post_init__(self) -> None:
        if not callable(self.target) and not _finite_numbers(self.target):
            wanted = "a finite number, an array of them, or a function of the history"
            raise InvalidOption("target", self.target, wanted, "for example target=2.0")

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
                "one number holds for all samples, for example target=2.0",
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
        The wanted mean: one number, one for each sample, or with `per_frame` one for each frame; or a function that
        gives it from the history, (batch, time, height, width, channel).
    per_frame : bool
        Whether every frame has the target, or the mean over all frames.
    strength : float, optional
        How hard to pull.
    to_physical : callable
        Function from what the model works on to the units of the target.

    Examples
    --------
    >>> MeanIntensity(2.0).residual(torch.ones(3, 2, 4, 4, 1)).tolist()
    [[-1.0], [-1.0], [-1.0]]
    """

    target: Any
    per_frame: bool = False
    strength: float | None = None
    to_physical: Callable[[Field], Field] = dataclasses.field(default=_unchanged, repr=False)

    name = "mean_intensity"

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
        The wanted total of all frames, or with `per_frame` of every frame, in the forms of :class:`MeanIntensity`.
    per_frame, strength, to_physical
        The same options as those of :class:`MeanIntensity`.

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

    name = "region_total"

    def functional(self, forecast: Field) -> torch.Tensor:
        """Total of every frame, (batch, time, 1)."""
        if isinstance(self.mask, Mapping):
            wanted, remedy = "an array, where the fields have no labels", "slices need a forecast of a Dataset"
            raise InvalidOption("mask of the region", self.mask, wanted, remedy)
        mask = _tensor(self.mask, forecast)
        if mask.shape != forecast.shape[2:4]:
            wanted, remedy = f"{tuple(forecast.shape[2:4])}", "give one value for each cell of the fields"
            raise InvalidOption("mask of the region", tuple(mask.shape), wanted, remedy)
        return (self.to_physical(forecast) * mask[..., None]).sum(dim=(2, 3, 4))[..., None]

    def over_time(self, values: torch.Tensor) -> torch.Tensor:
        """Total of all frames, (batch, 1)."""
        return values.sum(dim=1, keepdim=True)


@dataclass(frozen=True, eq=False)
class UpperBound(Constraint):
    """No value is above a limit.

    Parameters
    ----------
    limit : float or Tensor
        The limit; broadcasts against (time, height, width, channel).
    strength, to_physical
        The same options as those of :class:`MeanIntensity`.

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
class ConserveLast(Constraint):
    """A functional keeps the value that it had when last observed, as energy and mass may do.

    Parameters
    ----------
    functional : callable
        Function from fields (batch, time, height, width, channel) to (batch, time) or (batch, time, numbers); by
        default their mean.
    target : Tensor, optional
        The value to keep; :meth:`prepare` takes it from the history.
    strength, to_physical
        The same options as those of :class:`MeanIntensity`.
    name : str, optional
        Name of the functional, where an alignment network was trained on it.

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


def check_constraint(constraint: Any, history: Field, frames: Sequence[int]) -> None:
    """Try a constraint of decoded fields before anything is sampled.

    Parameters
    ----------
    constraint : Constraint or callable
        What a user has handed in.
    history : Tensor, (batch, time, height, width, channel)
        Histories, one for each sample.
    frames : sequence of int
        Numbers of time steps, rows, columns and channels of a forecast.

    Raises
    ------
    InvalidOption
        Its residual is no tensor, not one for each sample, or cannot be differentiated.

    Examples
    --------
    >>> check_constraint(lambda forecast: 3.0, torch.zeros(2, 3, 4, 4, 1), (2, 4, 4, 1))
    Traceback (most recent call last):
    ...
    xforecast.errors.InvalidOption: constraint: found 'a residual of type float', wanted a tensor (sample, ...)
      -> return a torch tensor with one value or more for each sample
    """
    constraint = as_constraint(constraint)
    if is_latent(constraint):
        return
    with torch.inference_mode(False), torch.enable_grad():
        history = history.clone()
        forecast = torch.zeros(len(history), *frames, device=history.device, requires_grad=True)
        try:
            residual = constraint.prepare(history).residual(forecast)
        except InvalidOption:
            raise
        except Exception as error:  # of the user's own function
            wanted = "torch operations on tensors (sample, time, height, width, channel)"
            raise InvalidOption(
                "constraint", f"{type(error).__name__}: {error}", wanted, "try it on torch.zeros(2, 6, 32, 32, 1)"
            ) from error
    if not isinstance(residual, torch.Tensor):
        raise InvalidOption(
            "constraint",
            f"a residual of type {type(residual).__name__}",
            "a tensor (sample, ...)",
            "return a torch tensor with one value or more for each sample",
        )
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
