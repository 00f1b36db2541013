"""Data on the grid of a forecaster. Regridding loses detail, so it is done on request only, and only here."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np
import xarray as xr

from xforecast.cf import Ambiguous, find_axis, find_dimension, with_index
from xforecast.errors import InvalidOption, SpecMismatch, require
from xforecast.spec import Grid, node_spacing

__all__ = ["to_grid"]

Data = TypeVar("Data", xr.DataArray, xr.Dataset)
METHODS = ("auto", "conservative", "linear", "nearest")


def to_grid(ds: Data, grid: Grid, *, method: str = "auto", min_coverage: float = 0.5) -> Data:
    """Data on the latitudes and longitudes of a grid; see `xforecast.regrid` for the options.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> lat, lon = np.arange(-10.0, 10.5, 1), np.arange(180.0, 211, 1)
    >>> fine = xr.DataArray(np.ones((21, 31)), [("lat", lat), ("lon", lon)])
    >>> to_grid(fine, Grid.latlon([-5, 0, 5], [190, 195, 200])).shape
    (3, 3)
    """
    if method not in METHODS:
        raise InvalidOption("method", method, f"one of {METHODS}", "method='auto'")
    if not 0 < min_coverage <= 1:
        wanted = "a share of a cell, above 0 and at most 1"
        raise InvalidOption("min_coverage", min_coverage, wanted, "min_coverage=0.5")
    require("xarray_regrid", extra="regrid", purpose="regridding")
    if grid.kind != "latlon" or not grid.fixed:
        raise InvalidOption(
            "like",
            grid,
            "a grid of given latitudes and longitudes",
            "choose a window of the right spacing with ds.isel",
        )
    marked, own = _indexed(ds)
    if own:
        return to_grid(marked, grid, method=method, min_coverage=min_coverage).swap_dims(own)
    y, x = _horizontal(ds)
    nodes = {y: np.sort(np.asarray(grid.y, float)), x: np.sort(np.asarray(grid.x, float))}
    prepared = _oriented(_without_bounds(ds, y, x), y, x, nodes[x])
    _covered(prepared, nodes)
    chosen = _best(prepared, x, nodes) if method == "auto" else method
    target = xr.Dataset(coords=nodes)
    if chosen == "conservative":
        result = prepared.regrid.conservative(target, latitude_coord=y, skipna=True, nan_threshold=1 - min_coverage)
    else:
        result = prepared.regrid.linear(target) if chosen == "linear" else prepared.regrid.nearest(target)
    return _as_before(result, ds, y, x)


def _indexed(ds: Data) -> tuple[Data, dict]:
    """The data with rows and columns named by the coordinates that mark them, and the names that they had."""
    try:
        marked = with_index(with_index(ds, "y"), "x")
        names = {find_dimension(marked, axis): find_dimension(ds, axis) for axis in ("y", "x")}
    except InvalidOption:  # which of several it is, is asked further on
        return ds, {}
    return marked, {new: old for new, old in names.items() if new != old}


def _as_before(result, ds: Data, y: Hashable, x: Hashable) -> Data:
    """With the order of dimensions and the attributes of the data; bounds of the old cells are left out."""
    if isinstance(result, xr.DataArray):
        result = result.transpose(*ds.dims)
    attrs = {dim: {key: value for key, value in ds[dim].attrs.items() if key != "bounds"} for dim in (y, x)}
    result = result.assign_coords({dim: (dim, result[dim].values, attrs[dim]) for dim in (y, x)})
    result.attrs = dict(ds.attrs)
    return result


def _best(ds, x, nodes: Mapping) -> str:
    """Area means of finer cells, the cells themselves where the grid has the same, else interpolation."""
    if node_spacing(ds[x].values) < 0.75 * node_spacing(nodes[x]):
        return "conservative"
    own = all(np.isin(np.round(values, 6), np.round(ds[dim].values, 6)).all() for dim, values in nodes.items())
    return "nearest" if own else "linear"


def _horizontal(ds: xr.DataArray | xr.Dataset) -> tuple:
    arrays = [ds] if isinstance(ds, xr.DataArray) else [array for array in ds.data_vars.values() if array.ndim >= 2]
    for array in arrays:
        try:
            y, x = find_axis(array, "y"), find_axis(array, "x")
        except Ambiguous as several:
            wanted, remedy = (
                "one latitude and one longitude",
                "set the attribute axis='Y' or 'X' on the right coordinate",
            )
            raise InvalidOption("ds", several.candidates, wanted, remedy) from several
        if y in array.coords and x in array.coords:
            return y, x
    wanted = "one-dimensional latitude and longitude coordinates"
    remedy = "ds.assign_coords(lat=..., lon=...), or ds.swap_dims(...) where they have another dimension"
    raise InvalidOption("ds", dict(ds.sizes), wanted, remedy)


def _without_bounds(ds, y, x):
    """Without the bounds of the cells, which will not be those of the new ones."""
    edges = [ds[dim].attrs.get("bounds", ds[dim].encoding.get("bounds")) for dim in (y, x)]
    return ds.drop_vars([name for name in edges if name is not None], errors="ignore")


def _oriented(ds, y, x, nodes: np.ndarray):
    """Latitudes and longitudes ascending, longitudes around the grid's, closed round the globe."""
    centre = (nodes.min() + nodes.max()) / 2
    lon = (ds[x] - centre + 180) % 360 + centre - 180
    ds = ds.assign_coords({x: lon}).sortby([y, x]).drop_duplicates(x)
    spacing = node_spacing(ds[x].values)
    if abs(ds[x].values[-1] - ds[x].values[0] + spacing - 360) < 0.5 * spacing:
        width = int(np.ceil(node_spacing(nodes) / spacing)) + 1
        ds = ds.pad({x: width}, mode="wrap")
        ends = [
            lon.min().item() - spacing * np.arange(width, 0, -1),
            lon.max().item() + spacing * np.arange(1, width + 1),
        ]
        ds = ds.assign_coords({x: np.concatenate([ends[0], np.unique(lon.values), ends[1]])})
    return ds


def _covered(ds, nodes: Mapping) -> None:
    for dim, wanted in nodes.items():
        values = ds[dim].values
        reach = node_spacing(values) / 2 + 1e-6
        if wanted.min() < values.min() - reach or wanted.max() > values.max() + reach:
            raise SpecMismatch(
                f"the data do not cover the grid\n  grid      {dim}: found {values.min():g} to {values.max():g}, "
                f"wanted {wanted.min():g} to {wanted.max():g}\n            -> open a larger region"
            )
