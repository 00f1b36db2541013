"""What the labels of a field say: which dimension is which, and how two fields pair up.

Every score finds its dimensions here, so that names are looked up in one way: first by CF
``standard_name``, then by ``axis`` and ``units``, then by the usual names.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption

T = TypeVar("T", xr.DataArray, xr.Dataset)


class Axis(NamedTuple):
    """How a coordinate is recognised."""

    standard_names: frozenset[str]
    names: tuple[str, ...]
    units: frozenset[str] = frozenset()
    axis: str = ""


_NORTH = frozenset({"degrees_north", "degree_north", "degrees_N", "degree_N", "degreesN", "degreeN"})
_EAST = frozenset({"degrees_east", "degree_east", "degrees_E", "degree_E", "degreesE", "degreeE"})

AXES = {
    "sample": Axis(frozenset({"realization"}), ("sample", "realization", "member", "number", "ensemble")),
    "init": Axis(frozenset({"forecast_reference_time"}), ("init", "forecast_reference_time")),
    "lead": Axis(frozenset({"forecast_period"}), ("lead", "forecast_period", "lead_time", "step")),
    "time": Axis(frozenset({"time"}), ("time", "valid_time")),
    "latitude": Axis(frozenset({"latitude"}), ("lat", "latitude", "nav_lat"), _NORTH),
    "longitude": Axis(frozenset({"longitude"}), ("lon", "longitude", "nav_lon"), _EAST),
    "y": Axis(
        frozenset({"projection_y_coordinate", "grid_latitude", "latitude"}),
        ("y", "lat", "latitude", "height", "rlat"),
        _NORTH,
        "Y",
    ),
    "x": Axis(
        frozenset({"projection_x_coordinate", "grid_longitude", "longitude"}),
        ("x", "lon", "longitude", "width", "rlon"),
        _EAST,
        "X",
    ),
}

MONTHS = frozenset({"month", "months", "mon", "mons"})


def find_coordinate(field: xr.DataArray | xr.Dataset, kind: str) -> str | None:
    """Name of the coordinate of this kind, or None; an error where several fit equally well."""
    own = {name: c for name, c in field.coords.items() if name in field.dims}
    return _search(own, kind) or _search(field.coords, kind) or _usual_name({*field.coords, *field.dims}, kind)


def find_dimension(field: xr.DataArray | xr.Dataset, kind: str) -> str | None:
    """Name of the dimension of this kind, or None; its coordinate may have another name."""
    along = {c.dims[0]: c for c in field.coords.values() if c.ndim == 1}
    along |= {name: c for name, c in field.coords.items() if name in field.dims}
    return _search(along, kind) or _usual_name(set(field.dims), kind)


def _search(candidates: Mapping[Hashable, xr.DataArray], kind: str) -> str | None:
    """The candidate that the attributes say is of this kind."""
    known = AXES[kind]
    tests = (
        lambda c: c.attrs.get("standard_name") in known.standard_names,
        lambda c: bool(known.axis) and c.attrs.get("axis") == known.axis,
        lambda c: c.attrs.get("units") in known.units,
    )
    for test in tests:
        found = [str(name) for name, c in candidates.items() if test(c)]
        if len(found) > 1:
            raise InvalidOption(f"{kind} coordinate", found, "one", "drop the others, or take away their standard_name")
        if found:
            return found[0]
    return None


def _usual_name(names: set[Hashable], kind: str) -> str | None:
    return next((name for name in AXES[kind].names if name in names), None)


def coordinate(field: xr.DataArray | xr.Dataset, kind: str) -> str:
    """Name of the coordinate of this kind, or an error that lists what there is."""
    name = find_coordinate(field, kind)
    if name is None:
        known = AXES[kind]
        raise InvalidOption(
            f"{kind} coordinate",
            sorted({str(name) for name in (*field.coords, *field.dims)}),
            f"a coordinate with standard_name {' or '.join(sorted(known.standard_names))!r}",
            f"rename it to {known.names[0]!r}, or set its standard_name",
        )
    return name


def dimension(field: xr.DataArray | xr.Dataset, kind: str) -> str:
    """Name of the dimension of this kind, or an error that says what is missing."""
    name = find_dimension(field, kind)
    if name is None:
        name = coordinate(field, kind)
        raise InvalidOption(
            f"{kind} dimension",
            tuple(field.dims),
            f"{name!r} among them",
            f".expand_dims({name!r}) makes it one",
        )
    return name


def sample_mean(forecast: xr.DataArray) -> xr.DataArray:
    """The forecast itself, or the mean over its samples if it has them."""
    sample = find_dimension(forecast, "sample")
    return forecast if sample is None else forecast.mean(sample, skipna=False, dtype=np.float64)


def only_variable(
    data: xr.Dataset | xr.DataArray, standard_names: Iterable[str] = (), names: Iterable[str] = ()
) -> xr.DataArray:
    """The array itself, or the one variable of a Dataset that has such a standard name or name, or is alone."""
    if isinstance(data, xr.DataArray):
        return data
    wanted = set(standard_names)
    found = [name for name, v in data.data_vars.items() if v.attrs.get("standard_name") in wanted]
    found = found or [name for name in names if name in data.data_vars] or list(data.data_vars)
    if len(found) != 1:
        raise InvalidOption(
            "variable",
            sorted(map(str, found)),
            f"one variable with standard_name {' or '.join(sorted(wanted))!r}" if wanted else "one variable",
            "pass the variable itself, such as ds.sst",
        )
    return data[found[0]]


def whole(function: Callable[..., T], *arrays: xr.DataArray | None) -> T:
    """``function(*arrays)``, put off until asked for if an array is lazy.

    For small arrays and functions of many small steps, which would make a graph of thousands of tasks: here
    it is one. Shape and labels of the result must depend on those of the arrays alone.
    """
    if not any(array is not None and array.chunks for array in arrays):
        return function(*arrays)
    from dask import delayed
    from dask.array import from_delayed

    zeros = (None if array is None else array.copy(data=np.zeros(array.shape)) for array in arrays)
    template = function(*zeros)
    result = delayed(function)(*arrays)

    def later(field: xr.DataArray, values: Any) -> xr.DataArray:
        return field.copy(data=from_delayed(values.data, field.shape, field.dtype))

    if isinstance(template, xr.DataArray):
        return later(template, result)
    return template.assign({name: later(field, result[name]) for name, field in template.items()})
