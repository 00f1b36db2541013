"""Radar: conversions are inverses, files become what a forecaster of rain takes.

Also guards `showers.py`.
"""

import dask
import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st

import xforecast as xf
from synthetic import persistence, radar_spec
from xforecast.datasets import (
    open_radar,
    rain_rate_from_amount,
    rain_rate_from_reflectivity,
    reflectivity_from_rain_rate,
    vil_code_from_vil,
    vil_from_vil_code,
)
from xforecast.errors import DataFileError, InvalidOption

CONSTANTS = st.tuples(st.floats(50, 500), st.floats(1.1, 2.5))


def series(values, units, **attrs):
    return xr.DataArray(np.asarray(values), dims="x", attrs={"units": units, **attrs})


@given(CONSTANTS, st.lists(st.floats(-30, 75), min_size=1, max_size=5))
def test_rain_rate_inverts_reflectivity(constants, decibels):
    there = rain_rate_from_reflectivity(series(decibels, "dBZ"), *constants)
    np.testing.assert_allclose(reflectivity_from_rain_rate(there, *constants), decibels, atol=1e-9)


@given(CONSTANTS)
def test_one_millimetre_an_hour_reflects_a(constants):
    a, b = constants
    one = series([1.0], "mm/h")
    np.testing.assert_allclose(reflectivity_from_rain_rate(one, a, b), 10 * np.log10(a))


def test_marshall_and_palmer_by_hand():
    """Z = 200 x 10**1.6 = 7962 for 10 mm/h, 39.01 dBZ; and Z = 223 for 1 mm/h in Finland."""
    assert float(reflectivity_from_rain_rate(series([10.0], "mm/h"))[0]) == pytest.approx(39.0103, abs=1e-4)
    assert float(rain_rate_from_reflectivity(series([10 * np.log10(223)], "dBZ"), 223, 1.53)[0]) == pytest.approx(1)


def test_units_of_rain_do_not_matter():
    in_mm = reflectivity_from_rain_rate(series([0.5, 7.2], "mm/h"))
    in_flux = reflectivity_from_rain_rate(series(np.array([0.5, 7.2]) / 3600, "kg m-2 s-1"))
    np.testing.assert_allclose(in_mm, in_flux, rtol=1e-12)


def test_dry_is_the_floor_and_missing_stays_missing():
    converted = reflectivity_from_rain_rate(series([0.0, np.nan], "mm/h"), floor=-20.0)
    np.testing.assert_allclose(converted, [-20, np.nan])
    assert np.isnan(rain_rate_from_reflectivity(series([np.nan], "dBZ"))).all()


def test_amounts_add_up_to_the_rate():
    amount = series([0.25, 1.0], "kg m-2")
    np.testing.assert_allclose(rain_rate_from_amount(amount, "15 minutes"), [1, 4])


def test_codes_of_vil_survive_the_way_to_mass_and_back():
    codes = xr.DataArray(np.arange(6, 255, dtype=np.uint8), dims="x")
    assert (np.rint(vil_code_from_vil(vil_from_vil_code(codes).astype(float))) == codes).all()


def test_mass_grows_with_the_code():
    mass = vil_from_vil_code(xr.DataArray(np.linspace(0, 254, 2000), dims="x"))
    assert (mass.diff("x") >= 0).all()
    codes = vil_code_from_vil(series(np.geomspace(1e-3, 60, 2000), "kg m-2"))
    assert (codes.diff("x") >= 0).all()


def test_published_codes_of_vil_by_hand():
    codes = xr.DataArray(np.array([0, 5, 18, 133, 255], np.uint8), dims="x")
    expected = [0, 0, 16 / 90.66, np.exp(49.1 / 38.9), np.nan]
    np.testing.assert_allclose(vil_from_vil_code(codes), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("convert", "units", "gives"),
    [
        (rain_rate_from_reflectivity, "dBZ", "mm h-1"),
        (reflectivity_from_rain_rate, "mm/h", "dBZ"),
        (vil_from_vil_code, "1", "kg m-2"),
        (vil_code_from_vil, "kg m-2", "1"),
    ],
)
def test_conversions_are_lazy_labelled_and_keep_precision(convert, units, gives):
    def fail(block):
        raise AssertionError("computed")

    lazy = series(np.ones(4, np.float32), units, grid_mapping="crs", old="note").chunk(x=2)
    before = dict(lazy.attrs)
    converted = convert(lazy)
    trap = lazy.copy(data=lazy.data.map_blocks(fail, dtype="f4", meta=np.empty(0, "f4")))
    assert dask.is_dask_collection(convert(trap))
    assert converted.dtype == np.float32
    assert converted.attrs["units"] == gives
    assert converted.attrs["grid_mapping"] == "crs"
    assert "old" not in converted.attrs
    assert lazy.attrs == before


@pytest.mark.parametrize("convert", [rain_rate_from_reflectivity, reflectivity_from_rain_rate, vil_code_from_vil])
def test_another_unit_is_refused(convert):
    with pytest.raises(InvalidOption, match="'K', wanted a unit"):
        convert(series([1.0], "K"))


# ------------------------------------------------------------------ files


