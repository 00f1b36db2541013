"""Skill scores, intervals and comparisons."""

import numpy as np
import pytest
import xarray as xr

from xforecast import skill
from xforecast.errors import InvalidOption


@pytest.fixture
def cases():
    rng = np.random.default_rng(0)
    init = xr.date_range("2000-01", periods=120, freq="MS")
    observed = xr.DataArray(rng.normal(size=(120, 2)), coords={"init": init}, dims=("init", "lead"))
    good, poor = (observed + sigma * rng.normal(size=(120, 2)) for sigma in (0.5, 1.0))
    return good, poor, observed


def test_skill_score_by_hand(cases):
    good, poor, observed = cases
    expected = 1 - skill.rmse(good, observed) / skill.rmse(poor, observed)
    assert skill.skill_score(skill.rmse, good, poor, observed).item() == pytest.approx(expected.item())
    assert skill.skill_score(skill.rmse, poor, poor, observed) == 0.0
    assert skill.skill_score(skill.rmse, observed, poor, observed) == 1.0
    by_lead = skill.skill_score(skill.correlation, good, poor, observed, dim="init")
    a, b = (skill.correlation(x, observed, dim="init") for x in (good, poor))
    np.testing.assert_allclose(by_lead, (a - b) / (1 - b))
    assert by_lead.attrs["units"] == "1"
    assert np.isnan(skill.skill_score(skill.mse, good, observed, observed))  # nothing to improve on
    with pytest.raises(InvalidOption, match="perfect"):
        skill.skill_score(lambda f, o: abs(f - o).mean(), good, poor, observed)
    assert skill.skill_score(lambda f, o: abs(f - o).mean(), good, poor, observed, perfect=0.0) > 0


def test_interval_covers_what_it_says():
    """Of white cases, the interval of the mean has nearly the width that theory gives."""
    rng = np.random.default_rng(1)
    observed = xr.DataArray(np.zeros(400), dims="init")
    forecast = observed + rng.normal(size=400)
    interval = skill.bootstrap(skill.bias, forecast, observed, resamples=300, block=1)
    assert interval.estimate == skill.bias(forecast, observed)
    expected = 2 * 1.96 * forecast.std().item() / 20
    assert (interval.upper - interval.lower).item() == pytest.approx(expected, rel=0.1)
    wide = skill.bootstrap(skill.bias, forecast, observed, resamples=300, block=1, confidence=0.99)
    assert wide.upper > interval.upper


def test_blocks_widen_the_interval_of_cases_that_are_alike():
    rng = np.random.default_rng(1)
    slow = np.repeat(rng.normal(size=40), 10)
    observed = xr.DataArray(np.zeros(400), dims="init")
    widths = [
        (lambda r: (r.upper - r.lower).item())(
            skill.bootstrap(skill.bias, observed + slow, observed, resamples=300, block=block)
        )
        for block in (1, 10)
    ]
    assert widths[1] > 2 * widths[0]


def test_seed_decides_and_options_pass(cases):
    good, _, observed = cases
    first, again, other = (
        skill.bootstrap(skill.rmse, good, observed, resamples=50, seed=seed, dim="init") for seed in (0, 0, 1)
    )
    xr.testing.assert_identical(first, again)
    assert first.estimate.dims == ("lead",)
    assert not first.lower.equals(other.lower)
    assert "95%" in first.lower.attrs["long_name"]


def test_paired_comparison(cases):
    good, poor, observed = cases
    result = skill.compare(skill.mse, good, poor, observed, resamples=100, dim="init")
    assert (result.estimate < 0).all()
    assert (result.upper < 0).all()
    assert (result.p_value <= 0.02).all()
    same = skill.compare(skill.mse, good, good, observed, resamples=50)
    assert same.estimate == 0
    assert same.p_value == 1.0
    noise = skill.compare(skill.mse, good, good + 1e-3 * poor.roll(init=7), observed, resamples=100)
    assert noise.p_value > 0.02


def test_any_score_that_takes_a_forecast_and_a_record():
    rng = np.random.default_rng(0)
    time = xr.date_range("1990-01", periods=240, freq="MS")
    record = xr.DataArray(np.sin(np.arange(240) / 9) + 0.3 * rng.normal(size=240), coords={"time": time})
    persistence = record.isel(time=slice(6, 230)).rename(time="init").expand_dims(lead=[1, 2, 3])
    persistence.lead.attrs["units"] = "months"
    interval = skill.bootstrap(skill.nino34_correlation, persistence, record, resamples=20, block=12, seasons=False)
    assert (interval.lower < interval.estimate).all()
    assert (interval.estimate < interval.upper).all()
    errors = skill.bootstrap(skill.rmse, persistence, record, resamples=20, dim="init")
    assert errors.estimate.dims == ("lead",)


def test_lazy_and_datasets(cases):
    good, _, observed = cases
    eager = skill.bootstrap(skill.rmse, good, observed, resamples=5)
    lazy = skill.bootstrap(skill.rmse, good.chunk(init=50), observed, resamples=5)
    assert lazy.lower.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), eager)
    f, o = (xr.Dataset({"a": x, "b": 2 * x}) for x in (good, observed))
    both = skill.bootstrap(skill.rmse, f, o, resamples=5)
    xr.testing.assert_allclose(both.sel(variable="a", drop=True), eager)


def test_cases_must_be_there_and_the_same(cases):
    good, poor, observed = cases
    with pytest.raises(InvalidOption, match="over"):
        skill.bootstrap(skill.rmse, good, observed, over="start")
    with pytest.raises(InvalidOption, match="cases"):
        skill.compare(skill.rmse, good, poor[:50], observed)


@pytest.mark.parametrize(
    ("option", "value"), [("resamples", 0), ("block", 0), ("block", 99), ("confidence", 95), ("confidence", 0.0)]
)
def test_options_that_cannot_be(option, value):
    forecast, observed = (xr.DataArray(np.random.default_rng(k).normal(size=20), dims="init") for k in (0, 1))
    with pytest.raises(InvalidOption, match=option):
        skill.bootstrap(skill.mse, forecast, observed, **{"resamples": 5, option: value})
