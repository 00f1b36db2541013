"""Laws of regridding to a forecaster's cells."""

from __future__ import annotations

import builtins

import dask.array
import numpy as np
import pytest
import xarray as xr

from synthetic import LAT, LON, persistence, radar_spec, sst_dataset, sst_spec
from xforecast import regrid
from xforecast.errors import InvalidOption, MissingExtra, SpecMismatch, UnknownForecaster
from xforecast.spec import Grid

regridding = pytest.importorskip("xarray_regrid")
GRID = Grid.latlon(LAT, LON)
METHODS = ("auto", "conservative", "linear", "nearest")


def fine(function, step=1.0, margin=5.0):
    """A function of latitude and longitude on a finer grid around the model's."""
    lat = xr.DataArray(np.arange(LAT[0] - margin, LAT[-1] + margin + 0.1, step), dims="lat")
    lon = xr.DataArray(np.arange(LON[0] - margin, LON[-1] + margin + 0.1, step), dims="lon")
    field = function(lat, lon).transpose("lat", "lon").assign_coords(lat=lat, lon=lon).rename("sst")
    field["lat"].attrs = {"standard_name": "latitude", "units": "degrees_north"}
    field["lon"].attrs = {"standard_name": "longitude", "units": "degrees_east"}
    return field.assign_attrs(units="degC", standard_name="sea_surface_temperature")


def wave(lat, lon):
    return np.cos(np.deg2rad(3 * lat)) + np.sin(np.deg2rad(lon))


def constant(lat, lon):
    return 0 * lat + 0 * lon + 3.0


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("step", [1.0, 2.5, 5.0])
def test_a_constant_stays_constant(method, step):
    result = regrid(fine(constant, step), GRID, method=method)
    assert result.shape == (5, 8)
    np.testing.assert_allclose(result, 3.0, rtol=1e-6)
    np.testing.assert_array_equal(result.lat, LAT)
    np.testing.assert_array_equal(result.lon, LON)


@pytest.mark.parametrize("method", METHODS)
def test_orientation_and_longitude_convention_do_not_matter(method):
    field = fine(wave)
    wanted = regrid(field, GRID, method=method)
    west = field.assign_coords(lon=("lon", (field.lon.values + 180) % 360 - 180, field.lon.attrs))
    for other in (field[::-1], west, west.sortby("lon"), field.transpose("lon", "lat"), west.sortby("lon")[::-1, ::-1]):
        result = regrid(other, GRID, method=method)
        assert result.dims == other.dims
        np.testing.assert_allclose(result.transpose("lat", "lon"), wanted, rtol=1e-6)
        assert result.attrs == field.attrs
        assert result.lat.attrs == field.lat.attrs


def test_the_mean_is_conserved():
    """Cells of 5 degrees hold 25 of 1 degree: area means are means over them, weighted by the cosine."""
    field = fine(lambda lat, lon: np.sin(lat * 7.0) + np.cos(lon * 3.0), margin=7.0)
    result = regrid(field, GRID, method="conservative")
    area = np.sin(np.deg2rad(field.lat + 0.5)) - np.sin(np.deg2rad(field.lat - 0.5))
    inside = field.sel(lat=slice(LAT[0] - 2.4, LAT[-1] + 2.4), lon=slice(LON[0] - 2.4, LON[-1] + 2.4))
    coarse = np.sin(np.deg2rad(result.lat + 2.5)) - np.sin(np.deg2rad(result.lat - 2.5))
    np.testing.assert_allclose(result.weighted(coarse).mean(), inside.weighted(area).mean(), atol=2e-3)


def test_the_same_grid_is_left_as_it_is():
    same = sst_dataset().sst
    np.testing.assert_allclose(regrid(same, GRID), same, atol=1e-6)


def test_what_is_regridded_can_be_forecast():
    ds = fine(constant).expand_dims(time=sst_dataset().time).rename("sst") + 24
    ds.attrs = {"units": "degC", "standard_name": "sea_surface_temperature"}
    forecaster = persistence()
    with pytest.raises(SpecMismatch, match="regrid"):
        forecaster.forecast(ds)
    for like in (forecaster, forecaster.spec, forecaster.spec.grid):
        assert forecaster.check(regrid(ds, like)).ok
    fc = forecaster.forecast(regrid(ds.to_dataset(), forecaster))
    assert fc.sst.dims == ("sample", "lead", "lat", "lon")


