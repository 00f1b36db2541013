"""What is done to the data is undone in the forecast: each class of the label layer goes there and back.

Also guards `cells.py`.
"""

from __future__ import annotations

from importlib import import_module

import dask.array
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from synthetic import RATES, TEMPERATURES, cycle_values, persistence, radar_dataset, radar_spec, sst_dataset, sst_spec
from xforecast.cf import find_axis, find_variable, is_anomaly
from xforecast.labels import Report, conform
from xforecast.labels.anomalies import Anomalies
from xforecast.labels.cells import Cells, find_cells, slice_like
from xforecast.labels.variables import Units
from xforecast.spec import Climatology, Grid, Variable

quickly = settings(max_examples=60, deadline=None)
DIMS = st.sampled_from([("lat", "lon"), ("y", "x"), ("x", "y"), ("rows", "columns")])


@st.composite
def placed_cells(draw):
    """Cells anywhere in a field, in any order, and values of the field."""
    sizes = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    chosen = [draw(st.permutations(range(size)))[: draw(st.integers(1, size))] for size in sizes]
    y, x = draw(DIMS)
    order = draw(st.permutations(("time", y, x)))
    values = xr.DataArray(np.arange(2 * np.prod(sizes)).reshape(2, *sizes), dims=("time", y, x)).transpose(*order)
    values = values.chunk({y: 2}) if draw(st.booleans()) else values
    return Cells(y, x, *map(np.array, chosen)), values


@quickly
@given(placed_cells())
def test_cells_there_and_back(case):
    """The model's rows and columns come back in the data's order, and cells that were cut away are left out."""
    cells, field = case
    there = cells.apply(field)
    assert there.dims == ("time", "y", "x")
    assert there.shape[1:] == (len(cells.y_index), len(cells.x_index))
    wanted = field.isel(cells.in_own_order).transpose("time", cells.y_dim, cells.x_dim)
    xr.testing.assert_identical(cells.undo(there), wanted)
    np.testing.assert_array_equal(cells.cropped.apply(wanted), there)


@quickly
@given(
    st.lists(st.booleans(), min_size=3, max_size=3),
    st.integers(0, 71),
    st.sampled_from(["0..360", "-180..180"]),
)
def test_any_orientation_and_longitude_convention_is_found(flips, rolled, convention):
    """The model sees the same field however rows and columns are written."""
    grid = Grid.latlon(np.arange(-10, 11, 5.0), np.arange(340, 381, 5.0) % 360)
    lat, lon = np.arange(-20, 21, 5.0), np.roll(np.arange(0, 360, 5.0), rolled)
    lat, lon = lat[:: -1 if flips[0] else 1], lon[:: -1 if flips[1] else 1]
    place = lat[:, None] * 1000 + lon
    lon = (lon + 180) % 360 - 180 if convention == "-180..180" else lon
    field = xr.DataArray(place, {"lat": lat, "lon": lon}, ("lat", "lon"))
    report = Report("the tests")
    cells = find_cells(field, {"y": "lat", "x": "lon"}, grid, False, report)
    assert report.ok, report
    there = cells.apply(field.T if flips[2] else field)
    np.testing.assert_array_equal(there, np.array(grid.y)[:, None] * 1000 + np.array(grid.x))
    xr.testing.assert_equal(cells.undo(there), field.isel(cells.in_own_order).drop_vars(["lat", "lon"]))


@quickly
@given(
    st.sampled_from([TEMPERATURES, RATES]).flatmap(lambda kind: st.tuples(*[st.sampled_from(kind)] * 2)),
    st.booleans(),
    arrays(float, 5, elements=st.floats(-1e3, 1e3)),
)
def test_units_there_and_back(pair, difference, values):
    units = Units(*pair, difference=difference)
    np.testing.assert_allclose(units.undo(units.apply(values)), values, rtol=1e-9, atol=1e-6)
    if units.alike:
        np.testing.assert_array_equal(units.apply(values), values)
    if difference:
        np.testing.assert_array_equal(units.apply(np.zeros(2)), 0)


