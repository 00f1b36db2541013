"""Training on a Dataset: from labels to a forecaster that forecasts such labels.

Also guards `networks.py` and `prepare.py`.
"""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import xforecast as xf
from xforecast.errors import InvalidOption, SpecMismatch, TrainingError, XForecastWarning
from xforecast.labels import make_spec
from xforecast.models import BlockConfig, EarthformerConfig, Ensemble, GlobalVectorConfig
from xforecast.models.contract import weighted_mse
from xforecast.training.windows import TrainingWindows, cell_weights, windows_of

STEADY = BlockConfig(attention_dropout=0.0, projection_dropout=0.0, feed_forward_dropout=0.0)


@pytest.fixture
def wave() -> xr.Dataset:
    """Eight years of a wave that travels east, with an annual cycle and a corner of land."""
    time = xr.date_range("2000-01", periods=96, freq="MS")
    lat, lon = np.arange(-10.0, 11, 5), np.arange(160.0, 190, 5)
    months = np.arange(96)[:, None, None]
    values = np.sin(2 * np.pi * (months / 12 - lon[None, None] / 30)) + 0.1 * lat[None, :, None]
    values = np.broadcast_to(values, (96, 5, 6)).copy()
    values[:, 0, 0] = np.nan
    attrs = {"standard_name": "sea_surface_temperature", "units": "degC"}
    return xr.Dataset(
        {"sst": (("time", "lat", "lon"), values + 26, attrs)},
        {
            "time": time,
            "lat": ("lat", lat, {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", lon, {"standard_name": "longitude", "units": "degrees_east"}),
        },
    )


def small(history=4, horizon=2) -> EarthformerConfig:
    return EarthformerConfig(
        history=history,
        horizon=horizon,
        grid=(5, 6),
        base_channels=16,
        block=STEADY,
        global_vectors=GlobalVectorConfig(0),
    )


class Slope(nn.Module):
    """The last frame times a number: a model that anyone could write."""

    def __init__(self, start=0.2, horizon=2):
        super().__init__()
        self.slope, self.horizon = nn.Parameter(torch.tensor(start)), horizon

    def forward(self, x):
        return self.slope * x[:, -1:].expand(-1, self.horizon, -1, -1, -1)

    def loss(self, x, y, weight=None):
        return weighted_mse(self(x), y, weight)


def test_a_trained_earthformer_beats_the_mean(wave):
    forecaster = xf.fit(wave, small(), steps=60, batch_size=16, learning_rate=3e-3, valid=0.2, progress=False)
    truth = wave.sst.sel(time=slice("2007-06", None))
    fc = forecaster.forecast(wave, init="2007-05")
    error = float(abs(fc.sst.isel(sample=0, lead=0).drop_vars("init") - truth.isel(time=0)).mean())
    spread = float(abs(wave.sst - wave.sst.mean("time")).mean())
    assert error < 0.5 * spread


def test_land_stays_land(wave):
    fc = xf.fit(wave, small(), steps=1, progress=False).forecast(wave)
    assert bool(fc.sst.isel(lat=0, lon=0).isnull().all())
    assert int(fc.sst.isnull().sum()) == fc.sst.sizes["lead"]


def test_a_number_is_learnt_exactly():
    time = xr.date_range("2000-01-01", periods=200, freq="D")
    field = np.random.default_rng(0).normal(size=(200, 2, 2))
    for step in range(1, 200):
        field[step] += 0.9 * field[step - 1]
    da = xr.DataArray(field, [("time", time), ("y", [0, 1]), ("x", [0, 1])], name="z", attrs={"units": "m"})
    model = Slope(horizon=1)
    xf.fit(da, model, history=1, horizon=1, steps=300, learning_rate=0.02, weight_decay=0.0, valid=None, progress=False)
    assert model.slope.item() == pytest.approx(0.9, abs=0.05)


def test_the_same_seed_gives_the_same_weights(wave):
    first, second = (xf.fit(wave, small(), steps=3, seed=5, progress=False) for _ in range(2))
    other = xf.fit(wave, small(), steps=3, seed=6, progress=False)
    assert first.digest == second.digest != other.digest


def test_members_differ_and_make_an_ensemble(wave):
    forecaster = xf.fit(wave, small(), steps=2, members=2, progress=False)
    assert isinstance(forecaster.model, Ensemble)
    fc = forecaster.forecast(wave)
    assert fc.sizes["sample"] == 2
    assert not np.allclose(fc.sst.isel(sample=0), fc.sst.isel(sample=1), equal_nan=True)
    with pytest.raises(InvalidOption, match="at most 2"):
        forecaster.forecast(wave, samples=3)


def test_resuming_gives_what_an_unbroken_training_gives(wave, tmp_path, monkeypatch):
    options = {"epochs": 4, "batch_size": 32, "progress": False, "valid": 0.2}
    whole = xf.fit(wave, small(), folder=tmp_path / "whole", **options)

    class PulledPlugError(Exception):
        pass

    from xforecast.training import loop

    step = loop._Learner.training_step

    def interrupted(self, batch, index):
        if self.current_epoch == 2:
            raise PulledPlugError
        return step(self, batch, index)

    monkeypatch.setattr(loop._Learner, "training_step", interrupted)
    with pytest.raises(PulledPlugError):
        xf.fit(wave, small(), folder=tmp_path / "broken", **options)
    monkeypatch.undo()
    resumed = xf.fit(wave, small(), folder=tmp_path / "broken", resume=True, **options)
    for key, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[key], value)


def test_early_stopping_keeps_the_best_weights(wave, tmp_path):
    xf.fit(wave, small(), epochs=30, patience=1, learning_rate=0.3, folder=tmp_path, valid=0.3, progress=False)
    rows = (tmp_path / "member-0" / "log" / "metrics.csv").read_text().splitlines()
    assert 2 < len(rows) < 31


@pytest.mark.parametrize("average", [None, 0.5])
def test_the_last_weights_are_judged_where_the_end_falls_within_a_pass(wave, tmp_path, average):
    options = {"batch_size": 8, "learning_rate": 1e-3, "valid": 0.2, "average": average, "progress": False}
    trained = xf.fit(wave, small(), steps=17, folder=tmp_path, **options)
    rows = [row.split(",") for row in (tmp_path / "member-0" / "log" / "metrics.csv").read_text().splitlines()[1:]]
    assert rows[-1][1] == "17"
    losses = [float(row[3]) for row in rows]
    assert losses[-1] == min(losses)  # else this says nothing of which weights are kept
    last = torch.load(tmp_path / "member-0" / "last.ckpt", weights_only=True)["state_dict"]
    for key, value in trained.model.state_dict().items():
        torch.testing.assert_close(value, last["model." + key])
    assert len(losses) == -(-17 // int(rows[0][1]))


def test_a_loss_that_is_not_finite_stops_with_advice(wave):
    with pytest.raises(TrainingError, match="smaller learning_rate"):
        xf.fit(wave, Slope(), history=4, horizon=2, steps=50, learning_rate=1e36, warmup=0.0, progress=False)


def test_averaged_weights_lag_behind(wave):
    plain, averaged = Slope(), Slope()
    options = {"history": 4, "horizon": 2, "steps": 10, "learning_rate": 0.05, "valid": None, "progress": False}
    xf.fit(wave, plain, warmup=0.0, **options)
    xf.fit(wave, averaged, warmup=0.0, average=0.95, **options)
    assert 0.2 < averaged.slope.item() < plain.slope.item()


@pytest.mark.parametrize("name", ["Persistence", "LinearInverseModel"])
def test_models_without_gradients_are_fitted_too(wave, name):
    forecaster = xf.fit(wave, name, history=1, horizon=3, valid=None)
    assert forecaster.forecast(wave).sst.sizes["lead"] == 3


def test_persistence_repeats_the_last_field(wave):
    fc = xf.fit(wave, "persistence", history=2, horizon=3).forecast(wave)
    np.testing.assert_allclose(fc.sst.isel(sample=0, lead=2), wave.sst.isel(time=-1), rtol=1e-6)


# ------------------------------------------------------------------ windows and specs


def test_no_training_window_touches_the_held_out_period(wave):
    from xforecast.training.prepare import _windows

    spec = make_spec(wave, history=4, horizon=2)
    train, valid, _ = _windows(wave, spec, slice("2003", "2004"), "test")
    inside = set(range(36, 60))
    for now in train.positions:
        assert not inside & set(range(now - 3, now + 3))
    for now in valid.positions:
        assert set(range(now + 1, now + 3)) <= inside
    assert len(train) + 2 * 5 + 24 - 1 <= 96
    assert len(valid) == 23


def test_windows_do_not_cross_gaps(wave):
    spec = make_spec(wave, history=4, horizon=2)
    gappy = wave.isel(time=[*range(40), *range(43, 96)])
    windows, _ = windows_of(gappy, spec)
    assert len(windows) == (40 - 5) + (53 - 5)
    regular = windows.regular_series()
    assert regular.shape[0] == 96
    assert np.isnan(regular[40:43]).all()
    assert not np.isnan(regular[:40]).any()


def test_a_window_is_history_then_future(wave):
    spec = make_spec(wave, history=4, horizon=2)
    windows, times = windows_of(wave, spec)
    assert isinstance(windows, TrainingWindows)
    assert len(times) == 96
    x, y = windows[10]
    variable = spec.variables[0]
    expected = (wave.sst.values[10:16, 2, 3] - variable.offset) / variable.scale
    np.testing.assert_allclose(np.concatenate([x[:, 2, 3, 0], y[:, 2, 3, 0]]), expected, rtol=1e-5)
    assert torch.isnan(y[:, 0, 0]).all()
    assert x[:, 0, 0].isfinite().all()


def test_statistics_come_from_the_training_period_only(wave):
    changed = wave.copy(deep=True)
    changed["sst"][80:] += 100
    period = slice(None, "2006-06")
    options = {"history": 4, "horizon": 2, "train": period}
    assert make_spec(wave, **options).variables[0].offset == make_spec(changed, **options).variables[0].offset


def test_a_climatology_makes_anomalies(wave):
    warm = wave + xr.where(wave.time.dt.year == 2005, 2.0, 0.0)
    warm["sst"].attrs = wave.sst.attrs
    spec = make_spec(warm, history=4, horizon=2, base=("2000", "2003"), calendar=["annual"])
    windows, _ = windows_of(warm, spec)
    anomalies = windows.series[:, 2, 3, 0] * spec.variables[0].scale
    np.testing.assert_allclose(anomalies, np.where(warm.time.dt.year == 2005, 2.0, 0.0), atol=1e-4)
    assert spec.channels == 3
    assert spec.variables[0].fill == 0.0


def test_targets_come_first(wave):
    two = wave.assign(aaa=wave.sst.rename("aaa") * 2)
    two["aaa"].attrs = {"units": "m"}
    spec = make_spec(two, history=4, horizon=2, variables=["aaa", "sst"], targets=["sst"])
    assert [variable.name for variable in spec.variables] == ["sst", "aaa"]
    assert spec.targets == ("sst",)
    forecaster = xf.fit(two, small(), variables=["aaa", "sst"], targets=["sst"], steps=1, progress=False)
    assert list(forecaster.forecast(two).data_vars) == ["sst"]


@pytest.mark.parametrize("targets", [["sst", "heat"], ["heat", "sst"], "heat"])
def test_every_target_is_forecast_as_itself_in_any_order(wave, targets):
    two = wave.assign(heat=(wave.sst.dims, 1000 * wave.sst.values, {"units": "J"}))
    fc = xf.fit(two, "Persistence", history=2, horizon=1, targets=targets, valid=None).forecast(two)
    assert list(fc.data_vars) == ([targets] if isinstance(targets, str) else targets)
    for name in fc.data_vars:
        np.testing.assert_allclose(fc[name].isel(sample=0, lead=0), two[name].isel(time=-1), rtol=1e-5)


def test_variables_of_one_standard_name_are_told_apart_by_name(wave):
    both = {name: (wave.sst + change).assign_attrs(wave.sst.attrs) for name, change in [("tasmax", 5), ("tasmin", -5)]}
    extremes = xr.Dataset(both)
    forecaster = xf.fit(extremes, "Persistence", history=2, horizon=1, valid=None)
    with pytest.raises(SpecMismatch, match=r'variables=\{"tasmin": "tasmin"\}'):
        forecaster.forecast(extremes)
    fc = forecaster.forecast(extremes, variables={"tasmax": "tasmax", "tasmin": "tasmin"})
    np.testing.assert_allclose(fc.tasmax - fc.tasmin, 10 + 0 * fc.tasmax, rtol=1e-5)


def test_cells_weigh_by_area_and_land_nothing(wave):
    weights = cell_weights(make_spec(wave, history=4, horizon=2))
    assert weights[0, 0] == 0
    assert weights[2, 0] == 1
    np.testing.assert_allclose(weights[0, 1], np.cos(np.deg2rad(10)), rtol=1e-6)


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"history": 90, "horizon": 20}, "no training windows"),
        ({"valid": 1.5}, "valid"),
        ({"variables": ["tos"]}, "tos"),
        ({"model": "Erthformer"}, "Earthformer"),
        ({"model": nn.Linear(1, 1)}, "loss"),
        ({"model": Slope(horizon=7)}, "shape"),
        ({"learning_rate": -1}, "learning_rate"),
        ({"epoch": 3}, "epochs"),
        ({"targets": ["heat"]}, r"targets: found \['heat'\]"),
        ({"members": 0}, "members"),
        ({"device": "abacus"}, "device"),
        ({"weight_decay": -1.0}, "weight_decay"),
        ({"gradient_clip": 0.0}, "gradient_clip"),
        ({"valid": None, "patience": 2}, "patience"),
        ({"valid": slice("1990", "1991")}, "held-out data without a whole window"),
        ({"valid": slice("2004-12", "2004-12")}, "at least 2 steps in a row"),
    ],
)
def test_what_cannot_work_is_told(wave, options, words):
    arguments = {"model": "Persistence", "history": 4, "horizon": 2} | options
    with pytest.raises((InvalidOption, TrainingError), match=words):
        xf.fit(wave, arguments.pop("model"), progress=False, **arguments)


