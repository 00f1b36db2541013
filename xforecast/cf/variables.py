"""Find variables and axes in a Dataset: by CF attributes first, then by usual names."""

from __future__ import annotations

from collections.abc import Hashable, Iterable

import xarray as xr

from xforecast.spec import Variable

__all__ = ["find_axis", "find_variable", "is_anomaly", "wants_anomaly"]

AXES: dict[str, dict[str, tuple[str, ...]]] = {
    # what cf-xarray calls it, standard names, usual names in files
    "time": {
        "keys": ("T", "time"),
        "standard_names": ("time",),
        "names": ("time", "t", "date", "dates", "datetime", "month", "valid_time"),
    },
    "y": {
        "keys": ("Y", "latitude"),
        "standard_names": ("latitude", "projection_y_coordinate", "grid_latitude"),
        "names": ("lat", "latitude", "y", "yc", "rlat", "nav_lat", "northing", "lats", "ylat"),
    },
    "x": {
        "keys": ("X", "longitude"),
        "standard_names": ("longitude", "projection_x_coordinate", "grid_longitude"),
        "names": ("lon", "longitude", "x", "xc", "rlon", "nav_lon", "easting", "lons", "xlon"),
    },
}


class Ambiguous(Exception):  # noqa: N818 - never leaves the label layer
    """Several candidates match."""

    def __init__(self, candidates: Iterable[Hashable]):
        self.candidates = sorted(str(candidate) for candidate in candidates)


def find_variable(ds: xr.Dataset, wanted: Variable) -> str | None:
    """The name of the one data variable that is ``wanted``, or None.

    A matching CF standard name wins over a matching name. Raises `Ambiguous` when several match.
    """
    names = {name.lower() for name in (wanted.name, *wanted.aliases)}
    standard_names = set(wanted.standard_names)
    if wanted.anomaly:
        standard_names |= {f"{name}_anomaly" for name in wanted.standard_names}
        names |= {f"{name}{ending}" for name in tuple(names) for ending in ("a", "_anom", "_anomaly", "anom")}
    criteria = (
        lambda name: ds[name].attrs.get("standard_name") in standard_names,
        lambda name: str(name).lower() in names,
    )
    for matches in criteria:
        found = [str(name) for name in ds.data_vars if matches(name) and ds[name].ndim >= 2]
        if len(found) > 1:
            raise Ambiguous(found)
        if found:
            return found[0]
    return None


def find_axis(da: xr.DataArray, axis: str) -> Hashable | None:
    """The dimension of ``da`` that is its ``"time"``, ``"y"`` or ``"x"`` axis, or None.

    Raises `Ambiguous` when several match.
    """
    facts = AXES[axis]
    criteria = (
        lambda: _dims_of(da, _by_standard_name(da, facts["standard_names"])),
        lambda: _dims_of(da, _by_cf(da, facts["keys"])),
        lambda: {dim for dim in da.dims if axis == "time" and _is_time(da, dim)},
        lambda: {dim for dim in da.dims if str(dim).lower() in facts["names"]},
    )
    for candidates in criteria:
        found = candidates()
        if len(found) > 1:
            raise Ambiguous(found)
        if found:
            return found.pop()
    return None


def is_anomaly(da: xr.DataArray, name: str) -> bool:
    """Whether a variable calls itself an anomaly: by standard name, cell methods or name."""
    if "anomaly_wrt" in str(da.attrs.get("cell_methods", "")):
        return True
    return _anomalous(str(da.attrs.get("standard_name", "")), name, str(da.attrs.get("long_name", "")))


def wants_anomaly(variable: Variable) -> bool:
    """Whether a model takes a variable as an anomaly and has no climatology to make it one."""
    if variable.climatology is not None:
        return False
    return _anomalous(next(iter(variable.standard_names), ""), variable.name, variable.long_name)


def _anomalous(standard_name: str, name: str, long_name: str) -> bool:
    if standard_name.endswith("_anomaly") or "anom" in f"{name} {long_name}".lower():
        return True
    return not standard_name and name.lower() in {"ssta", "sst_a"}


def _by_standard_name(da: xr.DataArray, wanted: tuple[str, ...]) -> set:
    return {name for name, coord in da.coords.items() if coord.attrs.get("standard_name") in wanted}


def _by_cf(da: xr.DataArray, keys: tuple[str, ...]) -> set:
    import cf_xarray  # noqa: F401 - registers .cf

    found = {**da.cf.axes, **da.cf.coordinates}
    return {name for key in keys for name in found.get(key, ())}


def _dims_of(da: xr.DataArray, names: set) -> set:
    """Those of the named coordinates that are one-dimensional, as dimensions of ``da``."""
    return {da[name].dims[0] for name in names if da[name].ndim == 1 and da[name].dims[0] in da.dims}


def _is_time(da: xr.DataArray, dim) -> bool:
    if dim not in da.coords:
        return False
    coord = da[dim]
    if coord.dtype.kind == "M":
        return True
    return coord.dtype == object and coord.size > 0 and hasattr(coord.values[0], "calendar")
