"""However the data are written, the forecast is the same, in the data's own labels, and the data stay as they are.

Also guards `conformed.py` and `way_back.py` and `windows.py`.
"""

from __future__ import annotations

import copy

import numpy as np
import pytest
import xarray as xr
from hypothesis import HealthCheck, example, given, settings
from variants import variants, written

from synthetic import HISTORY, LAT, LON, MASK, persisted, persistence, sst_dataset, sst_spec

PLAIN = {
    "names": ("sst", "time", "lat", "lon"), "order": (0, 1, 2), "flipped": False, "longitude": "0..360",
    "units": "degC", "dtype": "f4", "calendar": "datetime64[ns]", "stamps": "first", "extra": False, "larger": False,
    "chunks": None, "as_array": False,
}  # fmt: skip
quickly = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


def _tolerance(how) -> float:
    return 2e-3 if how["dtype"] == "packed" else 2e-4


def _celsius(field: xr.DataArray, how) -> xr.DataArray:
    return field - 273.15 if how["units"] in ("K", "kelvin") else field


def _on_model_grid(field: xr.DataArray, how) -> np.ndarray:
    """Values as (..., y, x) in the model's order."""
    y, x = how["names"][2:]
    rows = [int(np.flatnonzero(field[y].values == lat)[0]) for lat in LAT]
    columns = [int(np.flatnonzero(field[x].values % 360 == lon % 360)[0]) for lon in LON]
    return field.isel({y: rows, x: columns}).transpose(..., y, x).values


@quickly
@given(variants)
@example({**PLAIN, "dtype": ">f4", "chunks": "space", "longitude": "-180..180 unsorted", "calendar": "360_day"})
@example({**PLAIN, "dtype": "packed", "flipped": True, "order": (2, 1, 0), "names": ("tos", "T", "Y", "X")})
def test_the_same_forecast_however_the_data_are_written(how):
    base = sst_dataset()
    ds = written(base.copy(deep=True), how)
    name, time, y, x = how["names"]
    fc = persistence().forecast(ds)
    assert bool(fc[name].chunks) == (how["chunks"] is not None)
    assert fc[name].dims == ("sample", "lead", y, x)
    np.testing.assert_allclose(
        _on_model_grid(_celsius(fc[name].isel(sample=0), how), how), persisted(base), atol=_tolerance(how)
    )
    stamp = (ds if isinstance(ds, xr.DataArray) else ds[name])[time].values[-1]
    assert fc.init.values == stamp


@quickly
@given(variants)
def test_names_coordinates_and_attributes_are_the_users_own(how):
    ds = written(sst_dataset(), how)
    name, _, y, x = how["names"]
    array = ds if isinstance(ds, xr.DataArray) else ds[name]
    fc = persistence().forecast(ds)
    for dim in (y, x):
        inside = np.isin(array[dim].values % 360, np.concatenate([LAT, LON]) % 360)
        np.testing.assert_array_equal(fc[dim].values, array[dim].values[inside])
        assert fc[dim].attrs == array[dim].attrs
        assert fc[dim].dtype == array[dim].dtype
    packing = ("scale_factor", "add_offset", "_FillValue")
    assert fc[name].attrs == {key: value for key, value in array.attrs.items() if key not in packing}
    assert fc[name].dtype == np.float32
    assert fc[name].dtype.isnative
    assert ("depth" in fc.coords) == how["extra"]


@quickly
@given(variants)
def test_the_data_are_never_modified(how):
    ds = written(sst_dataset(), how)
    parts = ds.variables if isinstance(ds, xr.Dataset) else {"": ds.variable, **ds.coords.variables}
    before, encodings = ds.copy(deep=True), {key: copy.deepcopy(part.encoding) for key, part in parts.items()}
    forecaster = persistence()
    forecaster.check(ds)
    forecaster.forecast(ds, init="all").compute()
    xr.testing.assert_identical(ds, before)
    assert {key: part.encoding for key, part in parts.items()} == encodings


@quickly
@given(variants)
def test_conform_then_label_is_the_identity(how):
    """Anomaly persistence over twelve months gives back what went in."""
    ds = written(sst_dataset(), how)
    name, time, y, x = how["names"]
    plain = ds if isinstance(ds, xr.DataArray) else xr.decode_cf(ds)[name]
    fc = persistence(sst_spec(history=1, horizon=12)).forecast(ds, init="all")[name].isel(sample=0, lead=11)
    found = fc.rename(init=time).transpose(*[dim for dim in plain.dims if dim != "depth"])
    wanted = plain.squeeze("depth") if how["extra"] else plain
    wanted = wanted.sel({y: found[y], x: found[x]})
    np.testing.assert_allclose(found.values, wanted.values, atol=_tolerance(how))
    np.testing.assert_array_equal(found[time].values, plain[time].values)


@pytest.mark.parametrize("calendar", ["datetime64[ns]", "datetime64[s]", "noleap", "360_day", "standard"])
@pytest.mark.parametrize(("stamps", "days"), [("first", {1}), ("middle", {16}), ("last", {28, 29, 30, 31})])
def test_valid_times_keep_their_place_in_the_month(calendar, stamps, days):
    ds = written(sst_dataset(14), {**PLAIN, "calendar": calendar, "stamps": stamps})
    fc = persistence(sst_spec(horizon=12)).forecast(ds, init="all")
    valid = fc.valid_time
    assert set(valid.dt.day.values.ravel()) <= days
    if stamps == "last":
        assert (valid.dt.day == valid.dt.days_in_month).all()
    month = 12 * fc.init.dt.year + fc.init.dt.month + fc.lead
    assert (12 * valid.dt.year + valid.dt.month == month).all()
    assert type(valid.values.ravel()[0]) is type(ds.time.values[0])


