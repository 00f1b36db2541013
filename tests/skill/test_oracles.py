"""The scores are those of the package `scores`, wherever both have them."""

import numpy as np
import pytest
import scores
import scores.spatial
import xarray as xr

from xforecast import skill

LEVELS = [0.2, 1.0, 3.0]


@pytest.fixture
def rain():
    """An ensemble and observations with missing cells, dims (time, sample, y, x)."""
    rng = np.random.default_rng(5)
    truth = rng.gamma(0.6, 1.5, size=(6, 24, 20))
    members = truth[:, None] * rng.gamma(4.0, 0.25, size=(6, 5, 24, 20))
    forecast = xr.DataArray(members, dims=("time", "sample", "y", "x"))
    observed = xr.DataArray(truth, dims=("time", "y", "x"))
    return forecast, observed.where(rng.random(truth.shape) > 0.05)


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("csi", "critical_success_index"),
        ("pod", "probability_of_detection"),
        ("far", "false_alarm_ratio"),
        ("success_ratio", "success_ratio"),
        ("frequency_bias", "frequency_bias"),
        ("heidke", "heidke_skill_score"),
    ],
)
def test_categorical(rain, ours, theirs):
    forecast, observed = rain[0].isel(sample=0), rain[1]
    mine = getattr(skill, ours)(forecast, observed, LEVELS, dim=["y", "x"])
    operator = scores.categorical.ThresholdEventOperator()
    for level in LEVELS:
        table = operator.make_contingency_manager(forecast, observed, event_threshold=level)
        expected = getattr(table.transform(preserve_dims=["time"]), theirs)()
        np.testing.assert_allclose(mine.sel(threshold=level), expected, rtol=1e-12)


@pytest.mark.parametrize("name", ["mse", "mae", "rmse"])
def test_continuous(rain, name):
    forecast, observed = rain[0].isel(sample=0), rain[1]
    expected = getattr(scores.continuous, name)(forecast, observed, preserve_dims=["time"])
    np.testing.assert_allclose(getattr(skill, name)(forecast, observed, dim=["y", "x"]), expected, rtol=1e-12)


def test_bias_and_correlation(rain):
    forecast, observed = rain[0].isel(sample=0), rain[1]
    expected = scores.continuous.additive_bias(forecast, observed, preserve_dims=["time"])
    np.testing.assert_allclose(skill.bias(forecast, observed, dim=["y", "x"]), expected, rtol=1e-12)
    expected = scores.continuous.correlation.pearsonr(forecast, observed, preserve_dims=["time"])
    np.testing.assert_allclose(skill.correlation(forecast, observed, dim=["y", "x"]), expected, rtol=1e-12)


@pytest.mark.parametrize("fair", [True, False])
def test_probabilistic(rain, fair):
    method = "fair" if fair else "ecdf"
    expected = scores.probability.crps_for_ensemble(*rain, "sample", method=method, preserve_dims=["time"])
    np.testing.assert_allclose(skill.crps(*rain, dim=["y", "x"], fair=fair), expected, rtol=1e-12)
    expected = scores.probability.brier_score_for_ensemble(
        *rain, "sample", LEVELS, preserve_dims=["time"], fair_correction=fair
    )
    mine = skill.brier(*rain, LEVELS, dim=["y", "x"], fair=fair)
    np.testing.assert_allclose(mine.transpose(*expected.dims), expected, rtol=1e-12)


def test_area_under_the_roc(rain):
    probability = skill.exceedance_probability(rain[0], 1.0)
    event = (rain[1] >= 1.0).where(rain[1].notnull()).astype(float)
    expected = scores.probability.roc_curve_data(probability, event, np.arange(6) / 5)
    assert skill.roc(*rain, 1.0).area.item() == pytest.approx(expected.AUC.item(), rel=1e-12)


def test_fractions(rain):
    """Theirs has no empty rim, so it is compared away from the border: with a rim of zeros on both sides."""
    forecast, observed = (field.fillna(0.0).pad(y=4, x=4, constant_values=0.0) for field in (rain[0][:, 0], rain[1]))
    for window in (3, 5):
        expected = scores.spatial.fss_2d(
            forecast,
            observed,
            event_threshold=1.0,
            window_size=(window, window),
            spatial_dims=("y", "x"),
            threshold_operator=np.greater_equal,
            preserve_dims=["time"],
        )
        mine = skill.fss(forecast, observed, 1.0, window, dim=())
        np.testing.assert_allclose(mine, expected, rtol=1e-10)
