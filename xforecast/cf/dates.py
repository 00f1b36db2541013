"""Dates for which the values of a forecast are valid, and months by number."""

from __future__ import annotations

import numpy as np
import pandas as pd
import xarray as xr

from xforecast.cf.coordinates import coordinate, find_coordinate, find_valid_time, has_dates
from xforecast.errors import InvalidOption

__all__ = ["counts_months", "month_number", "target_months", "undated", "valid_times"]

MONTHS = frozenset({"month", "months", "mon", "mons"})
"""Units of leads that count months."""

TIMEDELTA_UNITS = {
    name: unit
    for unit, names in {
        "s": "s sec secs second seconds",
        "min": "min mins minute minutes",
        "h": "h hr hrs hour hours",
        "D": "d day days",
    }.items()
    for name in names.split()
}


def counts_months(lead: xr.DataArray) -> bool:
    """Whether leads are numbers of months."""
    return not np.issubdtype(lead.dtype, np.timedelta64) and lead.attrs.get("units") in MONTHS


def valid_times(forecast: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Dates of every start and lead: the forecast's own, or start plus lead where that is a length of time.

    Examples
    --------
    >>> lead = np.array([1, 2], "timedelta64[D]").astype("timedelta64[ns]")
    >>> forecast = xr.DataArray([1.0, 2.0], coords={"lead": lead}).assign_coords(init=np.datetime64("2000-01-01", "ns"))
    >>> valid_times(forecast).dt.day.values
    array([2, 3])
    """
    valid = find_valid_time(forecast)
    if valid is not None and has_dates(forecast[valid]):
        return forecast[valid]
    lead, init = forecast[coordinate(forecast, "lead")], forecast[coordinate(forecast, "init")]
    if np.issubdtype(lead.dtype, np.timedelta64):
        steps = pd.to_timedelta(lead.values.ravel())
    else:
        unit = TIMEDELTA_UNITS.get(str(lead.attrs.get("units")))
        if unit is None:
            raise InvalidOption(
                str(lead.name),
                f"dtype {lead.dtype}, units {lead.attrs.get('units')!r}",
                "timedeltas, or numbers of months, days, hours, minutes or seconds",
                f'forecast[{lead.name!r}].attrs["units"] = "months", or what they count',
            )
        steps = pd.to_timedelta(lead.values.ravel(), unit=unit)
    if not has_dates(init):
        raise undated(init)
    if init.dtype != object:
        return init + lead.copy(data=steps.values.reshape(lead.shape))
    starts, numbers = xr.broadcast(init, lead.copy(data=np.arange(lead.size).reshape(lead.shape)))  # cftime
    deltas = steps.to_pytimedelta()
    valid_stamps = [start + deltas[k] for start, k in zip(starts.values.ravel(), numbers.values.ravel(), strict=True)]
    return starts.copy(data=np.array(valid_stamps, dtype=object).reshape(starts.shape))


def month_number(times: xr.DataArray) -> np.ndarray:
    """Months since January 1970 of datetime64 or cftime stamps, whatever the day within the month.

    Examples
    --------
    >>> month_number(xr.DataArray(np.array(["1970-01-31", "1971-02-01"], "datetime64[ns]"), dims="time"))
    array([ 0, 13])
    """
    values = np.asarray(times.values)
    if np.issubdtype(values.dtype, np.datetime64):
        return values.astype("datetime64[M]").astype(np.int64)
    try:
        months = [12 * (t.year - 1970) + t.month - 1 for t in values.ravel()]
    except AttributeError:
        raise undated(times) from None
    return np.array(months, np.int64).reshape(values.shape)


def undated(times: xr.DataArray) -> InvalidOption:
    """The error for a coordinate without dates."""
    name = str(times.name)
    remedy = f"xarray.decode_cf(ds) where it has units, else .assign_coords({{{name!r}: ({times.dims}, dates)}})"
    return InvalidOption(name, f"dtype {times.dtype}", "datetime64 or cftime stamps", remedy)


def target_months(forecast: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Month number of the valid time of every start and lead; of a record, of every time."""
    if find_coordinate(forecast, "lead") is None:
        time = forecast[coordinate(forecast, "time")]
        return time.copy(data=month_number(time))
    lead = forecast[coordinate(forecast, "lead")]
    if counts_months(lead):
        init = forecast[coordinate(forecast, "init")]
        return init.copy(data=month_number(init)) + lead.astype(np.int64)
    valid = valid_times(forecast)
    return valid.copy(data=month_number(valid))
