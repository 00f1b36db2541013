"""Which cells of the data are the model's, and the way back to the data's own order."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xforecast.cf import axis_coordinate, units
from xforecast.labels.report import Report
from xforecast.spec import Grid, node_spacing

__all__ = ["Cells", "find_cells", "in_metres", "slice_like"]

METRES = "m"
UNEVEN = 0.1
"""Share of the spacing by which one step of a window may differ from it."""


@dataclass(frozen=True, eq=False)
class Cells:
    """The model's rows and columns, found in the data.

    `apply` puts a field into the model's order and orientation, `undo` back into the data's. Longitudes need no more
    than that: the columns were found in either convention, -180 to 180 or 0 to 360, and the data's own values are kept.

    Parameters
    ----------
    y_dim, x_dim : str
        Names of the spatial dimensions in the data.
    y_index, x_index : numpy.ndarray
        Position in the data of each of the model's rows and columns.

    Examples
    --------
    >>> southwards = xr.DataArray([[1, 2], [3, 4]], dims=("lat", "lon"))
    >>> cells = Cells("lat", "lon", np.array([1, 0]), np.array([0, 1]))
    >>> cells.apply(southwards).values.tolist(), cells.undo(cells.apply(southwards)).values.tolist()
    ([[3, 4], [1, 2]], [[1, 2], [3, 4]])
    """

    y_dim: Hashable
    x_dim: Hashable
    y_index: np.ndarray
    x_index: np.ndarray

    @property
    def in_own_order(self) -> dict[Hashable, np.ndarray]:
        """Positions of the model's cells in the data, ascending, for each dimension."""
        return {self.y_dim: np.sort(self.y_index), self.x_dim: np.sort(self.x_index)}

    @property
    def cropped(self) -> Cells:
        """The same cells in data that hold no others."""
        ranks = (np.argsort(np.argsort(index)) for index in (self.y_index, self.x_index))
        return Cells(self.y_dim, self.x_dim, *ranks)

    def apply(self, field: xr.DataArray) -> xr.DataArray:
        """A field of the data as (..., y, x), the model's rows and columns; without coordinates."""
        chosen = xr.DataArray(field.variable).transpose(..., self.y_dim, self.x_dim)
        chosen = chosen.isel({self.y_dim: slice_like(self.y_index), self.x_dim: slice_like(self.x_index)})
        return chosen.rename({self.y_dim: "y", self.x_dim: "x"})

    def undo(self, field: xr.DataArray) -> xr.DataArray:
        """A field of the model's rows and columns in the data's order, under the data's names of the dimensions."""
        moved = {"y": self.y_index, "x": self.x_index}
        order = {dim: np.argsort(index) for dim, index in moved.items() if (np.diff(index) != 1).any()}
        return field.isel(order).rename({"y": self.y_dim, "x": self.x_dim})


def find_cells(
    array: xr.DataArray, dims: Mapping[str, Hashable], grid: Grid, larger: bool, report: Report
) -> Cells | None:
    """The model's cells in the data, or None with the reasons in the report.

    Parameters
    ----------
    array : xarray.DataArray
        Any of the variables.
    dims : mapping
        Its dimensions by axis, ``"y"`` and ``"x"``.
    grid : Grid
        What is wanted.
    larger : bool
        Whether more cells than the grid has are welcome.
    report : Report
        Takes the findings.
    """
    y, x = (_Axis(array, dims[name], place, grid, larger, report).positions() for place, name in enumerate(("y", "x")))
    if y is None or x is None:
        return None
    for dim, index in ((dims["y"], y), (dims["x"], x)):
        if len(index) < array.sizes[dim]:
            report.repair("grid", f"{dim}: cropped from {array.sizes[dim]} to the model's {len(index)} cells")
    return Cells(dims["y"], dims["x"], y, x)


def in_metres(values: np.ndarray, unit: str) -> np.ndarray | None:
    """Distances on a map in metres, or None if the unit is not one of length."""
    return units.conversion(unit, METRES)(values) if units.compatible(unit, METRES) else None


def slice_like(index: np.ndarray) -> np.ndarray | slice:
    """A slice where the positions are evenly spaced, so that nothing is copied and dask chunks stay apart.

    Examples
    --------
    >>> slice_like(np.array([2, 1, 0])), slice_like(np.array([3, 5, 7])), slice_like(np.array([0, 1, 3]))
    (slice(2, None, -1), slice(3, 8, 2), array([0, 1, 3]))
    """
    steps = np.unique(np.diff(index))
    if steps.size != 1 or steps[0] == 0:
        return index
    step = int(steps[0])
    stop = int(index[-1]) + (1 if step > 0 else -1)
    return slice(int(index[0]), stop if stop >= 0 else None, step)


# ------------------------------------------------------------------ one axis


