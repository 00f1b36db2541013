"""The spec that describes a Dataset: what a model needs to know of the data that it is trained on."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import xarray as xr

from xforecast.cf import Ambiguous, axis_coordinate, find_axis, is_anomaly, with_index
from xforecast.errors import InvalidOption
from xforecast.labels.anomalies import Anomalies
from xforecast.labels.cells import in_metres
from xforecast.labels.climatology import monthly_climatology
from xforecast.labels.variables import as_dataset
from xforecast.spec import Climatology, DataSpec, Grid, TimeStep, Variable

__all__ = ["arrays_of", "fields_of", "make_spec", "names_of", "time_axis"]

AXES = ("time", "y", "x")
SAMENESS = 1e-6
"""A deviation of no more than this share of the largest value is no variation."""


def make_spec(
    ds: xr.Dataset | xr.DataArray,
    *,
    history: int,
    horizon: int,
    variables: Sequence[str] | None = None,
    targets: Sequence[str] | None = None,
    base: tuple[str, str] | None = None,
    calendar: Sequence[str] = (),
    transform: str | tuple[str, float] | Mapping[str, str | tuple[str, float]] | None = None,
    train: slice | None = None,
) -> DataSpec:
    """The specification that describes a Dataset.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        The data to train on.
    history, horizon : int
        Numbers of steps in and out.
    variables, targets : sequence of str, optional
        Names of the variables that go in, and of those that come out; all by default.
    base : tuple of str, optional
        Base period of a climatology; with it the network sees anomalies.
    calendar : sequence of {"annual", "diurnal"}
        Cycles to give to the network.
    transform : str, tuple or mapping, optional
        For skewed variables such as rain rate: a name in `xforecast.spec.TRANSFORMS`, or a name and its scale in the
        variable's units, such as ``("log1p", 0.5)``; for all variables or, in a mapping, by name.
    train : slice, optional
        The training period; statistics come from it alone.

    Returns
    -------
    DataSpec

    Raises
    ------
    InvalidOption
        A name that the data do not have, a variable that is constant or not finite, or data without the three axes.

    Examples
    --------
    >>> time = xr.date_range("2000-01", periods=24, freq="MS")
    >>> field = xr.DataArray(
    ...     np.arange(96.0).reshape(24, 2, 2), [("time", time), ("lat", [0.0, 5.0]), ("lon", [10.0, 15.0])],
    ...     name="t", attrs={"units": "K"},
    ... )
    >>> make_spec(field, history=3, horizon=2)
    DataSpec
      variables  t [K]
      targets    t
      grid       latlon, 2 x 2, 5 degrees, 0-5N, 10E-15E
      time       3 steps in, 2 steps out, 1 month each
    """
    ds = with_index(as_dataset(ds), "time")
    names, goals = _chosen(ds, names_of(variables), names_of(targets))
    dims = _axes(ds[names[0]])
    times = ds[dims["time"]].values
    if len(times) < 2:
        wanted = f"at least {history + horizon}"
        raise InvalidOption("ds", f"{len(times)} time steps", wanted, "open a longer record")
    period = ds if train is None else ds.sel({dims["time"]: train})
    transforms = _transforms(transform, names)
    described = [_describe(ds[name], period[name], dims, base, transforms.get(name)) for name in names]
    mask = _always_known(period, goals, dims)
    return DataSpec(
        described,
        _grid(ds, dims),
        str(TimeStep.of(np.sort(times))),
        history=history,
        horizon=horizon,
        targets=tuple(goals),
        calendar=names_of(calendar),
        mask=None if mask.all() else mask,
    )


def _chosen(ds: xr.Dataset, names: list[str], goals: list[str]) -> tuple[list[str], list[str]]:
    """Names of the variables that go in, targets first and in order, as models have it, and of those that come out."""
    names = names or fields_of(ds)
    if missing := [name for name in names if name not in ds]:
        known = list(ds.data_vars)
        raise InvalidOption("variables", missing, f"names among {known}", f"variables={known[:1]}")
    if not names:
        wanted = "a variable with a time, a y and an x axis"
        raise InvalidOption("ds", list(ds.data_vars), wanted, "ds.expand_dims(...) or ds.rename(...) makes them")
    goals = goals or names
    if missing := [name for name in goals if name not in names]:
        raise InvalidOption("targets", missing, f"names among {names}", f"targets={names[:1]}")
    return [*goals, *(name for name in names if name not in goals)], goals


def _always_known(period: xr.Dataset, goals: list[str], dims: Mapping[str, Hashable]) -> np.ndarray:
    """The cells where every target has a value at some time, shape (y, x)."""
    known = xr.Dataset({str(name): period[name].notnull().any([dims["time"]]) for name in goals}).compute()
    mask = np.ones([period.sizes[dims["y"]], period.sizes[dims["x"]]], bool)
    for valid in known.data_vars.values():
        mask &= valid.transpose(dims["y"], dims["x"], ...).values.reshape(mask.shape)
    return mask


# ------------------------------------------------------------------ names and axes


def arrays_of(ds: xr.Dataset | xr.DataArray) -> list[xr.DataArray]:
    """The variables, or the one array."""
    return [ds] if isinstance(ds, xr.DataArray) else list(ds.data_vars.values())


def time_axis(ds: xr.Dataset | xr.DataArray) -> Hashable | None:
    """The time axis of the first variable that has one."""
    return next((dim for array in arrays_of(ds) if (dim := _found(array, "time")) is not None), None)


def names_of(given: str | Sequence[str] | None) -> list[str]:
    """One name or several, as a list."""
    return [given] if isinstance(given, str) else list(given or ())


def fields_of(ds: xr.Dataset) -> list[str]:
    """Variables that have a time, a y and an x axis."""
    return [str(name) for name in ds.data_vars if all(_found(ds[name], axis) for axis in AXES)]


def _found(array: xr.DataArray, axis: str) -> Hashable | None:
    try:
        return find_axis(array, axis)
    except Ambiguous:
        return None


def _axes(array: xr.DataArray) -> dict[str, Hashable]:
    dims = {axis: _found(array, axis) for axis in AXES}
    if absent := [axis for axis, dim in dims.items() if dim is None]:
        wanted = f"one {' and one '.join(absent)} axis, named or with CF attributes"
        marks = " or ".join(f"axis={mark!r}" for axis, mark in zip(AXES, "TYX", strict=True) if axis in absent)
        remedy = f"set the attribute {marks} on the right coordinate"
        raise InvalidOption(f"variable {array.name!r}", array.dims, wanted, remedy)
    return {axis: dim for axis, dim in dims.items() if dim is not None}


# ------------------------------------------------------------------ variables


def _transforms(transform: Any, names: Sequence[str]) -> dict[str, tuple[str, float]]:
    """Name and scale of the transform of every variable that has one."""
    chosen = dict(transform) if isinstance(transform, Mapping) else dict.fromkeys(names if transform else (), transform)
    if unknown := sorted(set(chosen) - set(names)):
        example = f"transform={{{names[0]!r}: 'log1p'}}"
        raise InvalidOption("transform", unknown, f"names among {', '.join(names)}", example)
    pairs = {name: (entry, 1.0) if isinstance(entry, str) else tuple(entry) for name, entry in chosen.items()}
    if odd := [entry for entry in pairs.values() if len(entry) != 2]:
        wanted = "a name, or a name and its scale, such as ('log1p', 0.5)"
        raise InvalidOption("transform", odd[0], wanted, "transform=('log1p', 0.5)")
    return pairs


def _describe(
    array: xr.DataArray, period: xr.DataArray, dims: Mapping[str, Hashable], base, transform: tuple[str, float] | None
) -> Variable:
    """A variable with its normalisation, from the values of the training period."""
    cycle = None
    if base is not None and not is_anomaly(array, str(array.name)):
        cycle = _climatology(array, dims, base)
        bare = xr.DataArray(period.variable).rename({dims[axis]: axis for axis in AXES})
        period = period.copy(data=Anomalies(cycle).apply(bare, period[dims["time"]].values).data)
    facts = _facts(mean=period.mean(), deviation=period.std(), largest=abs(array).max(), missing=array.isnull().any())
    _check_varies(array, period, facts)
    mean, deviation = facts["mean"], facts["deviation"]
    standard_name = array.attrs.get("standard_name")
    centre = mean if cycle is None else 0.0
    variable = Variable(
        name=str(array.name),
        units=str(array.attrs.get("units", "1")),
        standard_names=[standard_name] if standard_name else [],
        long_name=str(array.attrs.get("long_name", "")),
        offset=centre,
        scale=deviation,
        climatology=cycle,
        fill=centre if facts["missing"] else None,
        statistics=(mean, deviation),
    )
    return variable if transform is None else _transformed(variable, period, *transform)


def _climatology(array: xr.DataArray, dims: Mapping[str, Hashable], base: tuple[str, str]) -> Climatology:
    monthly = monthly_climatology(array, base).transpose("month", dims["y"], dims["x"], ...)
    return Climatology(base, monthly.values.reshape(12, array.sizes[dims["y"]], array.sizes[dims["x"]]))


def _check_varies(array: xr.DataArray, period: xr.DataArray, facts: Mapping[str, float]) -> None:
    """Nothing can be learnt from a variable that is constant, infinite or missing."""
    option = f"variable {array.name!r}"
    if not np.isfinite(facts["mean"]):
        infinite = bool(np.isinf(period).any())
        found = "infinite values" if infinite else "no values in the training period"
        finite = f"ds[{str(array.name)!r}].where(abs(ds[{str(array.name)!r}]) < float('inf'))"
        remedy = finite if infinite else f"ds.drop_vars({str(array.name)!r}), or another training period"
        raise InvalidOption(option, found, "some values, all finite or missing", remedy)
    if facts["deviation"] <= SAMENESS * facts["largest"]:
        raise InvalidOption(option, f"{facts['mean']:g} everywhere", "values that vary", "leave it out")


def _transformed(variable: Variable, period: xr.DataArray, transform: str, scale: float) -> Variable:
    """The variable with a transform, normalised by the statistics of the transformed values; missing values are 0."""
    bare = replace(variable, offset=0.0, scale=1.0, transform=transform, transform_scale=scale)
    values = xr.apply_ufunc(bare.to_network, period, dask="parallelized", output_dtypes=[period.dtype])
    facts = _facts(mean=values.mean(), deviation=values.std())
    fill = None if variable.fill is None else 0.0
    return replace(bare, offset=facts["mean"], scale=facts["deviation"], fill=fill)


def _facts(**found: xr.DataArray) -> dict[str, float]:
    """Numbers about a record; lazy data are read once for all of them, piece by piece."""
    return {str(name): float(value) for name, value in xr.Dataset(found).compute().data_vars.items()}


# ------------------------------------------------------------------ the grid


def _grid(ds: xr.Dataset, dims: Mapping[str, Hashable]) -> Grid:
    shape = (ds.sizes[dims["y"]], ds.sizes[dims["x"]])
    y, x = (axis_coordinate(ds, dims[axis], axis) for axis in ("y", "x"))
    if y is None or x is None or any(coordinate.dtype.kind not in "iuf" for coordinate in (y, x)):
        return Grid("pixel", shape)
    unit, standard_name = str(y.attrs.get("units", "")), str(y.attrs.get("standard_name", ""))
    degrees = "degree" in unit or standard_name == "latitude"
    if degrees or (not standard_name and str(y.name).lower().startswith("lat")):
        return Grid.latlon(y.values, x.values)
    rows = in_metres(y.values.astype(float), unit)
    columns = in_metres(x.values.astype(float), str(x.attrs.get("units", unit)))
    if rows is None or columns is None:
        return Grid("pixel", shape)
    return Grid("projected", shape, tuple(rows), tuple(columns))
