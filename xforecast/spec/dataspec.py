"""What a forecaster expects and gives: variables, units, grid, time step, lengths, normalisation.

A `DataSpec` is data, not behaviour: it is frozen, prints itself, and goes to JSON and back. `conform`
reads it to check and repair a Dataset, `windows` to lay out arrays, the forecaster to normalise them.
"""

from __future__ import annotations

import base64
import importlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from html import escape
from typing import Any

import numpy as np

from xforecast.errors import CheckpointError, InvalidOption
from xforecast.spec.timestep import TimeStep

__all__ = ["TRANSFORMS", "Climatology", "DataSpec", "Grid", "Transform", "Variable"]

CALENDAR_CHANNELS = {"annual": 2, "diurnal": 2}
GRID_KINDS = ("latlon", "projected", "pixel")


# ------------------------------------------------------------------ transforms of skewed variables


@dataclass(frozen=True)
class Transform:
    """A map of a skewed variable to one that is nearly symmetric, and back.

    Parameters
    ----------
    forward, inverse : callable
        Of values, the transform's scale and the library of the values (numpy or torch). What is below the floor goes
        to the floor.
    formula : str
        For people, with a place for the scale.
    """

    forward: Callable[[Any, float, Any], Any]
    inverse: Callable[[Any, float, Any], Any]
    formula: str


TRANSFORMS = {
    "log1p": Transform(
        lambda values, scale, library: library.log1p(library.clip(values, 0, None) / scale),
        lambda values, scale, library: scale * library.expm1(library.clip(values, 0, None)),
        "log(1 + value / {scale:g})",
    ),
    "decibel": Transform(
        lambda values, scale, library: 10 * library.log10(library.clip(values, scale, None) / scale),
        lambda values, scale, library: library.where(values > 0, scale * 10 ** (values / 10), 0 * values),
        "10 log10(value / {scale:g}), 0 below",
    ),
}
"""Transforms by name. ``"log1p"``: log(1 + value / scale), negative values counting as 0, so that rates keep apart on
both sides of the scale. ``"decibel"``: 10 log10(value / scale), where all values up to the scale are one, and come back
as 0."""


def _library(values: Any) -> Any:
    """numpy, or the library of a tensor."""
    name = type(values).__module__.partition(".")[0]
    return np if name in ("numpy", "builtins") else importlib.import_module(name)


# ------------------------------------------------------------------ arrays in JSON


def _encode(array: np.ndarray | None) -> dict | None:
    if array is None:
        return None
    raw = np.packbits(array) if array.dtype == bool else array.astype("<f4")
    return {
        "shape": list(array.shape),
        "dtype": "bool" if array.dtype == bool else "float32",
        "base64": base64.b64encode(raw.tobytes()).decode("ascii"),
    }


def _decode(stored: Mapping[str, Any] | None) -> np.ndarray | None:
    if stored is None:
        return None
    raw = base64.b64decode(stored["base64"])
    shape = tuple(stored["shape"])
    if stored["dtype"] == "bool":
        size = int(np.prod(shape))
        array = np.unpackbits(np.frombuffer(raw, np.uint8), count=size).astype(bool).reshape(shape)
    else:
        array = np.frombuffer(raw, "<f4").astype(np.float32).reshape(shape)
    array.flags.writeable = False
    return array


def _build(cls, stored: Mapping[str, Any], **converted):
    """An instance of a dataclass from stored fields, strictly: an unknown field is an error."""
    names = {entry.name for entry in fields(cls)}
    if unknown := sorted(set(stored) - names):
        raise CheckpointError(
            f"{cls.__name__}: found unknown fields {unknown}, wanted some of {sorted(names)}\n"
            "  -> the file was written by a newer version; upgrade xforecast"
        )
    return cls(**{**stored, **converted})


# ------------------------------------------------------------------ the parts


