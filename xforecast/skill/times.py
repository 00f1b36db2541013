"""Observations on the valid times of a forecast."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Literal, TypeVar

import numpy as np
import pandas as pd
import xarray as xr

from xforecast.cf import (
    coordinate,
    counts_months,
    dimension,
    has_dates,
    keywords,
    month_number,
    target_months,
    undated,
    valid_times,
    with_index,
)
from xforecast.errors import InvalidOption

__all__ = ["match_times"]

T = TypeVar("T", xr.DataArray, xr.Dataset)

ABSENT = -1
"""Place of a time that the record lacks."""


def match_times(
    forecast: xr.DataArray | xr.Dataset,
    observed: T,
    *,
    keep: Literal["all", "same_inits", "same_verifs"] = "all",
) -> T:
    """Observations at the valid time of every start and lead of a forecast.

    Parameters
    ----------
    forecast : DataArray or Dataset
        With coordinates of starts (a dimension or a scalar) and leads, such as `init` and `lead`. Valid times are
        those of its coordinate, such as `valid_time`, else start plus lead; leads are timedeltas, or numbers with
        units months, days, hours, minutes or seconds. With months, stamps match wherever in the month they lie.
    observed : DataArray or Dataset
        With a time axis, of datetime64 or cftime stamps as in the forecast.
    keep : {"all", "same_inits", "same_verifs"}
        Which pairs to keep, the others becoming NaN. "same_inits": starts that can be verified at every
        lead. "same_verifs": valid times that every lead verifies. Both make the scores of different leads
        comparable.

    Returns
    -------
    DataArray or Dataset
        `observed` with its time axis replaced by the start and lead dimensions of `forecast`, and NaN where it has
        no such time; of a larger region, the cells of the forecast; lazy if it was.

    Raises
    ------
    InvalidOption
        When times cannot be compared: no start, leads without units, several values for one month.

    Examples
    --------
    >>> time = xr.date_range("2000-01-01", periods=6, freq="D")
    >>> observed = xr.DataArray(np.arange(6.0), coords={"time": time})
    >>> lead = np.array([1, 2], "timedelta64[D]").astype("timedelta64[ns]")
    >>> forecast = xr.DataArray(np.zeros((5, 2)), coords={"init": time[:5], "lead": lead})
    >>> match_times(forecast, observed).values[-1]
    array([ 5., nan])
    >>> match_times(forecast, observed, keep="same_inits").values[-1]
    array([nan, nan])
    """
    if keep not in ("all", "same_inits", "same_verifs"):
        raise InvalidOption("keep", keep, '"all", "same_inits" or "same_verifs"', 'keep="all" keeps every pair')
    observed = _without_singles(with_index(observed, "time"), forecast)
    time = dimension(observed, "time")
    if not has_dates(observed[time]):
        raise undated(observed[time])
    place = places(forecast, observed[time])
    if keep != "all":
        place = place.where(_comparable(forecast, place, keep), ABSENT)
    return take(_cells_of(observed, forecast, time), place)


def _without_singles(observed: T, forecast: xr.DataArray | xr.Dataset) -> T:
    """The observations without dimensions of length 1 that the forecast has as scalars, such as one depth."""
    single = [name for name in observed.dims if observed.sizes[name] == 1 and name not in forecast.dims]
    return observed.squeeze([name for name in single if name in forecast.coords], drop=True)


def _cells_of(observed: T, forecast: xr.DataArray | xr.Dataset, time: Hashable) -> T:
    """The cells of the forecast, where the observations have those and more."""
    larger = {
        dim: forecast[dim].values
        for dim in forecast.dims
        if dim != time and dim in observed.dims and dim in observed.indexes and dim in forecast.indexes
        and observed.sizes[dim] > forecast.sizes[dim] and forecast.indexes[dim].isin(observed.indexes[dim]).all()
    }  # fmt: skip
    return observed.sel(larger) if larger else observed


def places(forecast: xr.DataArray | xr.Dataset, time: xr.DataArray) -> xr.DataArray:
    """Position in `time` of the valid time of every start and lead, or ABSENT."""
    lead = forecast[coordinate(forecast, "lead")]
    if counts_months(lead):
        return month_places(target_months(forecast), time)
    valid = valid_times(forecast)
    try:
        found = time.to_index().get_indexer(pd.Index(valid.values.ravel()))
    except (TypeError, pd.errors.InvalidIndexError) as error:
        raise InvalidOption(
            str(time.name),
            f"{error}",
            "each time once, of the calendar of the forecast",
            f"observed.drop_duplicates({time.name!r}), or observed.convert_calendar(...) to that of the forecast",
        ) from error
    return valid.copy(data=found.reshape(valid.shape))


def month_places(months: xr.DataArray, time: xr.DataArray) -> xr.DataArray:
    """Position in `time` of each month number, or ABSENT."""
    stamps = pd.Index(month_number(time))
    if not stamps.is_unique:
        raise InvalidOption(
            str(time.name),
            "several stamps in one month",
            "one value a month",
            f"observed.resample({keywords({time.name: 'MS'})}).mean() makes it so",
        )
    return months.copy(data=stamps.get_indexer(months.values.ravel()).reshape(months.shape))


def take(observed: T, place: xr.DataArray) -> T:
    """The observed values at these places, NaN at those ABSENT, with the dimensions of `place` for the time."""
    time = dimension(observed, "time")
    taken = pick(observed, time, place.clip(min=0))
    return taken if (place.values != ABSENT).all() else taken.where(place != ABSENT)


def pick(values: T, dim: Hashable, place: xr.DataArray) -> T:
    """Values at the positions `place` along `dim`, which its dimensions replace.

    Dask arrays are taken one column at a time: with one-dimensional positions dask makes a task for each chunk, with
    others a task for each point.
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
    by_lead = [place.isel({lead: k}).values for k in range(place.sizes[lead])] if lead in place.dims else [place.values]
    shared = set.intersection(*(set(np.ravel(p).tolist()) for p in by_lead)) - {ABSENT}
    return place.isin(sorted(shared))
