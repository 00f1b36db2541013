"""Regions stated with labels, slices of coordinates or labelled arrays, as arrays of the model's cells."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.labels.way_back import Source

__all__ = ["region_weights"]

STANDARD_NAMES = {"lat": "latitude", "lon": "longitude", "y": "projection_y_coordinate", "x": "projection_x_coordinate"}


def region_weights(region: Any, source: Source, name: str = "mask") -> Any:
    """A region, or another field stated with labels, in the model's cells.

    Parameters
    ----------
    region : mapping, xarray.DataArray or other
        Slices by names of coordinates, such as ``{"lat": slice(50, 52)}``, with either end open or the ends in either
        order; or values at the cells of the data, where a dimension that is left out means the same value all along it.
    source : Source
        How the data came.
    name : str
        What to call it in messages.

    Returns
    -------
    numpy.ndarray or other
        Shape (y, x), float32: 1 inside slices and 0 outside, or the values; anything else is given back as it is.

    Raises
    ------
    InvalidOption
        A coordinate that the data do not have, a region without cells, or an array of other cells.
    """
    if isinstance(region, Mapping):
        region = _region(region, source)
    if not isinstance(region, xr.DataArray) or not region.ndim:
        return region
    return _in_model_order(region, source, name)


def _region(slices: Mapping[Any, Any], source: Source) -> xr.DataArray:
    """True in the cells whose coordinates lie in all of the slices."""
    inside = _map(source) > 0
    for name, limits in slices.items():
        coordinate = _coordinate(name, source)
        if not isinstance(limits, slice) or limits.step is not None:
            wanted = "a slice of two values, such as slice(50, 52)"
            raise InvalidOption(f"region of {name!r}", limits, wanted, f"{{{name!r}: slice(50, 52)}}")
        ends = [end for end in (limits.start, limits.stop) if end is not None]
        low = min(ends) if len(ends) == 2 else limits.start
        high = max(ends) if len(ends) == 2 else limits.stop
        if low is not None:
            inside = inside & (coordinate >= low)
        if high is not None:
            inside = inside & (coordinate <= high)
    if not bool(inside.any()):
        spans = ", ".join(
            f"{name} from {float(_coordinate(name, source).min()):g} to {float(_coordinate(name, source).max()):g}"
            for name in slices
        )
        wanted = f"some cells of the data: {spans}"
        raise InvalidOption("region of the constraint", dict(slices), wanted, "slices that lie within these")
    return inside


def _coordinate(name: Any, source: Source) -> xr.DataArray:
    if name in source.coords.coords:
        return source.coords[name].reset_coords(drop=True)
    for coordinate in source.coords.coords.values():
        if coordinate.attrs.get("standard_name") in (name, STANDARD_NAMES.get(name)):
            return coordinate.reset_coords(drop=True)
    known = ", ".join(map(str, source.coords.coords))
    raise InvalidOption("region of the constraint", name, f"coordinates among {known}", "use these names")


def _map(source: Source) -> xr.DataArray:
    """Ones in the forecast's cells, in the data's order."""
    own = source.cells.in_own_order
    coords = {dim: source.coords[dim] for dim in own if dim in source.coords.coords}
    return xr.DataArray(np.ones([len(index) for index in own.values()]), coords, tuple(own))


def _in_model_order(value: xr.DataArray, source: Source, name: str) -> np.ndarray:
    """Values in the model's rows and columns."""
    wanted, option = _map(source), f"{name} of the constraint"
    if not set(value.dims) <= set(wanted.dims):
        raise InvalidOption(option, value.dims, f"dimensions {wanted.dims}", "rename or drop the others")
    try:
        chosen = value.sel({dim: wanted[dim] for dim in value.dims if dim in value.coords and dim in wanted.coords})
    except KeyError as error:
        remedy = "give it the coordinates of the data, for example with reindex_like"
        raise InvalidOption(option, "other cells", "values at the cells of the data", remedy) from error
    if {dim: size for dim, size in chosen.sizes.items() if wanted.sizes[dim] != size}:
        remedy = "give it coordinates, by which cells can be chosen"
        raise InvalidOption(option, dict(chosen.sizes), f"{dict(wanted.sizes)}", remedy)
    cells = source.cells.cropped.apply(chosen.broadcast_like(wanted))
    return np.asarray(cells.values, np.float32)
