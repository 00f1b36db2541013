"""The contract that every model obeys, and what models share to keep it.

A model maps a history to a forecast, both as ``(batch, time, height, width, channel)``. It carries its frozen
configuration, owns its loss, and never sees the target in :meth:`ForecastModel.forward`. What it can do besides stands
in its :class:`Abilities`, and nowhere else: no other attribute of a module means anything to this package. One training
loop and one forecaster therefore serve them all.
"""

from __future__ import annotations

import dataclasses
import difflib
import inspect
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar, Protocol, Self, runtime_checkable

import torch
from torch import nn

from xforecast.errors import CheckpointError, InvalidOption

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


INFERRED: dict[str, tuple[int, dict[str, Any]]] = {
    # method, its number of arguments, and what it stands for
    "sample": (4, {"samples": None}),
    "fit_series": (2, {"closed_form": True, "bound_to_places": True}),
    "at_step": (2, {"follows_training": True}),
    "preview": (2, {"previews": True}),
}


@lru_cache(maxsize=256)
def _inferred(kind: type) -> Abilities:
    found: dict[str, Any] = {}
    for name, (count, meaning) in INFERRED.items():
        method = inspect.getattr_static(kind, name, None)
        if inspect.isfunction(method) and _takes(method, count):
            found |= meaning
    return Abilities(**found)


def _takes(method: Callable[..., Any], count: int) -> bool:
    """Whether a method can be called with so many arguments by position."""
    try:
        inspect.signature(method).bind(None, *range(count))
    except TypeError:
        return False
    return True


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


# ------------------------------------------------------------------ configurations


@dataclass(frozen=True)
class Config:
    """Base of the configurations: frozen, checked when made, JSON both ways.

    Subclasses are frozen dataclasses; they may define `validate`. Lists become tuples, so that a configuration read
    from JSON equals the one that was written. Fields that are called ``history``, ``horizon``, ``grid``,
    ``input_channels`` and ``output_channels`` are set to those of the data by `xforecast.fit`.

    Attributes
    ----------
    same_channels : bool
        Whether as many channels must go in as come out, because the model encodes history and forecast alike.

    Examples
    --------
    >>> @dataclasses.dataclass(frozen=True)
    ... class Window(Config):
    ...     size: tuple[int, int] = (2, 2)
    >>> Window.from_dict({"size": [3, 4]})
    Window(size=(3, 4))
    >>> Window((3, 4)).to_dict()
    {'size': [3, 4]}
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _tuples(getattr(self, field.name)))
        self.validate()

    def validate(self) -> None:
        """Raise :class:`~xforecast.errors.InvalidOption` for a value that cannot work."""

    same_channels: ClassVar[bool] = False

    @property
    def lengths(self) -> tuple[int | None, int | None]:
        """Numbers of time steps in and out, where the configuration fixes them."""
        return vars(self).get("history"), vars(self).get("horizon")

    @property
    def frame_grid(self) -> tuple[int, int] | None:
        """Height and width of the fields that the model is made for, where the configuration fixes them."""
        return vars(self).get("grid")

    @property
    def summary(self) -> str:
        """What the model consists of, in a few words, where it is made of other models."""
        return ""

    @classmethod
    def for_data(cls, shape: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Self:
        """A configuration for data of some shape.

        Parameters
        ----------
        shape : mapping
            What the data decide: ``history``, ``horizon``, ``grid``, ``input_channels``, ``output_channels`` ...; only
            fields of the configuration count.
        options : mapping, optional
            Other fields; they take precedence over what the data decide.
        """
        return cls.from_dict({**cls._decided(shape), **(options or {})})

    def fitted_to(self, shape: Mapping[str, Any]) -> Self:
        """The same configuration for data of another shape, which is stated as in :meth:`for_data`."""
        return dataclasses.replace(self, **self._decided(shape))

    @classmethod
    def _decided(cls, shape: Mapping[str, Any]) -> dict[str, Any]:
        known = {field.name for field in dataclasses.fields(cls)}
        return {name: value for name, value in shape.items() if name in known}

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionary of numbers, strings, lists and dictionaries."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Configuration from what :meth:`to_dict` gave.

        Raises
        ------
        InvalidOption
            For unknown or missing names, all at once, and for values that cannot work.
        """
        fields = {field.name: field for field in dataclasses.fields(cls)}
        required = {
            name
            for name, field in fields.items()
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        }
        unknown, missing = sorted(set(values) - set(fields)), sorted(required - set(values))
        if unknown or missing:
            close = [match for name in unknown for match in difflib.get_close_matches(name, fields, 1)]
            remedies = [f"did you mean {', '.join(close)}?"] if close else []
            remedies += [f"give a value for {', '.join(missing)}"] if missing else []
            remedies += [f"leave {', '.join(unknown)} out"] if unknown and not close else []
            raise InvalidOption(
                f"options of {cls.__name__}",
                {"unknown": unknown, "missing": missing},
                f"names among {', '.join(fields)}",
                "; ".join(remedies),
            )
        hints = typing.get_type_hints(cls)
        return cls(**{name: _read(value, _config_in(hints[name])) for name, value in values.items()})


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, Config):
        return value.to_dict()
    return [_plain(item) for item in value] if isinstance(value, tuple) else value


