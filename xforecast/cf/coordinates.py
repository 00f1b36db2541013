"""Which coordinate is which: one table of how axes are named and marked, and the functions that read it.

Labels, climatology, scores, pictures and data sources all ask here, so that data which one of them takes, all of them
take. A coordinate says what it is by its ``standard_name``, then by other attributes, then by holding dates, then by a
usual name. Nothing is guessed: where two fit equally well, the error names both.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from keyword import iskeyword
from typing import Any, NamedTuple, TypeVar

import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.spec import is_cftime_date

__all__ = [
    "AXES",
    "Ambiguous",
    "Axis",
    "axis_coordinate",
    "coordinate",
    "degrees",
    "dimension",
    "find_axis",
    "find_coordinate",
    "find_dimension",
    "find_valid_time",
    "has_dates",
    "in_degrees",
    "keywords",
    "kinds_of",
    "named_like",
    "with_index",
]

Data = TypeVar("Data", xr.DataArray, xr.Dataset)
Marks = Mapping[str, tuple[str, ...]]
Name = Any
"""Name of a coordinate or dimension: any hashable, mostly a str, which is all that many signatures of xarray admit."""


class Axis(NamedTuple):
    """How coordinates of one kind are recognised.

    Parameters
    ----------
    standard_names : tuple of str
        CF standard names; the first is the one that remedies propose. They are looked for in ``long_name`` too.
    names : tuple of str
        Usual names, in lower case; the first is the one that remedies propose.
    marks : mapping
        Other attributes and their values that mark a coordinate of this kind.
    lesser_names : tuple of str
        Names that count only where no dimension has a usual one: ``height`` is a row, but not beside ``lat``.
    """

    standard_names: tuple[str, ...]
    names: tuple[str, ...]
    marks: Marks
    lesser_names: tuple[str, ...] = ()


def _units(word: str, letter: str) -> tuple[str, ...]:
    """The ways in which CF lets one write degrees north or east."""
    return tuple(f"{degree}{end}" for degree in ("degrees", "degree") for end in (f"_{word}", f"_{letter}", letter))


LATITUDES = ("lat", "latitude", "lats", "latitudes", "nav_lat", "ylat", "xlat")
LONGITUDES = ("lon", "longitude", "lons", "longitudes", "nav_lon", "xlon", "xlong", "long")
NORTH, EAST = _units("north", "N"), _units("east", "E")

AXES: dict[str, Axis] = {
    "sample": Axis(
        ("realization",),
        ("sample", "realization", "realisation", "member", "ensemble_member", "number", "ensemble", "ens"),
        {"axis": ("E",), "_CoordinateAxisType": ("Ensemble",), "grads_dim": ("e",)},
    ),
    "init": Axis(
        ("forecast_reference_time",),
        ("init", "forecast_reference_time", "reference_time", "reftime", "init_time", "initial_time"),
        {"_CoordinateAxisType": ("RunTime",)},
    ),
    "lead": Axis(
        ("forecast_period",),
        ("lead", "forecast_period", "lead_time", "leadtime", "step"),
        {"_CoordinateAxisType": ("TimeOffset",)},
    ),
    "time": Axis(
        ("time",),
        ("time", "t", "date", "dates", "datetime", "month", "valid_time"),
        {"axis": ("T",), "_CoordinateAxisType": ("Time",), "cartesian_axis": ("T",), "grads_dim": ("t",)},
    ),
    "latitude": Axis(("latitude",), LATITUDES, {"units": NORTH, "_CoordinateAxisType": ("Lat",)}),
    "longitude": Axis(("longitude",), LONGITUDES, {"units": EAST, "_CoordinateAxisType": ("Lon",)}),
    "y": Axis(
        ("latitude", "projection_y_coordinate", "grid_latitude", "projection_y_angular_coordinate"),
        ("y", *LATITUDES, "yc", "rlat", "northing", "northings"),
        {
            "axis": ("Y",),
            "units": NORTH,
            "_CoordinateAxisType": ("GeoY", "Lat"),
            "cartesian_axis": ("Y",),
            "grads_dim": ("y",),
            "long_name": ("cell index along second dimension",),
        },
        ("height", "row", "rows", "south_north", "nlat", "j"),
    ),
    "x": Axis(
        ("longitude", "projection_x_coordinate", "grid_longitude", "projection_x_angular_coordinate"),
        ("x", *LONGITUDES, "xc", "rlon", "easting", "eastings"),
        {
            "axis": ("X",),
            "units": EAST,
            "_CoordinateAxisType": ("GeoX", "Lon"),
            "cartesian_axis": ("X",),
            "grads_dim": ("x",),
            "long_name": ("cell index along first dimension",),
        },
        ("width", "column", "columns", "west_east", "nlon", "i"),
    ),
}
"""Kinds of coordinates. Latitudes are rows and longitudes columns, so whatever marks the former marks the latter."""

# How sure a coordinate is of its kind. A name of our own results outdoes even the standard name: who renames
# a record's ``time`` to ``init`` means it, and the old attributes come along.
OWN, STANDARD, MARKED, DATED, NAMED, LESSER = range(6)
OWN_NAMES = {"sample": "sample", "init": "init", "lead": "lead", "valid_time": "time"}
DEGREES = {"latitude": ("y", -90.0, 90.0), "longitude": ("x", -360.0, 720.0)}
"""Axis whose coordinate is one of degrees where it says nothing else, and the values that it may have."""


class Ambiguous(Exception):  # noqa: N818 - never reaches a user
    """Several candidates match.

    Parameters
    ----------
    candidates : iterable of hashable
        Their names.
    by_name : bool
        Whether it is by name alone, so that only another name can tell them apart.
    """

    def __init__(self, candidates: Iterable[Hashable], by_name: bool = False):
        self.candidates = sorted(str(candidate) for candidate in candidates)
        self.by_name = by_name


# ------------------------------------------------------------------ what one coordinate says


def _kinds(name: Hashable, variable: xr.Variable | None) -> dict[str, int]:
    """The kinds that a coordinate may be of, each with how sure that is: lower is surer.

    A dimension without a coordinate has a name only.
    """
    attrs = {} if variable is None else variable.attrs
    by_standard_name = [kind for kind, axis in AXES.items() if attrs.get("standard_name") in axis.standard_names]
    if name in OWN_NAMES and not {"y", "x"} & {*by_standard_name}:
        return {OWN_NAMES[str(name)]: OWN}
    if by_standard_name:
        return dict.fromkeys(by_standard_name, STANDARD)
    lower = str(name).lower()
    kinds = {kind: NAMED for kind, axis in AXES.items() if lower in axis.names}
    if not {"standard_name", "axis", "positive"} & attrs.keys():  # those of a height above ground say otherwise
        kinds |= {kind: LESSER for kind, axis in AXES.items() if lower in axis.lesser_names}
    if variable is None:
        return kinds
    if not {"init", "lead"} & kinds.keys():  # stamps of starts are dates, and often marked as a time axis
        kinds |= {"time": DATED} if has_dates(variable) else {}
        kinds |= {"time": MARKED} if _is_marked(attrs, AXES["time"]) else {}
    return kinds | {kind: MARKED for kind, axis in AXES.items() if kind != "time" and _is_marked(attrs, axis)}


def _is_marked(attrs: Mapping, axis: Axis) -> bool:
    """Whether attributes other than the standard name mark a coordinate of this kind, in any case of letters."""
    wanted = {"long_name": (), **axis.marks}
    wanted["long_name"] += axis.standard_names
    return any(str(attrs.get(key, "")).lower() in [value.lower() for value in values] for key, values in wanted.items())


def has_dates(variable: xr.Variable | xr.DataArray) -> bool:
    """Whether the values are dates, of datetime64 or cftime.

    Examples
    --------
    >>> has_dates(xr.DataArray(xr.date_range("2000-01", periods=2, freq="MS"), dims="t")), has_dates(xr.DataArray(1.0))
    (True, False)
    """
    if variable.dtype.kind != "O":
        return variable.dtype.kind == "M"
    if not variable.size or variable.chunks:
        return False
    return is_cftime_date(variable[dict.fromkeys(variable.dims, 0)].values.item())


def in_degrees(coordinate: xr.DataArray) -> bool:
    """Whether values can be geographic latitudes or longitudes: in degrees or no stated unit, on no map.

    Examples
    --------
    >>> in_degrees(xr.DataArray(5.0, attrs={"units": "degrees_north"})), in_degrees(xr.DataArray(5.0))
    (True, True)
    >>> in_degrees(xr.DataArray(5.0, attrs={"units": "km"}))
    False
    """
    unit = str(coordinate.attrs.get("units", "degrees")).lower()
    return "deg" in unit and not str(coordinate.attrs.get("standard_name", "")).startswith(("grid_", "projection_"))


# ------------------------------------------------------------------ looking through the data


def _coordinates(field: xr.DataArray | xr.Dataset) -> Iterator[tuple[Hashable, xr.Variable | None]]:
    """Names of coordinates and of dimensions without one."""
    yield from field.coords.variables.items()
    yield from ((name, None) for name in field.dims if name not in field.coords)


def _best(found: Mapping[Hashable, tuple]) -> Hashable | None:
    """The candidate with the lowest rank, or None; an exception where several have it."""
    if not found:
        return None
    lowest = min(found.values())
    best = [name for name, rank in found.items() if rank == lowest]
    if len(best) > 1:
        raise Ambiguous(best, by_name=lowest[0])
    return best[0]


def _rank(sureness: int, is_index: bool) -> tuple[bool, bool, int]:
    """Attributes go before names, and coordinates of a dimension before others: an ``event_time`` is beside a time."""
    return sureness >= NAMED, not is_index, sureness


def _find_coordinate(field: xr.DataArray | xr.Dataset, kind: str) -> Hashable | None:
    ranks = {
        name: _rank(kinds[kind], name in field.dims)
        for name, variable in _coordinates(field)
        if kind in (kinds := _kinds(name, variable)) and (kinds[kind] < LESSER or name in field.dims)
    }
    found = _best(ranks)
    return _implied(field, kind) if found is None else found


def _find_dimension(field: xr.DataArray | xr.Dataset, kind: str) -> Hashable | None:
    ranks: dict[Hashable, tuple] = {}
    for name, variable in _coordinates(field):
        dim = name if variable is None else variable.dims[0] if variable.ndim == 1 else None
        kinds = _kinds(name, variable)
        if dim is None or kind not in kinds or (dim != name and not _is_open(field, dim)):
            continue
        rank = _rank(kinds[kind], dim == name)
        ranks[dim] = min(rank, ranks.get(dim, rank))
    found = _best(ranks)
    if found is None and (implied := _implied(field, kind)) is not None:
        dims = field[implied].dims
        return dims[0] if len(dims) == 1 else None
    return found


def _is_open(field: xr.DataArray | xr.Dataset, dim: Hashable) -> bool:
    """Whether coordinates beside that of a dimension may say what it is: it has none, or only numbers its places."""
    own = field.coords.variables.get(dim)
    if own is None:
        return True
    plain = own.dtype.kind in "iuf" and "units" not in own.attrs
    return plain and all(sureness >= NAMED for sureness in _kinds(dim, own).values())


def _implied(field: xr.DataArray | xr.Dataset, kind: str) -> Hashable | None:
    """The coordinate that is of a kind by what else there is, though nothing says so; or None."""
    if kind in DEGREES:
        return _implied_degrees(field, *DEGREES[kind])
    if kind == "time" and _find_coordinate(field, "lead") is None:  # starts without leads are a record over time
        start = _find_dimension(field, "init")
        return start if start in field.coords and has_dates(field[start]) else None
    if kind == "init" and (lead := _find_dimension(field, "lead")) is not None:
        dated = {name: variable for name, variable in field.coords.variables.items() if has_dates(variable)}
        kinds = {name: _kinds(name, variable) for name, variable in dated.items()}
        times = {name: _rank(kinds[name]["time"], name in field.dims) for name in dated if "time" in kinds[name]}
        fixed = {name: rank for name, rank in times.items() if lead not in dated[name].dims}
        return _best(fixed) if len(fixed) < len(times) else None  # beside valid times, other times are those of starts
    return None


def _implied_degrees(field: xr.DataArray | xr.Dataset, axis: str, low: float, high: float) -> Hashable | None:
    """The coordinate of the rows (or columns) where it can be one of degrees."""
    dim = _find_dimension(field, axis)
    name = None if dim is None else _along(field, dim, axis)
    if name is None or not in_degrees(field[name]) or field[name].dtype.kind not in "iuf" or field[name].chunks:
        return None
    values = field[name].values
    return name if values.size and values.min() >= low and values.max() <= high else None


def _along(field: xr.DataArray | xr.Dataset, dim: Hashable, kind: str) -> Hashable | None:
    """Name of the coordinate that says where along a dimension of this kind one is: its own, or one beside it."""
    beside = {
        name: _rank(kinds[kind], False)
        for name, variable in field.coords.variables.items()
        if name != dim and variable.dims == (dim,) and kind in (kinds := _kinds(name, variable))
    }
    if beside and _is_open(field, dim):
        return _best(beside)
    return dim if dim in field.coords else None


# ------------------------------------------------------------------ for everybody


def find_axis(da: xr.DataArray, axis: str) -> Hashable | None:
    """The dimension that is the ``"time"``, ``"y"`` or ``"x"`` axis (or of another kind in `AXES`), or None.

    Raises `Ambiguous` when several match; `find_dimension` raises an error for users instead.
    """
    return _find_dimension(da, axis)


def find_dimension(field: xr.DataArray | xr.Dataset, kind: str) -> Name:
    """Name of the dimension of this kind, or None; an error where several fit equally well.

    The coordinate that marks it may have another name.

    Examples
    --------
    >>> field = xr.DataArray([[1.0, 2.0]], dims=("LAT", "cells"), coords={"cells": [0, 1]})
    >>> field["cells"].attrs["units"] = "degrees_east"
    >>> find_dimension(field, "latitude"), find_dimension(field, "x"), find_dimension(field, "time")
    ('LAT', 'cells', None)
    """
    try:
        return _find_dimension(field, kind)
    except Ambiguous as several:
        raise _one_of(kind, "dimension", several) from None


def find_coordinate(field: xr.DataArray | xr.Dataset, kind: str) -> Name:
    """Name of the coordinate of this kind, of any number of dimensions, or None; an error where several fit."""
    try:
        return _find_coordinate(field, kind)
    except Ambiguous as several:
        raise _one_of(kind, "coordinate", several) from None


def kinds_of(field: xr.DataArray | xr.Dataset, name: Hashable) -> set[str]:
    """The kinds that a coordinate or a dimension is of by its own attributes, values or name.

    Examples
    --------
    >>> field = xr.DataArray([1.0, 2.0], [("lat", [-10.0, 10.0])])
    >>> sorted(kinds_of(field, "lat"))
    ['latitude', 'y']
    """
    return set(_kinds(name, field.coords.variables.get(name)))


def find_valid_time(forecast: xr.DataArray | xr.Dataset) -> Name:
    """Name of the coordinate with the dates for which the values of a forecast are valid, or None.

    Those of starts are no such dates, even where a file calls them ``time``.

    Examples
    --------
    >>> days = xr.date_range("2000-01-01", periods=3, freq="D")
    >>> forecast = xr.DataArray([1.0, 2.0], dims="step", coords={"time": days[0], "valid_time": ("step", days[1:])})
    >>> find_valid_time(forecast)
    'valid_time'
    """
    lead = find_dimension(forecast, "lead")
    start = find_coordinate(forecast, "init")
    ranks = {
        name: _rank(kinds["time"], name not in forecast.dims)
        for name, variable in forecast.coords.variables.items()
        if name != start and (lead is None or lead in variable.dims) and "time" in (kinds := _kinds(name, variable))
    }
    try:
        return _best(ranks)
    except Ambiguous as several:
        raise _one_of("time", "coordinate", several) from None


def keywords(options: Mapping[Hashable, Any]) -> str:
    """Options for a method of xarray as one types them, for the remedy of an error.

    Examples
    --------
    >>> keywords({"lat": 0, "lon": 0}), keywords({"my lat": 0})
    ('lat=0, lon=0', "{'my lat': 0}")
    """
    if all(str(name).isidentifier() and not iskeyword(str(name)) for name in options):
        return ", ".join(f"{name}={value!r}" for name, value in options.items())
    return repr(dict(options))


def _one_of(kind: str, what: str, several: Ambiguous) -> InvalidOption:
    """The error for several candidates, with a line that leaves one."""
    first, *others = several.candidates
    if several.by_name:
        remedy = f".rename({keywords({name: f'other_{name}' for name in others})}) leaves {first!r}"
    else:
        remedy = f".drop_vars({others}) leaves {first!r}"
    return InvalidOption(f"{kind} {what}", several.candidates, "one", remedy)


def coordinate(field: xr.DataArray | xr.Dataset, kind: str) -> Name:
    """Name of the coordinate of this kind, or an error that lists what there is."""
    name = find_coordinate(field, kind)
    if name is None:
        known = AXES[kind]
        raise InvalidOption(
            f"{kind} coordinate",
            sorted({str(name) for name in (*field.coords, *field.dims)}),
            f"a coordinate with standard_name {' or '.join(map(repr, known.standard_names))}",
            f"rename it to {known.names[0]!r}, or set its standard_name",
        )
    return name


def dimension(field: xr.DataArray | xr.Dataset, kind: str) -> Name:
    """Name of the dimension of this kind, or an error that says what is missing."""
    name = find_dimension(field, kind)
    if name is None:
        name = coordinate(field, kind)
        dims = field[name].dims
        remedy = f".expand_dims({name!r}) makes it one"
        if dims:
            remedy = f"regrid the data to cells in rows and columns, of which {kind} is one"
        raise InvalidOption(f"{kind} dimension", tuple(field.dims), f"{name!r} among them", remedy)
    return name


def degrees(field: xr.DataArray | xr.Dataset, kind: str) -> xr.DataArray:
    """The ``"latitude"`` or ``"longitude"`` coordinate, or an error that says what to do.

    Examples
    --------
    >>> field = xr.DataArray([1.0, 2.0], [("LATS", [-10.0, 10.0])])
    >>> degrees(field, "latitude").values
    array([-10.,  10.])
    """
    name = coordinate(field, kind)
    if name not in field.coords or not in_degrees(field[name]):
        found = "no values" if name not in field.coords else f"units {field[name].attrs.get('units')!r}"
        remedy = f".assign_coords({{{name!r}: ({field[name].dims}, {kind}s)}}), an array in degrees"
        raise InvalidOption(f"{kind} coordinate {name!r}", found, "degrees", remedy)
    return field[name]


def axis_coordinate(field: xr.DataArray | xr.Dataset, dim: Hashable, kind: str) -> xr.DataArray | None:
    """The coordinate along the dimension of this kind: its own, or the one beside it that marks it; or None.

    Examples
    --------
    >>> field = xr.DataArray([1.0, 2.0], dims="row", coords={"lat": ("row", [5.0, 6.0])})
    >>> axis_coordinate(field, "row", "y").values
    array([5., 6.])
    """
    name = _name_along(field, dim, kind)
    return None if name is None else field[name]


def _name_along(field: xr.DataArray | xr.Dataset, dim: Hashable, kind: str) -> Name:
    try:
        return _along(field, dim, kind)
    except Ambiguous as several:
        raise _one_of(kind, "coordinate", several) from None


def with_index(data: Data, kind: str) -> Data:
    """The data with the dimension of this kind under the name of the coordinate that marks it.

    Nothing changes where that is the dimension's own, as mostly, or where there is no such dimension.

    Examples
    --------
    >>> field = xr.DataArray([1.0, 2.0], dims="row", coords={"lat": ("row", [5.0, 6.0])})
    >>> with_index(field, "y").dims
    ('lat',)
    """
    dim = find_dimension(data, kind)
    name = None if dim is None else _name_along(data, dim, kind)
    return data if name is None or name == dim else data.swap_dims({dim: name})


def named_like(data: Data, other: xr.DataArray | xr.Dataset, kinds: Iterable[str] = ("y", "x")) -> Data:
    """The data with the dimensions of these kinds under the names that they have in other data.

    Examples
    --------
    >>> found, wanted = xr.DataArray([1.0, 2.0], dims="lats"), xr.DataArray([1.0, 2.0], dims="LATITUDE")
    >>> named_like(found, wanted).dims
    ('LATITUDE',)
    """
    for kind in kinds:
        old, new = find_dimension(data, kind), find_dimension(other, kind)
        if old is None or new is None or old == new:
            continue
        data = with_index(data, kind)
        if new not in (*data.dims, *data.coords):
            data = data.rename({find_dimension(data, kind): new})
    return data
