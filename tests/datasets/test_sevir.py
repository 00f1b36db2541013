"""SEVIR: the published choice of events and windows, labels, laziness, and what damaged files say.

Also guards `sevir_catalogue.py` and `sevir_windows.py`.
"""

import json
import re
import shutil
import warnings
from pathlib import Path

import dask
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from safetensors.numpy import load_file

import xforecast as xf
from synthetic import persistence
from xforecast.datasets import downsample, sevir, sevir_event, sevir_lr, sevir_sequences
from xforecast.datasets.sevir_catalogue import project
from xforecast.errors import DataFileError, InvalidOption, XForecastWarning
from xforecast.spec import DataSpec, Grid, Variable

h5py = pytest.importorskip("h5py")
DATA = Path(__file__).parents[1] / "data" / "datasets"
TINY = DATA / "sevir_tiny"
EXPECTED = json.loads((DATA / "sevir_tiny_expected.json").read_text())
PROJ = "+proj=laea +lat_0=38 +lon_0=-98 +units=m +a=6370997.0 +ellps=sphere +no_defs "


@pytest.fixture(autouse=True)
def _quiet():
    """The tiny catalogue has rows that are left out by design."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*left out.*", XForecastWarning)
        yield


@pytest.fixture
def tree(tmp_path):
    """A copy of the tiny tree that a test may damage."""
    shutil.copytree(TINY, tmp_path / "sevir")
    return tmp_path / "sevir"


def edit(tree, change):
    rows = pd.read_csv(tree / "CATALOG.csv")
    change(rows).to_csv(tree / "CATALOG.csv", index=False)
    return tree


def write(tree, file, name, values):
    path = tree / "data" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as target:
        target[name] = values


def official(split):
    return sevir(TINY, split, order="training" if split == "train" else "sorted")


# ------------------------------------------------------------------ laws


def test_splits_part_the_events():
    parts = [set(sevir(TINY, split).event.values) for split in ("train", "val", "test")]
    assert set.union(*parts) == set(sevir(TINY).event.values)
    assert sum(map(len, parts)) == sevir(TINY).sizes["event"] == 9


def test_start_is_out_and_end_is_in():
    times = sevir(TINY).event_time.values
    chosen = sevir(TINY, start=str(np.sort(times)[2]), end=str(np.sort(times)[5]))
    np.testing.assert_array_equal(np.sort(chosen.event_time), np.sort(times)[3:6])


def test_order_does_not_change_the_events():
    ordered, shuffled = sevir(TINY), sevir(TINY, order="training")
    assert list(ordered.event.values) == sorted(ordered.event.values) != list(shuffled.event.values)
    xr.testing.assert_equal(ordered.load(), shuffled.sel(event=ordered.event).load())


def test_frames_are_those_of_the_files():
    ds = sevir(TINY)
    table = pd.read_csv(TINY / "CATALOG.csv").set_index("id")
    for event in ("S900", "R010", "A001"):
        with h5py.File(TINY / "data" / table.file_name[event]) as file:
            stored = file["vil"][table.file_index[event]]
        np.testing.assert_array_equal(ds.vil.sel(event=event).transpose("y", "x", "time"), stored)


def test_windows_are_cuts_of_the_events():
    ds = sevir(TINY, "test").load()
    windows = sevir_sequences(ds, history=7, horizon=6, stride=9)
    for row in range(windows.sizes["sequence"]):
        one = windows.isel(sequence=row)
        first = int(one.first_frame)
        cut = ds.sel(event=str(one.event.values)).isel(time=slice(first, first + 13))
        np.testing.assert_array_equal(one.vil, cut.vil)
        np.testing.assert_array_equal(one.valid_time, cut.valid_time)
        np.testing.assert_array_equal(one.init + one.time, cut.valid_time)
    assert (windows.time[:7] <= np.timedelta64(0)).all()
    assert (windows.time[7:] > np.timedelta64(0)).all()


def test_nothing_is_read_before_it_is_asked_for(monkeypatch):
    read = []
    original = h5py.Dataset.__getitem__
    monkeypatch.setattr(h5py.Dataset, "__getitem__", lambda data, key: (read.append(key), original(data, key))[1])
    windows = sevir_sequences(downsample(sevir(TINY)), history=7, horizon=6, stride=6)
    assert dask.is_dask_collection(windows.vil)
    assert not read
    windows.vil.isel(sequence=0).compute()
    assert len(read) == 1


def test_maxima_commute_with_coarser_data_and_means_keep_the_mean():
    ds = xr.Dataset({"v": (("time", "y", "x"), np.random.default_rng(0).random((6, 6, 9)))})
    once = downsample(downsample(ds, 2, 3), 1, 1)
    xr.testing.assert_equal(once, downsample(ds, 2, 3))
    assert float(once.v.max()) == float(ds.v[::2].max())
    np.testing.assert_allclose(downsample(ds, 1, 3, "mean").v.mean(), ds.v.mean())


def test_projection_is_that_of_the_catalogue():
    """Azimuths and distances from the origin, by the sphere's geometry."""
    crs = {"latitude_of_projection_origin": 38.0, "longitude_of_projection_origin": -98.0, "earth_radius": 6370997.0}
    for degrees in (0.5, 10.0):
        chord = 2 * 6370997 * np.sin(np.deg2rad(degrees) / 2)
        np.testing.assert_allclose(project(-98, 38 + degrees, crs), (0, chord), rtol=1e-9, atol=1e-3)
    east, west = project(-90, 35, crs), project(-106, 35, crs)
    np.testing.assert_allclose(east, (-west[0], west[1]))


