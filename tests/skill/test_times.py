"""Observations on valid times."""

import numpy as np
import pytest
import xarray as xr

from xforecast import skill
from xforecast.errors import InvalidOption


@pytest.fixture
def minutes():
    time = xr.date_range("2020-06-01", periods=24, freq="5min")
    observed = xr.DataArray(np.arange(48.0).reshape(24, 2), coords={"time": time}, dims=("time", "x"))
    lead = (np.arange(1, 4) * np.timedelta64(5, "m")).astype("timedelta64[ns]")
    forecast = xr.DataArray(np.zeros((24, 3, 2)), coords={"init": time, "lead": lead}, dims=("init", "lead", "x"))
    return forecast, observed


def test_every_start_and_lead_gets_its_valid_time(minutes):
    forecast, observed = minutes
    aligned = skill.align(forecast, observed)
    assert aligned.dims == ("init", "lead", "x")
    for i in range(24):
        for k in range(3):
            expected = observed.values[i + k + 1] if i + k + 1 < 24 else [np.nan, np.nan]
            np.testing.assert_array_equal(aligned[i, k], expected)
    xr.testing.assert_equal(aligned.init, forecast.init)


def test_scores_do_it_by_themselves(minutes):
    forecast, observed = minutes
    forecast = forecast + 1
    expected = skill.rmse(forecast, skill.align(forecast, observed), dim=("init", "x"))
    xr.testing.assert_identical(skill.rmse(forecast, observed, dim=("init", "x")), expected)
    both = skill.rmse(forecast.to_dataset(name="rain"), observed.to_dataset(name="rain"), dim=("init", "x"))
    xr.testing.assert_identical(both.rain, expected.rename("rain"))


def test_lazy_and_datasets(minutes):
    forecast, observed = minutes
    expected = skill.align(forecast, observed)
    lazy = skill.align(forecast, observed.chunk(time=5))
    assert lazy.chunks is not None
    xr.testing.assert_identical(lazy.compute(), expected)
    many = skill.align(forecast.to_dataset(name="f"), observed.to_dataset(name="o").assign(p=observed + 1))
    xr.testing.assert_identical(many.o, expected.rename("o"))
    whole = observed.astype("uint8")
    assert skill.align(forecast.isel(init=slice(5)), whole).dtype == np.uint8  # nothing is missing


def test_a_single_start(minutes):
    forecast, observed = minutes
    one = skill.align(forecast.isel(init=20), observed)
    assert one.dims == ("lead", "x")
    np.testing.assert_array_equal(one[:, 0], [42, 44, 46])


@pytest.mark.parametrize("units", ["minutes", "min"])
def test_numbers_with_units(minutes, units):
    forecast, observed = minutes
    numbers = forecast.assign_coords(lead=("lead", [5, 10, 15], {"units": units}))
    np.testing.assert_array_equal(skill.align(numbers, observed), skill.align(forecast, observed))
    with pytest.raises(InvalidOption, match="months, days, hours"):
        skill.align(forecast.assign_coords(lead=[1, 2, 3]), observed)


def test_an_own_valid_time_goes_first(minutes):
    forecast, observed = minutes
    later = forecast.assign_coords(valid_time=forecast.init + 2 * forecast.lead)
    np.testing.assert_array_equal(skill.align(later, observed)[0, :, 0], [4, 8, 12])


def test_calendars(minutes):
    forecast, observed = minutes
    stamps = xr.date_range("2020-06-01", periods=24, freq="D", calendar="noleap", use_cftime=True)
    lead = (np.arange(1, 4) * np.timedelta64(1, "D")).astype("timedelta64[ns]")
    days = forecast.assign_coords(init=stamps, lead=lead)
    np.testing.assert_array_equal(
        skill.align(days, observed.assign_coords(time=stamps)), skill.align(forecast, observed)
    )
    months = forecast.assign_coords(lead=("lead", [1, 2, 3], {"units": "months"}))
    with pytest.raises(InvalidOption, match="cftime"):
        skill.align(months, observed.assign_coords(time=np.arange(24)))


def test_months_match_wherever_the_stamp_lies():
    time = xr.date_range("2000-01", periods=30, freq="MS") + np.timedelta64(14, "D")
    observed = xr.DataArray(np.arange(30.0), coords={"time": time})
    init = xr.date_range("2000-01", periods=12, freq="ME")
    lead = xr.DataArray([1, 12], dims="lead", attrs={"units": "months"})
    forecast = xr.DataArray(np.zeros((12, 2)), coords={"init": init, "lead": lead}, dims=("init", "lead"))
    np.testing.assert_array_equal(skill.align(forecast, observed), np.arange(12)[:, None] + [1, 12])


def test_same_inits_and_same_verifs(minutes):
    forecast, observed = minutes
    every = skill.align(forecast, observed).notnull().isel(x=0)
    assert every.sum("init").values.tolist() == [23, 22, 21]
    inits = skill.align(forecast, observed, keep="same_inits").notnull().isel(x=0)
    assert inits.sum("init").values.tolist() == [21, 21, 21]
    assert (inits.all("lead") == inits.any("lead")).all()
    verifs = skill.align(forecast, observed, keep="same_verifs").isel(x=0)
    times = [set(verifs.isel(lead=k).dropna("init").values) for k in range(3)]
    assert times[0] == times[1] == times[2]
    assert len(times[0]) == 21
    with pytest.raises(InvalidOption, match="keep"):
        skill.align(forecast, observed, keep="same")


def test_repeated_times_are_an_error(minutes):
    forecast, observed = minutes
    with pytest.raises(InvalidOption, match="each time once"):
        skill.align(forecast, xr.concat([observed, observed[:1]], "time"))


def test_a_larger_region_is_cut_to_the_cells_of_the_forecast():
    time = xr.date_range("2000-01-01", periods=4, freq="D")
    observed = xr.DataArray(np.arange(24.0).reshape(4, 6), {"time": time, "lon": np.arange(0, 60, 10)})
    lead = np.array([1], "timedelta64[D]").astype("timedelta64[ns]")
    forecast = xr.DataArray(np.zeros((2, 1, 3)), {"init": time[:2], "lead": lead, "lon": [20, 30, 40]})
    found = skill.align(forecast, observed)
    np.testing.assert_array_equal(found.lon, forecast.lon)
    assert float(skill.mae(forecast, observed)) == pytest.approx(float(found.mean()))


def test_units_that_differ_are_refused_and_names_of_one_unit_are_not():
    values = xr.DataArray([1.0, 2.0], dims="x")
    kelvin, celsius = values.assign_attrs(units="K"), values.assign_attrs(units="degC")
    with pytest.raises(InvalidOption, match="K and degC"):
        skill.mse(kelvin, celsius)
    assert skill.mse(values.assign_attrs(units="mm/h"), values.assign_attrs(units="mm h-1")).item() == 0
