"""Regions stated with labels are arrays of the model's cells, however the data are written."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from synthetic import LAT, LON, sst_dataset, sst_spec
from xforecast.errors import InvalidOption
from xforecast.labels import conform, region_weights

INSIDE = (LAT >= -5)[:, None] & ((LON >= 170) & (LON <= 185))


def written():
    """The same field in several orders."""
    ds = sst_dataset()
    yield ds
    yield ds.isel(lat=slice(None, None, -1))
    yield ds.transpose("lon", "time", "lat").isel(lon=[3, 1, 0, 2, 7, 6, 5, 4])
    yield xr.concat([ds.isel(lat=[0]).assign_coords(lat=[-15.0]), ds], "lat", join="override").assign_coords(
        lat=("lat", np.append(-15.0, LAT), ds.lat.attrs)
    )


def sources():
    for ds in written():
        ready = conform(ds, sst_spec())
        assert ready, ready
        yield ds, ready.source


def test_slices_and_arrays_are_the_same_cells_in_any_order_of_the_data():
    slices = {"lat": slice(-5, None), "longitude": slice(185, 170)}
    for ds, source in sources():
        region = region_weights(slices, source)
        assert region.dtype == np.float32
        np.testing.assert_array_equal(region, INSIDE)
        mask = (ds.lat >= -5) & (ds.lon >= 170) & (ds.lon <= 185)
        np.testing.assert_array_equal(region_weights(mask, source), INSIDE)
        cosine = np.cos(np.deg2rad(ds.lat))
        wanted = np.broadcast_to(np.cos(np.deg2rad(LAT))[:, None], INSIDE.shape)
        np.testing.assert_allclose(region_weights(cosine, source), wanted, rtol=1e-6)


def test_what_has_no_labels_stays_what_it_is():
    _, source = next(sources())
    for region in (INSIDE, 3.0, None, xr.DataArray(2.0)):
        assert region_weights(region, source) is region


@pytest.mark.parametrize(
    ("region", "words"),
    [
        ({"lat": 5}, "a slice of two values"),
        ({"lat": slice(50, 60)}, "lat from -10 to 10"),
        ({"height": slice(0, 1)}, "coordinates among"),
        (xr.DataArray(np.ones(3), dims="time"), "dimensions"),
        (xr.DataArray(np.ones(5), {"lat": LAT + 1}, "lat"), "values at the cells of the data"),
        (xr.DataArray(np.ones(4), dims="lat"), "lat"),
    ],
)
def test_regions_that_cannot_be(region, words):
    _, source = next(sources())
    with pytest.raises(InvalidOption, match=rf"(?s){words}.*\n  -> \S"):
        region_weights(region, source)
