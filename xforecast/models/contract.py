"""The contract that every model obeys, and what models share to keep it.

A model maps a history to a forecast, both as ``(batch, time, height, width, channel)``. It carries its frozen
configuration, owns its loss, and never sees the target in :meth:`ForecastModel.forward`. What it can do besides stands
in its :class:`Abilities`: attributes of a module mean nothing to this package, whatever they are called. (Of a module
that states no abilities, the four methods of `INFERRED` are recognised by their arguments.) One training loop and one
forecaster therefore serve them all.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from xforecast.errors import CheckpointError, InvalidOption
from xforecast.models.config import Config, check_axes, check_choice, check_positive

__all__ = [
    "Abilities",
    "Config",
    "ForecastModel",
    "ProbabilisticModel",
    "SamplingOptions",
    "abilities_of",
    "check_axes",
    "check_choice",
    "check_positive",
    "check_shape",
    "check_shapes",
    "config_of",
    "count_parameters",
    "draws_samples",
    "has_loss",
    "learns",
    "load_strictly",
    "weighted_mse",
]


# ------------------------------------------------------------------ what a model is, and what it can do


@dataclass(frozen=True, kw_only=True)
class SamplingOptions:
    """Options of a model's `sample`, each with its default; a model that has some derives its own class from this one.

    Examples
    --------
    >>> @dataclass(frozen=True, kw_only=True)
    ... class Warmth(SamplingOptions):
    ...     temperature: float = 1.0
    >>> Warmth.names(), Warmth(temperature=2.0).to_dict()
    (('temperature',), {'temperature': 2.0})
    """

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Names of the options."""
        return tuple(field.name for field in dataclasses.fields(cls))

    def to_dict(self) -> dict[str, Any]:
        """The options as keyword arguments of `sample`."""
        return {name: getattr(self, name) for name in self.names()}

    def check(self, model: Any) -> None:
        """Raise :class:`~xforecast.errors.InvalidOption` for options that cannot work with the model."""


@dataclass(frozen=True)
class Abilities:
    """What a model can do besides ``forward`` and ``loss``; it says so in its attribute ``abilities``.

    Parameters
    ----------
    samples : int, optional
        How many different answers it gives: 1 from ``forward``, more from ``sample`` (see :class:`ProbabilisticModel`);
        None for as many as one asks for.
    sampling : type of SamplingOptions, optional
        Options that its ``sample`` takes.
    any_grid : bool
        It takes fields larger than those that it was trained on. Other models get a larger field in overlapping windows
        (see `xforecast.models.blocks.tiling`).
    bound_to_places : bool
        Each cell has numbers of its own, so that what it knows of one window holds for no other.
    closed_form : bool
        It is fitted by ``fit_series(series, weight)`` from one long series, not trained.
    parts : tuple of str
        Parts that are trained one after the other; ``stage(part, **options)`` gives each as a module to be trained.
    optional_parts : tuple of str
        The parts that are trained only if one asks for it.
    units : str, optional
        It works on the quantity itself, in this unit, and not on normalised values.
    follows_training : bool
        Its loss changes while it is trained: the training calls ``at_step(step, total)`` before each optimiser step,
        counted from 0.
    previews : bool
        ``preview(x, y)`` gives named arrays that show what it makes of one pair; a training stores them now and then.
    shares_context : bool
        ``encode_context(x)`` gives what ``sample`` needs of a history, made once for all samples of a start and handed
        to ``sample`` as ``context``.

    Examples
    --------
    >>> abilities_of(nn.Linear(1, 1))
    Abilities(samples=1)
    """

    samples: int | None = 1
    sampling: type[SamplingOptions] | None = None
    any_grid: bool = False
    bound_to_places: bool = False
    closed_form: bool = False
    parts: tuple[str, ...] = ()
    optional_parts: tuple[str, ...] = ()
    units: str | None = None
    follows_training: bool = False
    previews: bool = False
    shares_context: bool = False

    def __repr__(self) -> str:
        stated = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        usual = {field.name: field.default for field in dataclasses.fields(self)}
        shown = {name: value for name, value in stated.items() if name == "samples" or value != usual[name]}
        return f"Abilities({', '.join(f'{name}={value!r}' for name, value in shown.items())})"


