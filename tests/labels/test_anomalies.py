"""Data may bring their own climatology in place of the model's."""

import numpy as np
import pytest

import xforecast as xf
from synthetic import persistence, radar_dataset, radar_spec, sst_dataset
from xforecast.errors import InvalidOption, XForecastWarning

BASE = ("2000", "2019")


@pytest.fixture(scope="module")
def sst():
    return sst_dataset(months=240)


def test_a_difference_in_the_mean_makes_no_difference(sst):
    forecaster = persistence()
    shifted = sst.assign(sst=sst.sst + np.linspace(-2, 2, sst.sizes["lon"]))
    plain = forecaster.forecast(sst, climatology=BASE).sst
    other = forecaster.forecast(shifted, climatology=BASE).sst
    shift = (shifted.sst - sst.sst).isel(time=0, drop=True)
    np.testing.assert_allclose(other - plain, shift.broadcast_like(plain), atol=1e-4)
    with_the_models_own = forecaster.forecast(shifted).sst
    assert not np.allclose(with_the_models_own, other, atol=0.05, equal_nan=True)


def test_it_is_the_forecast_of_anomalies_plus_the_normal(sst):
    normal = xf.climatology.climatology(sst.sst, BASE)
    anomalies = persistence().forecast(xf.climatology.anomaly(sst.sst, normal)).sst
    absolute = persistence().forecast(sst, climatology=BASE).sst
    np.testing.assert_allclose(xf.climatology.anomaly(absolute, normal), anomalies, atol=1e-4)


def test_lazy_data_and_other_units_give_the_same(sst):
    forecaster = persistence()
    wanted = forecaster.forecast(sst, init="all", climatology=BASE)
    lazy = forecaster.forecast(sst.chunk(time=7), init="all", climatology=BASE)
    assert lazy.sst.chunks is not None
    np.testing.assert_allclose(lazy.sst, wanted.sst, atol=1e-5)
    kelvin = sst.assign(sst=(sst.sst + 273.15).assign_attrs(sst.sst.attrs, units="K"))
    np.testing.assert_allclose(
        forecaster.forecast(kelvin, init="all", climatology=BASE).sst - 273.15, wanted.sst, atol=1e-4
    )
    assert wanted.attrs["xforecast_climatology"] == "2000-2019"


@pytest.mark.parametrize("base", [("1950", "1960"), "2000", ("2000",)])
def test_base_periods_that_cannot_be(sst, base):
    with pytest.raises(InvalidOption, match="base"):
        persistence().forecast(sst, climatology=base)


def test_anomalies_and_models_without_a_climatology_refuse_one(sst):
    with pytest.raises(InvalidOption, match="climatology"):
        persistence().forecast(xf.climatology.anomaly(sst), climatology=BASE)
    with pytest.raises(InvalidOption, match="climatology"):
        persistence(radar_spec()).forecast(radar_dataset(), climatology=BASE)


def test_a_short_base_period_warns(sst):
    with pytest.warns(XForecastWarning, match="3 years"):
        persistence().forecast(sst, climatology=("2001", "2003"))
    assert "3 years" in repr(persistence().check(sst, climatology=("2001", "2003")))