def _read(value: Any, config: type[Config] | None) -> Any:
    if config is not None and isinstance(value, Mapping):
        return config.from_dict(value)
    return tuple(_read(item, config) for item in value) if isinstance(value, list | tuple) else value


def _config_in(hint: Any) -> type[Config] | None:
    """The configuration class that a type hint names, at any depth."""
    if isinstance(hint, type) and issubclass(hint, Config):
        return hint
    return next((found for part in typing.get_args(hint) if (found := _config_in(part))), None)


# ------------------------------------------------------------------ checks


def check_choice(option: str, value: Any, choices: Collection[str]) -> None:
    """Raise :class:`~xforecast.errors.InvalidOption` unless `value` is one of `choices`.

    Examples
    --------
    >>> check_choice("padding", "zero", ("zeros", "nearest"))
    Traceback (most recent call last):
    ...
    xforecast.errors.InvalidOption: padding: found 'zero', wanted one of zeros, nearest
      -> did you mean 'zeros'?
    """
    if value not in choices:
        close = difflib.get_close_matches(str(value), choices, 1)
        raise InvalidOption(
            option, value, f"one of {', '.join(choices)}",
            f"did you mean {close[0]!r}?" if close else f"for example {next(iter(choices))!r}",
        )  # fmt: skip


def check_positive(option: str, *values: Any, least: int = 1) -> None:
    """Raise :class:`~xforecast.errors.InvalidOption` unless all `values` are integers of at least `least`.

    Parameters
    ----------
    option : str
        Name of the option, or names with commas between them, one for each value.
    *values : int or tuple of int
        What was given.
    least : int
        The smallest number that is allowed.

    Examples
    --------
    >>> check_positive("history, horizon", 12, 0)
    Traceback (most recent call last):
    ...
    xforecast.errors.InvalidOption: horizon: found 0, wanted an integer of at least 1
      -> horizon=1
    """
    names = option.split(", ")
    for name, value in zip(names, values, strict=True) if len(names) == len(values) else [(option, values)]:
        items = value if isinstance(value, tuple) else (value,)
        for item in items:
            if not _counts(item, least):
                mended = tuple(entry if _counts(entry, least) else least for entry in items)
                keyword = name.rpartition(".")[2]
                remedy = f"{keyword}={mended if isinstance(value, tuple) else mended[0]}"
                raise InvalidOption(name, item, f"an integer of at least {least}", remedy)


def _counts(value: Any, least: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= least


def check_axes(option: str, value: Any, example: tuple[int, ...]) -> None:
    """Raise :class:`~xforecast.errors.InvalidOption` unless `value` has a positive integer for each axis.

    Parameters
    ----------
    option : str
        Name of the option.
    value : tuple of int
        What was given.
    example : tuple of int
        A value that is allowed. Its length is the wanted one: two integers are height and width, three begin with time.

    Examples
    --------
    >>> check_axes("grid", (24,), (24, 48))
    Traceback (most recent call last):
    ...
    xforecast.errors.InvalidOption: grid: found (24,), wanted 2 integers: height, width
      -> for example grid=(24, 48)
    """
    axes = ("time", "height", "width")[-len(example) :]
    if not isinstance(value, tuple) or len(value) != len(axes):
        wanted = f"{len(axes)} integers: {', '.join(axes)}"
        raise InvalidOption(option, value, wanted, f"for example {option}={example}")
    check_positive(option, value)


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
