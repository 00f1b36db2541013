"""Climatology, anomalies and trends of labelled data, lazily."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import numpy as np
import xarray as xr

from xforecast.cf.variables import Ambiguous, find_axis
from xforecast.errors import InvalidOption

__all__ = ["anomaly", "climatology", "detrend"]

Data = TypeVar("Data", xr.DataArray, xr.Dataset)


def climatology(data: Data, base: slice | tuple[str, str] | None = None) -> Data:
    """The mean annual cycle, month by month.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Monthly or finer, with a time axis of datetime64 or cftime stamps.
    base : slice or tuple of str, optional
        The base period, such as ``("1991", "2020")``; the whole record by default.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        A ``month`` dimension, 1 to 12, in place of time; missing values are left out of the means.

    Raises
    ------
    InvalidOption
        No time axis, or the base period lacks a calendar month.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> time = xr.date_range("2000-01", periods=24, freq="MS")
    >>> series = xr.DataArray(np.arange(24.0), [("time", time)])
    >>> climatology(series).values[:3]
    array([6., 7., 8.])
    """
    dim = _time_dim(data)
    period = slice(None) if base is None else base if isinstance(base, slice) else slice(*base)
    found = np.unique(data[dim].sel({dim: period}).dt.month)
    if len(found) < 12:
        raise InvalidOption("base", base, f"a period with all 12 calendar months; found months {found.tolist()}")

    def monthly_means(array: xr.DataArray) -> xr.DataArray:
        return array.sel({dim: period}).groupby(f"{dim}.month").mean(dim, keep_attrs=True)

    if isinstance(data, xr.Dataset):
        return data.drop_dims(dim).assign(_each(data, (dim,), monthly_means))
    return monthly_means(data)


def anomaly(data: Data, cycle: Data | None = None, base: slice | tuple[str, str] | None = None) -> Data:
    """Departures from the mean annual cycle.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Monthly or finer; a forecast is taken by its ``valid_time``.
    cycle : xarray.DataArray or xarray.Dataset, optional
        From `climatology`; that of ``data`` over ``base`` by default.
    base : slice or tuple of str, optional
        The base period.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Like ``data``; a ``standard_name`` gets the ending ``_anomaly``, so that everything that reads
        the result knows.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> time = xr.date_range("2000-01", periods=24, freq="MS")
    >>> series = xr.DataArray(np.arange(24.0), [("time", time)], attrs={"standard_name": "air_temperature"})
    >>> departures = anomaly(series)
    >>> departures.values[[0, 12]], departures.attrs["standard_name"]
    (array([-6.,  6.]), 'air_temperature_anomaly')
    """
    cycle = climatology(data, base) if cycle is None else cycle
    months = _stamps(data).dt.month.drop_vars("month", errors="ignore")

    def departures(array: xr.DataArray) -> xr.DataArray:
        own = cycle[array.name] if isinstance(cycle, xr.Dataset) else cycle
        result = array - own.sel(month=months).drop_vars("month")
        return _as_anomaly(result.transpose(*array.dims).assign_attrs(array.attrs).rename(array.name))

    return data.assign(_each(data, months.dims, departures)) if isinstance(data, xr.Dataset) else departures(data)


def _stamps(data: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Dates of the values: the valid time of a forecast, else the time axis."""
    if "valid_time" in data.coords:
        return data["valid_time"]
    return data[_time_dim(data)]


def _as_anomaly(array: xr.DataArray) -> xr.DataArray:
    endings = {"standard_name": "_anomaly", "long_name": " anomaly"}
    names = {key: str(array.attrs[key]) for key in endings if key in array.attrs}
    return array.assign_attrs(
        {key: name if name.endswith("anomaly") else name + endings[key] for key, name in names.items()}
    )


def detrend(data: Data, degree: int = 1) -> Data:
    """Without the polynomial trend of each cell, mean kept.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        With a time axis.
    degree : int, default 1
        Of the polynomial, fitted by least squares; missing values are left out.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Like ``data``. It looks ahead: every value depends on the whole record.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> time = xr.date_range("2000-01-01", periods=5, freq="D")
    >>> series = xr.DataArray(np.arange(5.0), [("time", time)])
    >>> np.allclose(detrend(series), 2.0)
    True
    """
    dim = _time_dim(data)

    def without_trend(array: xr.DataArray) -> xr.DataArray:
        numbered = array.assign_coords({dim: np.arange(array.sizes[dim], dtype=float)})
        fitted = numbered.polyfit(dim, degree, skipna=True).polyfit_coefficients
        trend = xr.polyval(numbered[dim], fitted)
        flat = (array - (trend - trend.mean(dim)).assign_coords({dim: array[dim]})).transpose(*array.dims)
        return flat.assign_attrs(array.attrs)

    return data.assign(_each(data, (dim,), without_trend)) if isinstance(data, xr.Dataset) else without_trend(data)


def _each(ds: xr.Dataset, dims: tuple, function: Callable[[xr.DataArray], xr.DataArray]) -> dict:
    """The function of every variable of numbers that varies along the dimensions, others being left as they are."""
    varying = {name: array for name, array in ds.data_vars.items() if array.ndim and set(dims) <= set(array.dims)}
    return {name: function(array) for name, array in varying.items() if array.dtype.kind in "iuf"}


def _time_dim(data: xr.DataArray | xr.Dataset):
    arrays = [data] if isinstance(data, xr.DataArray) else list(data.data_vars.values())
    for array in arrays:
        try:
            dim = find_axis(array, "time")
        except Ambiguous as several:
            raise InvalidOption("data", several.candidates, "one time axis", "drop or rename the others") from several
        if dim is not None and dim in array.coords and hasattr(array[dim], "dt"):
            return dim
    raise InvalidOption("data", dict(data.sizes), "a time axis with dates", "xarray.decode_cf(ds)")
