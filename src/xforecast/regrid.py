"""To the grid of a forecaster: the lossy step that nothing else takes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption, SpecMismatch, require
from xforecast.find import Ambiguous, find_axis
from xforecast.spec import DataSpec, Grid, node_spacing

if TYPE_CHECKING:
    from xforecast.forecaster import Forecaster

__all__ = ["regrid"]

Data = TypeVar("Data", xr.DataArray, xr.Dataset)
METHODS = ("auto", "conservative", "linear", "nearest")


def regrid(
    ds: Data,
    like: str | os.PathLike | Forecaster | DataSpec | Grid,
    *,
    method: str = "auto",
    min_coverage: float = 0.5,
) -> Data:
    """Data on a forecaster's latitudes and longitudes.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        With one-dimensional latitude and longitude, in any order and longitude convention.
    like : str, path, Forecaster, DataSpec or Grid
        Whose grid.
    method : {"auto", "conservative", "linear", "nearest"}
        ``"auto"`` averages areas (conservative) from a finer grid and interpolates linearly from one
        of the same spacing or coarser.
    min_coverage : float, default 0.5
        For area averages, the share of a cell that must have values.

    Returns
    -------
    xarray.Dataset or xarray.DataArray
        On the grid's cells, with the data's own dimension names; lazy where the data are.

    Raises
    ------
    SpecMismatch
        The data do not cover the grid.
    InvalidOption
        The grid is not one of latitudes and longitudes, or the data have none.
    MissingExtra
        xarray-regrid is not installed.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xforecast.spec import Grid
    >>> lat, lon = np.arange(-10.0, 10.5, 1), np.arange(180.0, 211, 1)
    >>> fine = xr.DataArray(np.ones((21, 31)), [("lat", lat), ("lon", lon)])
    >>> regrid(fine, Grid.latlon([-5, 0, 5], [190, 195, 200])).shape
    (3, 3)
    """
    if method not in METHODS:
        raise InvalidOption("method", method, f"one of {METHODS}")
    require("xarray_regrid", extra="regrid", purpose="regridding")
    grid = _grid(like)
    y, x = _horizontal(ds)
    prepared = _oriented(ds, y, x, grid)
    _covered(prepared, y, x, grid)
    finer = node_spacing(prepared[x].values) < 0.75 * grid.spacing[1]  # type: ignore[index]
    chosen = ("conservative" if finer else "linear") if method == "auto" else method
    target = xr.Dataset(coords={y: np.sort(grid.y), x: np.sort(grid.x)})  # type: ignore[arg-type]
    arguments = (
        {"latitude_coord": y, "skipna": True, "nan_threshold": 1 - min_coverage} if chosen == "conservative" else {}
    )
    result = getattr(prepared.regrid, chosen)(target, **arguments)
    if isinstance(result, xr.DataArray):
        result = result.transpose(*ds.dims)
    for dim in (y, x):
        result[dim].attrs.update(ds[dim].attrs)
    result.attrs = dict(ds.attrs)
    return result


def _grid(like) -> Grid:
    if isinstance(like, Grid):
        grid = like
    elif isinstance(like, DataSpec):
        grid = like.grid
    elif hasattr(like, "spec"):
        grid = like.spec.grid
    else:
        from xforecast.registry import load

        grid = load(like).spec.grid
    if grid.kind != "latlon" or not grid.fixed:
        raise InvalidOption(
            "like",
            grid,
            "a grid of given latitudes and longitudes",
            "choose a window of the right spacing with ds.isel",
        )
    return grid


def _horizontal(ds: xr.DataArray | xr.Dataset) -> tuple:
    arrays = [ds] if isinstance(ds, xr.DataArray) else [array for array in ds.data_vars.values() if array.ndim >= 2]
    for array in arrays:
        try:
            y, x = find_axis(array, "y"), find_axis(array, "x")
        except Ambiguous as several:
            raise InvalidOption("ds", several.candidates, "one latitude and one longitude") from several
        if y in array.coords and x in array.coords:
            return y, x
    raise InvalidOption("ds", dict(ds.sizes), "one-dimensional latitude and longitude coordinates")


def _oriented(ds, y, x, grid: Grid):
    """Latitudes and longitudes ascending, longitudes around the grid's, closed round the globe."""
    centre = (min(grid.x) + max(grid.x)) / 2  # type: ignore[type-var, operator]
    lon = (ds[x] - centre + 180) % 360 + centre - 180
    ds = ds.assign_coords({x: lon}).sortby([y, x]).drop_duplicates(x)
    spacing = node_spacing(ds[x].values)
    if abs(ds[x].values[-1] - ds[x].values[0] + spacing - 360) < 0.5 * spacing:
        width = int(np.ceil(grid.spacing[1] / spacing)) + 1  # type: ignore[index]
        ds = ds.pad({x: width}, mode="wrap")
        ends = [
            lon.min().item() - spacing * np.arange(width, 0, -1),
            lon.max().item() + spacing * np.arange(1, width + 1),
        ]
        ds = ds.assign_coords({x: np.concatenate([ends[0], np.unique(lon.values), ends[1]])})
    return ds


def _covered(ds, y, x, grid: Grid) -> None:
    for dim, nodes in ((y, grid.y), (x, grid.x)):
        values = ds[dim].values
        reach = node_spacing(values) / 2 + 1e-6
        if min(nodes) < values.min() - reach or max(nodes) > values.max() + reach:  # type: ignore[type-var, operator]
            raise SpecMismatch(
                f"the data do not cover the grid\n  grid      {dim}: found {values.min():g} to {values.max():g}, "
                f"wanted {min(nodes):g} to {max(nodes):g}\n            -> open a larger region"  # type: ignore[type-var]
            )
