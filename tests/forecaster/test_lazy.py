"""dask in, dask out: nothing is computed when a forecast is set up, and the numbers are the eager ones."""

from __future__ import annotations

import pickle

import cloudpickle
import dask
import dask.array
import numpy as np
import pytest
import torch
import xarray as xr

from synthetic import Noise, noise, persistence, radar_dataset, radar_spec, sst_dataset, sst_spec
from xforecast.errors import SpecMismatch, XForecastWarning
from xforecast.forecaster import Forecaster, ForecastOptions
from xforecast.models import Ensemble, EnsembleConfig, Persistence, PersistenceConfig


def chunkings():
    return [{"time": 1}, {"time": 4}, {"time": -1}, {"time": (7, 1, 10), "lat": 2}, {"lat": 1, "lon": 3}, "auto"]


@pytest.mark.parametrize("chunks", chunkings(), ids=str)
def test_any_chunks_give_the_eager_numbers(chunks):
    forecaster = noise()
    eager = forecaster.forecast(sst_dataset(), init="all", samples=3)
    lazy = forecaster.forecast(sst_dataset().chunk(chunks), init="all", samples=3)
    assert lazy.sst.chunks is not None
    assert lazy.sst.dims == eager.sst.dims
    assert not any(coord.chunks for coord in lazy.coords.values())
    xr.testing.assert_equal(lazy.compute(), eager)
    assert {key: value for key, value in lazy.attrs.items() if key != "history"} == {
        key: value for key, value in eager.attrs.items() if key != "history"
    }


@pytest.mark.parametrize("scheduler", ["synchronous", "threads"])
def test_schedulers_give_the_eager_numbers(scheduler):
    forecaster = noise()
    lazy = forecaster.forecast(sst_dataset().chunk(time=3), init="all", samples=2)
    with dask.config.set(scheduler=scheduler):
        found = lazy.compute()
    xr.testing.assert_equal(found, forecaster.forecast(sst_dataset(), init="all", samples=2))


def members() -> Forecaster:
    """Two members that other processes can build."""
    model = Ensemble(EnsembleConfig("Persistence", PersistenceConfig(horizon=4), size=2))
    return Forecaster(model, sst_spec(), {"name": "two"})


def test_processes_give_the_eager_numbers(cache):
    forecaster = members()
    lazy = forecaster.forecast(sst_dataset().chunk(time=3), init="all")
    with dask.config.set(scheduler="processes", num_workers=2):
        found = lazy.compute()
    xr.testing.assert_equal(found, forecaster.forecast(sst_dataset(), init="all"))
    (saved,) = (cache / "workers").iterdir()
    assert Forecaster.load(saved).digest == forecaster.digest


def test_a_cluster_gives_the_eager_numbers(cache, tmp_path):
    distributed = pytest.importorskip("distributed")
    folder = members().save(tmp_path / "two")
    forecaster = Forecaster.load(folder)
    wanted = forecaster.forecast(sst_dataset(), init="all")
    with (
        dask.config.set({"distributed.admin.tick.limit": "1h"}),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster),
    ):
        found = forecaster.forecast(sst_dataset().chunk(time=3), init="all").compute()
        wrong = sst_dataset().chunk(time=3)
        wrong.sst.attrs["standard_name"] += "_anomaly"
        with pytest.raises(SpecMismatch, match="call themselves anomalies"):
            forecaster.forecast(wrong).compute()
    xr.testing.assert_equal(found, wanted)
    assert not (cache / "workers").exists()  # it was saved already


# ------------------------------------------------------------------ nothing happens when it is set up


def explosive(ds: xr.Dataset) -> xr.Dataset:
    """Data that cannot be looked at."""

    def explode(block):
        raise AssertionError("the data were computed")

    (own,) = [name for name in ds.data_vars if "time" in ds[name].dims]
    source = dask.array.from_array(ds[own].values, chunks=(4, -1, -1)).map_blocks(explode, dtype=float)
    return ds.assign({own: (ds[own].dims, source, ds[own].attrs)})


@pytest.mark.parametrize("init", [None, "all", slice("2000-05", "2001-02"), ["2001-05", "2000-07"]], ids=str)
def test_setting_up_computes_nothing(init, monkeypatch):
    monkeypatch.setattr(Noise, "forward", lambda *_: pytest.fail("the model ran"))
    fc = noise().forecast(explosive(sst_dataset()), init=init, samples=2)
    assert fc.sst.chunks is not None
    monkeypatch.undo()
    with pytest.raises(AssertionError, match="the data were computed"):
        fc.compute()


def test_setting_up_computes_nothing_of_a_projected_grid_either():
    persistence(radar_spec()).forecast(explosive(radar_dataset()), init="all")


