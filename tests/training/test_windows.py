"""Training on data that are larger than memory: the same pairs, and never the whole."""

from __future__ import annotations

import pickle
import threading
import weakref

import dask.array as da
import numpy as np
import pytest
import torch
import xarray as xr
from trained import small

import xforecast as xf
from xforecast.labels import make_spec
from xforecast.training import windows as training_windows
from xforecast.training.windows import LazyWindows, TrainingWindows, in_memory_or_not, windows_of

BLOCK, BLOCKS = 10, 40


class Blocks:
    """A record that is made block by block, and counts how many blocks are held at a time."""

    def __init__(self):
        self.held, self.most, self.read = 0, 0, 0
        self.lock = threading.Lock()

    def block(self, block_info=None):
        (first, last), *_ = block_info[None]["array-location"]
        values = record().values[first:last].copy()
        with self.lock:
            self.held, self.read = self.held + 1, self.read + 1
            self.most = max(self.most, self.held)
        weakref.finalize(values, self.gone)
        return values

    def gone(self):
        with self.lock:
            self.held -= 1

    def data(self) -> xr.DataArray:
        chunks = ((BLOCK,) * BLOCKS, (4,), (6,))
        return record().copy(data=da.map_blocks(self.block, chunks=chunks, dtype=np.float32, meta=np.empty((0, 0, 0))))


def record() -> xr.DataArray:
    steps = np.arange(BLOCK * BLOCKS)[:, None, None]
    y, x = np.mgrid[:4, :6]
    values = 5 + np.sin(2 * np.pi * (x / 6 - steps / 8)) + 0.1 * y + 0.3 * np.cos(2 * np.pi * steps / 365)
    values[:, 0, 0] = np.nan
    time = xr.date_range("2000-01-01", periods=len(steps), freq="D")
    return xr.DataArray(values.astype(np.float32), {"time": time}, ("time", "y", "x"), name="z", attrs={"units": "m"})


@pytest.fixture
def little_memory(monkeypatch):
    """Room for eight blocks of the record."""
    monkeypatch.setattr(training_windows, "MEMORY", record().nbytes // 4)


@pytest.mark.parametrize("options", [{}, {"transform": "log1p", "calendar": ["annual"]}])
def test_lazy_pairs_are_the_pairs(little_memory, options):
    lengths = {"history": 4, "horizon": 2, **options}
    lazy, eager = Blocks().data().drop_isel(time=[77, 205]), record().drop_isel(time=[77, 205])
    found, wanted = (make_spec(one, train=slice(None, "2000-10"), **lengths) for one in (lazy, eager))
    assert found.variables[0].offset == pytest.approx(wanted.variables[0].offset, rel=1e-5)
    assert found.variables[0].scale == pytest.approx(wanted.variables[0].scale, rel=1e-5)
    assert found.variables[0].fill == pytest.approx(wanted.variables[0].fill, rel=1e-5)
    np.testing.assert_array_equal(found.mask, wanted.mask)
    windows, (whole, _) = windows_of(lazy, wanted)[0], windows_of(eager, wanted)
    assert isinstance(windows, LazyWindows)
    assert isinstance(whole, TrainingWindows)
    assert len(windows) == len(whole)
    for index in range(len(whole)):
        for part, other in zip(windows[index], whole[index], strict=True):
            torch.testing.assert_close(part, other, rtol=0.0, atol=0.0, equal_nan=True)
    np.testing.assert_array_equal(windows.regular_series(), whole.regular_series())


def test_a_base_period_is_lazy_too():
    years = xr.concat([record()] * 4, "time")
    years["time"] = xr.date_range("2000-01", periods=years.sizes["time"], freq="MS")
    options = {"history": 4, "horizon": 2, "base": ("2001", "2010")}
    found, wanted = (make_spec(one, **options).variables[0] for one in (years.chunk(time=100), years))
    np.testing.assert_allclose(found.climatology.values, wanted.climatology.values, rtol=1e-5)
    assert found.scale == pytest.approx(wanted.scale, rel=1e-4)


def test_training_holds_a_share_of_the_data_at_a_time(little_memory):
    blocks = Blocks()
    made = xf.fit(
        blocks.data(), small(), history=4, horizon=2, epochs=2, batch_size=16, device="cpu", progress=False, valid=0.1
    )
    assert blocks.most <= BLOCKS // 4
    assert blocks.read > BLOCKS
    assert made.spec.variables[0].offset == pytest.approx(float(record().mean()), rel=0.02)
    forecast = made.forecast(record())
    assert bool(forecast.z.isel(y=0, x=0).isnull().all())


def test_in_a_pass_blocks_are_read_about_once(little_memory):
    blocks = Blocks()
    spec = make_spec(record(), history=4, horizon=2)
    windows, _ = windows_of(blocks.data(), spec)
    order = windows.shuffled(torch.Generator().manual_seed(0))
    assert sorted(order) == list(range(len(windows)))
    assert order != sorted(order)
    for index in order:
        windows[index]
    assert len(windows._kept) <= 2 * windows.together
    assert blocks.read <= 2 * BLOCKS + windows.together


def test_another_process_gets_the_windows_without_what_was_read():
    windows, _ = windows_of(record().chunk(time=20), make_spec(record(), history=4, horizon=2))
    pair = windows[3]
    again = pickle.loads(pickle.dumps(windows))
    assert windows._kept
    assert not again._kept
    assert torch.equal(again[3][0], pair[0])


def test_what_is_loaded_follows_the_size_or_the_wish(little_memory):
    lazy, eager = Blocks().data(), record()
    assert in_memory_or_not(lazy, None).chunks
    assert not in_memory_or_not(lazy.isel(time=slice(50)), None).chunks
    assert not in_memory_or_not(lazy, True).chunks
    assert in_memory_or_not(eager, None) is eager
    assert in_memory_or_not(eager, False).chunks
    assert in_memory_or_not(0.15, False) == 0.15


@pytest.mark.parametrize("suffix", ["nc", "zarr"])
def test_files_are_read_while_training(tmp_path, little_memory, suffix):
    file = tmp_path / f"record.{suffix}"
    chunks = record().isel(time=slice(100)).chunk(time=20)
    if suffix == "zarr":
        pytest.importorskip("zarr")
        chunks.to_zarr(file, zarr_format=2)
        ds = xr.open_zarr(file)
    else:
        chunks.to_netcdf(file, encoding={"z": {"chunksizes": (20, 4, 6)}})
        ds = xr.open_dataset(file, chunks={"time": 20})
    options = {"history": 4, "horizon": 2, "epochs": 1, "device": "cpu", "progress": False, "in_memory": False}
    made = xf.fit(ds, small(), **options)
    assert made.forecast(ds).z.chunks
    with ds:
        loaded = xf.fit(ds.load(), "Persistence", history=4, horizon=2)
    assert loaded.spec.variables[0].scale == pytest.approx(made.spec.variables[0].scale, rel=1e-5)
