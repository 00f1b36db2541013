"""Find variables in a Dataset: by CF attributes first, then by usual names."""

from __future__ import annotations

from collections.abc import Iterable

import xarray as xr

from xforecast.cf.coordinates import Ambiguous
from xforecast.errors import InvalidOption
from xforecast.spec import Variable

__all__ = ["find_variable", "is_anomaly", "only_variable", "wants_anomaly"]


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


def only_variable(
    data: xr.Dataset | xr.DataArray, standard_names: Iterable[str] = (), names: Iterable[str] = ()
) -> xr.DataArray:
    """The array itself, or the one variable of a Dataset that has such a standard name or name, or is the only one."""
    if isinstance(data, xr.DataArray):
        return data
    if not isinstance(data, xr.Dataset):
        raise InvalidOption(
            "data",
            type(data).__name__,
            "an xarray Dataset or DataArray",
            "xarray.DataArray(array, dims=..., coords=...)",
        )
    wanted = set(standard_names)
    found = [name for name, v in data.data_vars.items() if v.attrs.get("standard_name") in wanted]
    found = found or [name for name in names if name in data.data_vars] or list(data.data_vars)
    if len(found) != 1:
        raise InvalidOption(
            "variable",
            sorted(map(str, found)),
            f"one variable with standard_name {' or '.join(map(repr, sorted(wanted)))}" if wanted else "one variable",
            f"pass the variable itself, such as ds[{str(found[0])!r}]" if found else "open a file with a variable",
        )
    return data[found[0]]


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