def test_the_model_runs_when_it_is_computed_and_once_for_each_pair():
    forecaster = noise()
    lazy = forecaster.forecast(sst_dataset().chunk(time=5), init="all", samples=3)
    assert forecaster.model.calls == []
    lazy.compute(scheduler="synchronous")
    assert sum(forecaster.model.calls) == 16 * 3


def test_a_part_computes_that_part_only(monkeypatch):
    monkeypatch.setattr("xforecast.forecaster.lazy.BLOCK_INITS", 4)
    forecaster = noise()
    lazy = forecaster.forecast(sst_dataset().chunk(time=1), init="all", samples=2)
    lazy.isel(init=0).compute(scheduler="synchronous")
    assert sum(forecaster.model.calls) == 4 * 2
    xr.testing.assert_equal(lazy.compute(), forecaster.forecast(sst_dataset(), init="all", samples=2))


def test_identical_calls_are_one_computation():
    ds, forecaster = sst_dataset().chunk(time=4), noise()
    first, second = (forecaster.forecast(ds, init="all", samples=2) for _ in range(2))
    assert first.sst.data.name == second.sst.data.name
    assert first.sst.data.name == noise().forecast(ds, init="all", samples=2).sst.data.name  # the same weights
    others = [
        forecaster.forecast(ds, init="all", samples=2, seed=1),
        forecaster.forecast(ds, init="all", samples=3),
        forecaster.forecast(ds, init="all", samples=2, precision="bfloat16"),
        persistence().forecast(ds, init="all"),
    ]
    assert len({first.sst.data.name, *(other.sst.data.name for other in others)}) == 5


def test_the_graph_carries_no_weights(cache):
    model = Ensemble(EnsembleConfig("Persistence", PersistenceConfig(horizon=4), size=1))
    heavy = Forecaster(model, sst_spec())
    heavy.model.register_buffer("ballast", torch.zeros(2_000_000))
    heavy.folder = "already saved"
    lazy = heavy.forecast(sst_dataset(200).chunk(time=10), init="all")
    data = sst_dataset(200).sst.nbytes
    assert len(cloudpickle.dumps(lazy.sst.data.dask)) - data < 200_000


def test_wrong_values_in_lazy_data_are_told_when_they_are_computed():
    wrong = sst_dataset().chunk(time=4)
    wrong.sst.attrs["standard_name"] = "sea_surface_temperature_anomaly"
    fc = persistence().forecast(wrong)
    with pytest.raises(SpecMismatch, match="call themselves anomalies"):
        fc.compute()
    with pytest.raises(SpecMismatch, match="call themselves anomalies"):
        persistence().check(wrong).raise_errors()
    holes = sst_dataset()
    holes.sst[:, 2, 2] = np.nan
    lazy = persistence().forecast(holes.chunk(time=4))
    with pytest.warns(XForecastWarning, match="missing here"):
        lazy.compute(scheduler="synchronous")


def test_checking_lazy_data_computes_the_newest_history_only():
    seen = []

    def look(block, block_info=None):
        seen.append(block_info[0]["array-location"][0])
        return block

    ds = sst_dataset()
    source = dask.array.from_array(ds.sst.values, chunks=(3, -1, -1)).map_blocks(
        look, dtype=float, meta=np.empty((0,) * 3)
    )
    assert persistence().check(ds.assign(sst=(ds.sst.dims, source, ds.sst.attrs)), init="all").ok
    assert seen == [(15, 18)]


def test_numpy_in_numpy_out_dask_in_dask_out(forecaster, sst):
    assert isinstance(forecaster.forecast(sst).sst.data, np.ndarray)
    assert isinstance(forecaster.forecast(sst.chunk()).sst.data, dask.array.Array)
    stored = forecaster.forecast(sst.chunk(time=2), init="all")
    assert stored.sst.data.chunks[3:] == ((5,), (8,))


def test_an_exchanged_forecaster_is_noticed_by_other_processes(tmp_path):
    """A handle that was made for one set of weights never runs another."""
    from xforecast.errors import CheckpointError

    folder = members().save(tmp_path / "f")
    handle = pickle.dumps(_handle(Forecaster.load(folder)))
    single = Forecaster(Persistence(PersistenceConfig(horizon=4)), sst_spec())
    single.save(folder)
    block = np.zeros((1, *sst_spec().input_shape), np.float32), np.zeros(1, np.int64), np.arange(1)
    for _ in range(2):  # the second time as well
        with pytest.raises(CheckpointError, match="forecast again"):
            pickle.loads(handle)(*block)


def _handle(forecaster):
    from xforecast.forecaster.lazy import Handle

    predictor = forecaster.predictor
    return Handle(predictor.digest, ForecastOptions.of(predictor), predictor=predictor)
