"""Errors and correlations against numbers worked by hand and against other packages."""

import numpy as np
import pytest
import xarray as xr
import xskillscore

from xforecast import skill
from xforecast.errors import InvalidOption


def line(*values):
    return xr.DataArray(list(values), dims="x")


def test_by_hand():
    forecast, observed = line(1.0, 4.0, 2.0, 9.0), line(2.0, 2.0, 2.0, np.nan)
    assert skill.mse(forecast, observed).item() == pytest.approx(5 / 3)
    assert skill.rmse(forecast, observed).item() == pytest.approx((5 / 3) ** 0.5)
    assert skill.mae(forecast, observed).item() == pytest.approx(1.0)
    assert skill.bias(forecast, observed).item() == pytest.approx(1 / 3)
    assert skill.valid_pairs(forecast, observed).item() == 3
    assert np.isnan(skill.correlation(forecast, observed))  # the observations do not vary
    weights = line(3.0, 1.0, 0.0, 5.0)
    assert skill.mse(forecast, observed, weights=weights).item() == pytest.approx(7 / 4)


def test_rmse_is_the_root_of_the_mean_over_all_dimensions():
    forecast = xr.DataArray([[0.0, 0.0], [3.0, 4.0]], dims=("init", "x"))
    zero = xr.zeros_like(forecast)
    assert skill.rmse(forecast, zero).item() == pytest.approx(2.5)
    assert skill.rmse(forecast, zero, dim="x").mean().item() != pytest.approx(2.5)


@pytest.mark.parametrize("name", ["mse", "mae", "rmse", "correlation"])
@pytest.mark.parametrize("weighted", [False, True])
def test_as_other_packages_have_it(name, weighted):
    scores = pytest.importorskip("scores.continuous")
    rng = np.random.default_rng(0)
    coords = {"lat": np.linspace(-80, 80, 9), "lon": np.arange(12.0), "time": np.arange(7)}
    forecast, observed = (xr.DataArray(rng.normal(300, 5, (9, 12, 7)), coords=coords) for _ in range(2))
    weights = skill.area_weights(forecast) if weighted else None
    ours = getattr(skill, name)(forecast, observed, dim=("lat", "lon"), weights=weights)
    theirs = {"correlation": "pearson_r"}.get(name, name)
    spread = None if weights is None else weights.broadcast_like(forecast.isel(time=0)).transpose("lat", "lon")
    expected = getattr(xskillscore, theirs)(observed, forecast, dim=["lat", "lon"], weights=spread)
    np.testing.assert_allclose(ours, expected, rtol=1e-9)
    if name != "correlation":
        expected = getattr(scores, name)(forecast, observed, reduce_dims=["lat", "lon"], weights=weights)
        if not weighted:  # that package divides a weighted sum by the number of pairs
            np.testing.assert_allclose(ours, expected, rtol=1e-9)


def test_correlation_is_invariant_to_scale_and_large_means():
    rng = np.random.default_rng(0)
    x = xr.DataArray(rng.normal(size=(50, 20)), dims=("time", "x"))
    y = x + rng.normal(size=(50, 20))
    r = skill.correlation(x, y, dim="time")
    np.testing.assert_allclose(skill.correlation(3 * x - 7, y, dim="time"), r, rtol=1e-12)
    np.testing.assert_allclose(skill.correlation(-x, y, dim="time"), -r, rtol=1e-12)
    np.testing.assert_allclose(skill.correlation(y, x, dim="time"), r, rtol=1e-12)
    np.testing.assert_allclose(skill.correlation(x + 1e6, y + 1e6, dim="time"), r, rtol=1e-8)
    chunked = skill.correlation((x + 1e6).chunk(time=7), y + 1e6, dim="time")
    np.testing.assert_allclose(chunked, r, rtol=1e-8)


@pytest.mark.parametrize("constant", [0.0, 0.1, 300.15, 1e9])
@pytest.mark.parametrize("chunk", [None, 7])
def test_correlation_with_a_constant_or_a_single_pair_is_nan(constant, chunk):
    rng = np.random.default_rng(0)
    x = xr.DataArray(rng.normal(size=50), dims="time")
    same = xr.full_like(x, constant)
    if chunk:
        x, same = x.chunk(time=chunk), same.chunk(time=chunk)
    assert np.isnan(skill.correlation(x, same).compute())
    assert np.isnan(skill.correlation(same, x).compute())
    assert np.isnan(skill.correlation(x.isel(time=[0]), x.isel(time=[0])).compute())


def test_anomaly_correlation():
    rng = np.random.default_rng(0)
    climatology = xr.DataArray(rng.normal(280, 10, (6, 5)), dims=("y", "x"))
    f, o = (xr.DataArray(rng.normal(0.5, 1, (6, 5, 4)), dims=("y", "x", "time")) for _ in range(2))
    acc = skill.anomaly_correlation(f + climatology, o + climatology, climatology, dim=("y", "x"))
    expected = (f * o).sum(("y", "x")) / np.sqrt((f**2).sum(("y", "x")) * (o**2).sum(("y", "x")))
    np.testing.assert_allclose(acc, expected, rtol=1e-10)
    centred = skill.anomaly_correlation(f + climatology, o + climatology, climatology, dim=("y", "x"), centred=True)
    np.testing.assert_allclose(centred, skill.correlation(f, o, dim=("y", "x")), rtol=1e-10)
    assert acc.attrs["units"] == "1"
    assert skill.anomaly_correlation(f + climatology, f + climatology, climatology).item() == pytest.approx(1.0)


def test_anomaly_correlation_takes_the_climatology_of_the_valid_month():
    lead = xr.DataArray([1, 2], dims="lead", attrs={"units": "months"})
    init = xr.date_range("2000-11", periods=3, freq="MS")
    cycle = xr.DataArray(np.arange(12.0) * 10, coords={"month": np.arange(1, 13)}, dims="month")
    anomaly = xr.DataArray([[1.0, -1.0], [2.0, 1.0], [-1.0, 3.0]], coords={"init": init, "lead": lead})
    valid = xr.DataArray([[12, 1], [1, 2], [2, 3]], coords={"init": init, "lead": lead}, dims=("init", "lead"))
    forecast = anomaly + cycle.sel(month=valid).drop_vars("month")
    acc = skill.anomaly_correlation(forecast, forecast - 2 * anomaly, cycle.isel(month=slice(None, None, -1)))
    assert acc.item() == pytest.approx(-1.0)
    with pytest.raises(InvalidOption, match="climatology"):
        skill.anomaly_correlation(forecast, forecast, cycle.rename(month="height"))


def test_area_weights_sum_to_the_sphere():
    lat = np.arange(-89.5, 90)
    weights = skill.area_weights(xr.DataArray(np.zeros(180), coords={"latitude": lat}))
    assert (weights.sum() * np.pi / 180).item() == pytest.approx(2.0, rel=1e-4)
    assert weights.attrs["units"] == "1"
    pole = skill.area_weights(xr.DataArray(np.zeros(2), coords={"lat": [-90.0, 90.0]}))
    assert (pole >= 0).all()


def test_precision_is_that_of_float64():
    """A mean of many float32 numbers loses nothing."""
    values = xr.DataArray(np.full(3_000_000, 0.1, np.float32), dims="x")
    assert skill.bias(values, xr.zeros_like(values)).item() == pytest.approx(float(np.float32(0.1)), rel=1e-12)