# ------------------------------------------------------------------ published numbers


@pytest.mark.parametrize("case", EXPECTED)
def test_published_items(case):
    expected = EXPECTED[case]
    length, stride, batch, split = re.fullmatch(r"seq(\d+)_stride(\d+)_bs(\d+)_(\w+)", case).groups()
    ds = official(split)
    assert list(ds.event.values) == [event["id"] for event in expected["event_order"]]
    assert list(ds.file_index.values) == [event["index"] for event in expected["event_order"]]
    windows = sevir_sequences(ds, history=int(length) - 1, horizon=1, stride=int(stride)).load()
    assert windows.sizes["sequence"] == expected["n_events"] * expected["num_seq_per_event"]
    assert windows.sizes["sequence"] // int(batch) == expected["len"]
    items = [sequence for item in expected["items"] for sequence in item]
    for row, item in enumerate(items):
        frames = windows.vil[row]
        assert (frames[0, 0, 0], frames[-1, 0, 0], frames[0, 0, 1]) == (
            item["first_frame"],
            item["last_frame"],
            item["file_index"],
        )
        scaled = (frames.values * np.float32(1 / 255)).astype(float)
        assert scaled.sum() == pytest.approx(item["checksum"], abs=1e-9)


@pytest.mark.parametrize("split", ["train", "val", "test"])
def test_published_frames(split):
    windows = sevir_sequences(official(split))
    published = load_file(DATA / "sevir_tiny_items.safetensors")[f"{split}.item0"]
    np.testing.assert_array_equal(windows.vil[:2].values[..., None] * np.float32(1 / 255), published)


def test_published_sevir_lr():
    with h5py.File(next((TINY / "data").rglob("*2018_0701_1231.h5"))) as file:
        ds = xr.Dataset({"vil": (("event", "y", "x", "time"), file["vil"][:])})
    coarse = downsample(ds).vil.transpose("event", "y", "x", "time")
    assert coarse.dtype == np.uint8
    np.testing.assert_array_equal(coarse, load_file(DATA / "sevir_lr_file0.safetensors")["lr_file0"])


def test_published_mean_pooling():
    published = load_file(DATA / "sevir_runtime_downsample.safetensors")
    ds = xr.Dataset({"v": (("n", "time", "y", "x", "channel"), published["x"])})
    coarse = downsample(ds, 2, 3, "mean").v.transpose(*ds.v.dims)
    np.testing.assert_allclose(coarse, published["y"], atol=1e-6)


