"""Climatology, anomalies and trends of labelled data, lazily."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Any, TypeVar

import numpy as np
import xarray as xr

from xforecast.cf import axis_coordinate, find_coordinate, find_dimension, has_dates, named_like, target_months
from xforecast.errors import InvalidOption

__all__ = ["anomaly", "detrend", "monthly_climatology"]

Data = TypeVar("Data", xr.DataArray, xr.Dataset)
Period = slice | tuple[str, str] | None


def monthly_climatology(data: Data, base_period: Period = None, *, base: Period = None) -> Data:
    """The mean annual cycle, month by month.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Monthly or finer, with a time axis of datetime64 or cftime stamps.
    base_period : slice or tuple of str, optional
        The years to average, such as ``("1991", "2020")``; all of the record by default.
    base : slice or tuple of str, optional
        The earlier name of ``base_period``.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        A ``month`` dimension, 1 to 12, in place of time; missing values are left out of the means.

    Raises
    ------
    InvalidOption
        There is no time axis, or the base period lacks a calendar month.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> time = xr.date_range("2000-01", periods=24, freq="MS")
    >>> series = xr.DataArray(np.arange(24.0), [("time", time)])
    >>> monthly_climatology(series).values[:3]
    array([6., 7., 8.])
    """
    base_period = base if base_period is None else base_period
    dim = _time_dim(data)
    stamps = _dates(data, dim)
    chosen = _within(stamps, base_period)
    months = stamps.dt.month.values[chosen]
    if len(found := np.unique(months)) < 12:
        first, last = (str(stamps[k].values)[:4] for k in (0, -1)) if stamps.size else ("", "")
        raise InvalidOption(
            "base_period",
            base_period,
            f"a period with all 12 calendar months; found months {found.tolist()}",
            f"the data go from {first} to {last}: choose full years of these, or open a longer record",
        )

    def monthly_means(array: xr.DataArray) -> xr.DataArray:
        bare = array.drop_vars([name for name, coord in array.coords.items() if dim in coord.dims])
        numbers = xr.DataArray(months, dims=dim, name="calendar_month")
        means = bare.isel({dim: chosen}).groupby(numbers).mean(dim, keep_attrs=True)
        return means.rename(calendar_month="month")

    if isinstance(data, xr.Dataset):
        return data.drop_dims(dim).assign(_each(data, (dim,), monthly_means))
    return monthly_means(data)


def anomaly(data: Data, cycle: Data | None = None, base_period: Period = None, *, base: Period = None) -> Data:
    """Departures from the mean annual cycle.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        Monthly or finer; a forecast is taken by the dates for which it is valid.
    cycle : xarray.DataArray or xarray.Dataset, optional
        From `monthly_climatology`; that of ``data`` over the base period by default.
    base_period : slice or tuple of str, optional
        The years to average, such as ``("1991", "2020")``; all of the record by default.
    base : slice or tuple of str, optional
        The earlier name of ``base_period``.

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
    cycle = monthly_climatology(data, base_period, base=base) if cycle is None else cycle
    if "month" not in cycle.dims:
        remedy = "xforecast.climatology.monthly_climatology(record) gives one"
        raise InvalidOption("cycle", dict(cycle.sizes), "a dimension month, 1 to 12", remedy)
    months = _calendar_months(data)

    def departures(array: xr.DataArray) -> xr.DataArray:
        own = cycle[array.name] if isinstance(cycle, xr.Dataset) else cycle
        own = named_like(own.rename(month="calendar_month"), array)
        result = array - own.sel(calendar_month=months).drop_vars("calendar_month")
        if dict(result.sizes) != dict(array.sizes):
            found = f"{dict(own.sizes)}, which share {dict(result.sizes)} with the data"
            remedy = "select or regrid the one to the other; mind longitudes from 0 or from -180"
            raise InvalidOption("cycle", found, f"all the cells of the data, {dict(array.sizes)}", remedy)
        return _as_anomaly(result.transpose(*array.dims).assign_attrs(array.attrs).rename(array.name))

    return data.assign(_each(data, months.dims, departures)) if isinstance(data, xr.Dataset) else departures(data)


def _calendar_months(data: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Months 1 to 12 of the values: of the dates for which a forecast is valid, else of those of the time axis."""
    if find_coordinate(data, "lead") is not None:
        months = target_months(data) % 12 + 1
    else:
        months = _dates(data, _time_dim(data)).dt.month
    return months.drop_vars(list(months.coords))


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
        Degree of the polynomial, fitted by least squares; missing values are left out.

    Returns
    -------
    xarray.DataArray or xarray.Dataset
        Like ``data``. It looks ahead: every value depends on all of the record.

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
        bare = array.drop_vars([name for name, coord in array.coords.items() if dim in coord.dims])
        numbered = bare.assign_coords({dim: np.arange(array.sizes[dim], dtype=float)})
        fitted = numbered.polyfit(dim, degree, skipna=True).polyfit_coefficients
        trend = xr.polyval(numbered[dim], fitted)
        flat = array - (trend - trend.mean(dim)).drop_vars(dim)
        return flat.transpose(*array.dims).assign_attrs(array.attrs)

    return data.assign(_each(data, (dim,), without_trend)) if isinstance(data, xr.Dataset) else without_trend(data)


def _each(ds: xr.Dataset, dims: tuple, function: Callable[[xr.DataArray], xr.DataArray]) -> dict:
    """The function of every variable of numbers that varies along the dimensions, others being left as they are."""
    varying = {name: array for name, array in ds.data_vars.items() if array.ndim and set(dims) <= set(array.dims)}
    return {name: function(array) for name, array in varying.items() if array.dtype.kind in "iuf"}


def _time_dim(data: xr.DataArray | xr.Dataset) -> Any:
    """The dimension of dates, of a Dataset that of the first variable which has one."""
    for array in [data] if isinstance(data, xr.DataArray) else data.data_vars.values():
        dim = find_dimension(array, "time")
        if dim is not None and has_dates(_dates(array, dim)):
            return dim
    raise InvalidOption(
        "data",
        dict(data.sizes),
        "a time axis with dates",
        "xarray.decode_cf(ds) where it has units, else .assign_coords(time=('time', dates))",
    )


def _dates(data: xr.DataArray | xr.Dataset, dim: Hashable) -> xr.DataArray:
    """The coordinate that says when, along the time axis."""
    along = axis_coordinate(data, dim, "time")
    return data[dim] if along is None else along


def _within(stamps: xr.DataArray, period: Period) -> np.ndarray | slice:
    """Positions of the stamps that lie in a period, which may be stated in years, months or days."""
    if period is None:
        return slice(None)
    remedy = 'base_period=("1991", "2020")'
    if not isinstance(period, slice):
        if isinstance(period, str) or len(period) != 2:
            raise InvalidOption("base_period", period, "the first and the last year", remedy)
        period = slice(*map(str, period))
    places = xr.DataArray(np.arange(stamps.size), dims="date", coords={"date": stamps.values})
    try:
        chosen = np.sort(places.sortby("date").sel(date=period).values)
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidOption("base_period", period, "years or dates", remedy) from error
    contiguous = chosen.size > 0 and chosen[-1] - chosen[0] == chosen.size - 1
    return slice(int(chosen[0]), int(chosen[-1]) + 1) if contiguous else chosen
