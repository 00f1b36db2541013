"""The Nino3.4 index: the same number on any grid, from any orientation, or a clear error."""

import cftime
import numpy as np
import pytest
import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.skill import nino34, seasonal_mean


@pytest.fixture
def sst():
    """Monthly SST on 5-degree nodes, as in most ENSO files."""
    lat, lon = np.arange(-30.0, 31.0, 5.0), np.arange(0.0, 360.0, 5.0)
    values = np.random.default_rng(0).normal(27, 1, (4, 13, 72))
    coords = {"time": xr.date_range("2000-01", periods=4, freq="MS"), "lat": lat, "lon": lon}
    attrs = {"standard_name": "sea_surface_temperature", "units": "degC", "cell_methods": "time: mean"}
    return xr.DataArray(values, coords=coords, attrs=attrs, name="sst")


def test_is_the_area_weighted_mean_of_the_box(sst):
    box = sst.values[:, 5:8, 38:49]  # 5S-5N, 190-240E
    weights = np.cos(np.deg2rad([-5.0, 0.0, 5.0]))[:, None]
    expected = (box * weights).sum((1, 2)) / (weights.sum() * 11)
    np.testing.assert_allclose(nino34(sst), expected, rtol=1e-13)
    np.testing.assert_allclose(nino34(sst, weighted=False), box.mean((1, 2)), rtol=1e-13)


@pytest.mark.parametrize(
    "variant",
    [
        lambda x: x.isel(lat=slice(None, None, -1)),
        lambda x: x.assign_coords(lon=(x.lon + 180) % 360 - 180).sortby("lon"),
        lambda x: x.roll(lon=20, roll_coords=True),
        lambda x: x.transpose("lon", "time", "lat"),
        lambda x: x.rename(lat="y", lon="x").assign_coords(
            y=("y", x.lat.values, {"standard_name": "latitude"}),
            x=("x", x.lon.values, {"units": "degrees_east"}),
        ),
        lambda x: x.assign_coords(lat=x.lat.astype("f4"), lon=x.lon.astype("f4")),
        lambda x: x.to_dataset().assign(other=x.isel(time=0).drop_attrs()),
        lambda x: x.chunk(time=1, lat=5),
    ],
)
def test_does_not_depend_on_how_the_field_is_laid_out(sst, variant):
    np.testing.assert_allclose(nino34(variant(sst)), nino34(sst), rtol=1e-12)


def test_curvilinear_grid(sst):
    lat, lon = xr.broadcast(sst.lat, sst.lon)
    rotated = xr.DataArray(sst.values, dims=("time", "j", "i"), coords={"time": sst.time})
    rotated = rotated.assign_coords(lat=(("j", "i"), lat.values), lon=(("j", "i"), lon.values))
    np.testing.assert_allclose(nino34(rotated), nino34(sst), rtol=1e-13)


def test_attributes_and_other_dimensions(sst):
    forecast = sst.rename(time="lead").expand_dims(init=2, sample=3)
    index = nino34(forecast)
    assert index.dims == ("init", "sample", "lead")
    assert index.dtype == np.float64
    assert index.attrs["units"] == "degC"
    assert "Nino3.4" in index.attrs["long_name"]
    assert index.attrs["cell_methods"] == "time: mean area: mean"


def test_missing_cells_are_left_out(sst):
    holed = sst.where(~((sst.lat == 0) & (sst.lon == 200)))
    assert nino34(holed).notnull().all()
    assert not np.allclose(nino34(holed), nino34(sst), rtol=1e-6)
    assert nino34(sst.where(sst.time > sst.time[0])).isnull().values.tolist() == [True, False, False, False]


def test_stays_lazy(sst):
    def explode(block):
        raise AssertionError("computed")

    lazy = sst.chunk(time=1)
    lazy = lazy.copy(data=lazy.data.map_blocks(explode, dtype=float, meta=np.empty((0, 0, 0))))
    assert nino34(lazy).chunks is not None


@pytest.mark.parametrize(
    "region",
    [
        {"lon": slice(0, 180)},
        {"lon": slice(195, 240)},
        {"lat": slice(5, 30)},
        {"lat": slice(0, 30)},
        {"lat": [0.0]},
    ],
)
def test_a_region_that_is_not_covered_is_an_error(sst, region):
    with pytest.raises(InvalidOption, match="5S-5N, 170W-120W"):
        nino34(sst.sel(region))


def test_a_gap_inside_the_region_is_an_error(sst):
    with pytest.raises(InvalidOption, match="grid"):
        nino34(sst.isel(lon=~np.isin(sst.lon, [210.0, 215.0])))


def test_without_coordinates_or_with_two_variables_says_what_to_do(sst):
    with pytest.raises(InvalidOption, match="latitude"):
        nino34(sst.drop_vars("lat").rename(lat="row"))
    with pytest.raises(InvalidOption, match="pass the variable itself"):
        nino34(xr.Dataset({"a": sst.drop_attrs(), "b": sst.drop_attrs()}))


def test_seasonal_mean_of_cftime_and_of_broken_records():
    months = [cftime.DatetimeNoLeap(2000, m, 15) for m in range(1, 7)]
    index = xr.DataArray(np.arange(6.0), coords={"time": months})
    np.testing.assert_allclose(seasonal_mean(index), [np.nan, 1, 2, 3, 4, np.nan])
    np.testing.assert_allclose(seasonal_mean(index, min_months=2), [0.5, 1, 2, 3, 4, 4.5])
    np.testing.assert_allclose(seasonal_mean(index, window=1), index)
    with pytest.raises(InvalidOption, match="months that lack"):
        seasonal_mean(index[[0, 1, 3, 4]])
    with pytest.raises(InvalidOption, match="odd"):
        seasonal_mean(index, window=2)
