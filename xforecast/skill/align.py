"""Observations on the valid times of a forecast."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from xforecast.cf.coordinates import MONTHS, T, coordinate, dimension, find_coordinate
from xforecast.errors import InvalidOption

__all__ = ["align"]

ABSENT = -1
"""Place of a time that the record lacks."""

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


def align(
    forecast: xr.DataArray | xr.Dataset,
    observed: T,
    *,
    keep: Literal["all", "same_inits", "same_verifs"] = "all",
) -> T:
    """Observations at the valid time of every start and lead of a forecast.

    Parameters
    ----------
    forecast : DataArray or Dataset
        With `init` (dimension or scalar) and `lead` coordinates. The valid time is its coordinate of that
        name, or ``init + lead``; leads are timedeltas, or numbers with units months, days, hours, minutes
        or seconds. With months, stamps match wherever in the month they lie.
    observed : DataArray or Dataset
        With a `time` dimension, of datetime64 or cftime stamps as in the forecast.
    keep : {"all", "same_inits", "same_verifs"}
        Which pairs to keep, the others becoming NaN. "same_inits": starts that can be verified at every
        lead. "same_verifs": valid times that every lead verifies. Both make the scores of different leads
        comparable.

    Returns
    -------
    DataArray or Dataset
        `observed` with `time` replaced by the start and lead dimensions of `forecast`, and NaN where it has
        no such time; of a larger region, the cells of the forecast; lazy if it was.

    Raises
    ------
    InvalidOption
        When times cannot be compared: no `init`, leads without units, several values for one month.

    Examples
    --------
    >>> time = xr.date_range("2000-01-01", periods=6, freq="D")
    >>> observed = xr.DataArray(np.arange(6.0), coords={"time": time})
    >>> lead = np.array([1, 2], "timedelta64[D]").astype("timedelta64[ns]")
    >>> forecast = xr.DataArray(np.zeros((5, 2)), coords={"init": time[:5], "lead": lead})
    >>> align(forecast, observed).values[-1]
    array([ 5., nan])
    >>> align(forecast, observed, keep="same_inits").values[-1]
    array([nan, nan])
    """
    time = dimension(observed, "time")
    place = places(forecast, observed[time])
    if keep != "all":
        place = place.where(_comparable(forecast, place, keep), ABSENT)
    return take(_cells_of(observed, forecast), place)


def _cells_of(observed: T, forecast: xr.DataArray | xr.Dataset) -> T:
    """The cells of the forecast, where the observations have those and more."""
    larger = {
        dim: forecast[dim].values
        for dim in forecast.dims
        if dim in observed.dims and dim in observed.indexes and dim in forecast.indexes
        and observed.sizes[dim] > forecast.sizes[dim] and forecast.indexes[dim].isin(observed.indexes[dim]).all()
    }  # fmt: skip
    return observed.sel(larger) if larger else observed


def places(forecast: xr.DataArray | xr.Dataset, time: xr.DataArray) -> xr.DataArray:
    """Position in `time` of the valid time of every start and lead, or ABSENT."""
    lead = forecast[coordinate(forecast, "lead")]
    if _in_months(lead):
        return month_places(target_months(forecast), time)
    valid = _valid_times(forecast, lead)
    try:
        found = time.to_index().get_indexer(pd.Index(valid.values.ravel()))
    except (TypeError, pd.errors.InvalidIndexError) as error:
        raise InvalidOption(str(time.name), f"{error}", "each time once, of the calendar of the forecast") from error
    return valid.copy(data=found.reshape(valid.shape))


def _valid_times(forecast: xr.DataArray | xr.Dataset, lead: xr.DataArray) -> xr.DataArray:
    if "valid_time" in forecast.coords:
        return forecast["valid_time"]
    init = forecast[coordinate(forecast, "init")]
    if np.issubdtype(lead.dtype, np.timedelta64):
        steps = pd.to_timedelta(lead.values.ravel())
    else:
        unit = TIMEDELTA_UNITS.get(str(lead.attrs.get("units")))
        if unit is None:
            raise InvalidOption(
                str(lead.name),
                f"dtype {lead.dtype}, units {lead.attrs.get('units')!r}",
                "timedeltas, or numbers of months, days, hours, minutes or seconds",
                f'set .{lead.name}.attrs["units"]',
            )
        steps = pd.to_timedelta(lead.values.ravel(), unit=unit)
    if init.dtype != object:
        return init + lead.copy(data=steps.values.reshape(lead.shape))
    starts, numbers = xr.broadcast(init, lead.copy(data=np.arange(lead.size).reshape(lead.shape)))  # cftime
    deltas = steps.to_pytimedelta()
    valid = [start + deltas[k] for start, k in zip(starts.values.ravel(), numbers.values.ravel(), strict=True)]
    return starts.copy(data=np.array(valid, dtype=object).reshape(starts.shape))


def month_number(times: xr.DataArray) -> np.ndarray:
    """Months since January 1970 of datetime64 or cftime stamps, whatever the day within the month."""
    values = np.asarray(times.values)
    if np.issubdtype(values.dtype, np.datetime64):
        return values.astype("datetime64[M]").astype(np.int64)
    try:
        months = [12 * (t.year - 1970) + t.month - 1 for t in values.ravel()]
    except AttributeError:
        raise InvalidOption(
            str(times.name),
            f"dtype {values.dtype}",
            "datetime64 or cftime stamps",
            "xr.decode_cf decodes them",
        ) from None
    return np.array(months, np.int64).reshape(values.shape)


def target_months(forecast: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """Month number of the valid time of every start and lead, or of every time."""
    if find_coordinate(forecast, "lead") is None:
        time = forecast[coordinate(forecast, "time")]
        return time.copy(data=month_number(time))
    lead = forecast[coordinate(forecast, "lead")]
    if _in_months(lead):
        init = forecast[coordinate(forecast, "init")]
        return init.copy(data=month_number(init)) + lead.astype(np.int64)
    valid = _valid_times(forecast, lead)
    return valid.copy(data=month_number(valid))


def _in_months(lead: xr.DataArray) -> bool:
    return not np.issubdtype(lead.dtype, np.timedelta64) and lead.attrs.get("units") in MONTHS


def month_places(months: xr.DataArray, time: xr.DataArray) -> xr.DataArray:
    """Position in `time` of each month number, or ABSENT."""
    stamps = pd.Index(month_number(time))
    if not stamps.is_unique:
        raise InvalidOption(
            str(time.name),
            "several stamps in one month",
            "one value a month",
            f'.resample({time.name}="MS").mean() makes it so',
        )
    return months.copy(data=stamps.get_indexer(months.values.ravel()).reshape(months.shape))


def take(observed: T, place: xr.DataArray) -> T:
    """The observed values at these places, NaN at those ABSENT, with the dimensions of `place` for the time."""
    time = dimension(observed, "time")
    taken = pick(observed, time, place.clip(min=0))
    return taken if (place.values != ABSENT).all() else taken.where(place != ABSENT)


def pick(values: T, dim: Hashable, place: xr.DataArray) -> T:
    """Values at the positions `place` along `dim`, which its dimensions replace.

    Of dask, one column at a time: by one-dimensional positions it takes in a task a chunk, else in a task a point.
    """
    bare = values.drop_vars([name for name, c in values.coords.items() if dim in c.dims])
    if place.ndim < 2 or not values.chunks:
        return bare.isel({dim: place.variable}).assign_coords(place.coords)
    *_, last = place.dims
    columns = [pick(bare, dim, place.isel({last: k}).reset_coords(drop=True)) for k in range(place.sizes[last])]
    stacked = xr.concat(columns, last, coords="minimal", compat="override", join="override")
    return stacked.transpose(*place.dims, ...).assign_coords(place.coords)


def take_months(observed: xr.DataArray, months: xr.DataArray) -> xr.DataArray:
    """The observed values of these month numbers, NaN for those that the record lacks."""
    return take(observed, month_places(months, observed[dimension(observed, "time")]))


def _comparable(forecast: xr.DataArray | xr.Dataset, place: xr.DataArray, keep: str) -> xr.DataArray:
    """Which pairs stay when every lead is to be verified with the same starts, or at the same times."""
    lead = coordinate(forecast, "lead")
    if keep == "same_inits":
        return (place != ABSENT).all(lead) & xr.ones_like(place, bool)
    if keep != "same_verifs":
        raise InvalidOption("keep", keep, '"all", "same_inits" or "same_verifs"')
    by_lead = [place.isel({lead: k}).values for k in range(place.sizes[lead])] if lead in place.dims else [place.values]
    shared = set.intersection(*(set(np.ravel(p).tolist()) for p in by_lead)) - {ABSENT}
    return place.isin(sorted(shared))
