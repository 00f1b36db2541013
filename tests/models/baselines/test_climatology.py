"""Laws of the references without dynamics, and training of every baseline by name."""

import numpy as np
import pytest
import torch
import xarray as xr

import xforecast as xf
from xforecast.errors import InvalidOption
from xforecast.models import Climatology, ClimatologyConfig, DampedPersistence, DampedPersistenceConfig, build, describe


def damped(horizon=4, cells=2):
    return DampedPersistence(DampedPersistenceConfig(horizon=horizon, grid=(1, cells)))


def red_noise(steps, memory, seed=0):
    """First-order autoregressive series of unit noise about a mean of 3, (steps, 1, cells, 1)."""
    memory, generator = torch.tensor(memory), torch.Generator().manual_seed(seed)
    z, frames = torch.zeros(len(memory)), []
    for _ in range(steps):
        z = memory * z + torch.randn(len(memory), generator=generator)
        frames.append(z + 3)
    return torch.stack(frames)[:, None, :, None]


def test_damping_of_red_noise_is_a_power_of_its_memory():
    memory = torch.tensor([0.9, 0.4])
    model = damped().fit_series(red_noise(20_000, memory.tolist()))
    expected = memory ** torch.arange(1, 5)[:, None]
    torch.testing.assert_close(model.damping[:, 0, :, 0], expected, atol=0.03, rtol=0)


def test_no_other_constant_damping_is_better():
    series = red_noise(300, [0.8, 0.2])
    model = damped(horizon=1).fit_series(series)
    x, y = series[:-1, None], series[1:, None]
    best = model.loss(x, y)
    for change in (-0.05, 0.05):
        other = damped(horizon=1).fit_series(series)
        other.damping += change
        assert other.loss(x, y) > best


def test_climatology_is_the_mean_and_damping_of_nothing():
    series = red_noise(500, [0.5, 0.5])
    climate, persistent = Climatology(ClimatologyConfig(horizon=4, grid=(1, 2))), damped()
    x = torch.randn(3, 2, 1, 2, 1)
    assert (climate(x) == 0).all()
    assert torch.equal(persistent(x), x[:, -1:].expand(-1, 4, -1, -1, -1))
    climate.fit_series(series)
    persistent.fit_series(series)
    torch.testing.assert_close(climate(x)[1, 2, 0, :, 0], series.mean(0)[0, :, 0])
    persistent.damping.zero_()
    torch.testing.assert_close(persistent(x), climate(x))


def test_gaps_and_land_are_left_out():
    series = red_noise(3000, [0.7, 0.7])
    whole = damped().fit_series(series).damping[:, 0, 0, 0]
    gappy = series.clone()
    gappy[100:120], gappy[:, :, 1] = torch.nan, torch.nan
    model = damped().fit_series(gappy)
    torch.testing.assert_close(model.damping[:, 0, 0, 0], whole, atol=0.02, rtol=0)
    assert (model.damping[:, 0, 1] == 0).all()
    assert model(series[None]).isfinite().all()


def test_a_constant_place_stays_constant():
    model = damped().fit_series(torch.full((20, 1, 2, 1), 2.0))
    torch.testing.assert_close(model(torch.full((1, 1, 1, 2, 1), 2.0)), torch.full((1, 4, 1, 2, 1), 2.0))


def test_what_was_fitted_is_kept():
    model = damped().fit_series(red_noise(50, [0.5, 0.1]))
    other = build(**describe(model))
    other.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 1, 2, 1)
    assert torch.equal(other(x), model(x))


def test_series_that_cannot_be_used_are_reported():
    with pytest.raises(InvalidOption, match="more than the horizon of 4"):
        damped().fit_series(torch.randn(4, 1, 2, 1))
    with pytest.raises(InvalidOption, match="shape of series"):
        damped().fit_series(torch.randn(9, 1, 3, 1))
    with pytest.raises(InvalidOption, match="some values"):
        damped().fit_series(torch.full((9, 1, 2, 1), torch.nan))
    with pytest.raises(InvalidOption, match="grid"):
        ClimatologyConfig(horizon=1, grid=(0, 2))


# ------------------------------------------------------------------ by name

NAMES = (
    "UNet", "ConvLSTM", "PredRNN", "PhyDNet", "E3DLSTM", "Rainformer", "DampedPersistence", "Climatology",
)  # fmt: skip


@pytest.fixture(scope="module")
def field():
    """Five years of a wave in degrees Celsius with land in a corner, on a grid that few strides divide."""
    time = xr.date_range("2000-01", periods=60, freq="MS")
    values = 20 + np.sin(np.arange(60)[:, None, None] / 5 + np.arange(6.0) + np.arange(5.0)[:, None])
    values[:, 0, 0] = np.nan
    coordinates = {"time": time, "lat": np.arange(5.0), "lon": np.arange(6.0)}
    return xr.DataArray(values, coordinates, ("time", "lat", "lon"), name="t", attrs={"units": "degC"})


@pytest.mark.parametrize("name", NAMES)
def test_every_baseline_trains_and_forecasts_by_name(name, field):
    forecaster = xf.fit(
        field, name, history=3, horizon=2, steps=1, batch_size=4, valid=None, device="cpu", progress=False
    )
    forecast = forecaster.forecast(field).t
    assert forecast.sizes == {"sample": 1, "lead": 2, "lat": 5, "lon": 6}
    assert forecast.attrs["units"] == "degC"
    assert forecast.isnull().sum() == 2


def test_damped_persistence_beats_persistence_and_climatology_on_red_noise():
    values = red_noise(800, [0.8] * 6).reshape(800, 2, 3).numpy()
    time = xr.date_range("2000-01-01", periods=800, freq="D")
    field = xr.DataArray(values, {"time": time}, ("time", "y", "x"), name="z", attrs={"units": "1"})
    truth = field.isel(time=slice(600, None))
    errors = {}
    for name in ("Persistence", "Climatology", "DampedPersistence"):
        forecaster = xf.fit(field.isel(time=slice(600)), name, history=1, horizon=3, valid=None, progress=False)
        forecast = forecaster.forecast(truth, init=slice(time[600], time[795])).z.isel(sample=0, lead=-1)
        later = truth.isel(time=slice(3, 3 + forecast.sizes["init"])).values
        errors[name] = float(((forecast.values - later) ** 2).mean())
    assert errors["DampedPersistence"] < min(errors["Persistence"], errors["Climatology"])
