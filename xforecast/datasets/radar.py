"""Radar rain: from files to a Dataset that any forecaster takes, and conversions between quantities.

A forecaster of rain wants rates in mm/h at even steps on a map in metres. `open_radar` gives that from
NetCDF with rates, amounts or reflectivity; the conversions are functions of their own, both ways.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path

import numpy as np
import xarray as xr

from xforecast.cf import dimension, find_dimension, has_dates, open_data, units, with_index
from xforecast.errors import DataFileError, InvalidOption
from xforecast.spec import TimeStep, seconds_between

__all__ = [
    "average_pixels",
    "open_radar",
    "rain_rate_from_amount",
    "rain_rate_from_reflectivity",
    "reflectivity_from_rain_rate",
    "vil_code_from_vil",
    "vil_from_vil_code",
]

RAIN_RATE = {"standard_name": "rainfall_rate", "long_name": "Rain rate", "units": "mm h-1"}
REFLECTIVITY = {
    "standard_name": "equivalent_reflectivity_factor",
    "long_name": "Equivalent reflectivity factor",
    "units": "dBZ",
}
VIL = {"long_name": "Vertically integrated liquid", "units": "kg m-2"}
VIL_CODE = {"long_name": "Vertically integrated liquid as SEVIR's code, 0 to 255", "units": "1"}
KEPT = ("grid_mapping", "cell_methods")

# Quantities that a file may hold, by the unit that tells them apart; reflectivity first, since no
# linear map connects decibels with anything else.
QUANTITIES = {"reflectivity": "dBZ", "rate": "mm h-1", "amount": "mm"}

# SEVIR's code X of vertically integrated liquid: nothing up to 5, linear up to 18, exponential above.
DRY_CODE, LINEAR_CODE, MISSING_CODE = 5, 18, 255
LINEAR_OFFSET, LINEAR_SCALE = 2.0, 90.66
LOG_OFFSET, LOG_SCALE = 83.9, 38.9


# ------------------------------------------------------------------ conversions


def rain_rate_from_reflectivity(reflectivity: xr.DataArray, a: float = 200.0, b: float = 1.6) -> xr.DataArray:
    """Rain rate from radar reflectivity, by Z = a R**b.

    Parameters
    ----------
    reflectivity : xarray.DataArray
        Equivalent reflectivity factor in dBZ, any dims; lazy stays lazy.
    a, b : float
        Constants for Z in mm6 m-3 and R in mm/h. The default is that of Marshall and Palmer; the
        Finnish composite is made with 223 and 1.53.

    Returns
    -------
    xarray.DataArray
        Rain rate in mm/h, same dims.

    Raises
    ------
    InvalidOption
        The data say that they are in another unit, or a constant is not positive.

    Notes
    -----
    Marshall and Palmer (1948), J. Meteor. 5, 165-166. Hail and melting snow reflect more than the rain
    that falls from them; many services cap the reflectivity near 55 dBZ first.

    Examples
    --------
    >>> dbz = xr.DataArray([23.0, 39.0], dims="x", attrs={"units": "dBZ"})
    >>> rain_rate_from_reflectivity(dbz).round(1).values
    array([ 1., 10.])
    """
    _check_constants(a, b)
    decibels = _in_units(reflectivity, "dBZ")
    return _labelled(10.0 ** ((decibels / 10 - float(np.log10(a))) / b), reflectivity, RAIN_RATE, "rain_rate")


def reflectivity_from_rain_rate(
    rain_rate: xr.DataArray, a: float = 200.0, b: float = 1.6, *, floor: float = -32.0
) -> xr.DataArray:
    """Radar reflectivity from rain rate, by Z = a R**b: the inverse of `rain_rate_from_reflectivity`.

    Parameters
    ----------
    rain_rate : xarray.DataArray
        In any unit of rain rate (mm/h, kg m-2 s-1, ...); without units, mm/h.
    a, b : float
        Constants for Z in mm6 m-3 and R in mm/h.
    floor : float, default -32
        The lowest reflectivity, in dBZ, which dry cells get.

    Returns
    -------
    xarray.DataArray
        In dBZ, same dims.

    Raises
    ------
    InvalidOption
        The data say that they are in another kind of unit, or a constant is not positive.

    Examples
    --------
    >>> rain = xr.DataArray([0.0, 10.0], dims="x", attrs={"units": "mm/h"})
    >>> reflectivity_from_rain_rate(rain).round(1).values
    array([-32.,  39.])
    """
    _check_constants(a, b)
    rate = _in_units(rain_rate, "mm h-1")
    lowest = float(10 ** ((floor / 10 - np.log10(a)) / b))
    # The comparison that keeps NaN: a missing rate is not a dry one.
    decibels = 10 * (float(np.log10(a)) + b * np.log10(xr.where(rate < lowest, rate.dtype.type(lowest), rate)))
    return _labelled(decibels, rain_rate, REFLECTIVITY, "reflectivity")


def rain_rate_from_amount(amount: xr.DataArray, time_step: str | TimeStep) -> xr.DataArray:
    """Mean rain rate from the amounts that fell in steps of a fixed length.

    Parameters
    ----------
    amount : xarray.DataArray
        Rain per step, in mm or kg m-2.
    time_step : str
        The length of a step, such as ``"5 minutes"``.

    Returns
    -------
    xarray.DataArray
        In mm/h, same dims.

    Examples
    --------
    >>> amount = xr.DataArray([0.5, 2.0], dims="time", attrs={"units": "mm"})
    >>> rain_rate_from_amount(amount, "5 minutes").values
    array([ 6., 24.])
    """
    seconds = TimeStep.parse(time_step).seconds
    if not seconds:
        raise InvalidOption("time_step", str(time_step), "a fixed length", "time_step='5 minutes', as long as they are")
    return _labelled(_in_units(amount, "mm") * (3600 / seconds), amount, RAIN_RATE, "rain_rate")


def average_pixels(rain_rate: xr.DataArray, factor: int) -> xr.DataArray:
    """Rain rate on coarser pixels: means of squares, missing where any pixel of the square is missing.

    Parameters
    ----------
    rain_rate : xarray.DataArray
        Dims (..., y, x) in any order; lazy stays lazy.
    factor : int
        Pixels of a square along each axis. Rows and columns at the end that fill no square are left out.

    Returns
    -------
    xarray.DataArray
        Same dims; coordinates are those of the centres of the squares.

    Examples
    --------
    >>> from xforecast.datasets import showers
    >>> rain = showers(frames=1, size=(8, 6), spacing=1000.0).rain_rate
    >>> coarse = average_pixels(rain, 2)
    >>> dict(coarse.sizes), coarse.x.values
    ({'time': 1, 'y': 4, 'x': 3}, array([1000., 3000., 5000.]))
    """
    if isinstance(factor, bool) or not isinstance(factor, int | np.integer) or factor < 1:
        raise InvalidOption("factor", factor, "a whole number, 1 or more", "factor=2 averages 2 x 2 pixels")
    if not isinstance(rain_rate, xr.DataArray):
        names = rain_rate.data_vars if isinstance(rain_rate, xr.Dataset) else ()
        name = next(map(str, names), "rain_rate")
        remedy = f"average_pixels(ds[{name!r}], {factor}).to_dataset()"
        raise InvalidOption("rain_rate", type(rain_rate).__name__, "a DataArray", remedy)
    space = [dimension(rain_rate, axis) for axis in ("y", "x")]
    smallest = min(rain_rate.sizes[dim] for dim in space)
    if smallest < factor:
        remedy = f"factor={max(smallest, 1)} or less"
        raise InvalidOption("rain_rate", dict(rain_rate.sizes), f"a map of {factor} pixels or more each way", remedy)
    squares = rain_rate.coarsen(dict.fromkeys(space, factor), boundary="trim")
    means = squares.mean(keep_attrs=True).where(squares.count() == factor**2)
    kept = {name: means[name].assign_attrs(coord.attrs) for name, coord in rain_rate.coords.items()}
    return means.assign_coords(kept).assign_attrs(rain_rate.attrs).rename(rain_rate.name)


def middle_cells(sizes: Mapping[Hashable, int], wanted: Mapping[Hashable, int]) -> dict[Hashable, slice]:
    """Slices of the middle of every dimension that is longer than wanted.

    Examples
    --------
    >>> middle_cells({"y": 8, "x": 4}, {"y": 4, "x": 4})
    {'y': slice(2, 6, None)}
    """
    first = {dim: (sizes[dim] - size) // 2 for dim, size in wanted.items() if sizes[dim] > size}
    return {dim: slice(start, start + wanted[dim]) for dim, start in first.items()}


def vil_from_vil_code(code: xr.DataArray) -> xr.DataArray:
    """Vertically integrated liquid in kg m-2 from SEVIR's code.

    0 up to code 5, (X - 2) / 90.66 up to 18, exp((X - 83.9) / 38.9) above.

    Parameters
    ----------
    code : xarray.DataArray
        Codes from 0 to 255, integers or, as in forecasts, numbers in between; any dims.

    Returns
    -------
    xarray.DataArray
        In kg m-2, floating; NaN for 255, which stands for a missing value.

    Notes
    -----
    Veillette, Samsi and Mattioli (2020), NeurIPS 33, supplement, equation 2. At 18 the published pieces
    differ by 0.007 kg m-2. SEVIR's thresholds 16, 74, 133, 160, 181 and 219 are codes.

    Examples
    --------
    >>> code = xr.DataArray([0, 16, 74, 133, 160, 181, 219, 255], dims="x")
    >>> vil_from_vil_code(code).round(2).values
    array([ 0.  ,  0.15,  0.78,  3.53,  7.07, 12.14, 32.23,   nan])
    """
    value = _floating(code)
    linear = (value - LINEAR_OFFSET) / LINEAR_SCALE
    exponential = np.exp((value - LOG_OFFSET) / LOG_SCALE)
    mass = xr.where(value > LINEAR_CODE, exponential, xr.where(value > DRY_CODE, linear, 0 * value))
    return _labelled(mass.where(value != MISSING_CODE), code, VIL, "vil")


def vil_code_from_vil(vil: xr.DataArray) -> xr.DataArray:
    """SEVIR's code from vertically integrated liquid: the inverse of `vil_from_vil_code`.

    Parameters
    ----------
    vil : xarray.DataArray
        In kg m-2 or a compatible unit.

    Returns
    -------
    xarray.DataArray
        Codes, not rounded, from 0 to 254; missing stays NaN.

    Examples
    --------
    >>> vil = xr.DataArray([0.0, 0.1, 3.53, 1e4], dims="x", attrs={"units": "kg m-2"})
    >>> vil_code_from_vil(vil).round(1).values
    array([  0. ,  11.1, 133. , 254. ])
    """
    mass = _floating(_in_units(vil, "kg m-2"))
    linear = LINEAR_OFFSET + LINEAR_SCALE * mass
    logarithmic = LOG_OFFSET + LOG_SCALE * np.log(mass.where(~(mass <= 0), 1.0))
    # The pieces overlap just above 18, where the logarithm would fall back below it.
    above = logarithmic.clip(LINEAR_CODE, MISSING_CODE - 1)
    code = xr.where(linear > LINEAR_CODE, above, xr.where(mass > 0, linear, 0 * mass))
    return _labelled(code, vil, VIL_CODE, "vil_code")


def _check_constants(a: float, b: float) -> None:
    if not (a > 0 and b > 0):
        raise InvalidOption("Z = a R**b", (a, b), "positive constants", "a=200, b=1.6 are those of Marshall and Palmer")


def _in_units(da: xr.DataArray, wanted: str) -> xr.DataArray:
    found = str(da.attrs.get("units", wanted))
    if not units.compatible(found, wanted):
        remedy = f".assign_attrs(units={wanted!r}) if that is what they are, else take another function of datasets"
        raise InvalidOption(f"units of {da.name!r}", found, f"a unit that converts to {wanted}", remedy)
    return units.conversion(found, wanted)(_floating(da))


def _floating(da: xr.DataArray) -> xr.DataArray:
    return da if da.dtype.kind == "f" else da.astype(np.float32 if da.dtype.itemsize < 4 else float)


def _labelled(values: xr.DataArray, source: xr.DataArray, attrs: dict, name: str) -> xr.DataArray:
    places = {**source.encoding, **source.attrs}
    labelled = values.copy(deep=False).drop_encoding().rename(name)
    labelled.attrs = attrs | {key: places[key] for key in KEPT if key in places}
    return labelled


# ------------------------------------------------------------------ files


def open_radar(
    path: str | os.PathLike | Sequence[str | os.PathLike],
    *,
    variable: str | None = None,
    a: float | None = None,
    b: float | None = None,
    time: slice | None = None,
) -> xr.Dataset:
    """Rain rate from NetCDF radar files, ready for any forecaster of rain.

    Parameters
    ----------
    path : path or sequence of paths
        NetCDF (or Zarr) with rain rate, rain amount per step or reflectivity over (time, y, x) or
        (time, lat, lon); several files are joined along time.
    variable : str, optional
        The variable's name, where several could be meant.
    a, b : float, optional
        Constants of Z = a R**b, for reflectivity. Without them, the file's attributes ``zr_a`` and ``zr_b``, else
        those of Marshall and Palmer, 200 and 1.6.
    time : slice, optional
        Part of the record, chosen before the cadence is checked.

    Returns
    -------
    xarray.Dataset
        ``rain_rate`` in mm/h, dims (time, y, x) under the file's own names, lazy; map coordinates in
        metres, the grid mapping kept, licence and source in ``attrs``.

    Raises
    ------
    DataFileError
        A file cannot be read, has no such variable, or its frames are not evenly spaced in time.

    Examples
    --------
    >>> import tempfile
    >>> dbz = xr.DataArray(
    ...     np.full((3, 2, 2), 23.0), dims=("time", "y", "x"),
    ...     coords={"time": xr.date_range("2024-06-01", periods=3, freq="5min"), "y": [0.5, 1.5], "x": [0.5, 1.5]},
    ...     attrs={"units": "dBZ", "standard_name": "equivalent_reflectivity_factor"},
    ... )
    >>> dbz["x"].attrs = {"standard_name": "projection_x_coordinate", "units": "km"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     dbz.to_dataset(name="dbz").to_netcdf(f"{folder}/radar.nc")
    ...     rain = open_radar(f"{folder}/radar.nc").load()
    >>> float(rain.rain_rate.mean().round(2)), rain.x.values
    (1.0, array([ 500., 1500.]))
    """
    paths = [path] if isinstance(path, str | os.PathLike) else list(path)
    if not paths:
        raise InvalidOption("path", paths, "at least one file", "check the pattern by which the files were listed")
    source = str(paths[0]) if len(paths) == 1 else f"{paths[0]} and {len(paths) - 1} more"
    opened = [_with_time(open_data(Path(one), chunks={})) for one in paths]
    names = {_find(ds, variable, str(one)) for ds, one in zip(opened, paths, strict=True)}
    if len(names) > 1:
        raise DataFileError(f"{source}: found variables {sorted(names)}, wanted the same in all\n  -> pass variable=")
    name, quantity = names.pop()
    parts = sorted((ds[name] for ds in opened), key=lambda part: part["time"].values[0])
    field = parts[0] if len(parts) == 1 else xr.concat(parts, "time", coords="minimal", compat="override", join="exact")
    if time is not None:
        field = field.sel(time=time)
    step = _even_step(field["time"].values, source)
    if quantity == "reflectivity":
        stated = {**opened[0].attrs, **field.attrs}
        a = float(stated.get("zr_a", 200.0)) if a is None else a
        b = float(stated.get("zr_b", 1.6)) if b is None else b
        rate = rain_rate_from_reflectivity(field, a, b)
    elif quantity == "amount":
        rate = rain_rate_from_amount(field, step)
    else:
        rate = _labelled(_in_units(field, "mm h-1"), field, RAIN_RATE, "rain_rate")
    ds = _in_metres(rate.to_dataset())
    ds.attrs = {**opened[0].attrs, "Conventions": "CF-1.11"}
    return ds


def _with_time(ds: xr.Dataset) -> xr.Dataset:
    """With the axis of dates, whatever the file calls it, under the name ``time``."""
    if "time" in ds.dims and "time" in ds.coords and has_dates(ds["time"]):
        return ds
    ds = with_index(ds, "time")
    dim = find_dimension(ds, "time")
    if dim in (None, "time") or not has_dates(ds[dim]):
        return ds
    return ds.drop_vars("time", errors="ignore").rename({dim: "time"})


def _find(ds: xr.Dataset, variable: str | None, source: str) -> tuple[str, str]:
    """The variable's name and the kind of quantity it is."""
    kinds = {str(name): _quantity(ds[name]) for name in ds.data_vars if {"time"} < set(ds[name].dims)}
    if variable is not None:
        kinds = {name: kind for name, kind in kinds.items() if name == variable}
    found = [(name, kind) for name, kind in kinds.items() if kind]
    if len(found) != 1:
        what = f"{len(found)} variables of rain or reflectivity ({', '.join(name for name, _ in found) or 'none'})"
        listing = ", ".join(f"{name} [{ds[name].attrs.get('units', 'no units')}]" for name in ds.data_vars)
        raise DataFileError(
            f"{source}: found {what}, wanted one over time; the file has {listing or 'no variables'}\n"
            "  -> name it with variable=, and see that its units are mm/h, mm, kg m-2 s-1 or dBZ"
        )
    return found[0]


def _quantity(da: xr.DataArray) -> str | None:
    found = str(da.attrs.get("units", ""))
    if da.attrs.get("standard_name") == REFLECTIVITY["standard_name"] and not found:
        return "reflectivity"
    for quantity, unit in QUANTITIES.items():
        if found and units.compatible(found, unit):
            return quantity
    return None


def _even_step(times: np.ndarray, source: str) -> TimeStep:
    if times.size < 2:
        raise DataFileError(
            f"{source}: found {times.size} frames, wanted at least 2\n  -> pass all files of a sequence"
        )
    seconds = np.diff(seconds_between(times, times[0]))
    step = float(np.median(seconds))
    odd = np.flatnonzero(np.abs(seconds - step) > 0.1 * max(step, 1.0))
    if step <= 0 or odd.size:
        at = int(odd[0]) if odd.size else 0
        raise DataFileError(
            f"{source}: found {seconds[at] / 60:g} minutes from {times[at]} to {times[at + 1]}, "
            f"wanted {step / 60:g} minutes throughout ({odd.size} steps differ)\n"
            "  -> add the missing frames, drop doubled ones, or choose a part without gaps with time=slice(...)"
        )
    return TimeStep(seconds=round(step))


def _in_metres(ds: xr.Dataset) -> xr.Dataset:
    """The data with map coordinates in metres; degrees stay degrees."""
    for name in [find_dimension(ds, axis) for axis in ("y", "x")]:
        coordinate = ds.coords.get(name)
        found = "" if coordinate is None else str(coordinate.attrs.get("units", ""))
        if coordinate is not None and found not in ("", "m") and units.compatible(found, "m"):
            metres = units.conversion(found, "m")(coordinate.astype(float))
            ds = ds.assign_coords({name: metres.assign_attrs({**coordinate.attrs, "units": "m"})})
    return ds