@dataclass(frozen=True)
class _Axis:
    """One axis of the data, and what the grid wants along it.

    Parameters
    ----------
    array, grid, larger, report
        As in `find_cells`.
    dim : str
        The dimension in the data.
    place : int
        0 for rows, 1 for columns.
    """

    array: xr.DataArray
    dim: Hashable
    place: int
    grid: Grid
    larger: bool
    report: Report

    @property
    def cyclic(self) -> bool:
        """Whether it goes round the globe."""
        return self.grid.kind == "latlon" and self.place == 1

    def positions(self) -> np.ndarray | None:
        """Position in the data of each of the model's rows or columns."""
        if self.grid.kind == "pixel":
            return self._of_right_number(np.arange(self.array.sizes[self.dim]))
        values = self._values()
        if values is None or not self._distinct(values):
            return None
        if self.grid.spacing is None:
            return self._of_right_number(np.argsort(values))
        spacing = self.grid.spacing[self.place]
        if not self._right_spacing(values, spacing):
            return None
        nodes = (self.grid.y, self.grid.x)[self.place]
        if nodes is None:
            return self._window(values, spacing)
        return self._nearest(values, np.asarray(nodes), spacing * max(self.grid.tolerance, 1e-3))

    def _values(self) -> np.ndarray | None:
        """The coordinate in degrees or metres, as the grid has it."""
        coordinate = axis_coordinate(self.array, self.dim, "yx"[self.place])
        if coordinate is None or coordinate.dtype.kind not in "iuf":
            degrees = ("latitudes", "longitudes")[self.place]
            what = degrees if self.grid.kind == "latlon" else "distances on the map"
            self._error(f"no coordinate of numbers, wanted {what}", f"ds.assign_coords({self.dim}=...)")
            return None
        standard_name = str(coordinate.attrs.get("standard_name", ""))
        if self.grid.kind == "projected":
            unit, wanted = str(coordinate.attrs.get("units", METRES)), "a length on a map projection"
            values = in_metres(coordinate.values.astype(float), unit)
        else:
            unit, wanted = str(coordinate.attrs.get("units", "degrees")), "geographic latitude or longitude in degrees"
            geographic = "deg" in unit.lower() and not standard_name.startswith(("grid_", "projection_"))
            values = coordinate.values.astype(float) if geographic else None
        if values is None:
            found = " ".join(filter(None, [standard_name, f"in {unit!r}"]))
            self._error(f"found {found}, wanted {wanted}", "choose or compute such a coordinate")
        return values

    def _distinct(self, values: np.ndarray) -> bool:
        """Whether every cell has a place of its own."""
        if np.isnan(values).any():
            self._error(f"{np.isnan(values).sum()} missing values", f"ds.assign_coords({self.dim}=...)")
            return False
        places, counts = np.unique(values, return_counts=True)
        if (twice := places[counts > 1]).size:
            found = ", ".join(f"{value:g}" for value in twice[:3])
            self._error(f"{found} more than once", f"choose one of them, as ds.drop_duplicates({self.dim!r}) does")
            return False
        return True

    def _of_right_number(self, index: np.ndarray) -> np.ndarray | None:
        """The positions of all cells, if there are as many as the model takes."""
        wanted = self.grid.shape[self.place]
        if len(index) == wanted or (self.larger and len(index) > wanted):
            return index
        if len(index) > wanted:
            found, remedy = f"{len(index)} cells", f"ds.isel({self.dim}=slice({wanted})) or another window"
        else:
            found, remedy = f"{len(index)} cells, smaller than the model's window", "open a larger window of the data"
        self._error(f"{found}, wanted {f'at least {wanted}' if self.larger else wanted}", remedy)
        return None

    def _right_spacing(self, values: np.ndarray, wanted: float) -> bool:
        if values.size < 2:
            return True
        # The jump where a -180..180 axis is written as 0..360 is no spacing; the median passes over it.
        found = node_spacing(np.sort(values % 360 if self.cyclic else values))
        if abs(found / wanted - 1) <= self.grid.tolerance:
            return True
        degrees = self.grid.kind == "latlon"
        remedy = self._regrid() if degrees else _other_pixels(self.grid.pixels_across(found, wanted))
        self._error(f"spacing {found:g} {'degrees' if degrees else 'm'}, wanted {wanted:g}", remedy)
        return False

    def _window(self, values: np.ndarray, spacing: float) -> np.ndarray | None:
        """Any evenly spaced window, in ascending order."""
        unwrapped = np.unwrap(values, period=360) if self.cyclic else values
        index = np.argsort(unwrapped)
        steps = np.diff(unwrapped[index])
        if (np.abs(steps / spacing - 1) > UNEVEN).any():
            found = f"spacing from {steps.min():g} to {steps.max():g}"
            self._error(f"{found}, wanted {spacing:g} throughout", "choose an even window, or regrid")
            return None
        return self._of_right_number(index)

    def _nearest(self, values: np.ndarray, nodes: np.ndarray, tolerance: float) -> np.ndarray | None:
        """The cell at each of the grid's nodes."""
        distance = np.abs(values[None, :] - nodes[:, None])
        if self.cyclic:
            distance = distance % 360
            distance = np.minimum(distance, 360 - distance)
        missing = nodes[distance.min(axis=1) > tolerance]
        if not missing.size:
            return distance.argmin(axis=1)
        wanted = f"wanted {nodes.min():g} to {nodes.max():g}"
        if missing.size == nodes.size:
            shifted = f"cells at {', '.join(f'{value:g}' for value in values[:3])} ..."
            self._error(f"none of the model's cells; found {shifted}, {wanted}", self._regrid())
        else:
            listed = f"{', '.join(f'{value:g}' for value in missing[:6])}{' ...' if missing.size > 6 else ''}"
            self._error(
                f"found {values.min():g} to {values.max():g}, {wanted}; missing {listed}",
                "open the whole region, or " + self._regrid(),
            )
        return None

    def _regrid(self) -> str:
        return f"xforecast.regrid(ds, like={self.report.against!r})"

    def _error(self, text: str, remedy: str) -> None:
        self.report.error("grid", f"{self.dim}: {text}", remedy)


def _other_pixels(factor: int) -> str:
    """How to come to pixels that are larger by a factor, 1 if there is none."""
    if factor > 1:
        return f"xforecast.datasets.average_pixels(ds[variable], {factor})"
    return "put the data onto such a map with a package for map projections"
