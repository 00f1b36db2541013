"""Constraints stated with labels: slices of coordinates and labelled arrays, brought to the model's cells."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.labels.conform import Source

__all__ = ["placed"]

STANDARD_NAMES = {"lat": "latitude", "lon": "longitude", "y": "projection_y_coordinate", "x": "projection_x_coordinate"}


def placed(constraint: Any, source: Source) -> Any:
    """A constraint whose labelled fields are arrays of the model's rows and columns; others as they are.

    Parameters
    ----------
    constraint : object
        Fields of a dataclass that are a DataArray or a mapping from names of coordinates to slices are replaced.
    source : Source
        How the data came.

    Returns
    -------
    object
        A new constraint, or the very one if it has no labels.

    Raises
    ------
    InvalidOption
        A coordinate that the data do not have, a region without cells, or an array of other cells.
    """
    if not dataclasses.is_dataclass(constraint) or isinstance(constraint, type):
        return constraint
    changes: dict[str, Any] = {}
    for field in dataclasses.fields(constraint):
        value = getattr(constraint, field.name)
        if isinstance(value, Mapping):
            value = _region(value, source)
        if isinstance(value, xr.DataArray) and value.ndim:
            cells = _in_model_order(value, source, field.name)
            changes[field.name] = cells if field.name == "mask" else cells[..., None]
    return dataclasses.replace(constraint, **changes) if changes else constraint


def _region(slices: Mapping[Any, Any], source: Source) -> xr.DataArray:
    """True in the cells whose coordinates lie in all of the slices."""
    inside = _map(source) > 0
    for name, limits in slices.items():
        coordinate = _coordinate(name, source)
        if not isinstance(limits, slice) or limits.step is not None:
            raise InvalidOption(f"region of {name!r}", limits, "a slice of two values, such as slice(50, 52)")
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
        raise InvalidOption("region of the constraint", dict(slices), f"some cells of the data: {spans}")
    return inside


def _coordinate(name: Any, source: Source) -> xr.DataArray:
    if name in source.coords.coords:
        return source.coords[name].reset_coords(drop=True)
    for coordinate in source.coords.coords.values():
        if coordinate.attrs.get("standard_name") in (name, STANDARD_NAMES.get(name)):
            return coordinate.reset_coords(drop=True)
    raise InvalidOption(
        "region of the constraint", name, f"coordinates among {', '.join(map(str, source.coords.coords))}"
    )


def _map(source: Source) -> xr.DataArray:
    """Ones in the forecast's cells, in the data's order."""
    dims = (source.y_dim, source.x_dim)
    coords = {dim: source.coords[dim] for dim in dims if dim in source.coords.coords}
    return xr.DataArray(np.ones((len(source.y_index), len(source.x_index))), coords, dims)


def _in_model_order(value: xr.DataArray, source: Source, name: str) -> np.ndarray:
    """Values in the model's rows and columns."""
    wanted = _map(source)
    if not set(value.dims) <= set(wanted.dims):
        raise InvalidOption(f"{name} of the constraint", value.dims, f"dimensions {wanted.dims}")
    try:
        chosen = value.sel({dim: wanted[dim] for dim in value.dims if dim in value.coords and dim in wanted.coords})
    except KeyError as error:
        raise InvalidOption(f"{name} of the constraint", "other cells", "values at the cells of the data") from error
    if {dim: size for dim, size in chosen.sizes.items() if wanted.sizes[dim] != size}:
        raise InvalidOption(f"{name} of the constraint", dict(chosen.sizes), f"{dict(wanted.sizes)}")
    cells = chosen.broadcast_like(wanted).transpose(*wanted.dims).values
    rows, columns = (np.argsort(np.argsort(index)) for index in (source.y_index, source.x_index))
    return np.asarray(cells[rows][:, columns], np.float32)


def region_weights(region, source, name="mask"):
    if isinstance(region, Mapping):
        region = _region(region, source)
    if isinstance(region, xr.DataArray) and region.ndim:
        return _in_model_order(region, source, name)
    return region
