"""Dates of a forecast: start plus lead, in any calendar, and months whatever the day."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

from xforecast.cf import counts_months, month_number, target_months, undated, valid_times
from xforecast.errors import InvalidOption


def forecast(lead: np.ndarray, units: str | None = None, calendar: str = "standard") -> xr.DataArray:
    init = xr.date_range("2000-01-29", periods=2, freq="D", calendar=calendar, use_cftime=calendar != "standard")
    attrs = {} if units is None else {"units": units}
    return xr.DataArray(
        np.zeros((2, len(lead))), [("init", init), ("lead", lead, {"standard_name": "forecast_period", **attrs})]
    )


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 200), st.sampled_from(["standard", "noleap"]))
def test_the_unit_of_a_lead_does_not_matter(hours, calendar):
    lead = np.array([3600 * hours], "timedelta64[s]").astype("timedelta64[ns]")
    counted = valid_times(forecast(np.array([hours]), "hours", calendar))
    assert (counted.values == valid_times(forecast(lead, None, calendar)).values).all()
    assert (counted.dt.hour == hours % 24).all()


@pytest.mark.parametrize("calendar", ["standard", "noleap", "360_day"])
def test_months_are_counted_whatever_the_day(calendar):
    months = target_months(forecast(np.array([1, 13]), "months", calendar))
    assert months.isel(init=0).values.tolist() == [361, 373]
    assert counts_months(forecast(np.array([1]), "months").lead)


def test_a_lead_without_a_unit_is_refused_with_a_remedy():
    with pytest.raises(InvalidOption, match=r'->.*attrs\["units"\] = "months"'):
        valid_times(forecast(np.array([1])))


def test_what_has_no_dates():
    with pytest.raises(InvalidOption, match="datetime64 or cftime"):
        raise undated(xr.DataArray([1.0], dims="time", name="time"))
    with pytest.raises(InvalidOption, match="time"):
        month_number(xr.DataArray(np.array([1, 2], object), dims="time", name="time"))
