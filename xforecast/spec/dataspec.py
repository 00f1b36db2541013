"""What a forecaster expects and gives: variables, units, grid, time step, lengths, normalisation.

A `DataSpec` is data, not behaviour: it is frozen, prints itself, and goes to JSON and back. `conform`
reads it to check and repair a Dataset, `windows` to lay out arrays, `normalise` to make network input of them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from html import escape
from typing import Any

import numpy as np

from xforecast.errors import InvalidOption
from xforecast.spec.grid import Grid
from xforecast.spec.stored import build, decode, encode
from xforecast.spec.timestep import TimeStep
from xforecast.spec.variable import Variable, library_of

__all__ = ["DataSpec"]

CALENDAR_CHANNELS = {"annual": 2, "diurnal": 2}
"""Channels of each calendar cycle: a sine and a cosine."""


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
            raise InvalidOption("DataSpec.variables", names, "at least one variable, each name once", "rename one")
        object.__setattr__(self, "targets", tuple(self.targets) or tuple(names))
        if not set(self.targets) <= set(names):
            raise InvalidOption("DataSpec.targets", self.targets, f"names among {names}", f"targets={names[:1]}")
        object.__setattr__(self, "time_step", str(self.step))
        for length in ("history", "horizon"):
            if int(getattr(self, length)) < 1:
                found = getattr(self, length)
                raise InvalidOption(f"DataSpec.{length}", found, "a number of steps, 1 or more", f"{length}=1")
            object.__setattr__(self, length, int(getattr(self, length)))
        object.__setattr__(self, "calendar", tuple(self.calendar))
        if not set(self.calendar) <= set(CALENDAR_CHANNELS):
            known = sorted(CALENDAR_CHANNELS)
            raise InvalidOption("DataSpec.calendar", self.calendar, f"cycles among {known}", "calendar=['annual']")
        self._check_shapes()

    def _check_shapes(self) -> None:
        """The mask and the climatologies must have the shape of the grid."""
        if self.mask is not None:
            mask = np.asarray(self.mask, bool)
            if mask.shape != self.grid.shape:
                wanted = f"the grid's shape {self.grid.shape}"
                raise InvalidOption("DataSpec.mask", mask.shape, wanted, "the mask of the very cells of the grid")
            object.__setattr__(self, "mask", mask)
        for variable in self.variables:
            if variable.climatology is not None and variable.climatology.values.shape[1:] != self.grid.shape:
                found = variable.climatology.values.shape
                wanted = f"12 months of the grid's shape {self.grid.shape}"
                remedy = "the climatology of the very cells of the grid"
                raise InvalidOption(f"climatology of {variable.name!r}", found, wanted, remedy)

    # -------------------------------------------------------------- derived

    @cached_property
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
            wanted = f"a last axis of the targets {', '.join(self.targets)}"
            raise InvalidOption("shape of the values", found, wanted, "stack the targets along the last axis")
        fields = [variable.to_physical(values[..., place]) for place, variable in enumerate(self.target_variables)]
        return library_of(values).stack(fields, -1)

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
            "mask": encode(self.mask),
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> DataSpec:
        """The inverse of `to_dict`; unknown fields raise `CheckpointError`."""
        return build(
            cls,
            stored,
            variables=[Variable.from_dict(variable) for variable in stored["variables"]],
            grid=Grid.from_dict(stored["grid"]),
            mask=decode(stored.get("mask")),
        )

    def to_json(self) -> str:
        """The spec as text, arrays included."""
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
