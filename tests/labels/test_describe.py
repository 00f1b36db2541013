"""The spec that describes a Dataset, and the data in terms of it."""

from __future__ import annotations

import dask.array
import numpy as np
import pytest

from synthetic import MASK, radar_dataset, sst_dataset
from xforecast.errors import InvalidOption
from xforecast.labels import conform, fields_of, make_spec, time_axis
from xforecast.training.windows import windows_of


@pytest.mark.parametrize("transform", ["log1p", ("log1p", 0.5), {"rr": ("decibel", 0.1)}])
def test_training_windows_are_transformed_and_normalised(transform):
    ds = radar_dataset(steps=12)
    ds["rr"] = (ds.rr * 3600).assign_attrs({**ds.rr.attrs, "units": "mm/h"})
    spec = make_spec(ds, history=2, horizon=3, transform=transform)
    windows, _ = windows_of(ds, spec)
    assert abs(windows.truth.mean()) < 1e-4
    assert windows.truth.std() == pytest.approx(1, abs=1e-4)
    np.testing.assert_allclose(windows.series, windows.truth, atol=1e-5)
    variable = spec["rr"]
    assert variable.statistics == pytest.approx((float(ds.rr.mean()), float(ds.rr.std())))
    kept = np.where(ds.rr > (0.1 if variable.transform == "decibel" else 0), ds.rr, 0)
    physical = variable.to_physical(windows.truth[..., 0])
    np.testing.assert_allclose(np.sort(physical, axis=None), np.sort(kept, axis=None), rtol=1e-4, atol=1e-5)


def test_unknown_names_in_the_transform_are_refused():
    with pytest.raises(InvalidOption, match="snow"):
        make_spec(radar_dataset(steps=12), history=2, horizon=3, transform={"snow": "log1p"})
    with pytest.raises(InvalidOption, match="scale"):
        make_spec(radar_dataset(steps=12), history=2, horizon=3, transform=("log1p", 1.0, 2.0))


@pytest.mark.parametrize("chunks", [None, {"time": 5}])
def test_the_data_fit_the_spec_that_describes_them(chunks):
    ds = sst_dataset(36)
    ds = ds if chunks is None else ds.chunk(chunks)
    spec = make_spec(ds, history=3, horizon=2, base=("2000", "2002"), calendar="annual")
    np.testing.assert_array_equal(spec.mask, MASK)
    ready = conform(ds, spec).dataset.sst
    assert isinstance(ready.data, dask.array.Array) == (chunks is not None)
    np.testing.assert_allclose(ready.groupby("time.month").mean().values[:, MASK], 0, atol=1e-5)
    np.testing.assert_allclose(ready.std(), spec["sst"].scale, rtol=1e-5)


def test_kilometres_become_metres_on_each_axis():
    ds = radar_dataset(steps=8)
    mixed = ds.assign_coords(x=("x", ds.x.values * 1000, {**ds.x.attrs, "units": "m"}))
    for data in (ds, mixed):
        spec = make_spec(data, history=2, horizon=2)
        assert spec.grid.spacing == (1000.0, 1000.0)
        assert conform(data, spec)


def test_names_of_the_models_own_may_already_be_taken():
    """A climatology is subtracted whatever else is called y or x."""
    ds = sst_dataset(24).rename(lat="rows", lon="columns").assign_coords(x=3.0, y=("rows", np.arange(5)))
    ds.rows.attrs["standard_name"], ds.columns.attrs["standard_name"] = "latitude", "longitude"
    named = make_spec(ds, history=2, horizon=1, base=("2000", "2001"))
    plain = make_spec(sst_dataset(24), history=2, horizon=1, base=("2000", "2001"))
    assert named == plain


def test_variables_and_their_axes():
    ds = sst_dataset().assign(depth=("lat", np.arange(5.0)))
    assert fields_of(ds) == ["sst"]
    assert time_axis(ds) == "time"
    assert time_axis(ds.depth) is None
    for wrong in ({"variables": ["depth"]}, {"variables": ["tas"]}, {"targets": ["tas"]}):
        with pytest.raises(InvalidOption, match=r"(?s)found .*wanted .*\n  -> \S"):
            make_spec(ds, history=2, horizon=1, **wrong)
    with pytest.raises(InvalidOption, match=r"(?s)a variable with a time, a y and an x axis.*-> "):
        make_spec(ds[["depth"]], history=2, horizon=1)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda sst: sst * 0 + 3, "3 everywhere"),
        (lambda sst: sst.where(sst.lat < -90), "no values in the training period"),
        (lambda sst: sst.where(sst.time != sst.time[3], np.inf), "infinite values"),
        (lambda sst: sst.isel(time=[0]), "1 time steps"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value encountered in subtract")  # the deviation of infinite values
def test_what_nothing_can_be_learnt_from(change, words):
    with pytest.raises(InvalidOption, match=rf"(?s){words}.*\n  -> \S"):
        make_spec(change(sst_dataset().sst).rename("sst"), history=2, horizon=1)
