"""Samples by name, and what importing the readers loads.

Also guards `folder.py` and `hadisst.py`.
"""

import dataclasses
import hashlib
import os
import subprocess
import sys
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib import import_module

import dask
import numpy as np
import pytest
import xarray as xr

import xforecast as xf
from xforecast import datasets
from xforecast.errors import DataFileError, InvalidOption, MissingExtra
from xforecast.models import Persistence, PersistenceConfig
from xforecast.spec import DataSpec, Grid, Variable

samples = import_module("xforecast.datasets.samples")
SAMPLES = samples.SAMPLES
RADARS = {
    "knmi-2010-08-26": (92, 5, 1000.0),
    "fmi-2016-09-28": (40, 5, None),
    "mch-2016-07-11": (40, 5, 1000.0),
    "mch-2017-01-31": (40, 5, 1000.0),
    "mrms-2019-06-10": (36, 2, 0.02),
    "opera-2018-08-24": (24, 15, 2000.0),
}
DATA = os.environ.get("XFORECAST_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="XFORECAST_DATA is not set")


def test_every_sample_is_listed_with_its_licence():
    listed = datasets.list_samples()
    assert set(listed) == set(SAMPLES) >= set(RADARS) | {"era5-sst", "kaplan-ssta", "ersstv5-sst", "hadisst"}
    assert all(SAMPLES[name].licence in text for name, text in listed.items())


def test_importing_the_readers_loads_nothing_heavy():
    """Neither torch nor the packages of the extra."""
    code = "import sys, xforecast.datasets; print([name for name in ('torch', 'h5py', 'pooch') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_missing_extra_is_told(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "h5py", None)
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a.h5").touch()
    (tmp_path / "CATALOG.csv").write_text(
        "id,file_name,file_index,img_type,time_utc,pct_missing\nS1,a.h5,0,vil,2019-07-01 00:00:00,0.0\n"
    )
    with pytest.raises(MissingExtra, match=r"pip install 'xforecast\[data\]'"):
        datasets.sevir(tmp_path)


def test_without_the_files_it_says_where_to_put_which(monkeypatch, tmp_path):
    monkeypatch.delenv("XFORECAST_DATA", raising=False)
    with pytest.raises(DataFileError, match=r"pysteps-data(?s:.*)set XFORECAST_DATA to .* radar/knmi"):
        datasets.sample("knmi-2010-08-26")
    monkeypatch.setenv("XFORECAST_DATA", str(tmp_path))
    with pytest.raises(DataFileError, match=f"no file enso/era5.* in {tmp_path}"):
        datasets.sample("era5-sst")


def test_unknown_names_are_told():
    with pytest.raises(InvalidOption, match=r"one of .*'opera-2018-08-24'"):
        datasets.sample("opera")


@pytest.fixture
def public(tmp_path, monkeypatch):
    """A sample at a public address, here of this machine; nothing in the local folder."""
    pytest.importorskip("pooch")
    served = tmp_path / "served"
    served.mkdir()
    rain = xr.DataArray(
        np.ones((3, 2, 2)), dims=("time", "y", "x"), name="rain", attrs={"units": "mm/h"},
        coords={"time": xr.date_range("2024-06-01", periods=3, freq="5min")},
    )  # fmt: skip
    rain.to_netcdf(served / "rain.nc")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    entry = samples.Sample(
        "made", "none", "made", "radar/rain.nc",
        address=f"http://127.0.0.1:{server.server_port}/rain.nc",
        sha256=hashlib.sha256((served / "rain.nc").read_bytes()).hexdigest(),
    )  # fmt: skip
    monkeypatch.setitem(SAMPLES, "made", entry)
    monkeypatch.setenv("XFORECAST_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("XFORECAST_DATA", raising=False)
    yield entry
    server.shutdown()
    server.server_close()


def test_a_public_sample_is_fetched_once_and_checked(public, monkeypatch):
    assert float(datasets.sample("made").rain_rate.mean()) == 1.0
    monkeypatch.setitem(SAMPLES, "made", dataclasses.replace(public, address="http://127.0.0.1:1/rain.nc"))
    assert float(datasets.sample("made").rain_rate.mean()) == 1.0


def test_a_public_sample_with_another_digest_is_refused(public, monkeypatch):
    monkeypatch.setitem(SAMPLES, "made", dataclasses.replace(public, sha256="0" * 64))
    with pytest.raises(DataFileError, match="cannot be fetched"):
        datasets.sample("made")


# ------------------------------------------------------------------ the real files


@needs_data
@pytest.mark.parametrize("name", RADARS)
def test_radar_samples_are_ready_to_forecast_from(name):
    ds = datasets.sample(name)
    frames, minutes, spacing = RADARS[name]
    y, x = ds.rain_rate.dims[1:]
    assert dask.is_dask_collection(ds.rain_rate)
    assert ds.rain_rate.shape == (frames, 384, 384)
    assert ds.rain_rate.attrs["units"] == "mm h-1"
    assert np.all(np.diff(ds.time) == np.timedelta64(minutes, "m"))
    assert ds.attrs["licence"] == SAMPLES[name].licence
    assert ds.rain_rate.attrs["grid_mapping"] in ds.coords
    step = abs(float(ds[x][1] - ds[x][0]))
    assert step == pytest.approx(spacing or step, rel=1e-3)
    assert 5 < float(ds.rain_rate.max()) < 200
    assert float(ds.rain_rate.min()) >= 0
    kind = "latlon" if x == "lon" else "projected"
    spacings = (abs(float(ds[y][1] - ds[y][0])), step)
    rain = Variable("rain", "mm/h", ["rainfall_rate"], fill=0.0)  # outside the radars' reach
    spec = DataSpec([rain], Grid(kind, (384, 384), spacing=spacings), f"{minutes} minutes", 2, 2)
    forecaster = xf.Forecaster(Persistence(PersistenceConfig(horizon=2)), spec)
    forecast = xf.forecast(ds, forecaster)
    last, given = ds.rain_rate.isel(time=-1).values, forecast.rain_rate.isel(sample=0, lead=1).values
    known = np.isfinite(last)
    assert known.mean() > 0.5
    np.testing.assert_allclose(given[known], last[known], rtol=1e-5, atol=1e-6)


@needs_data
@pytest.mark.parametrize(
    ("name", "field", "months"),
    [("era5-sst", "sst", 936), ("kaplan-ssta", "ssta", 1906), ("ersstv5-sst", "sst", 96)],
)
def test_monthly_samples(name, field, months):
    ds = datasets.sample(name)
    assert ds[field].sizes["time"] == months
    assert ds[field].attrs["units"] == "degC"
    assert dask.is_dask_collection(ds[field])


@needs_data
def test_mnist_digits_move():
    ds = datasets.nbody_mnist(2, world=datasets.NBody(frames=2))
    assert 0.5 < float(ds.frames.max()) <= 1