def scan(units="mm/h", value=2.0, steps=5, start="2024-06-01T12:00", **attrs):
    """Radar frames as a file has them."""
    time = xr.date_range(start, periods=steps, freq="5min", unit="ns")
    data = np.full((steps, 6, 6), value) + np.arange(steps)[:, None, None]
    ds = xr.Dataset({"field": (("time", "y", "x"), data, {"units": units, "grid_mapping": "crs", **attrs})})
    ds["crs"] = ((), 0, {"grid_mapping_name": "polar_stereographic"})
    for axis in "yx":
        ds[axis] = (axis, np.arange(6) + 0.5, {"standard_name": f"projection_{axis}_coordinate", "units": "km"})
    return ds.assign_coords(time=("time", time, {"standard_name": "time"})).assign_attrs(licence="made")


@pytest.fixture
def save(tmp_path):
    def write(ds, name="radar.nc"):
        ds.to_netcdf(tmp_path / name)
        return tmp_path / name

    return write


@pytest.mark.parametrize(
    ("units", "value"),
    [("mm/h", 3.0), ("kg m-2 s-1", 3.0 / 3600), ("mm", 0.25), ("dBZ", 10 * np.log10(200 * 3.0**1.6))],
)
def test_every_quantity_becomes_the_same_rain_rate(save, units, value):
    frames = scan(units)
    frames["field"] = frames.field.copy(data=np.full(frames.field.shape, value))
    ds = open_radar(save(frames))
    assert dask.is_dask_collection(ds.rain_rate)
    np.testing.assert_allclose(ds.rain_rate, 3.0, rtol=1e-6)
    assert ds.rain_rate.attrs["units"] == "mm h-1"
    np.testing.assert_allclose(ds.x, 1000 * (np.arange(6) + 0.5))
    assert ds.x.attrs["units"] == "m"
    assert ds.attrs["licence"] == "made"


def test_constants_come_from_the_call_then_from_the_file(save):
    path = save(scan("dBZ", 40.0, zr_a=223.0, zr_b=1.53))
    at = {"time": 0, "y": 0, "x": 0}
    stated = open_radar(path).rain_rate.isel(at)
    called = open_radar(path, a=223.0, b=1.53).rain_rate.isel(at)
    assert float(stated) == float(called) == pytest.approx((1e4 / 223) ** (1 / 1.53))
    assert float(open_radar(path, a=200, b=1.6).rain_rate.isel(at)) == pytest.approx((1e4 / 200) ** (1 / 1.6))


def test_a_forecaster_takes_what_the_reader_gives(save):
    forecast = xf.forecast(open_radar(save(scan())), persistence(radar_spec()))
    assert dict(forecast.rain_rate.sizes) == {"sample": 1, "lead": 3, "y": 6, "x": 6}
    np.testing.assert_allclose(forecast.rain_rate, 6.0, rtol=1e-5)
    assert forecast.crs.attrs["grid_mapping_name"] == "polar_stereographic"


def test_what_it_gives_can_be_written_and_read_again(save, tmp_path):
    ds = open_radar(save(scan()))
    ds.to_netcdf(tmp_path / "again.nc")
    again = open_radar(tmp_path / "again.nc")
    xr.testing.assert_allclose(again.load(), ds.load())
    assert again.rain_rate.attrs["grid_mapping"] == "crs"


def test_files_are_joined_in_order_of_time(save):
    whole = scan(steps=6)
    paths = [save(whole.isel(time=slice(3, 6)), "b.nc"), save(whole.isel(time=slice(0, 3)), "a.nc")]
    joined = open_radar(paths)
    np.testing.assert_array_equal(joined.time, whole.time)
    np.testing.assert_allclose(joined.rain_rate, whole.field)


def test_the_axis_of_dates_may_have_another_name(save):
    ds = open_radar(save(scan().rename(time="datetime")))
    assert ds.rain_rate.dims == ("time", "y", "x")


def test_a_gap_is_told_and_can_be_cut_away(save):
    path = save(scan(steps=8).drop_isel(time=[4]))
    with pytest.raises(DataFileError, match=r"found 10 minutes from .*12:15.* wanted 5 minutes(?s:.)*time=slice"):
        open_radar(path)
    assert open_radar(path, time=slice(None, "2024-06-01T12:15")).sizes["time"] == 4


def test_doubled_frames_are_told(save):
    with pytest.raises(DataFileError, match="found 0 minutes"):
        open_radar(save(scan().isel(time=[0, 1, 1, 2, 3, 4])))


def test_damaged_and_foreign_files_are_told(save, tmp_path):
    path = save(scan())
    cut = tmp_path / "cut.nc"
    cut.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataFileError, match=r"cut\.nc"):
        open_radar(cut).load()
    with pytest.raises(DataFileError, match="no such file"):
        open_radar(tmp_path / "none.nc")
    with pytest.raises(DataFileError, match=r"field \[K\]"):
        open_radar(save(scan("K"), "temperature.nc"))
    two = scan().assign(other=scan().field)
    with pytest.raises(DataFileError, match="2 variables"):
        open_radar(save(two, "two.nc"))
    assert open_radar(save(two, "named.nc"), variable="other").rain_rate.ndim == 3