def abilities_of(model: Any) -> Abilities:
    """What a model, or a class of models, says that it can do.

    If it says nothing, its methods count: those that have the names and the numbers of arguments of this contract are
    taken for what they seem to be. No other attribute means anything.
    """
    stated = getattr(model, "abilities", None)
    if isinstance(stated, Abilities):
        return stated
    return _inferred(model if isinstance(model, type) else type(model))


INFERRED: dict[str, tuple[tuple[set[str], ...], dict[str, Any]]] = {
    # method, the names of its arguments, and what it stands for
    "sample": (({"x"}, {"starts", "rows"}, {"samples", "members"}, {"generators"}), {"samples": None}),
    "fit_series": (({"series"}, {"weight"}), {"closed_form": True, "bound_to_places": True}),
    "at_step": (({"step"}, {"total"}), {"follows_training": True}),
    "preview": (({"x"}, {"y"}), {"previews": True}),
}


@lru_cache(maxsize=256)
def _inferred(kind: type) -> Abilities:
    found: dict[str, Any] = {}
    for name, (arguments, meaning) in INFERRED.items():
        method = inspect.getattr_static(kind, name, None)
        if inspect.isfunction(method) and _takes(method, arguments):
            found |= meaning
    return Abilities(**found)


def _takes(method: Callable[..., Any], arguments: Sequence[set[str]]) -> bool:
    """Whether a method has these arguments by position, and no others but by keyword."""
    known = list(inspect.signature(method).parameters.values())[1:]
    named = [entry.name for entry in known if entry.kind in (entry.POSITIONAL_ONLY, entry.POSITIONAL_OR_KEYWORD)]
    if len(named) != len(arguments) or any(entry.kind == entry.VAR_POSITIONAL for entry in known):
        return False
    return all(name in allowed for name, allowed in zip(named, arguments, strict=True))


def config_of(model: nn.Module) -> Config | None:
    """The configuration that a model can be built from again, if it has one."""
    stated = getattr(model, "config", None)
    return stated if isinstance(stated, Config) else None


@runtime_checkable
class ForecastModel(Protocol):
    """What training and forecasting ask of a model.

    Attributes
    ----------
    config : Config, optional
        Everything needed to build the model again; without it, the model cannot be saved.
    abilities : Abilities, optional
        What the model can do besides ``forward`` and ``loss``.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast ``(batch, horizon, height, width, channel)`` from ``(batch, history, height, width, channel)``."""
        ...

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Scalar to minimise; `weight` broadcasts against `y`, for example an ocean mask or lead weights."""
        ...


@runtime_checkable
class ProbabilisticModel(ForecastModel, Protocol):
    """A model that draws samples of the forecast, as its ``abilities.samples`` say."""

    def sample(
        self,
        x: torch.Tensor,
        starts: torch.Tensor,
        samples: torch.Tensor,
        generators: Sequence[torch.Generator],
    ) -> torch.Tensor:
        """Draw ``n`` samples, each of its own history, number and source of randomness.

        Parameters
        ----------
        x : Tensor, (start, history, height, width, channel)
            The distinct histories.
        starts : LongTensor, (n,)
            Which history each sample belongs to.
        samples : LongTensor, (n,)
            The number of each sample.
        generators : sequence of n torch.Generator
            On the CPU and seeded already, one for each sample; all randomness comes from them, so that a sample does
            not depend on what else is in the batch.

        Returns
        -------
        Tensor, (n, horizon, height, width, channel)
        """
        ...


def has_loss(model: Any) -> bool:
    """Whether a model, or a class of models, has the method ``loss`` that training needs."""
    return callable(getattr(model, "loss", None))


def draws_samples(model: Any) -> bool:
    """Whether a forecast of the model consists of samples, and is not one expectation."""
    return abilities_of(model).samples != 1


def learns(model: nn.Module) -> bool:
    """Whether a model is trained by gradient: not one in closed form, nor one without weights.

    Examples
    --------
    >>> learns(nn.Linear(1, 1)), learns(nn.Identity())
    (True, False)
    """
    return not abilities_of(model).closed_form and any(weight.requires_grad for weight in model.parameters())


# ------------------------------------------------------------------ what models share


def weighted_mse(prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Weighted mean of squared errors, ``sum(w (p - y)^2) / sum(w)``.

    Parameters
    ----------
    prediction, target : Tensor, (batch, time, height, width, channel)
        Fields to compare.
    weight : Tensor, optional
        Broadcasts against `target`. Where it is zero the target may be missing (NaN).

    Examples
    --------
    >>> prediction, target = torch.tensor([1.0, 2.0]), torch.tensor([0.0, float("nan")])
    >>> weighted_mse(prediction, target, weight=torch.tensor([1.0, 0.0])).item()
    1.0
    """
    if weight is None:
        return (prediction - target).square().mean()
    weight = weight.to(prediction.dtype).expand_as(target)
    error = torch.where(weight == 0, 0.0, prediction - target)  # before squaring: no NaN reaches the gradient
    return (weight * error.square()).sum() / weight.sum()