def test_round_the_globe():
    lon = np.arange(0.5, 360)
    globe = xr.DataArray(
        np.cos(np.deg2rad(lon)) * np.ones((41, 1)),
        dims=("lat", "lon"),
        coords={"lat": np.arange(-20.0, 21), "lon": lon},
    )
    across = Grid.latlon(LAT, np.arange(-10.0, 11, 5))
    for turned in (globe, globe.roll(lon=77, roll_coords=True), globe.assign_coords(lon=(lon + 180) % 360 - 180)):
        result = regrid(turned if turned is not globe else globe, across)
        assert bool(result.notnull().all())
        shape = np.cos(np.deg2rad(across.x)) if turned.lon[0] != -179.5 else None
        if shape is not None:
            np.testing.assert_allclose(result[2], shape, atol=5e-3)


def test_lazy_is_eager():
    field = fine(wave).expand_dims(time=4)
    for method in METHODS:
        lazy = regrid(field.chunk(time=1), GRID, method=method)
        assert isinstance(lazy.data, dask.array.Array)
        np.testing.assert_allclose(lazy, regrid(field, GRID, method=method), rtol=1e-6)


def test_land_counts_nothing_and_coverage_decides():
    field = fine(constant).where(lambda field: field.lon < 177)
    result = regrid(field, GRID, method="conservative")
    np.testing.assert_allclose(result.sel(lon=slice(None, 175)), 3.0, rtol=1e-6)
    assert bool(result.sel(lon=slice(180, None)).isnull().all())
    strict = regrid(field, GRID, method="conservative", min_coverage=0.99)
    assert bool(strict.sel(lon=175).isnull().all())


def test_bounds_of_the_old_cells_do_not_survive():
    field = fine(constant).to_dataset()
    field["lat_bnds"] = (("lat", "nv"), np.stack([field.lat - 0.5, field.lat + 0.5], 1))
    field["lat"].attrs["bounds"] = "lat_bnds"
    result = regrid(field, GRID)
    assert list(result.data_vars) == ["sst"]
    assert "bounds" not in result.lat.attrs
    assert field["lat"].attrs["bounds"] == "lat_bnds"


def test_the_data_are_not_modified():
    field = fine(wave)
    before = field.copy(deep=True)
    regrid(field, GRID)
    xr.testing.assert_identical(field, before)


def test_data_that_do_not_cover_the_grid():
    for part, words in (
        ({"lat": slice(-5, 15)}, r"lat: found -5 to 15, wanted -10 to 10"),
        ({"lon": slice(170, 200)}, r"lon: found 170 to 200, wanted 160 to 195"),
    ):
        with pytest.raises(SpecMismatch, match=words) as caught:
            regrid(fine(constant).sel(part), GRID)
        assert "larger region" in str(caught.value)


def test_what_cannot_be_regridded():
    with pytest.raises(InvalidOption, match="method"):
        regrid(fine(constant), GRID, method="cubic")
    with pytest.raises(InvalidOption, match="latitudes and longitudes"):
        regrid(fine(constant), radar_spec())
    with pytest.raises(UnknownForecaster):
        regrid(fine(constant), "nonsense")
    with pytest.raises(InvalidOption, match="latitude and longitude"):
        regrid(xr.DataArray(np.zeros((3, 4)), dims=("a", "b")), sst_spec())
    with pytest.raises(InvalidOption, match="min_coverage"):
        regrid(fine(constant), GRID, min_coverage=5)


def test_without_the_package_the_message_has_the_pip_line(monkeypatch):
    real = builtins.__import__

    def refuse(name, *rest):
        if name.startswith("xarray_regrid"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr("importlib.import_module", lambda name: refuse(name))
    with pytest.raises(MissingExtra, match=r"pip install 'xforecast\[regrid\]'"):
        regrid(fine(constant), GRID)
