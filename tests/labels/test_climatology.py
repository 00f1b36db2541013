"""Laws of climatology, anomalies and trends."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest
import xarray as xr

from synthetic import cycle_values, sst_dataset
from xforecast.climatology import anomaly, climatology, detrend
from xforecast.errors import InvalidOption


@pytest.fixture
def record():
    """Four years of SST."""
    return sst_dataset(48)


def variants(record):
    yield record.sst
    yield record
    yield record.convert_calendar("noleap", use_cftime=True).sst
    yield record.sst.transpose("lon", "time", "lat")
    yield record.rename(time="T").sst


def test_anomalies_average_to_nothing_over_the_base(record):
    for data in variants(record):
        for base in (None, ("2001", "2002"), slice("2001", "2002")):
            departures = anomaly(data, base=base)
            dim = "T" if "T" in data.dims else "time"
            within = departures if base is None else departures.sel({dim: slice("2001", "2002")})
            mean = abs(within.groupby(f"{dim}.month").mean()).max()
            assert float(mean.to_dataarray().max() if isinstance(mean, xr.Dataset) else mean) < 1e-12
            assert departures.sizes == data.sizes


def test_adding_the_climatology_restores_the_data(record):
    cycle = climatology(record.sst, ("2000", "2001"))
    restored = anomaly(record.sst, cycle).groupby("time.month") + cycle
    np.testing.assert_allclose(restored.transpose(*record.sst.dims), record.sst)
    assert anomaly(record.sst, cycle).dims == record.sst.dims
    assert cycle.dims == ("month", "lat", "lon")
    assert cycle.dtype == record.sst.dtype


def test_the_climatology_of_the_cycle_is_the_cycle(record):
    pure = record.sst.copy(data=cycle_values()[record.time.dt.month.values - 1])
    np.testing.assert_allclose(climatology(pure), cycle_values(), rtol=1e-6)
    assert float(abs(anomaly(pure)).max()) < 1e-5


def test_attributes_say_what_it_is(record):
    departures = anomaly(record)
    assert departures.sst.attrs["standard_name"] == "sea_surface_temperature_anomaly"
    assert departures.sst.attrs["units"] == "degC"
    assert anomaly(departures).sst.attrs["standard_name"] == "sea_surface_temperature_anomaly"
    assert climatology(record.sst).attrs["units"] == "degC"
    assert record.sst.attrs["standard_name"] == "sea_surface_temperature"


@pytest.mark.parametrize("function", [climatology, anomaly, detrend])
def test_lazy_is_eager(function, record):
    wanted = function(record)
    lazy = function(record.chunk(time=7, lat=2))
    assert isinstance(lazy.sst.data, dask.array.Array)
    xr.testing.assert_allclose(lazy.compute(), wanted)
    assert {key: coord.dtype for key, coord in lazy.coords.items()} == {
        key: coord.dtype for key, coord in wanted.coords.items()
    }


@pytest.mark.parametrize("function", [climatology, anomaly, detrend])
def test_the_data_are_not_modified(function, record):
    before = record.copy(deep=True)
    function(record)
    function(record.sst)
    xr.testing.assert_identical(record, before)


def test_variables_without_time_pass(record):
    record["depth"] = (("lat", "lon"), np.ones((5, 8)), {"units": "m"})
    for function in (anomaly, detrend):
        result = function(record)
        np.testing.assert_array_equal(result.depth, record.depth)
        assert result.depth.dims == ("lat", "lon")
        assert result.depth.attrs == {"units": "m"}
        assert result.attrs == record.attrs
    assert "depth" in climatology(record)


def test_missing_values_are_left_out(record):
    record.sst[5, 2, 2] = np.nan
    departures = anomaly(record.sst)
    assert bool(np.isnan(departures[5, 2, 2]))
    assert bool(np.isfinite(departures[17, 2, 2]))
    assert bool(np.isfinite(detrend(record.sst)[6, 2, 2]))
    assert bool(detrend(record.sst)[:, 0, 0].isnull().all())


def test_detrending_takes_the_trend_and_keeps_the_mean(record):
    months = xr.DataArray(np.arange(48.0), dims="time")
    trend = record.sst.copy(data=(0.1 * months + 0 * record.sst).transpose(*record.sst.dims).values)
    ocean = record.sst + trend
    np.testing.assert_allclose(detrend(ocean), detrend(record.sst) + trend.mean("time"), atol=1e-9)
    np.testing.assert_allclose(detrend(ocean).mean("time"), ocean.mean("time"))
    twice = detrend(detrend(ocean))
    np.testing.assert_allclose(twice, detrend(ocean), atol=1e-9)
    bent = ocean + 0.01 * months**2
    np.testing.assert_allclose(detrend(bent, 2).std("time"), detrend(record.sst, 2).std("time"), rtol=1e-6)
    assert detrend(record.sst).attrs == record.sst.attrs


def test_a_base_without_every_month(record):
    with pytest.raises(InvalidOption, match=r"all 12 calendar months; found months \[1, 2, 3\]"):
        climatology(record, ("2000-01", "2000-03"))
    with pytest.raises(InvalidOption, match="all 12 calendar months"):
        climatology(record, ("1950", "1980"))


@pytest.mark.parametrize("function", [climatology, anomaly, detrend])
def test_data_without_dates(function):
    for data in (xr.DataArray([1.0, 2.0], dims="time"), xr.Dataset(), xr.DataArray(1.0)):
        with pytest.raises(InvalidOption, match="a time axis with dates"):
            function(data)
    numbered = xr.DataArray(np.arange(24.0), dims="time", coords={"time": np.arange(24)})
    with pytest.raises(InvalidOption, match="a time axis with dates"):
        function(numbered)


def test_a_forecast_is_taken_by_its_valid_time(record):
    from synthetic import persistence

    fc = persistence().forecast(record, init="all")
    spec = persistence().spec["sst"].climatology.values
    cycle = xr.DataArray(spec, dims=("month", "lat", "lon"), coords={"month": np.arange(1, 13)}, name="sst")
    for departures in (anomaly(fc, cycle.to_dataset()).sst, anomaly(fc.sst, cycle)):
        assert departures.dims == fc.sst.dims
        last = anomaly(record.sst, cycle).isel(time=slice(2, None)).values
        for lead in range(4):
            np.testing.assert_allclose(departures.isel(sample=0, lead=lead), last, atol=1e-4)
