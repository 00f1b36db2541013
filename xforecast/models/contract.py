"""The contract that every model obeys, and what models share to keep it.

A model maps a history to a forecast, both as ``(batch, time, height, width, channel)``. It carries its frozen
configuration, owns its loss, and never sees the target in :meth:`ForecastModel.forward`. One training loop and one
forecaster therefore serve them all.
"""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Protocol, Self, runtime_checkable

import torch
from torch import nn

from xforecast.errors import CheckpointError, InvalidOption

__all__ = [
    "Config",
    "ConfigOfModel",
    "ForecastModel",
    "ProbabilisticModel",
    "check_choice",
    "check_positive",
    "check_shape",
    "count_parameters",
    "draws_samples",
    "load_strictly",
    "weighted_mse",
]


@runtime_checkable
class ForecastModel(Protocol):
    """What training and forecasting ask of a model.

    A model that takes fields of any size from that of its training on has a true attribute ``any_grid``; a larger field
    is given to others in overlapping windows (see `xforecast.models.blocks.tiling`).

    A model whose loss changes in the course of a training has a method ``at_step(step, total)`` too; the training
    calls it before each optimiser step, counted from 0.

    Attributes
    ----------
    config : Config
        Everything needed to build the model again.
    """

    config: Any

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast ``(batch, horizon, height, width, channel)`` from ``(batch, history, height, width, channel)``."""
        ...

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Scalar to minimise; `weight` broadcasts against `y`, for example an ocean mask or lead weights."""
        ...


@runtime_checkable
class ProbabilisticModel(ForecastModel, Protocol):
    """A model that draws samples of the forecast.

    A model that has a fixed number of samples says so in an attribute ``size``; one whose `sample` takes options by
    keyword names them in ``sampling_options``; one that can draw samples and is configured not to has a true
    attribute ``deterministic``.
    """

    def sample(
        self,
        x: torch.Tensor,
        rows: torch.Tensor,
        members: torch.Tensor,
        generators: Sequence[torch.Generator],
    ) -> torch.Tensor:
        """Draw ``n`` samples, each of its own history, member number and source of randomness.

        Parameters
        ----------
        x : Tensor, (inits, history, height, width, channel)
            The distinct histories.
        rows : LongTensor, (n,)
            Which history each sample belongs to.
        members : LongTensor, (n,)
            The number of each sample.
        generators : sequence of n torch.Generator
            On the CPU and seeded already, one for each sample; all randomness comes from them, so that a sample does
            not depend on what else is in the batch.

        Returns
        -------
        Tensor, (n, horizon, height, width, channel)
        """
        ...


def draws_samples(model: nn.Module) -> bool:
    """Whether a forecast of the model consists of samples, and is not one expectation."""
    return isinstance(model, ProbabilisticModel) and not getattr(model, "deterministic", False)


def weighted_mse(prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
    """Weighted mean of squared errors, ``sum(w (p - y)^2) / sum(w)``.

    Parameters
    ----------
    prediction, target : Tensor, (batch, time, height, width, channel)
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
    state : mapping of str to Tensor
    source : str
        Where the weights are from, for the message.
    rename : callable
        From the model's names to those in `state`.

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


@dataclasses.dataclass(frozen=True)
class Config:
    """Base of the configurations: frozen, checked when made, JSON both ways.

    Subclasses are frozen dataclasses; they may define `validate`. Lists become tuples, so that a configuration read
    from JSON equals the one that was written.

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
            raise InvalidOption(
                f"options of {cls.__name__}",
                {"unknown": unknown, "missing": missing},
                f"names among {', '.join(fields)}",
                f"did you mean {', '.join(close)}?" if close else "",
            )
        hints = typing.get_type_hints(cls)
        return cls(**{name: _read(value, _config_in(hints[name])) for name, value in values.items()})


@dataclasses.dataclass(frozen=True)
class ConfigOfModel(Config):
    """Base of the configurations of what is made of another model.

    Parameters
    ----------
    model : str
        A name in :data:`xforecast.models.MODELS`.
    config : Config
        Of that model.
    """

    model: str
    config: Config

    def validate(self) -> None:
        from xforecast.models import config_class

        wanted = config_class(self.model)
        if not isinstance(self.config, wanted):
            raise InvalidOption("config", type(self.config).__name__, f"{wanted.__name__} for {self.model}")

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        """Configuration from what :meth:`to_dict` gave."""
        from xforecast.models import config_class

        if isinstance(values.get("config"), Mapping) and "model" in values:
            config = config_class(values["model"]).from_dict(values["config"])
            values = {**values, "config": config}
        return super().from_dict(values)


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
            option, value, f"one of {', '.join(choices)}", f"did you mean {close[0]!r}?" if close else ""
        )


def check_positive(option: str, *values: Any, least: int = 1) -> None:
    """Raise :class:`~xforecast.errors.InvalidOption` unless all `values` are integers of at least `least`.

    Examples
    --------
    >>> check_positive("horizon", 0)
    Traceback (most recent call last):
    ...
    xforecast.errors.InvalidOption: horizon: found 0, wanted an integer of at least 1
    """
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise InvalidOption(option, value, f"an integer of at least {least}")


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