def test_sevir_lr_files_are_sevir_made_coarser(tree):
    fine = sevir(TINY, decode=False)
    for path in (tree / "data").rglob("*.h5"):
        with h5py.File(path) as file:
            stored = xr.Dataset({"vil": (("event", "y", "x", "time"), file["vil"][:])})
        write(tree, path.relative_to(tree / "data"), "vil", downsample(stored).vil.transpose(*stored.vil.dims).values)
    read, made = sevir_lr(tree, decode=False), downsample(fine)
    np.testing.assert_array_equal(read.vil, made.vil)
    xr.testing.assert_equal(read.valid_time.load(), made.valid_time.load())
    assert read.time.values[1] - read.time.values[0] == np.timedelta64(10, "m")


# ------------------------------------------------------------------ labels


def test_labels():
    ds = sevir(TINY, "test")
    assert ds.vil.dims == ("event", "time", "y", "x")
    assert ds.vil.dtype == np.float32
    assert sevir(TINY, "test", decode=False).vil.dtype == np.uint8
    assert ds.vil.attrs["units"] == "1"
    assert ds.vil.attrs["grid_mapping"] in ds.coords
    np.testing.assert_allclose(ds.y, 48_000 * (np.arange(8) + 0.5))
    assert float(ds.lower_left_longitude[0]) == -90.0
    first = ds.sel(event="S777").valid_time
    expected = np.array(["2019-05-31T22:05", "2019-06-01T00:05", "2019-06-01T02:05"], "M8[ns]")
    np.testing.assert_array_equal(first[[0, 24, 48]], expected)


def test_offsets_of_the_catalogue_are_heeded(tree):
    offsets = ":".join(str(minutes) for minutes in range(-60, 5 * 49 - 60, 5))
    ds = sevir(edit(tree, lambda rows: rows.assign(minute_offsets=offsets)), "test")
    np.testing.assert_array_equal(ds.valid_time[:, 12], ds.event_time)


def test_a_forecaster_takes_an_event(tree):
    one = sevir_event(sevir(edit(tree, lambda rows: rows.assign(proj=PROJ)), "test"), "S777")
    assert one.vil.dims == ("time", "y", "x")
    left, bottom = project(-90, 30, one.crs.attrs)
    np.testing.assert_allclose(one.x[0], left + 24_000)
    np.testing.assert_allclose(one.y[0], bottom + 24_000)
    spec = DataSpec([Variable("vil", "1")], Grid("projected", (8, 8), spacing=(48e3, 48e3)), "5 minutes", 13, 12)
    forecast = xf.forecast(one, persistence(spec), init="2019-05-31T23:05")
    np.testing.assert_array_equal(forecast.vil.isel(sample=0, lead=3), one.vil.isel(time=12))
    np.testing.assert_array_equal(forecast.valid_time, one.time[13:25])
    assert forecast.crs.attrs["longitude_of_projection_origin"] == -98.0


def test_image_types_of_other_resolutions_and_their_decoding(tree):
    rows = pd.read_csv(tree / "CATALOG.csv").query("img_type == 'vil'")
    vil = rows[rows.id.isin(["A001", "S778"])]
    files = {"ir107": "ir107/2019/made.h5", "vis": "vis/2019/made.h5"}
    others = [vil.assign(img_type=name, file_name=file, file_index=[1, 0]) for name, file in files.items()]
    pd.concat([rows, *others]).to_csv(tree / "CATALOG.csv", index=False)
    infrared = np.arange(2 * 4 * 4 * 49, dtype=np.int16).reshape(2, 4, 4, 49)
    infrared[0, 0, 0, 0] = -32768
    write(tree, files["ir107"], "ir107", infrared)
    write(tree, files["vis"], "vis", np.full((2, 16, 16, 49), 5000, np.int16))
    ds = sevir(tree, image_types=["vil", "ir107", "vis"])
    assert set(ds.event.values) == {"A001", "S778"}
    assert ds.ir107.dims == ("event", "time", "y_4", "x_4")
    assert ds.vis.dims == ("event", "time", "y_16", "x_16")
    np.testing.assert_allclose(ds.x_4, 96_000 * (np.arange(4) + 0.5))
    first = vil.id.iloc[1]  # whose row in the made files is 0
    stored = infrared[0].astype(np.float32) / 100
    stored[0, 0, 0] = np.nan
    np.testing.assert_allclose(ds.ir107.sel(event=first).transpose("y_4", "x_4", "time"), stored, rtol=1e-6)
    np.testing.assert_allclose(ds.vis, 0.5)
    assert ds.ir107.attrs["units"] == "degC"
    only = sevir(tree, image_types=["ir107"])
    assert only.ir107.dims == ("event", "time", "y", "x")


