"""What an ensemble says."""

import numpy as np
import pytest
import xarray as xr

from xforecast import skill
from xforecast.errors import InvalidOption


@pytest.fixture
def forecast():
    rng = np.random.default_rng(0)
    values = rng.gamma(1.0, 2.0, (3, 6, 10, 12)) * (rng.random((3, 6, 10, 12)) > 0.4)
    attrs = {"units": "mm h-1", "long_name": "rain rate", "cell_methods": "time: mean"}
    return xr.DataArray(values, dims=("init", "sample", "y", "x"), attrs=attrs, name="rain")


PRODUCTS = {
    "mean": skill.ensemble_mean,
    "spread": skill.ensemble_spread,
    "quantiles": lambda f: skill.ensemble_quantiles(f, [0.1, 0.5]),
    "exceedance": lambda f: skill.exceedance_probability(f, [0.0, 1.0]),
    "matched": skill.probability_matched_mean,
}


@pytest.mark.parametrize("product", PRODUCTS)
def test_chunks_and_order_of_samples(forecast, product):
    function = PRODUCTS[product]
    whole = function(forecast)
    lazy = function(forecast.chunk(init=1, sample=2, y=5))
    assert lazy.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), whole)
    xr.testing.assert_allclose(function(forecast.isel(sample=[5, 0, 3, 1, 4, 2])), whole)
    gone = function(forecast.where((forecast.y != 3) | (forecast.sample != 2)))
    assert gone.isel(y=3).isnull().all()
    assert gone.isel(y=4).notnull().all()


def test_numbers(forecast):
    np.testing.assert_allclose(skill.ensemble_mean(forecast), forecast.values.mean(1))
    np.testing.assert_allclose(skill.ensemble_spread(forecast), forecast.values.std(1, ddof=1))
    np.testing.assert_allclose(skill.ensemble_quantiles(forecast, 0.25), np.quantile(forecast, 0.25, 1))
    p = skill.exceedance_probability(forecast, [0.0, 2.0])
    np.testing.assert_allclose(p.sel(threshold=2.0), (forecast.values >= 2.0).mean(1))
    assert (p.sel(threshold=0.0) == 1.0).all()
    assert skill.ensemble_spread(forecast.isel(sample=[0])).isnull().all()


def test_attributes(forecast):
    mean = skill.ensemble_mean(forecast)
    assert mean.attrs["cell_methods"] == "time: mean realization: mean"
    assert mean.attrs["units"] == "mm h-1"
    assert mean.name == "rain"
    p = skill.exceedance_probability(forecast, 1.0)
    assert p.attrs["units"] == "1"
    assert p.threshold.attrs["units"] == "mm h-1"
    for product in PRODUCTS.values():
        both = product(xr.Dataset({"a": forecast, "b": 2 * forecast}))
        xr.testing.assert_identical(both.a, product(forecast).rename("a"))
    with pytest.raises(InvalidOption, match="sample"):
        skill.ensemble_mean(forecast.rename(sample="case"))


def test_probability_matched_mean_keeps_order_of_the_mean_and_intensities_of_the_samples(forecast):
    one = forecast.isel(init=0)
    matched, mean = skill.probability_matched_mean(one), one.mean("sample")
    assert (np.diff(matched.values.ravel()[np.argsort(mean.values.ravel(), kind="stable")]) >= 0).all()
    pooled = np.sort(one.values.ravel())
    np.testing.assert_array_equal(np.sort(matched.values.ravel()), pooled[3::6])
    assert matched.max() > mean.max()
    single = skill.probability_matched_mean(one.isel(sample=[2]))
    np.testing.assert_array_equal(single, one.isel(sample=2))
    assert skill.probability_matched_mean(forecast).dims == ("init", "y", "x")


@pytest.mark.parametrize("q", [1.5, [-0.1, 0.5], float("nan")])
def test_quantiles_that_cannot_be(q):
    with pytest.raises(InvalidOption, match="from 0 to 1"):
        skill.ensemble_quantiles(xr.DataArray([1.0, 2.0], dims="sample"), q)
