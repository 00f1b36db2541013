"""Options are checked once, with one remedy each, before anything is computed."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, fields

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import xforecast as xf
from synthetic import noise, persistence, sst_dataset
from xforecast.errors import InvalidOption
from xforecast.forecaster import ForecastOptions, Predictor
from xforecast.models import Abilities, PreDiff, PreDiffConfig, SamplingOptions
from xforecast.spec import DataSpec, Grid, Variable


@pytest.fixture(scope="module")
def diffusion():
    """An untrained PreDiff."""
    torch.manual_seed(0)
    spec = DataSpec([Variable("rain", "mm/h")], Grid("pixel", (16, 16)), "5 minutes", history=2, horizon=2)
    return xf.Forecaster(PreDiff(PreDiffConfig.of_size(history=2, horizon=2, grid=(16, 16))), spec)


WRONG = [
    ({"samples": 0}, "samples"),
    ({"samples": 2.5}, "samples"),
    ({"horizon": 99}, "horizon"),
    ({"seed": "today"}, "seed"),
    ({"seed": True}, "seed"),
    ({"device": "tpu"}, "device"),
    ({"precision": "float8"}, "precision"),
    ({"batch_size": 0}, "batch_size"),
    ({"batch_size": "many"}, "batch_size"),
    ({"sampling": 3}, "sampling"),
    ({"sampling": {"temperature": 2}}, "temperature"),
    ({"steps": 5}, "steps"),
    ({"guidance": "network"}, "guidance"),
    ({"climatology": ("1991", "2020"), "base_period": ("1981", "2010")}, "climatology"),
]


@pytest.mark.parametrize(("options", "name"), WRONG, ids=lambda value: str(value))
def test_what_cannot_work_is_refused_with_a_remedy(options, name):
    with pytest.raises(InvalidOption, match=rf"(?s)^{name}: found .*, wanted .*\n  -> ."):
        ForecastOptions.of(noise().predictor, **options)


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"sampler": "euler"}, "sampler"),
        ({"eta": 2}, "eta"),
        ({"strength": 1.0}, "strength"),
        ({"guidance": "magic"}, "guidance"),
        ({"constraint": 3.0}, "constraint"),
    ],
)
def test_options_of_sampling_are_those_of_the_model(options, name, diffusion):
    with pytest.raises(InvalidOption, match=rf"^{name}: "):
        ForecastOptions.of(diffusion.predictor, **options)


def test_what_is_left_open_is_decided(diffusion):
    asked = ForecastOptions.of(diffusion.predictor)
    assert (asked.samples, asked.horizon, asked.drawing.sampler) == (1, 2, "dpm++")
    assert ForecastOptions.of(persistence().predictor).drawing is None


def test_options_of_every_forecast_are_given_by_their_names_only(diffusion):
    with pytest.raises(InvalidOption, match=r"(?s)^sampling: found \['steps'\].*-> pass steps= itself"):
        ForecastOptions.of(diffusion.predictor, sampling={"steps": 3})


def test_options_of_a_model_of_ones_own_reach_it(diffusion):
    @dataclass(frozen=True, kw_only=True)
    class Warmth(SamplingOptions):
        temperature: float = 1.0

    class Warm(torch.nn.Module):
        abilities = Abilities(samples=None, sampling=Warmth)

    predictor = Predictor(Warm(), diffusion.spec)
    assert ForecastOptions.of(predictor, sampling={"temperature": 2.0}).drawing == Warmth(temperature=2.0)
    assert ForecastOptions.of(predictor).drawing == Warmth()
    with pytest.raises(InvalidOption, match="did you mean 'temperature'"):
        ForecastOptions.of(predictor, sampling={"temperatur": 2.0})


def test_the_former_name_of_the_base_period():
    asked = ForecastOptions(climatology=("1991", "2020"))
    assert (asked.base_period, asked.climatology) == (("1991", "2020"), None)
    assert asked == ForecastOptions(base_period=("1991", "2020"))


@settings(deadline=None, max_examples=30)
@given(st.integers(-(2**63), 2**63 - 1), st.integers(1, 9), st.sampled_from(["float32", "bfloat16"]))
def test_options_travel_and_stay_what_they_are(seed, samples, precision):
    asked = ForecastOptions.of(noise().predictor, seed=seed, samples=samples, precision=precision)
    assert pickle.loads(pickle.dumps(asked)) == asked
    again = ForecastOptions.of(noise().predictor, **asked.to_dict())
    assert again == asked
    assert asked.for_workers().seed == seed


def test_options_are_checked_once(monkeypatch, diffusion):
    """From labels to labels, the model's own check of its options runs once."""
    calls = []
    original = PreDiff.check_sampling
    monkeypatch.setattr(PreDiff, "check_sampling", lambda self, **options: calls.append(1) or original(self, **options))
    made = []
    init = ForecastOptions.__post_init__
    monkeypatch.setattr(ForecastOptions, "__post_init__", lambda self: made.append(1) or init(self))
    import numpy as np
    import xarray as xr

    rain = xr.DataArray(
        np.random.default_rng(0).random((2, 16, 16)), name="rain", dims=("time", "y", "x"), attrs={"units": "mm/h"},
        coords={"time": xr.date_range("2024-06-01", periods=2, freq="5min")},
    )  # fmt: skip
    diffusion.forecast(rain, samples=3, steps=2, batch_size=2)
    assert (len(calls), len(made)) == (1, 1)


def test_a_name_that_is_no_option_is_refused_with_the_nearest():
    ds, persistent = sst_dataset(), persistence()
    words = r"sampels: found 3, wanted an option among .*\n  -> did you mean 'samples'\?"
    doors = (persistent.forecast, lambda data, **o: xf.forecast(data, persistent, **o),
             lambda data, **o: data.earthformer.forecast(persistent, **o))  # fmt: skip
    for door in doors:
        with pytest.raises(InvalidOption, match=words):
            door(ds, sampels=3)


def test_arrays_take_options_that_mean_something_for_them():
    import numpy as np

    forecaster = noise()
    x = np.zeros((1, *forecaster.spec.input_shape), np.float32)
    with pytest.raises(InvalidOption, match=r"devise: found 'cpu'.*(.|\n)*did you mean 'device'"):
        forecaster.predict(x, devise="cpu")
    with pytest.raises(InvalidOption, match=r"^init: "):
        forecaster.predict(x, init="all")
    np.testing.assert_array_equal(forecaster.predict(x, 2, keys=[5]), forecaster.predict(x, 2, starts=[5]))


def test_every_option_goes_on_from_door_to_door(monkeypatch):
    """From the function to the forecaster, and from there to the options, nothing is left out or exchanged."""
    names = [entry.name for entry in fields(ForecastOptions) if entry.init]
    given = {name: f"my {name}" for name in names}
    seen: dict = {}
    persistent = persistence()
    monkeypatch.setattr(type(persistent), "forecast", lambda self, ds, **options: seen.update(options))
    xf.forecast(sst_dataset(), persistent, **given)
    assert seen == given
    monkeypatch.undo()
    seen.clear()

    def stop(predictor, **options):
        seen.update(options)
        raise KeyboardInterrupt

    monkeypatch.setattr(ForecastOptions, "of", stop)
    with pytest.raises(KeyboardInterrupt):
        persistent.forecast(sst_dataset(), **given)
    assert seen == given
