"""Where the cells of a model are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from xforecast.errors import InvalidOption
from xforecast.spec.stored import build

__all__ = ["GRID_KINDS", "Grid", "node_spacing"]

GRID_KINDS = ("latlon", "projected", "pixel")


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
            raise InvalidOption("Grid.kind", self.kind, f"one of {GRID_KINDS}", "Grid('pixel', shape) for bare pixels")
        object.__setattr__(self, "shape", tuple(int(size) for size in self.shape))
        for axis, size in zip(("y", "x"), self.shape, strict=True):
            nodes = getattr(self, axis)
            if nodes is None:
                continue
            nodes = tuple(float(node) for node in nodes)
            if len(nodes) != size:
                raise InvalidOption(
                    f"Grid.{axis}",
                    len(nodes),
                    f"{size} coordinates, as in shape",
                    "Grid.latlon(lat, lon) takes the shape of both",
                )
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
        """How many pixels of one size lie along the side of one of another size; 1 where that is no integer.

        Examples
        --------
        >>> grid = Grid("projected", (4, 4), spacing=(2000.0, 2000.0))
        >>> grid.pixels_across(500.0, 2000.0), grid.pixels_across(1300.0, 2000.0)
        (4, 1)
        """
        factor = round(wanted / found) if found else 1
        return factor if factor >= 2 and abs(factor * found / wanted - 1) <= self.tolerance else 1

    def to_dict(self) -> dict:
        """JSON-ready form."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Grid:
        """The inverse of `to_dict`."""
        return build(cls, stored)

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