def test_the_valid_time_of_a_start_does_not_depend_on_other_starts():
    """28 February is a month's end, but the 28ths of other months are not."""
    ds = sst_dataset(14, start="2001-01")
    ds = ds.assign_coords(time=ds.time + np.timedelta64(27, "D"))
    forecaster = persistence(sst_spec(history=1))
    alone = forecaster.forecast(ds, init="2001-02").valid_time
    together = forecaster.forecast(ds, init="all").valid_time.sel(init="2001-02-28")
    np.testing.assert_array_equal(alone.values, together.values)
    assert set(alone.dt.day.values) == {28}


def test_anomalies_in_anomalies_out():
    ds = sst_dataset()
    from xforecast.labels.climatology import anomaly

    cycle = persistence().spec["sst"].climatology.values
    months = xr.DataArray(cycle, dims=("month", "lat", "lon"), coords={"month": np.arange(1, 13)})
    departures = anomaly(ds[["sst"]], months.to_dataset(name="sst"))
    assert departures.sst.attrs["standard_name"] == "sea_surface_temperature_anomaly"
    fc = persistence().forecast(departures).sst.isel(sample=0)
    assert fc.attrs["standard_name"] == "sea_surface_temperature_anomaly"
    for lead in range(fc.sizes["lead"]):
        np.testing.assert_allclose(fc.isel(lead=lead), departures.sst.isel(time=-1), atol=1e-4)
    # A difference of a kelvin is one of a degree: no 273.15 anywhere.
    departures.sst.attrs["units"] = "K"
    np.testing.assert_allclose(persistence().forecast(departures).sst.isel(sample=0), fc, atol=1e-4)


def test_land_is_missing_in_the_forecast_and_irrelevant_to_it(forecaster, sst):
    flooded = sst.fillna(21.0)
    wet = forecaster.forecast(flooded)
    xr.testing.assert_allclose(wet.sst, forecaster.forecast(sst).sst)
    assert (np.isnan(wet.sst.isel(sample=0, lead=0).values) == ~MASK).all()


def test_values_on_what_was_land_in_training_warn():
    from xforecast.spec import Variable

    absolute = persistence(sst_spec(variables=[Variable("sst", "degC", ["sea_surface_temperature"], fill=26.0)]))
    with pytest.warns(UserWarning, match=r"100% of the cells without values in training \(land\) have values here"):
        wet = absolute.forecast(sst_dataset().fillna(21.0))
    xr.testing.assert_allclose(wet.sst, absolute.forecast(sst_dataset()).sst)


def test_a_cell_that_never_has_a_value_has_no_forecast(forecaster, sst):
    sst.sst[:, 2, 3] = np.nan
    sst.sst[-1, 3, 3] = np.nan  # one of the last three is missing: filled, and forecast
    with pytest.warns(UserWarning, match="missing here"):
        fc = forecaster.forecast(sst)
    assert bool(fc.sst.isel(lat=2, lon=3).isnull().all())
    assert bool(fc.sst.isel(lat=3, lon=3).notnull().all())


def test_rows_from_north_to_south_and_kilometres(radar, radar_forecaster):
    fc = radar_forecaster.forecast(radar)
    for lead in range(3):
        np.testing.assert_allclose(fc.rr.isel(sample=0, lead=lead), radar.rr.isel(time=-1), rtol=1e-5)
    xr.testing.assert_identical(fc.y, radar.y.drop_vars([name for name in radar.y.coords if name != "y"])
                                .assign_coords(init=fc.init))  # fmt: skip


def test_two_variables_of_which_one_is_forecast():
    from xforecast.spec import Variable

    sst = sst_spec()["sst"]
    wind = Variable("u10", "m s-1", ["eastward_wind"], fill=0.0)
    spec = sst_spec(variables=[sst, wind], targets=["sst"])
    ds = sst_dataset()
    ds["uwnd"] = (ds.sst * 0 + 36).assign_attrs(standard_name="eastward_wind", units="km/h")
    with pytest.warns(UserWarning, match="same value everywhere"):
        fc = persistence(spec).forecast(ds)
    assert list(fc.data_vars) == ["sst"]
    np.testing.assert_allclose(fc.sst.isel(sample=0), persisted(ds), atol=1e-4)
    from xforecast.labels import conform, windows

    channels = windows(conform(ds, spec), spec)
    assert channels.shape == (1, HISTORY, LAT.size, LON.size, 2)
    np.testing.assert_allclose(channels.isel(channel=1).values[..., MASK], 10.0, rtol=1e-6)


def test_calendar_channels_tell_the_phase_of_the_year():
    from xforecast.labels import conform, windows

    spec = sst_spec(calendar=["annual"])
    for ds in (sst_dataset(), sst_dataset().chunk(time=4), written(sst_dataset(), {**PLAIN, "calendar": "noleap"})):
        waves = windows(conform(ds, spec, init="2001-03"), spec).isel(channel=slice(1, None)).values
        phase = 2 * np.pi * np.array([0, 1, 2]) / 12
        np.testing.assert_allclose(waves[0, :, 0, 0], np.stack([np.sin(phase), np.cos(phase)], -1), atol=1e-6)
        assert (waves == waves[:, :, :1, :1]).all()
