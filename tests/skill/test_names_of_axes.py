"""Scores of data whose axes have names of their own, and remedies that work as they are printed."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr

from xforecast import skill
from xforecast.cf import conversion
from xforecast.errors import InvalidOption


@pytest.fixture
def observed():
    """Monthly temperatures over the tropical Pacific."""
    time = xr.date_range("2000-01", periods=24, freq="MS", unit="ns")
    lat, lon = np.arange(-10.0, 11.0, 5.0), np.arange(185.0, 246.0, 5.0)
    values = 27 + np.random.default_rng(0).normal(size=(24, lat.size, lon.size))
    return xr.DataArray(values, [("time", time), ("lat", lat), ("lon", lon)], name="sst", attrs={"units": "degC"})


@pytest.fixture
def forecast(observed):
    lead = xr.DataArray([1, 2], dims="lead", attrs={"units": "months"})
    starts = observed[:20].rename(time="init") + 1.0
    return starts.expand_dims(lead=2).assign_coords(lead=lead).assign_attrs(units="degC")


def test_the_region_is_found_whatever_latitude_is_called(observed):
    expected = skill.nino34(observed)
    xr.testing.assert_equal(skill.nino34(observed.rename(lat="lats", lon="lons")), expected)
    xr.testing.assert_equal(skill.nino34(observed.rename(lat="LAT", lon="Longitude")), expected)
    xr.testing.assert_allclose(skill.area_weights(observed.rename(lat="lats")).rename(lats="lat"),
                               skill.area_weights(observed))  # fmt: skip


def test_a_time_axis_called_date_is_one(forecast, observed):
    dated = (
        observed.rename(time="date").drop_vars("date").assign_coords(date=("date", observed.time.values, {"axis": "T"}))
    )
    assert skill.rmse(forecast, dated) == skill.rmse(forecast, observed)
    assert skill.match_times(forecast, dated).dims == skill.match_times(forecast, observed).dims


def test_forecast_and_observations_may_call_their_rows_differently(forecast, observed):
    elsewhere = observed.rename(lat="latitude", lon="longitude", time="Time")
    np.testing.assert_allclose(skill.rmse(forecast, elsewhere, dim="init"), skill.rmse(forecast, observed, dim="init"))
    aligned = skill.match_times(forecast, observed).rename(lat="latitude", lon="longitude")
    assert skill.rmse(forecast, aligned) == skill.rmse(forecast, observed)
    with pytest.raises(InvalidOption, match="mind the order of latitudes"):
        skill.rmse(forecast, elsewhere.isel(latitude=slice(None, None, -1)))


def test_indices_of_curvilinear_grids_are_taken_too(forecast, observed):
    lat, lon = xr.broadcast(observed.lat, observed.lon)
    bent = [
        field.drop_vars(["lat", "lon"]).rename(lat="j", lon="i").assign_coords(
            nav_lat=(("j", "i"), lat.values), nav_lon=(("j", "i"), lon.values))
        for field in (forecast, observed)
    ]  # fmt: skip
    np.testing.assert_allclose(skill.nino34_correlation(*bent), skill.nino34_correlation(forecast, observed))


def test_observations_without_dates_can_be_given_them(forecast, observed):
    dates = observed.time.values
    for undated in (observed.drop_vars("time").rename(time="rec"), observed.assign_coords(time=np.arange(24))):
        with pytest.raises(InvalidOption, match="assign_coords") as error:
            skill.rmse(forecast, undated)
        call = re.search(r"\.assign_coords\(.*\)", str(error.value))[0]
        dated = eval(f"observed{call}", {"observed": undated, "dates": dates})
        assert skill.rmse(forecast, dated) == skill.rmse(forecast, observed)


def test_dimensions_that_only_observations_have_can_be_taken_away(forecast, observed):
    deep = skill.match_times(forecast, observed).expand_dims({"my depth": 2})
    with pytest.raises(InvalidOption, match="those of the forecast") as error:
        skill.rmse(forecast, deep)
    for call in re.search("-> (.*)$", str(error.value))[1].split(", or "):
        assert skill.rmse(forecast, eval(call, {"observed": deep})) == skill.rmse(forecast, observed)


def test_units_that_differ_can_be_converted(forecast, observed):
    kelvin = (observed + 273.15).assign_attrs(units="K")
    with pytest.raises(InvalidOption, match="the same for both") as error:
        skill.rmse(forecast, kelvin)
    call = re.search(r"-> xforecast\.cf\.(.*)$", str(error.value))[1]
    same = eval(call, {"observed": kelvin, "conversion": conversion})
    assert float(skill.rmse(forecast, same)) == pytest.approx(float(skill.rmse(forecast, observed)))


def test_anomalies_are_converted_as_differences(forecast, observed):
    forecast, observed = (
        (field - 27).assign_attrs(units="degC", long_name="SST anomaly") for field in (forecast, observed)
    )
    with pytest.raises(InvalidOption, match="difference=True"):
        skill.rmse(forecast, observed.assign_attrs(units="K"))


def test_latitudes_in_other_units_can_be_given_in_degrees(observed):
    radians = observed.assign_coords(lat=("lat", np.deg2rad(observed.lat.values), {"units": "radians"}))
    with pytest.raises(InvalidOption, match="degrees") as error:
        skill.nino34(radians)
    call = re.search(r"\.assign_coords\(.*\)(?=,)", str(error.value))[0]
    degrees = eval(f"radians{call}", {"radians": radians, "latitudes": observed.lat.values})
    xr.testing.assert_allclose(skill.nino34(degrees), skill.nino34(observed))


def test_leads_without_units_can_be_given_them(forecast, observed):
    bare = forecast.assign_coords(lead=[1, 2])
    with pytest.raises(InvalidOption, match="months") as error:
        skill.rmse(bare, observed)
    exec(re.search(r"-> (.*), or", str(error.value))[1], {"forecast": bare})
    assert skill.rmse(bare, observed) == skill.rmse(forecast, observed)


def test_leads_without_numbers_are_not_counted_from_zero(forecast, observed):
    with pytest.raises(InvalidOption, match=r"assign_coords\(\{'lead'"):
        skill.nino34_correlation(forecast.drop_vars("lead"), observed)


def test_the_error_of_an_outlook_may_call_its_leads_otherwise():
    lead = xr.DataArray([1, 2, 3], dims="lead", attrs={"units": "months"})
    plume = xr.DataArray([[1.0, 1.2, 1.4], [0.2, 0.4, 0.3]], dims=("sample", "lead"),
                         coords={"lead": lead, "init": np.datetime64("2023-04-01")})  # fmt: skip
    error = xr.DataArray([0.5, 0.7, 0.9], [("lead", [1, 2, 3])])
    xr.testing.assert_equal(skill.enso_outlook(plume, error.rename(lead="step")), skill.enso_outlook(plume, error))