def test_held_out_data_that_are_too_few_by_default_are_warned_of(wave):
    with pytest.warns(XForecastWarning, match="too little for a window"):
        forecaster = xf.fit(wave.isel(time=slice(6)), "Persistence", history=2, horizon=2)
    assert "held out" not in forecaster.card["period"]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.isel(time=[]), "time steps"),
        (lambda ds: xr.concat([ds, ds.isel(time=[3])], "time"), "drop_duplicates"),
        (lambda ds: ds.where(ds.sst < 27, np.inf), "infinite values"),
        (lambda ds: ds.sst.values, "ndarray"),
    ],
)
@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_records_that_cannot_be_learnt_from_are_told(wave, change, words):
    with pytest.raises(InvalidOption, match=words):
        xf.fit(change(wave), "Persistence", history=4, horizon=2)


def test_a_loss_of_missing_targets_is_told_from_one_that_diverges(wave):
    class Careless(Slope):
        def loss(self, x, y, weight=None):
            return (self(x) - y).square().mean()

    with pytest.raises(TrainingError, match="leaves out targets of weight 0"):
        xf.fit(wave, Careless(), history=4, horizon=2, steps=5, progress=False)


def test_lengths_are_asked_for(wave):
    with pytest.raises(InvalidOption, match="history=12"):
        xf.fit(wave, "Earthformer")


def test_a_constant_field_is_told(wave):
    with pytest.raises(InvalidOption, match="everywhere"):
        xf.fit(wave * 0 + 1, "Persistence", history=2, horizon=1)