def count_parameters(model: nn.Module) -> int:
    """Number of trainable numbers in `model`.

    Examples
    --------
    >>> count_parameters(nn.Linear(3, 2))
    8
    """
    return sum(parameter.numel() for parameter in model.parameters())


def load_strictly(
    model: nn.Module,
    state: Mapping[str, torch.Tensor],
    *,
    source: str = "the weights",
    rename: Callable[[str], str] = str,
) -> None:
    """Load weights into `model` if every name and shape is as it should be.

    Parameters
    ----------
    model : Module
        What gets the weights.
    state : mapping of str to Tensor
        The weights by name.
    source : str
        Where the weights come from, for the message.
    rename : callable
        Function from the model's names to those in `state`.

    Raises
    ------
    CheckpointError
        For missing, unexpected and misshapen weights, all at once.

    Examples
    --------
    >>> load_strictly(nn.Linear(1, 1), {"weight": torch.ones(1, 2), "offset": torch.ones(1)})
    Traceback (most recent call last):
    ...
    xforecast.errors.CheckpointError: the weights do not fit Linear (3 problems)
      missing     bias (1,)
      unexpected  offset (1,)
      misshapen   weight (1, 2), wanted (1, 1)
      -> build the model with the configuration that the weights were trained with
    """
    own = {rename(name): (name, tuple(value.shape)) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in state.items()}
    problems = [
        *(f"missing     {name} {own[name][1]}" for name in own if name not in found),
        *(f"unexpected  {name} {found[name]}" for name in found if name not in own),
        *(
            f"misshapen   {name} {found[name]}, wanted {own[name][1]}"
            for name in own
            if name in found and found[name] != own[name][1]
        ),
    ]
    if problems:
        raise CheckpointError(
            f"{source} do not fit {type(model).__name__} ({len(problems)} problems)\n  "
            + "\n  ".join(problems)
            + "\n  -> build the model with the configuration that the weights were trained with"
        )
    model.load_state_dict({own[name][0]: value for name, value in state.items()})


# ------------------------------------------------------------------ checks of shapes


def check_shape(x: torch.Tensor, expected: tuple[int, ...], name: str = "x") -> None:
    """Raise :class:`~xforecast.errors.InvalidOption` unless `x` is ``(batch, *expected)``.

    Examples
    --------
    >>> check_shape(torch.zeros(5, 2, 3), (2, 3))
    """
    if x.ndim != len(expected) + 1 or tuple(x.shape[1:]) != expected:
        raise InvalidOption(
            f"shape of {name}",
            tuple(x.shape),
            f"(batch, {', '.join(map(str, expected))}), that is (batch, time, height, width, channel)",
            "build the model with a configuration for this shape, or select and regrid the data",
        )


def check_shapes(model: nn.Module, spec: Any) -> None:
    """Raise :class:`~xforecast.errors.InvalidOption` unless a module has a loss and gives arrays of a spec's shape."""
    name = type(model).__name__
    if not has_loss(model):
        raise InvalidOption(
            "model", name, "a module with a method loss(x, y, weight)",
            "return xforecast.models.weighted_mse(self(x), y, weight) from it",
        )  # fmt: skip
    remedy = "xforecast.models.check_model(model, spec) tries it part by part"
    try:
        with torch.no_grad():
            shape = tuple(model(torch.zeros(1, *spec.input_shape)).shape[1:])
    except (RuntimeError, ValueError) as error:
        wanted = f"one that takes {spec.input_shape} and gives {spec.target_shape}: {error}"
        raise InvalidOption("model", name, wanted, remedy) from error
    if shape != spec.target_shape:
        raise InvalidOption("model", f"output of shape {shape}", f"{spec.target_shape}", remedy)