@dataclass(frozen=True, eq=False, repr=False)
class Climatology:
    """The mean annual cycle that anomalies refer to.

    Parameters
    ----------
    base : tuple of str
        First and last year of the base period, such as ``("1951", "1980")``.
    values : numpy.ndarray
        Monthly means, January first, shape (12, y, x), in the variable's units; NaN where the
        training data had none.
    """

    base: tuple[str, str]
    values: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "base", tuple(str(year) for year in self.base))
        values = np.asarray(self.values, np.float32)
        if values.ndim != 3 or values.shape[0] != 12:
            raise InvalidOption("Climatology.values", values.shape, "shape (12, y, x)")
        object.__setattr__(self, "values", values)

    def to_dict(self) -> dict:
        """JSON-ready form."""
        return {"base": list(self.base), "values": _encode(self.values)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Climatology:
        """The inverse of `to_dict`."""
        return _build(cls, stored, base=tuple(stored["base"]), values=_decode(stored["values"]))

    def __repr__(self) -> str:
        return f"Climatology({self.base[0]}-{self.base[1]}, 12 months x {self.values.shape[1:]})"


@dataclass(frozen=True, eq=False, repr=False)
class Variable:
    """One variable as the model sees it.

    Parameters
    ----------
    name : str
        Short name, unique in the spec.
    units : str
        The model's units; data in any compatible unit are converted and converted back.
    standard_names : sequence of str
        CF standard names that identify it, the preferred one first.
    aliases : sequence of str
        Names that files commonly use, for data without a standard name.
    long_name : str
        For people.
    offset, scale : float
        Normalisation: the network sees ``(value - offset) / scale``, of the transformed value if there is a transform.
    transform : str, optional
        A name in `TRANSFORMS`, for a skewed variable such as rain rate.
    transform_scale : float
        The transform's scale, in ``units``.
    climatology : Climatology, optional
        When given, the network sees anomalies from it; absolute data have it removed on the way in
        and added on the way out.
    fill : float or "nearest" or None
        What stands for missing values: a number in the model's units (for a variable with a
        climatology, an anomaly), the nearest valid cell, or None to refuse missing values.
    valid_range : tuple of float, optional
        Physical limits of what the network sees, in ``units``; data beyond them are refused.
    statistics : tuple of float, optional
        Mean and standard deviation of the training data, in ``units``; data far from them warn.

    Examples
    --------
    >>> Variable("sst", "degC", ["sea_surface_temperature"], offset=20.0, scale=5.0)
    Variable(sst [degC], standard name sea_surface_temperature)
    >>> rain = Variable("rain", "mm/h", transform="log1p", transform_scale=0.5, scale=2.0)
    >>> rain
    Variable(rain [mm/h], log(1 + value / 0.5))
    >>> rain.to_physical(rain.to_network(np.array([0.0, 0.5, 20.0]))).round(6).tolist()
    [0.0, 0.5, 20.0]
    """

    name: str
    units: str
    standard_names: Sequence[str] = ()
    aliases: Sequence[str] = ()
    long_name: str = ""
    offset: float = 0.0
    scale: float = 1.0
    climatology: Climatology | None = None
    fill: float | str | None = None
    valid_range: tuple[float, float] | None = None
    statistics: tuple[float, float] | None = None
    transform: str | None = None
    transform_scale: float = 1.0

    def __post_init__(self):
        for sequence in ("standard_names", "aliases"):
            object.__setattr__(self, sequence, tuple(getattr(self, sequence)))
        for pair in ("valid_range", "statistics"):
            if getattr(self, pair) is not None:
                object.__setattr__(self, pair, tuple(float(value) for value in getattr(self, pair)))
        if not self.scale or not np.isfinite(self.scale):
            raise InvalidOption(f"scale of {self.name!r}", self.scale, "a finite number other than 0")
        if isinstance(self.fill, str) and self.fill != "nearest":
            raise InvalidOption(f"fill of {self.name!r}", self.fill, "a number, 'nearest' or None")
        self._check_transform()

    def _check_transform(self):
        if self.transform is None:
            return
        if self.transform not in TRANSFORMS:
            raise InvalidOption(
                f"transform of {self.name!r}", self.transform, f"one of {', '.join(TRANSFORMS)}, or None"
            )
        if not (self.transform_scale > 0 and np.isfinite(self.transform_scale)):
            wanted = f"a positive number in {self.units}"
            raise InvalidOption(f"transform_scale of {self.name!r}", self.transform_scale, wanted)
        if self.climatology is not None:
            raise InvalidOption(
                f"transform of {self.name!r}", self.transform, "none for a variable with a climatology",
                "anomalies have either sign; leave one of the two out",
            )  # fmt: skip

    def to_network(self, values: Any) -> Any:
        """What the network sees of values in ``units``: transformed, then normalised.

        Parameters
        ----------
        values : numpy.ndarray or torch.Tensor
            Any shape; missing values stay missing.
        """
        if self.transform is not None:
            values = TRANSFORMS[self.transform].forward(values, self.transform_scale, _library(values))
        return (values - self.offset) / self.scale

    def to_physical(self, values: Any) -> Any:
        """Values in ``units`` of what the network gave, the inverse of `to_network`; tensors keep their gradient."""
        values = values * self.scale + self.offset
        if self.transform is None:
            return values
        library = _library(values)
        values = TRANSFORMS[self.transform].inverse(values, self.transform_scale, library)
        # A transform that is steep at its end makes any number of a small error there.
        return values if self.valid_range is None else library.clip(values, None, self.valid_range[1])

    @property
    def anomaly(self) -> bool:
        """Whether the network sees anomalies from a climatology."""
        return self.climatology is not None

    def to_dict(self) -> dict:
        """JSON-ready form."""
        stored = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        stored["climatology"] = self.climatology and self.climatology.to_dict()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in stored.items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Variable:
        """The inverse of `to_dict`."""
        climatology = stored.get("climatology")
        return _build(cls, stored, climatology=climatology and Climatology.from_dict(climatology))

    def __repr__(self) -> str:
        known_as = f", standard name {self.standard_names[0]}" if self.standard_names else ""
        anomaly = f", anomaly from {'-'.join(self.climatology.base)}" if self.climatology else ""
        formula = TRANSFORMS[self.transform].formula.format(scale=self.transform_scale) if self.transform else ""
        return f"Variable({self.name} [{self.units}]{known_as}{anomaly}{f', {formula}' if formula else ''})"


@dataclass(frozen=True, eq=False, repr=False)
class Grid:
    """Where the model's cells are.

    Parameters
    ----------
    kind : {"latlon", "projected", "pixel"}
        Degrees, metres on a map projection, or bare pixels.
    shape : tuple of int
        Rows and columns that the network takes.
    y, x : sequence of float, optional
        The coordinates of the cells, in the model's order. Without them any window of the right
        spacing will do.
    spacing : tuple of float, optional
        Distance of rows and of columns, in degrees or metres; found from ``y`` and ``x`` when those
        are given.
    tolerance : float
        Accepted relative difference in spacing.

    Examples
    --------
    >>> import numpy as np
    >>> Grid.latlon(np.arange(-30, 31, 5), np.arange(20, 301, 5))
    Grid(latlon, 13 x 57, 5 degrees, 30S-30N, 20E-300E)
    """

    kind: str
    shape: tuple[int, int]
    y: Sequence[float] | None = None
    x: Sequence[float] | None = None
    spacing: tuple[float, float] | None = None
    tolerance: float = 0.02

    def __post_init__(self):
        if self.kind not in GRID_KINDS:
            raise InvalidOption("Grid.kind", self.kind, f"one of {GRID_KINDS}")
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        for axis, size in zip(("y", "x"), self.shape, strict=True):
            nodes = getattr(self, axis)
            if nodes is None:
                continue
            nodes = tuple(float(node) for node in nodes)
            if len(nodes) != size:
                raise InvalidOption(f"Grid.{axis}", len(nodes), f"{size} coordinates, as in shape")
            object.__setattr__(self, axis, nodes)
        if self.spacing is None and self.y is not None and self.x is not None:
            object.__setattr__(self, "spacing", (node_spacing(self.y), node_spacing(self.x)))
        elif self.spacing is not None:
            object.__setattr__(self, "spacing", tuple(float(value) for value in self.spacing))

    @classmethod
    def latlon(
        cls, lat: Sequence[float] | np.ndarray, lon: Sequence[float] | np.ndarray, tolerance: float = 0.02
    ) -> Grid:
        """A fixed region of latitudes and longitudes, in degrees."""
        return cls("latlon", (len(lat), len(lon)), tuple(lat), tuple(lon), tolerance=tolerance)

    @property
    def fixed(self) -> bool:
        """Whether the cells have places of their own, rather than being any window."""
        return self.y is not None and self.x is not None

    def pixels_across(self, found: float, wanted: float) -> int:
        """How many pixels of one size make one of another on a side; 1 where that is no whole number.

        Examples
        --------
        >>> grid = Grid("projected", (4, 4), spacing=(2000.0, 2000.0))
        >>> grid.pixels_across(500.0, 2000.0), grid.pixels_across(1300.0, 2000.0)
        (4, 1)
        """
        whole = round(wanted / found) if found else 1
        return whole if whole >= 2 and abs(whole * found / wanted - 1) <= self.tolerance else 1

    def to_dict(self) -> dict:
        """JSON-ready form."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Grid:
        """The inverse of `to_dict`."""
        return _build(cls, stored)

    def __repr__(self) -> str:
        parts = [self.kind, f"{self.shape[0]} x {self.shape[1]}"]
        if self.spacing is not None and self.kind != "pixel":
            unit = "degrees" if self.kind == "latlon" else "m"
            parts.append(" x ".join(f"{value:g}" for value in dict.fromkeys(self.spacing)) + f" {unit}")
        if self.kind == "latlon" and self.y is not None and self.x is not None:
            parts.append(f"{_degrees_north(min(self.y))}-{_degrees_north(max(self.y))}")
            parts.append(f"{min(self.x):g}E-{max(self.x):g}E")
        elif not self.fixed:
            parts.append("any window")
        return f"Grid({', '.join(parts)})"


def node_spacing(nodes: Sequence[float] | np.ndarray) -> float:
    """The median distance of neighbouring nodes; 1 for a single node."""
    steps = np.abs(np.diff(np.asarray(nodes, float)))
    return float(np.median(steps)) if steps.size else 1.0


def _degrees_north(value: float) -> str:
    return f"{abs(value):g}{'N' if value > 0 else 'S' if value < 0 else ''}"


# ------------------------------------------------------------------ the whole


@dataclass(frozen=True, eq=False, repr=False)
class DataSpec:
    """The contract between data and a forecaster.

    Parameters
    ----------
    variables : sequence of Variable
        What goes in, in channel order.
    targets : sequence of str
        Names of those variables that come out, in channel order; all of them by default.
    grid : Grid
        The cells.
    time_step : str
        Such as ``"1 month"`` or ``"5 minutes"``.
    history, horizon : int
        Numbers of steps in and out.
    calendar : sequence of {"annual", "diurnal"}
        Cycles whose sine and cosine at each history step follow the variables as extra channels.
    mask : numpy.ndarray of bool, optional
        Shape (y, x), True where the training data had values.

    Examples
    --------
    >>> spec = DataSpec(
    ...     variables=[Variable("sst", "degC", ["sea_surface_temperature"])],
    ...     grid=Grid.latlon([-5, 0, 5], [190, 195, 200, 205]),
    ...     time_step="1 month", history=12, horizon=18,
    ... )
    >>> spec
    DataSpec
      variables  sst [degC], standard name sea_surface_temperature
      targets    sst
      grid       latlon, 3 x 4, 5 degrees, 5S-5N, 190E-205E
      time       12 steps in, 18 steps out, 1 month each
    >>> DataSpec.from_json(spec.to_json()) == spec
    True
    """

    variables: Sequence[Variable]
    grid: Grid
    time_step: str
    history: int
    horizon: int
    targets: Sequence[str] = ()
    calendar: Sequence[str] = ()
    mask: np.ndarray | None = field(default=None)

    def __post_init__(self):
        object.__setattr__(self, "variables", tuple(self.variables))
        names = [variable.name for variable in self.variables]
        if not names or len(set(names)) != len(names):
            raise InvalidOption("DataSpec.variables", names, "at least one variable, each name once")
        object.__setattr__(self, "targets", tuple(self.targets) or tuple(names))
        if not set(self.targets) <= set(names):
            raise InvalidOption("DataSpec.targets", self.targets, f"names among {names}")
        object.__setattr__(self, "time_step", str(TimeStep.parse(self.time_step)))
        for length in ("history", "horizon"):
            if int(getattr(self, length)) < 1:
                raise InvalidOption(f"DataSpec.{length}", getattr(self, length), "a number of steps, 1 or more")
            object.__setattr__(self, length, int(getattr(self, length)))
        object.__setattr__(self, "calendar", tuple(self.calendar))
        if not set(self.calendar) <= set(CALENDAR_CHANNELS):
            raise InvalidOption("DataSpec.calendar", self.calendar, f"cycles among {sorted(CALENDAR_CHANNELS)}")
        if self.mask is not None:
            mask = np.asarray(self.mask, bool)
            if mask.shape != self.grid.shape:
                raise InvalidOption("DataSpec.mask", mask.shape, f"the grid's shape {self.grid.shape}")
            object.__setattr__(self, "mask", mask)
        for variable in self.variables:
            if variable.climatology is not None and variable.climatology.values.shape[1:] != self.grid.shape:
                found = variable.climatology.values.shape
                raise InvalidOption(
                    f"climatology of {variable.name!r}", found, f"12 months of the grid's shape {self.grid.shape}"
                )

    # -------------------------------------------------------------- derived

    @property
    def step(self) -> TimeStep:
        """The time step as an object that does arithmetic."""
        return TimeStep.parse(self.time_step)

    @property
    def any_window(self) -> bool:
        """Whether the model's cells may be anywhere, so that larger fields hold many of its windows."""
        bound = self.mask is not None or any(variable.anomaly for variable in self.variables)
        return not (self.grid.fixed or bound)

    @property
    def channels(self) -> int:
        """Number of input channels: variables, then calendar cycles."""
        return len(self.variables) + sum(CALENDAR_CHANNELS[cycle] for cycle in self.calendar)

    @property
    def input_shape(self) -> tuple[int, int, int, int]:
        """What the network takes: (history, height, width, channel)."""
        return (self.history, *self.grid.shape, self.channels)

    @property
    def target_shape(self) -> tuple[int, int, int, int]:
        """What the network gives: (horizon, height, width, channel)."""
        return (self.horizon, *self.grid.shape, len(self.targets))

    @property
    def target_variables(self) -> tuple[Variable, ...]:
        """The variables that come out, in channel order."""
        return tuple(self[name] for name in self.targets)

    def __getitem__(self, name: str) -> Variable:
        for variable in self.variables:
            if variable.name == name:
                return variable
        raise KeyError(name)

    def to_physical(self, values: Any) -> Any:
        """Targets in their units from what the network gives.

        Parameters
        ----------
        values : numpy.ndarray or torch.Tensor
            Shape (..., target), as the network gives them; tensors keep their gradient, so that a quantity of the
            physical field can guide or train a network.

        Returns
        -------
        numpy.ndarray or torch.Tensor
            A new one, of the same shape.
        """
        if values.shape[-1] != len(self.targets):
            found = tuple(values.shape)
            raise InvalidOption("shape of the values", found, f"a last axis of the targets {', '.join(self.targets)}")
        fields = [variable.to_physical(values[..., place]) for place, variable in enumerate(self.target_variables)]
        return _library(values).stack(fields, -1)

    def replace(self, **changes) -> DataSpec:
        """A copy with some fields changed."""
        return replace(self, **changes)

    # -------------------------------------------------------------- JSON

    def to_dict(self) -> dict:
        """JSON-ready form."""
        return {
            "variables": [variable.to_dict() for variable in self.variables],
            "grid": self.grid.to_dict(),
            "time_step": self.time_step,
            "history": self.history,
            "horizon": self.horizon,
            "targets": list(self.targets),
            "calendar": list(self.calendar),
            "mask": _encode(self.mask),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> DataSpec:
        """The inverse of `to_dict`; unknown fields raise `CheckpointError`."""
        return _build(
            cls,
            stored,
            variables=[Variable.from_dict(variable) for variable in stored["variables"]],
            grid=Grid.from_dict(stored["grid"]),
            mask=_decode(stored.get("mask")),
        )

    def to_json(self) -> str:
        """As text, arrays included."""
        return json.dumps(self.to_dict(), indent=1, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> DataSpec:
        """The inverse of `to_json`."""
        return cls.from_dict(json.loads(text))

    def __eq__(self, other) -> bool:
        return isinstance(other, DataSpec) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    # -------------------------------------------------------------- for people

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("variables", repr(self.variables[0])[9:-1])]
        rows += [("", repr(variable)[9:-1]) for variable in self.variables[1:]]
        rows.append(("targets", ", ".join(self.targets)))
        rows.append(("grid", repr(self.grid)[5:-1]))
        rows.append(("time", f"{self.history} steps in, {self.horizon} steps out, {self.time_step} each"))
        if self.calendar:
            rows.append(("calendar", ", ".join(self.calendar)))
        if self.mask is not None:
            rows.append(("mask", f"values in {self.mask.mean():.0%} of the cells"))
        return rows

    def __repr__(self) -> str:
        return "DataSpec\n" + "\n".join(f"  {title:<10} {text}" for title, text in self._rows())

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{escape(title)}</th><td style='text-align:left'>{escape(text)}</td></tr>"
            for title, text in self._rows()
        )
        return f"<div><b>DataSpec</b><table>{cells}</table></div>"
