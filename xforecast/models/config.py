"""Configurations of models: frozen, checked when they are made, JSON both ways."""

from __future__ import annotations

import dataclasses
import difflib
import typing
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from xforecast.errors import InvalidOption, did_you_mean

__all__ = ["Config", "check_axes", "check_choice", "check_positive", "size_of"]


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


def size_of(shape: Mapping[str, Any]) -> dict[str, Any]:
    """The size of the data by name, as ``of_size`` takes it, from a shape as in :meth:`Config.for_data`.

    Examples
    --------
    >>> size_of({"history": 4, "horizon": 3, "grid": (8, 8), "input_channels": 1, "output_channels": 1})
    {'history': 4, 'horizon': 3, 'grid': (8, 8), 'channels': 1}
    """
    return {name: shape[name] for name in ("history", "horizon", "grid")} | {"channels": shape["input_channels"]}


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
        remedy = did_you_mean(str(value), choices, f"for example {next(iter(choices))!r}")
        raise InvalidOption(option, value, f"one of {', '.join(choices)}", remedy)


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