@quickly
@given(
    arrays(float, (7, 2, 3), elements=st.floats(-50, 50)),
    st.integers(0, 400),
    st.booleans(),
    st.booleans(),
)
def test_anomalies_there_and_back(values, first, lazy, absolute):
    """In any order of dates, eager and lazy; without a climatology nothing is done."""
    cycle = Climatology(("1991", "2020"), np.arange(72.0).reshape(12, 2, 3)) if absolute else None
    dates = np.datetime64("1990-01", "M") + first + np.array([0, 1, 2, 13, 5, 4, 3])
    dates = dates.astype("datetime64[ns]")
    field = xr.DataArray(values, dims=("time", "y", "x"), attrs={"units": "K"})
    field = field.chunk(time=3) if lazy else field
    there = Anomalies(cycle).apply(field, dates)
    assert isinstance(there.data, dask.array.Array) == lazy
    assert there.attrs == field.attrs
    np.testing.assert_allclose(Anomalies(cycle).undo(there, dates), values, atol=1e-9)
    if cycle is None:
        assert there is field
    else:
        months = dates.astype("datetime64[M]").astype(int) % 12
        np.testing.assert_allclose(field - there, cycle.values[months], atol=1e-5)


def test_anomalies_of_forecasts_have_the_dates_of_their_leads():
    cycle = Anomalies(Climatology(("1991", "2020"), cycle_values()))
    dates = np.datetime64("2000-01", "M") + np.add.outer(np.arange(3), np.arange(4))
    field = xr.DataArray(np.zeros((3, 2, 4, 5, 8)), dims=("init", "sample", "lead", "y", "x"))
    there = cycle.undo(field, dates.astype("datetime64[s]"), ("init", "lead"))
    assert set(there.dims) == set(field.dims)
    found = there.transpose(*field.dims).values
    np.testing.assert_array_equal(found[:, 1], cycle_values()[dates.astype(int) % 12])


@quickly
@given(st.lists(st.integers(0, 20), min_size=1, max_size=6))
def test_a_slice_chooses_what_the_positions_choose(positions):
    positions = np.array(positions)
    np.testing.assert_array_equal(np.arange(21)[slice_like(positions)], positions)


# ------------------------------------------------------------------ all of it


def test_data_without_units_come_back_as_they_went_in():
    """A model in percent takes numbers without a unit as shares, and gives shares back."""
    spec = radar_spec().replace(variables=[Variable("cover", "%", aliases=["rr"])], targets=["cover"])
    ds = radar_dataset()
    ds.rr.attrs = {}
    forecaster = persistence(spec)
    ready = conform(ds, spec)
    np.testing.assert_allclose(ready.dataset.cover.isel(y=0), 100 * ds.rr.isel(y=-1), rtol=1e-6)
    fc = forecaster.forecast(ds)
    np.testing.assert_allclose(fc.rr.isel(sample=0, lead=0), ds.rr.isel(time=-1), rtol=1e-6)
    assert "units" not in fc.rr.attrs


def test_bounds_with_a_dimension_of_length_1_that_was_left_out():
    ds = radar_dataset().expand_dims(level=[2])
    fc = persistence(radar_spec()).forecast(ds)
    assert fc.rr.dims == ("sample", "lead", "y", "x")
    assert fc.x_bnds.dims == ("x", "nv")
    assert fc.crs.ndim == 0
    assert fc.level.item() == 2


def test_label_is_a_method_of_the_conformed_data():
    spec = sst_spec(horizon=2)
    ready = conform(sst_dataset(), spec)
    values = xr.DataArray(np.zeros((1, 3, 2, 5, 8, 1)), dims=("init", "sample", "lead", "y", "x", "channel"))
    fc = ready.label(values)
    assert fc.sst.dims == ("sample", "lead", "lat", "lon")
    months = fc.valid_time.dt.month.values - 1
    np.testing.assert_array_equal(fc.sst.isel(sample=0), cycle_values()[months])


@pytest.mark.parametrize("make", [sst_dataset, lambda: sst_dataset().chunk(time=4)])
def test_nothing_is_looked_for_twice(make, monkeypatch):
    """Each axis and each variable is found once in a forecast."""
    variables = import_module("xforecast.labels.variables")
    looked: list[str] = []

    def counted(function):
        def look(first, second):
            looked.append(second if function is find_axis else function.__name__)
            return function(first, second)

        return look

    for function in (find_axis, find_variable, is_anomaly):
        monkeypatch.setattr(variables, function.__name__, counted(function))
    persistence().forecast(make(), init="all").compute()
    assert sorted(looked) == ["find_variable", "is_anomaly", "time", "x", "y"]
