"""Sample k of a start under a seed is always the same.

Also guards `devices.py` and `predictor.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch
import xarray as xr

from synthetic import noise, sst_dataset
from xforecast.errors import InvalidOption
from xforecast.forecaster import Forecaster
from xforecast.forecaster.devices import in_batches, pick_device
from xforecast.forecaster.randomness import date_keys, generator
from xforecast.models import Ensemble, EnsembleConfig, PersistenceConfig

WANTED = {"init": ["2000-06", "2001-03"], "samples": 3, "seed": 5}


@pytest.fixture(scope="module")
def wanted():
    return noise().forecast(sst_dataset(), **WANTED)


@pytest.mark.parametrize("batch_size", [1, 2, 5, 6, 100, "auto"])
def test_batches_do_not_matter(batch_size, wanted):
    xr.testing.assert_equal(noise().forecast(sst_dataset(), **WANTED, batch_size=batch_size), wanted)


def test_other_starts_do_not_matter(wanted):
    every = noise().forecast(sst_dataset(), init="all", samples=3, seed=5)
    xr.testing.assert_equal(every.sel(init=wanted.init).sst, wanted.sst)
    single = noise().forecast(sst_dataset(), init="2001-03", samples=3, seed=5)
    np.testing.assert_array_equal(single.sst, wanted.sst[1])
    swapped = noise().forecast(sst_dataset(), init=["2001-03", "2000-06"], samples=3, seed=5)
    xr.testing.assert_equal(swapped.sel(init=wanted.init).sst, wanted.sst)


@pytest.mark.parametrize("samples", [1, 2, 7])
def test_the_number_of_samples_does_not_matter(samples, wanted):
    fc = noise().forecast(sst_dataset(), **{**WANTED, "samples": samples})
    common = min(samples, 3)
    np.testing.assert_array_equal(fc.sst[:, :common], wanted.sst[:, :common])


@pytest.mark.parametrize("chunks", [{"time": 1}, {"time": 5}, {"time": -1, "lat": 2}])
def test_chunks_do_not_matter(chunks, wanted, monkeypatch):
    monkeypatch.setattr("xforecast.forecaster.lazy.BLOCK_INITS", 1)
    xr.testing.assert_equal(noise().forecast(sst_dataset().chunk(chunks), **WANTED).sst.compute(), wanted.sst)


def test_a_longer_record_and_another_calendar_type_do_not_matter(wanted):
    later = sst_dataset().isel(time=slice(2, None))
    xr.testing.assert_equal(noise().forecast(later, **WANTED).sst, wanted.sst)
    coarse = sst_dataset().assign_coords(time=sst_dataset().time.values.astype("datetime64[s]"))
    np.testing.assert_array_equal(noise().forecast(coarse, **WANTED).sst, wanted.sst)
    python = sst_dataset().convert_calendar("standard", use_cftime=True)
    np.testing.assert_array_equal(noise().forecast(python, **WANTED).sst, wanted.sst)


def test_seed_start_and_sample_all_matter(wanted):
    other = noise().forecast(sst_dataset(), **{**WANTED, "seed": 6})
    negative = noise().forecast(sst_dataset(), **{**WANTED, "seed": -5})
    ocean = wanted.sst.isel(lat=2)
    for fc in (other, negative):
        assert (abs(fc.sst.isel(lat=2) - ocean) > 1e-6).all()
    assert (abs(ocean.isel(sample=0) - ocean.isel(sample=1)) > 1e-6).all()
    departures = [forecast - forecast.mean() for forecast in (ocean[0, 0], ocean[1, 0])]
    assert abs(np.corrcoef(*[field.values.ravel() for field in departures])[0, 1]) < 0.9
    repeated = noise().forecast(sst_dataset(), **{**WANTED, "seed": np.int64(5)})
    xr.testing.assert_equal(repeated.sst, wanted.sst)


def test_predict_draws_the_samples_that_are_named():
    forecaster = noise()
    x = np.random.default_rng(0).normal(size=(2, *forecaster.spec.input_shape)).astype(np.float32)
    whole = forecaster.predict(x, 5, seed=1)
    assert whole.shape == (2, 5, *forecaster.spec.target_shape)
    np.testing.assert_array_equal(forecaster.predict(x, [3, 1], seed=1), whole[:, [3, 1]])
    np.testing.assert_array_equal(forecaster.predict(x[1:], [4], seed=1, starts=[1]), whole[1:, [4]])
    np.testing.assert_array_equal(forecaster.predict(x.astype(">f8"), 5, seed=1), whole)
    assert forecaster.predict(x, 2, horizon=2).shape[2] == 2


@pytest.mark.parametrize("samples", [0, -1, 2.5, "3", [], [-1], [0, -2], True])
def test_predict_refuses_samples_that_cannot_be(samples):
    forecaster = noise()
    with pytest.raises(InvalidOption, match="samples"):
        forecaster.predict(np.zeros((1, *forecaster.spec.input_shape)), samples)


@pytest.mark.parametrize("shape", [(3, 5, 8, 1), (1, 2, 5, 8, 1), (1, 3, 8, 5, 1), (1, 3, 5, 8, 2), (0, 3, 5, 8, 1)])
def test_predict_refuses_other_shapes(shape):
    with pytest.raises(InvalidOption, match="x: found"):
        noise().predict(np.zeros(shape))


def test_predict_leaves_its_input_alone():
    forecaster = noise()
    x = np.full((1, *forecaster.spec.input_shape), np.nan, np.float32)
    x[..., 2, 2, :] = 1.0
    before = x.copy()
    forecaster.predict(x)
    np.testing.assert_array_equal(x, before)


def test_members_of_an_ensemble_are_its_samples():
    model = Ensemble(EnsembleConfig("Persistence", PersistenceConfig(horizon=4), size=3))
    forecaster = Forecaster(model, noise().spec, {"name": "three"})
    assert forecaster.forecast(sst_dataset()).sizes["sample"] == 3
    assert forecaster.forecast(sst_dataset(), samples=2).sizes["sample"] == 2
    with pytest.raises(InvalidOption, match="3 members, which are its samples"):
        forecaster.forecast(sst_dataset(), samples=4)


def test_random_numbers_come_from_the_date_and_not_from_its_type():
    import cftime

    numpy = np.array(["2000-02-16T12:00"], "datetime64[ns]")
    python = np.array([cftime.DatetimeGregorian(2000, 2, 16, 12)], object)
    assert date_keys(numpy) == date_keys(python) == date_keys(numpy.astype("datetime64[s]"))
    assert len(set(date_keys(sst_dataset().time.values))) == 18
    drawn = [torch.randn(4, generator=generator(seed, key, sample)).tolist()
             for seed in (0, 1, -1) for key in (0, 1) for sample in (0, 1)]  # fmt: skip
    assert len({tuple(numbers) for numbers in drawn}) == 12


def test_batches_are_halved_when_memory_runs_out():
    sizes = []

    def run(batch):
        sizes.append(batch.stop - batch.start)
        if sizes[-1] > 2:
            raise torch.cuda.OutOfMemoryError("too much")
        return torch.arange(batch.start, batch.stop)

    assert in_batches(run, 5, 8).tolist() == [0, 1, 2, 3, 4]
    assert sizes == [5, 4, 2, 2, 1]
    with pytest.raises(torch.cuda.OutOfMemoryError):
        in_batches(lambda batch: run(slice(0, 9)), 1, 1)


def test_devices():
    assert pick_device("cpu") == pick_device(torch.device("cpu"))
    for name in ("gpu", "cuda:x", None, "mps" if not torch.backends.mps.is_available() else "xpu", 3.5):
        with pytest.raises(InvalidOption, match="device"):
            pick_device(name)


def test_a_lower_precision_is_near():
    fine, coarse = (noise().forecast(sst_dataset(), precision=name).sst for name in ("float32", "bfloat16"))
    np.testing.assert_allclose(fine, coarse, atol=0.1)
    assert coarse.dtype == np.float32
