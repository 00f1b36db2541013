"""Laws of the linear inverse model, and its published-style skill on observed sea surface temperature."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from xforecast.errors import InvalidOption
from xforecast.models.baselines.linear_inverse import LinearInverseModel, LinearInverseModelConfig

PROPAGATOR = torch.tensor([[0.9, 0.2, 0.0], [-0.2, 0.8, 0.1], [0.0, 0.0, 0.5]])


def red_noise(steps, propagator=PROPAGATOR, seed=0):
    """A first-order autoregressive series, (steps, 1, cells, 1)."""
    generator = torch.Generator().manual_seed(seed)
    z, frames = torch.zeros(len(propagator)), []
    for _ in range(steps):
        z = propagator @ z + torch.randn(len(z), generator=generator)
        frames.append(z)
    return torch.stack(frames)[:, None, :, None]


def build(horizon=4, cells=3, **options):
    return LinearInverseModel(
        LinearInverseModelConfig(
            history=options.pop("history", 1),
            horizon=horizon,
            grid=(1, cells),
            input_channels=options.pop("channels", 1),
            modes=options.pop("modes", cells),
            **options,
        )
    )


def one_step(model):
    """The propagator between cells that a plain model has learnt."""
    basis = torch.eye(model.config.grid[1])[:, None, None, :, None]
    return model(basis)[:, 0, 0, :, 0].T


def covariance(series):
    flat = series.flatten(0, -4).flatten(1)
    return flat.T @ flat / len(flat)


def test_recovers_a_known_propagator():
    assert torch.allclose(one_step(build().fit_series(red_noise(40_000))), PROPAGATOR, atol=0.02)


@pytest.mark.parametrize("lag", [1, 3])
def test_lead_k_is_the_propagator_to_the_power_k(lag):
    model = build(horizon=6, lag=lag).fit_series(red_noise(2000))
    step = one_step(model).double()
    x = torch.randn(5, 1, 1, 3, 1)
    for lead, forecast in enumerate(model(x)[:, :, 0, :, 0].unbind(1), start=1):
        expected = x[:, 0, 0, :, 0].double() @ torch.linalg.matrix_power(step, lead).T
        assert torch.allclose(forecast.double(), expected, atol=1e-4)


def test_lag_one_is_the_lagged_covariance_times_the_inverse_covariance():
    series = red_noise(500)
    past, future = series[:-1].flatten(1).double(), series[1:].flatten(1).double()
    expected = (future.T @ past) @ torch.linalg.inv(past.T @ past)
    assert torch.allclose(one_step(build().fit_series(series)).double(), expected, atol=1e-5)


def test_decays_to_zero():
    model = build(horizon=200).fit_series(red_noise(2000))
    assert model(torch.ones(1, 1, 1, 3, 1))[0, -1].abs().max() < 1e-3


def test_simulation_has_the_covariance_of_the_data():
    series = red_noise(20_000)
    simulated = build().fit_series(series).simulate(2000, torch.Generator().manual_seed(1), series=20)
    assert simulated.shape == (20, 2000, 1, 3, 1)
    scale = covariance(series).diagonal().max()
    assert torch.allclose(covariance(simulated), covariance(series), atol=0.06 * scale)


def test_samples_spread_around_the_expectation():
    model = build(horizon=3).fit_series(red_noise(2000))
    x = torch.ones(1, 1, 1, 3, 1)
    generators = [torch.Generator().manual_seed(seed) for seed in range(2000)]
    samples = model.sample(x, torch.zeros(2000, dtype=torch.long), torch.arange(2000), generators)
    assert torch.allclose(samples.mean(0), model(x)[0], atol=0.15)
    again = model.sample(x, torch.zeros(1, dtype=torch.long), torch.tensor([7]), [generators[7].manual_seed(7)])
    assert torch.allclose(again[0], samples[7], atol=1e-6)


def test_seasons_are_reported_apart():
    months = torch.arange(12 * 4000)
    growth = 0.5 + 0.4 * torch.cos(2 * torch.pi * months / 12)
    generator, z, values = torch.Generator().manual_seed(0), torch.zeros(()), []
    for rate in growth:
        values.append(z)
        z = rate * z + torch.randn((), generator=generator)
    angle = 2 * torch.pi * months / 12
    series = torch.stack([torch.stack(values), angle.sin(), angle.cos()], dim=-1)[:, None, None]
    model = build(cells=1, channels=3, seasonal=True, season_width=0, seasonal_ridge=0.0)
    model.fit_series(series)
    ones = torch.cat([torch.ones(12, 1, 1, 1, 1), series[:12, None, ..., 1:]], dim=-1)
    assert torch.allclose(model(ones)[:, 0].flatten(), growth[:12], atol=0.05)
    assert torch.allclose(model(ones)[0, 1].item() * torch.ones(()), growth[0] * growth[1], atol=0.05)
    simulated = model.simulate(12 * 500, torch.Generator().manual_seed(3), series=4)
    assert torch.allclose(simulated[0, :24, 0, 0, 1:], series[:24, 0, 0, 1:], atol=1e-5)
    spread, expected = (s[..., 0].reshape(-1, 12).std(0) for s in (simulated, series))
    assert torch.allclose(spread, expected, rtol=0.08)


def test_memory_finds_what_one_frame_does_not_hold():
    generator, values = torch.Generator().manual_seed(0), [torch.zeros(()), torch.zeros(())]
    for _ in range(5000):
        values.append(1.6 * values[-1] - 0.8 * values[-2] + torch.randn((), generator=generator))
    series = torch.stack(values)[:, None, None, None]
    windows = series.unfold(0, 3, 1).movedim(-1, 1)
    errors = []
    for memory in ((0,), (0, 1)):
        model = build(horizon=1, cells=1, history=2, memory=memory).fit_series(series)
        errors.append(model.loss(windows[:, :2], windows[:, 2:]).item())
    assert errors[1] == pytest.approx(1.0, abs=0.05)
    assert errors[0] > 2 * errors[1]


def test_cells_without_weight_do_not_matter():
    series = red_noise(1000)
    spoilt = torch.cat([series, torch.full_like(series[:, :, :1], torch.nan)], dim=2)
    weight = torch.tensor([1.0, 1.0, 1.0, 0.0])[None, :, None]
    plain = build().fit_series(series)
    masked = build(cells=4, modes=3).fit_series(spoilt, weight)
    x = torch.randn(2, 1, 1, 4, 1)
    forecast = masked(x)
    assert torch.allclose(forecast[..., :3, :], plain(x[..., :3, :]), atol=1e-4)
    assert forecast[..., 3, :].eq(0).all()


def test_nothing_is_learnt_across_a_gap():
    series = red_noise(400)
    joined = torch.cat([series, torch.full_like(series[:1], torch.nan), -5 * series])
    assert torch.allclose(one_step(build().fit_series(joined)), one_step(build().fit_series(series)), atol=0.02)


@pytest.mark.parametrize(
    "options",
    [
        {"memory": (0, 3)},
        {"memory": (1,)},
        {"lag": 0},
        {"lag": 2, "seasonal": True, "channels": 3},
        {"seasonal": True},
        {"ridge": -1.0},
    ],
)
def test_what_cannot_work_is_refused(options):
    with pytest.raises(InvalidOption):
        build(**options)


def test_too_short_a_series_is_refused():
    with pytest.raises(InvalidOption, match="longer series"):
        build().fit_series(red_noise(3))


# ------------------------------------------------------------------ observed sea surface temperature


@pytest.fixture(scope="module")
def sea_surface_temperature():
    """ERA5 anomalies from 1940-1981, (time, latitude, longitude), and the grid."""
    xr = pytest.importorskip("xarray")
    folder = os.environ.get("XFORECAST_DATA")
    if not folder:
        pytest.skip("needs the folder of observations in XFORECAST_DATA")
    sst = xr.open_dataset(Path(folder) / "enso" / "era5_sst_5deg_194001_201712.nc").sst
    sst = sst.sortby("lat").sel(lon=slice(20, 300))
    base = sst.sel(time=slice("1940", "1981")).groupby("time.month").mean()
    return (sst.groupby("time.month") - base).drop_vars("month").load()


def test_skill_of_nino34_is_that_of_the_benchmark(sea_surface_temperature):
    """Ten modes of 3-month means, fitted to 1940-1981, scored on 1984-2017, 0.93 at lead 1."""
    seasons = sea_surface_temperature.rolling(time=3).mean().isel(time=slice(2, None))
    values = torch.tensor(seasons.values[..., None])
    weight = torch.tensor(np.cos(np.deg2rad(seasons.lat.values)))[:, None, None]
    weight = weight * values.isfinite().all(0)
    values = values.nan_to_num().float()
    training = int((seasons.time.dt.year <= 1981).sum())
    config = LinearInverseModelConfig(history=1, horizon=14, grid=tuple(values.shape[1:3]))
    model = LinearInverseModel(config).fit_series(values[:training], weight)

    rows = (seasons.lat.values >= -5) & (seasons.lat.values <= 5)
    columns = (seasons.lon.values >= 190) & (seasons.lon.values <= 240)
    nino = torch.tensor(np.outer(rows, columns)).float()
    nino = nino / nino.sum()
    forecast = (model(values[:, None])[..., 0] * nino).sum((-2, -1)).numpy()
    observed = (values[..., 0] * nino).sum((-2, -1)).numpy()
    # a 3-month mean that ends at month t is centred at t - 1: lead L from t to the centre is L + 1 steps of
    # the model
    years, months = seasons.time.dt.year.values, seasons.time.dt.month.values
    for lead, expected in {1: 0.93, 3: 0.78, 6: 0.52, 9: 0.31, 12: 0.21}.items():
        start = np.arange(len(values) - lead - 1)
        target = start + lead + 1
        centre_year = np.where(months[target] == 1, years[target] - 1, years[target])
        chosen = (centre_year >= 1984) & (centre_year <= 2017)
        correlation = [
            np.corrcoef(
                forecast[start[chosen & (months[target] == month)], lead],
                observed[target[chosen & (months[target] == month)]],
            )[0, 1]
            for month in range(1, 13)
        ]
        assert np.mean(correlation) == pytest.approx(expected, abs=0.025)
