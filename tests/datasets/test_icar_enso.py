"""ICAR-ENSO: each month once, windows as published, labels, errors."""

import json
from importlib import import_module
from pathlib import Path

import dask
import numpy as np
import pytest
import xarray as xr

from xforecast.datasets import icar_enso, icar_enso_windows, window_indices
from xforecast.errors import DataFileError, InvalidOption

PUBLISHED = json.loads((Path(__file__).parents[1] / "data" / "datasets" / "enso_windows.json").read_text())
module = import_module("xforecast.datasets.icar_enso")
LON = [90.0, 95.0, 190.0, 330.0, 335.0]
MODELS, YEARS = (15, 17), (151, 140)


def truth(generation: int, model: int) -> np.ndarray:
    """A run of distinct months."""
    return 10_000.0 * (17 * generation + model) + np.arange(12 * (YEARS[generation] + 2))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The published layout with a small grid: overlapping rows of 36 months, models one after another."""
    rows = np.concatenate(
        [
            np.lib.stride_tricks.sliding_window_view(truth(generation, model), 36)[::12]
            for generation in (0, 1)
            for model in range(MODELS[generation])
        ]
    ).astype(np.float32)
    assert rows.shape == (4645, 36)
    sst = np.broadcast_to(rows[..., None, None], (4645, 36, 2, 5)) + np.arange(5, dtype=np.float32) * 0.0
    path = tmp_path_factory.mktemp("icar")
    coords = {"lat": [-5.0, 0.0], "lon": LON}
    xr.Dataset({"sst": (("year", "month", "lat", "lon"), sst)}, coords).to_netcdf(path / "CMIP_train.nc")
    xr.Dataset({"nino": (("year", "month"), rows)}).to_netcdf(path / "CMIP_label.nc")
    return path


@pytest.fixture(scope="module")
def train(folder):
    return icar_enso(folder, "train")


@pytest.fixture(scope="module")
def whole(folder):
    return icar_enso(folder)


@pytest.mark.parametrize("split", ["val", "test"])
def test_each_month_once(folder, split):
    ds = icar_enso(folder, split).load()
    run = truth(1, 15 if split == "val" else 16)
    assert ds.sst.dims == ("model", "time", "lat", "lon")
    np.testing.assert_array_equal(ds.sst[0, :, 0, 0], run)
    np.testing.assert_array_equal(ds.nino[0], run)


def test_all_models_with_their_lengths(whole):
    ds = whole.isel(lat=0, lon=0)
    assert list(ds.model.values[[0, 14, 15, 31]]) == ["cmip6-00", "cmip6-14", "cmip5-00", "cmip5-16"]
    sst = ds.sst.values
    for generation, rows in ((0, range(15)), (1, range(15, 32))):
        for model, row in enumerate(rows):
            run = truth(generation, model)
            assert int(ds.months[row]) == run.size
            np.testing.assert_array_equal(sst[row, : run.size], run)
            assert np.isnan(sst[row, run.size :]).all()


def test_splits_part_the_models(folder, whole, train):
    parts = [list(ds.model.values) for ds in (train, icar_enso(folder, "val"), icar_enso(folder, "test"))]
    assert parts[1:] == [["cmip5-15"], ["cmip5-16"]]
    assert [model for part in parts for model in part] == list(whole.model.values)


def test_labels(folder):
    ds = icar_enso(folder, "test")
    assert dask.is_dask_collection(ds.sst)
    assert list(ds.lon.values) == [95, 190, 330]
    assert ds.sst.attrs["units"] == "degC"
    assert ds.lat.attrs["standard_name"] == "latitude"
    assert ds.time.dt.month.values[:13].tolist() == [*range(1, 13), 1]


def test_windows_are_cuts_of_the_runs(folder):
    ds = icar_enso(folder, "test")
    windows = icar_enso_windows(ds, history=5, horizon=6, gap=7)
    run = truth(1, 16)
    index = window_indices(run.size, 5, 6, gap=7)
    np.testing.assert_array_equal(windows.sst[:, :, 0, 0], run[index])
    np.testing.assert_array_equal(windows.nino, run[index[:, 5:9]])
    np.testing.assert_array_equal(windows.init, ds.time.values[index[:, 4]])
    assert windows.time.values.tolist() == list(range(-4, 7))
    assert windows.season.values.tolist() == [1, 2, 3, 4]


@pytest.mark.parametrize(("gap", "many", "few"), [(1, 52350, 1679), (10, 5250, 168)])
def test_published_numbers_of_windows(folder, train, gap, many, few):
    for ds, count in ((train, many), (icar_enso(folder, "test"), few)):
        windows = icar_enso_windows(ds, gap=gap)
        assert windows.sst.shape == (count, 26, 2, 3)
        assert windows.nino.shape == (count, 12)
        assert windows.sst.isel(sequence=-1, lat=0, lon=0).notnull().all()


def test_windows_follow_one_another_model_by_model(train):
    windows = icar_enso_windows(train, gap=10)
    model = windows.model.values
    assert list(dict.fromkeys(model)) == list(train.model.values)
    assert (np.diff(np.unique(model, return_inverse=True)[1]) != 0).sum() == 29
    first = np.flatnonzero(model == "cmip5-03")[0]
    np.testing.assert_array_equal(windows.sst[first, :, 0, 0], truth(1, 3)[:26])


def test_nothing_is_computed_before_it_is_asked_for(folder):
    def fail(*_, **__):
        raise AssertionError("computed")

    with dask.config.set(scheduler=fail):
        windows = icar_enso_windows(icar_enso(folder))
    assert dask.is_dask_collection(windows.sst)


@pytest.mark.parametrize("case", PUBLISHED["prepare"])
def test_published_window_indices(case):
    months, step, history, _, horizon, gap = json.loads(case.replace("(", "[").replace(")", "]"))
    expected = PUBLISHED["prepare"][case]
    index = window_indices(months, history, horizon, gap=gap, step=step)
    assert list(index.shape) == expected["shape"]
    assert index[0].tolist() == expected["first"]
    assert index[-1].tolist() == expected["last"]


@pytest.mark.parametrize("years", PUBLISHED["fold_size36_stride12"])
def test_published_un_overlap(years):
    rows = xr.Dataset({"v": (("year", "month"), np.arange(36.0 * int(years)).reshape(-1, 36))})
    assert module._unfolded(rows).v.values.tolist() == PUBLISHED["fold_size36_stride12"][years]["out"]


def test_a_run_too_short_has_no_window():
    assert window_indices(25).shape == (0, 26)
    assert window_indices(26).shape == (1, 26)


def test_unusable_files_are_told(folder, tmp_path):
    with pytest.raises(DataFileError, match=r"CMIP_train\.nc: no such file"):
        icar_enso(tmp_path)
    whole = (folder / "CMIP_train.nc").read_bytes()
    (tmp_path / "CMIP_train.nc").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFileError, match=r"CMIP_train\.nc cannot be read"):
        icar_enso(tmp_path)
    with xr.open_dataset(folder / "CMIP_train.nc") as ds:
        ds.isel(year=slice(100)).to_netcdf(tmp_path / "CMIP_train.nc")
    with pytest.raises(DataFileError, match=r"'year': 100(?s:.*)wanted year 4645"):
        icar_enso(tmp_path)
    with pytest.raises(DataFileError, match=r"wanted also \['t300'\]"):
        icar_enso(folder, variables=["sst", "t300"])


def test_options_that_cannot_work_are_told(folder):
    with pytest.raises(InvalidOption, match="split"):
        icar_enso(folder, "dev")
    with pytest.raises(InvalidOption, match="at most 1704 months"):
        icar_enso_windows(icar_enso(folder, "test"), history=1700, horizon=14)
    with pytest.raises(InvalidOption, match="3 months or more"):
        icar_enso_windows(icar_enso(folder, "test"), horizon=2)
    with pytest.raises(InvalidOption, match="1 or more each"):
        window_indices(30, gap=0)