# ------------------------------------------------------------------ what is left out, and errors


@pytest.mark.parametrize(
    ("split", "count"), [("train", "1 rows with missing data"), ("val", "2 rows of doubled events")]
)
def test_what_is_left_out_is_counted(split, count):
    with pytest.warns(XForecastWarning, match=count):
        ds = sevir(TINY, split)
    assert ds.attrs["left_out"] == ": ".join(reversed(count.split(" ", 1)))


def test_absent_files_are_told_or_skipped(tree):
    gone = next((tree / "data").rglob("*STORMEVENTS_2019*"))
    gone.unlink()
    with pytest.raises(DataFileError, match=rf"{gone.name}: no such file(?s:.*)missing_files='skip'"):
        sevir(tree)
    with pytest.warns(XForecastWarning, match="3 rows of events in 1 files"):
        ds = sevir(tree, missing_files="skip")
    assert ds.sizes["event"] == 6
    assert sevir(tree, "val").sizes["event"] == 2


def test_a_half_fetched_file_is_told(tree):
    path = next((tree / "data").rglob("*RANDOM*"))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataFileError, match=rf"{path.name}: cannot be read as HDF5(?s:.*)fetch it again"):
        sevir(tree)


def test_a_file_shorter_than_the_catalogue_is_told(tree):
    longer = edit(tree, lambda rows: rows.assign(file_index=rows.file_index + 20))
    with pytest.raises(DataFileError, match=r"found \d events, wanted 2\d by the catalogue"):
        sevir(longer)


def test_a_file_of_another_kind_is_told(tree):
    path = next((tree / "data").rglob("*RANDOM*"))
    write(tree, path.relative_to(tree / "data"), "other", np.zeros(3))
    with pytest.raises(DataFileError, match=r"found \['other'\], wanted an array 'vil'"):
        sevir(tree)


def test_damage_met_while_reading_is_told(tree):
    ds = sevir(tree, "test")
    Path(next((tree / "data").rglob("*STORMEVENTS_2019*"))).write_bytes(b"no longer there")
    with pytest.raises(DataFileError, match="STORMEVENTS_2019"):
        ds.load()


def test_catalogues_that_cannot_be_used_are_told(tree):
    with pytest.raises(DataFileError, match=r"found no event(?s:.*)rows from 2018-07-03"):
        sevir(tree, start="2030-01-01")
    with pytest.raises(DataFileError, match=r"no columns \['pct_missing'\]"):
        sevir(edit(tree, lambda rows: rows.drop(columns="pct_missing")))
    (tree / "CATALOG.csv").unlink()
    with pytest.raises(DataFileError, match=r"CATALOG\.csv: no such file"):
        sevir(tree)


@pytest.mark.parametrize(
    "options",
    [
        {"split": "dev"},
        {"order": "random"},
        {"missing_files": "drop"},
        {"image_types": ["lght"]},
        {"image_types": "vil"},
    ],
)
def test_options_that_cannot_work_are_told(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        sevir(TINY, **options)


def test_windows_longer_than_the_event_are_told():
    with pytest.raises(InvalidOption, match="at most 49 frames"):
        sevir_sequences(sevir(TINY, "test"), history=30, horizon=20)
    with pytest.raises(InvalidOption, match="'A001'"):
        sevir_event(sevir(TINY, "test"), "S1")
