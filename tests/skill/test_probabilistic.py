"""Scores of ensembles, by hand, by brute force and by other packages."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import xskillscore
from safetensors.numpy import load_file

from xforecast import skill
from xforecast.errors import InvalidOption

DATA = Path(__file__).parents[1] / "data" / "skill"


@pytest.fixture
def ensemble():
    """Samples and truth from one distribution, with ties: a reliable forecast of rain."""
    rng = np.random.default_rng(0)
    centre = rng.normal(0, 1, (400, 1))
    values = np.maximum(centre + rng.normal(0, 1, (400, 11)), 0)
    return (
        xr.DataArray(values[:, 1:], dims=("time", "sample"), attrs={"units": "mm"}),
        xr.DataArray(values[:, 0], dims="time", attrs={"units": "mm"}),
    )


def brute_crps(x, y, fair):
    m = len(x)
    pairs = np.abs(x[:, None] - x).sum()
    return np.abs(x - y).mean() - pairs / (2 * m * (m - 1 if fair else m))


@pytest.mark.parametrize("fair", [True, False])
def test_crps_is_its_definition(ensemble, fair):
    forecast, observed = ensemble
    ours = skill.crps(forecast, observed, dim=(), fair=fair)
    expected = [brute_crps(x, y, fair) for x, y in zip(forecast.values, observed.values, strict=True)]
    np.testing.assert_allclose(ours, expected, rtol=1e-12, atol=1e-14)
    assert ("fair" in ours.attrs["comment"]) == fair
    assert skill.crps(forecast, observed, fair=fair).item() == pytest.approx(np.mean(expected))


def test_crps_of_one_sample_is_the_absolute_error(ensemble):
    forecast, observed = ensemble
    one = forecast.isel(sample=[3])
    for fair in (True, False):
        np.testing.assert_array_equal(skill.crps(one, observed, dim=(), fair=fair), abs(one[:, 0] - observed))
        single = skill.crps(forecast.isel(sample=3), observed, fair=fair)
        assert single.item() == pytest.approx(skill.mae(forecast.isel(sample=3), observed).item())


def test_fair_crps_does_not_depend_on_the_number_of_samples(ensemble):
    forecast, observed = ensemble
    few = forecast.isel(sample=slice(2))
    assert skill.crps(few, observed).item() == pytest.approx(skill.crps(forecast, observed).item(), rel=0.1)
    assert skill.crps(few, observed, fair=False) > 1.2 * skill.crps(forecast, observed, fair=False)


def test_crps_gives_the_stored_numbers():
    fields = load_file(DATA / "crps.io.safetensors")
    expected = json.loads((DATA / "crps.config.json").read_text())
    dims = ("sequence", "lead", "y", "x", "channel")
    forecast = xr.DataArray(fields["ensemble"], dims=("sample", *dims))
    observed = xr.DataArray(fields["target"], dims=dims)
    for fair, name in ((True, "fair"), (False, "nrg")):
        np.testing.assert_allclose(
            skill.crps(forecast, observed, dim=(), fair=fair), fields[f"crps_{name}"], rtol=1e-6, atol=1e-7
        )
        assert skill.crps(forecast, observed, fair=fair).item() == pytest.approx(expected[f"mean_{name}"], rel=1e-6)


def test_crps_and_brier_as_other_packages_have_them(ensemble):
    scores = pytest.importorskip("scores.probability")
    forecast, observed = ensemble
    for fair, method in ((True, "fair"), (False, "ecdf")):
        theirs = scores.crps_for_ensemble(forecast, observed, "sample", method=method)
        assert skill.crps(forecast, observed, fair=fair).item() == pytest.approx(float(theirs))
        theirs = scores.brier_score_for_ensemble(forecast, observed, "sample", [1.0], fair_correction=fair)
        assert skill.brier(forecast, observed, 1.0, fair=fair).item() == pytest.approx(theirs.item())
    theirs = xskillscore.crps_ensemble(observed, forecast, member_dim="sample")
    assert skill.crps(forecast, observed, fair=False).item() == pytest.approx(float(theirs))
    theirs = xskillscore.threshold_brier_score(observed, forecast, [0.5, 1.0], member_dim="sample", dim=[])
    ours = skill.brier(forecast, observed, [0.5, 1.0], dim=())
    np.testing.assert_allclose(ours.transpose(*theirs.dims), theirs, rtol=1e-12, atol=1e-15)


def test_brier_by_hand():
    forecast = xr.DataArray([[0.0, 1.0, 2.0, 3.0], [0.0, 0.0, 0.0, 9.0]], dims=("time", "sample"))
    observed = xr.DataArray([3.0, 0.0], dims="time")
    assert skill.brier(forecast, observed, 2.0).item() == pytest.approx((0.25 + 0.0625) / 2)
    np.testing.assert_allclose(skill.brier(forecast, observed, [0.0, 2.0], dim="time"), [0.0, 0.15625])
    probability, event = xr.DataArray([0.2, 0.9], dims="time"), xr.DataArray([False, True], dims="time")
    assert skill.brier(probability, event).item() == pytest.approx((0.04 + 0.01) / 2)
    assert skill.brier(forecast[:, :1], observed, 2.0, fair=True) == skill.brier(forecast[:, :1], observed, 2.0)
    with pytest.raises(InvalidOption, match="threshold"):
        skill.brier(forecast, observed)
    with pytest.raises(InvalidOption, match="probabilities"):
        skill.brier(probability, event, 0.5)


def test_rank_histogram_by_hand_and_flat(ensemble):
    forecast = xr.DataArray([[1.0, 2.0, 3.0]] * 4, dims=("time", "sample"))
    observed = xr.DataArray([0.0, 2.5, 9.0, 2.0], dims="time")  # the last is rank 2 or 3
    ranks = skill.rank_histogram(forecast, observed)
    np.testing.assert_allclose(ranks, [1, 0.5, 1.5, 1])
    assert ranks["rank"].values.tolist() == [1, 2, 3, 4]
    reliable, truth = ensemble
    counts = skill.rank_histogram(reliable, truth)
    assert counts.sum().item() == pytest.approx(400)
    assert counts.sizes["rank"] == 11
    np.testing.assert_allclose(counts, 400 / 11, rtol=0.5)
    assert skill.rank_histogram(reliable, truth + 9).values.tolist() == [0] * 10 + [400]
    assert skill.rank_histogram(reliable, truth * np.nan).sum() == 0


def test_rank_histogram_as_another_package_has_it():
    rng = np.random.default_rng(0)
    forecast = xr.DataArray(rng.normal(size=(50, 3, 7)), dims=("time", "x", "sample"))
    observed = xr.DataArray(rng.normal(size=(50, 3)), dims=("time", "x"))
    theirs = xskillscore.rank_histogram(observed, forecast, dim=["time"], member_dim="sample")
    ours = skill.rank_histogram(forecast, observed, dim="time")
    np.testing.assert_array_equal(ours.transpose(*theirs.dims), theirs)


def test_spread_equals_error_of_a_reliable_ensemble():
    rng = np.random.default_rng(0)
    values = rng.normal(0, 1, (20000, 5)) + rng.normal(0, 3, (20000, 1))
    forecast = xr.DataArray(values[:, 1:], dims=("time", "sample"), attrs={"units": "K"})
    observed = xr.DataArray(values[:, 0], dims="time")
    result = skill.spread_skill(forecast, observed)
    assert result.ratio.item() == pytest.approx(1.0, abs=0.02)
    assert result.rmse.item() == pytest.approx(skill.rmse(forecast, observed).item())
    expected = np.sqrt(values[:, 1:].var(1, ddof=1).mean() * 5 / 4)
    assert result.spread.item() == pytest.approx(expected)
    assert result.spread.attrs["units"] == "K"
    assert result.ratio.attrs["units"] == "1"
    assert np.isnan(skill.spread_skill(forecast.isel(sample=[0]), observed).spread)


def test_reliability_by_hand():
    probability = xr.DataArray([0.0, 0.3, 0.3, 0.35, 1.0, np.nan], dims="time")
    event = xr.DataArray([0.0, 1.0, 0.0, 1.0, 1.0, 1.0], dims="time")
    diagram = skill.reliability(probability, event)
    assert diagram.cases.values.tolist() == [1, 0, 0, 3, 0, 0, 0, 0, 0, 1]
    assert diagram.observed_frequency[3].item() == pytest.approx(2 / 3)
    assert diagram.mean_forecast[3].item() == pytest.approx(0.95 / 3)
    assert np.isnan(diagram.observed_frequency[1])
    np.testing.assert_allclose(diagram.forecast_probability, np.arange(0.05, 1, 0.1))


def test_reliability_of_reliable_probabilities_lies_on_the_diagonal():
    rng = np.random.default_rng(0)
    p = rng.random(30000)
    probability = xr.DataArray(p, dims="time")
    event = xr.DataArray((rng.random(30000) < p) * 1.0, dims="time")
    diagram = skill.reliability(probability, event)
    np.testing.assert_allclose(diagram.observed_frequency, diagram.mean_forecast, atol=0.02)
    assert diagram.cases.sum() == 30000


def test_reliability_as_another_package_has_it(ensemble):
    forecast, observed = ensemble
    probability = (forecast >= 1.0).mean("sample")
    edges = np.linspace(-0.05, 1.05, 12)  # a bin for each number of samples out of ten
    theirs = xskillscore.reliability(observed >= 1.0, probability, probability_bin_edges=edges)
    ours = skill.reliability(forecast, observed, 1.0, bins=11)
    np.testing.assert_allclose(ours.cases, theirs.samples)
    np.testing.assert_allclose(ours.observed_frequency, theirs)
    several = skill.reliability(forecast, observed, [0.5, 1.0], bins=11)
    xr.testing.assert_allclose(several.sel(threshold=1.0), ours)


def test_roc_by_hand_and_area_as_a_rank_statistic(ensemble):
    forecast, observed = ensemble
    curve = skill.roc(forecast, observed, 1.0)
    probability, event = (forecast >= 1.0).mean("sample").values, observed.values >= 1.0
    yes, no = probability[event][:, None], probability[~event]
    expected = (yes > no).mean() + 0.5 * (yes == no).mean()
    assert curve.area.item() == pytest.approx(expected)
    assert curve.pod[0] == curve.pofd[0] == 1.0
    assert curve.pod[-1] == curve.pofd[-1] == 0.0
    half = curve.sel(probability=0.5)
    assert half.pod.item() == pytest.approx((yes >= 0.5).mean())
    assert half.pofd.item() == pytest.approx((no >= 0.5).mean())
    assert np.isnan(skill.roc(forecast, observed, 99.0).area)
    tenths = skill.roc(xr.DataArray(probability, dims="time"), xr.DataArray(event * 1.0, dims="time"), levels=[0.5])
    assert tenths.pod.sel(probability=0.5) == half.pod


def test_roc_as_another_package_has_it(ensemble):
    plotdata = pytest.importorskip("scores.plotdata")
    forecast, observed = ensemble
    probability, event = (forecast >= 1.0).mean("sample"), (observed >= 1.0).astype(float)
    levels = np.arange(11) / 10
    theirs = plotdata.roc(probability, event, thresholds=levels)
    ours = skill.roc(forecast, observed, 1.0).isel(probability=slice(0, -1))
    np.testing.assert_allclose(ours.pod, theirs.POD.sel(threshold=levels))
    np.testing.assert_allclose(ours.pofd, theirs.POFD.sel(threshold=levels))
    np.testing.assert_allclose(ours.area, theirs.AUC)
