"""Nino3.4 correlation by lead, its aggregates and the outlook.

Also guards `outlook.py`.
"""

import os
from pathlib import Path

import cftime
import numpy as np
import pytest
import xarray as xr
from scipy.stats import norm

from xforecast.errors import InvalidOption
from xforecast.skill import (
    enso_outlook,
    nino34,
    nino34_correlation,
    nino34_error,
    nino34_mean,
    nino34_weighted_mean,
    seasonal_mean,
)

MONTHS = {"units": "months"}


def lead_coordinate(n):
    return xr.DataArray(np.arange(1, n + 1), dims="lead", attrs=MONTHS)


@pytest.fixture
def record():
    """Forty years of an anomaly index with memory."""
    rng = np.random.default_rng(1)
    values = np.zeros(480)
    for k in range(1, 480):
        values[k] = 0.9 * values[k - 1] + rng.normal(0, 0.4)
    return xr.DataArray(
        values, coords={"time": xr.date_range("1980-01", periods=480, freq="MS")}, attrs={"units": "degC"}
    )


@pytest.fixture
def forecast(record):
    """Starts in 1985-2014, six leads: the truth and noise that grows with lead."""
    rng = np.random.default_rng(2)
    position = np.arange(60, 420)[:, None] + np.arange(1, 7)
    values = record.values[position] + rng.normal(0, 0.3, position.shape) * np.arange(1, 7)
    return xr.DataArray(
        values, coords={"init": record.time.values[60:420], "lead": lead_coordinate(6)}, dims=("init", "lead")
    )


def by_hand(forecast, record, lead):
    """Predicted and verified season means of a lead, for every start."""
    start = np.arange(60, 420)
    months = {k: forecast.values[:, k - 1] if k > 0 else record.values[start + k] for k in range(-1, 7)}
    predicted = (months[lead - 1] + months[lead] + months[lead + 1]) / 3
    verified = np.mean([record.values[start + lead + j] for j in (-1, 0, 1)], 0)
    return predicted, verified


def test_all_starts_together(forecast, record):
    skill = nino34_correlation(forecast, record, seasons=False)
    assert skill.lead.values.tolist() == [1, 2, 3, 4, 5]
    assert np.issubdtype(skill.lead.dtype, np.integer)
    assert skill.lead.attrs["units"] == "months"
    assert skill.attrs["units"] == "1"
    for lead in range(1, 6):
        assert skill.sel(lead=lead).item() == pytest.approx(
            np.corrcoef(*by_hand(forecast, record, lead))[0, 1], rel=1e-12
        )


def test_season_by_season_is_hams_formula_and_the_default_for_long_hindcasts(forecast, record):
    skill = nino34_correlation(forecast, record)
    for lead in range(1, 6):
        predicted, verified = by_hand(forecast, record, lead)
        each = [np.corrcoef(predicted[m::12], verified[m::12])[0, 1] for m in range(12)]
        assert skill.sel(lead=lead).item() == pytest.approx(np.mean(each), rel=1e-12)
    few = forecast.isel(init=slice(48))
    xr.testing.assert_identical(nino34_correlation(few, record), nino34_correlation(few, record, seasons=False))


def test_each_season_can_be_had_by_itself(forecast, record):
    each = nino34_correlation(forecast, record, seasons="each")
    assert each.dims == ("lead", "season") or each.dims == ("season", "lead")
    assert each.season.values[[0, 6, 11]].tolist() == ["DJF", "JJA", "NDJ"]
    predicted, verified = by_hand(forecast, record, 2)
    of_summer = (np.arange(60, 420) + 2) % 12 == 6  # centred on July
    expected = np.corrcoef(predicted[of_summer], verified[of_summer])[0, 1]
    assert each.sel(lead=2, season="JJA").item() == pytest.approx(expected, rel=1e-12)
    np.testing.assert_allclose(each.mean("season"), nino34_correlation(forecast, record, seasons=True))
    lazy = nino34_correlation(forecast.chunk(), record.chunk(), seasons="each")
    np.testing.assert_allclose(lazy.transpose(*each.dims), each)
    with pytest.raises(InvalidOption, match="seasons: found 'DJF'"):
        nino34_correlation(forecast, record, seasons="DJF")


def test_error_is_that_about_the_mean_error_of_each_season(forecast, record):
    error = nino34_error(forecast, record)
    predicted, verified = by_hand(forecast, record, 3)
    month = (np.arange(60, 420) + 3) % 12
    left = predicted - verified
    left = left - np.array([left[month == m].mean() for m in range(12)])[month]
    assert error.sel(lead=3).item() == pytest.approx(np.sqrt(np.mean(left**2)), rel=1e-12)
    assert error.attrs["units"] == "degC"
    shift = xr.where(forecast.init.dt.month == 4, 2.0, 0.0)
    np.testing.assert_allclose(
        nino34_error(forecast + shift, record, window=1), nino34_error(forecast, record, window=1)
    )


def test_targets_choose_seasons_by_their_centre(forecast, record):
    skill = nino34_correlation(forecast, record, seasons=False, targets=slice("1990", "2000-06"))
    for lead in (1, 4):
        predicted, verified = by_hand(forecast, record, lead)
        centre = np.arange(60, 420) + lead
        inside = (centre >= 120) & (centre <= 245)
        expected = np.corrcoef(predicted[inside], verified[inside])[0, 1]
        assert skill.sel(lead=lead).item() == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("seasons", [True, False])
def test_perfect_forecast(record, seasons):
    position = np.arange(60, 420)[:, None] + np.arange(1, 7)
    perfect = xr.DataArray(
        record.values[position],
        coords={"init": record.time.values[60:420], "lead": lead_coordinate(6)},
        dims=("init", "lead"),
    )
    np.testing.assert_allclose(nino34_correlation(perfect, record, seasons=seasons), 1.0, rtol=1e-12)
    np.testing.assert_allclose(nino34_correlation(-perfect, record, seasons=seasons)[1:], -1.0, rtol=1e-12)


def test_stamps_may_lie_anywhere_in_the_month_and_be_cftime(forecast, record):
    def cf(time):
        return [cftime.DatetimeNoLeap(t.year, t.month, 16) for t in time.to_index()]

    expected = nino34_correlation(forecast, record)
    moved = record.assign_coords(time=record.time + np.timedelta64(14, "D"))
    np.testing.assert_array_equal(nino34_correlation(forecast, moved), expected)
    np.testing.assert_array_equal(
        nino34_correlation(forecast.assign_coords(init=cf(forecast.init)), record.assign_coords(time=cf(record.time))),
        expected,
    )


def test_temperatures_lose_the_observed_annual_cycle(forecast, record):
    cycle = 27 + 2 * np.sin(np.arange(12) * np.pi / 6)

    def warm(index, months):
        return index + xr.DataArray(cycle, dims="month").isel(month=months % 12)

    leads = xr.DataArray(np.arange(1, 7), coords={"lead": forecast.lead}, dims="lead")
    start = xr.DataArray(np.arange(60, 420), coords={"init": forecast.init}, dims="init")
    temperature = warm(record, xr.DataArray(np.arange(480), dims="time"))
    predicted = warm(forecast, start + leads)
    together = nino34_correlation(predicted, temperature, seasons=False)
    # anomalies from the same climatology give the same skill, and a unit of temperature makes no difference
    climatology = record.groupby("time.month").mean()
    anomaly = record - climatology.sel(month=record.time.dt.month).drop_vars("month")
    calendar = ((start + leads) % 12 + 1).transpose(*forecast.dims)
    own = forecast - climatology.sel(month=calendar).drop_vars("month")
    np.testing.assert_allclose(together, nino34_correlation(own, anomaly, seasons=False), rtol=1e-10)
    np.testing.assert_allclose(nino34_correlation(predicted, temperature + 273.15, seasons=False), together, rtol=1e-10)
    assert (together < nino34_correlation(predicted - 27, temperature - 27, seasons=False)).all()
    based = nino34_correlation(predicted, temperature, seasons=False, base=slice("1990", "1999"))
    assert not np.allclose(based, together, rtol=1e-6)
    # the sum of an anomaly forecast and a temperature record needs no help
    np.testing.assert_allclose(nino34_correlation(own, temperature, seasons=False), together, rtol=1e-10)
    with pytest.raises(InvalidOption, match="temperatures, against observed anomalies"):
        nino34_correlation(predicted, record)


def test_fields_samples_chunks_and_missing_months(forecast, record):
    samples = xr.concat([forecast + 0.1, forecast - 0.1], "member").assign_coords(
        member=("member", [0, 1], {"standard_name": "realization"})
    )
    expected = nino34_correlation(forecast, record)
    np.testing.assert_allclose(nino34_correlation(samples, record), expected, rtol=1e-10)
    lat, lon = np.arange(-10.0, 11.0, 5.0), np.arange(-180.0, -100.0, 5.0)
    space = xr.DataArray(np.ones((5, 16)), coords={"lat": lat, "lon": lon})
    fields, truth = (samples * space).rename("sst"), (record * space).to_dataset(name="sst")
    np.testing.assert_allclose(nino34_correlation(fields, truth), expected, rtol=1e-10)
    lazy = nino34_correlation(fields.chunk(init=100, member=1), truth.chunk(time=50))
    assert lazy.chunks is not None
    np.testing.assert_allclose(lazy, expected, rtol=1e-10)
    holed = record.where(np.arange(480) != 200)
    assert nino34_correlation(forecast, holed).notnull().all()
    assert nino34_correlation(forecast, record * np.nan).isnull().all()
    shorter = record.isel(time=slice(0, 300))
    assert nino34_correlation(forecast, shorter, seasons=False).notnull().all()


def test_what_cannot_be_scored_is_told(forecast, record):
    days = forecast.assign_coords(lead=forecast.lead.astype("timedelta64[D]"))
    with pytest.raises(InvalidOption, match="whole months"):
        nino34_correlation(days, record)
    with pytest.raises(InvalidOption, match="consecutive"):
        nino34_correlation(forecast.sel(lead=[2, 5]), record)
    with pytest.raises(InvalidOption, match="several stamps"):
        nino34_correlation(forecast, xr.concat([record, record[:3]], "time"))
    with pytest.raises(InvalidOption, match="init"):
        nino34_correlation(forecast.rename(init="start").drop_vars("start"), record)
    with pytest.raises(InvalidOption, match="odd"):
        nino34_correlation(forecast, record, window=4)


def test_a_forecast_with_valid_times_and_leads_without_units(forecast, record):
    expected = nino34_correlation(forecast, record)
    valid = forecast.assign_coords(valid_time=(("init", "lead"), np.zeros((360, 6), "datetime64[ns]")))
    np.testing.assert_array_equal(nino34_correlation(valid, record), expected)
    labelled = valid.assign_coords(height=2.0, model="a"), record.assign_coords(height=0.0)
    np.testing.assert_array_equal(nino34_correlation(*labelled), expected)
    bare = forecast.assign_coords(lead=np.arange(1.0, 7.0))
    np.testing.assert_array_equal(nino34_correlation(bare, record), expected)
    np.testing.assert_allclose(nino34_correlation(bare + 27, record + 27), expected, rtol=1e-9)


def test_window_of_one_compares_values_as_they_are(forecast, record):
    skill = nino34_correlation(forecast, record, window=1, seasons=False)
    assert skill.lead.values.tolist() == [1, 2, 3, 4, 5, 6]
    start = np.arange(60, 420)
    assert skill[2].item() == pytest.approx(
        np.corrcoef(forecast.values[:, 2], record.values[start + 3])[0, 1], rel=1e-12
    )


def test_aggregates():
    skill = xr.DataArray(np.linspace(1, 0, 12), coords={"lead": np.arange(2, 14)}, dims="lead")
    weights = np.array([1.5] * 4 + [2] * 7 + [3]) * np.log(np.arange(1, 13))
    assert nino34_mean(skill).item() == pytest.approx(0.5)
    assert nino34_weighted_mean(skill).item() == pytest.approx((weights * skill.values).mean())
    assert nino34_mean(skill).attrs["units"] == "1"


# --- outlook


@pytest.fixture
def samples():
    rng = np.random.default_rng(3)
    values = np.linspace(-1, 1, 14) + rng.normal(0, 0.5, (200, 14))
    coords = {"lead": lead_coordinate(14), "init": np.datetime64("2022-03-01")}
    return xr.DataArray(values, dims=("sample", "lead"), coords=coords, attrs={"units": "degC"})


def test_outlook_counts_samples(samples):
    outlook = enso_outlook(samples)
    seasons = (samples.values[:, :-2] + samples.values[:, 1:-1] + samples.values[:, 2:]) / 3
    np.testing.assert_allclose(outlook["mean"], seasons.mean(0))
    np.testing.assert_allclose(outlook.el_nino, (seasons >= 0.5).mean(0))
    np.testing.assert_allclose(outlook.la_nina, (seasons <= -0.5).mean(0))
    np.testing.assert_allclose(outlook.el_nino + outlook.neutral + outlook.la_nina, 1.0)
    np.testing.assert_allclose(outlook.lower, np.quantile(seasons, 0.1, 0, method="hazen"))
    np.testing.assert_allclose(enso_outlook(samples, interval=(0, 1)).upper, seasons.max(0))
    assert outlook.season.values.tolist()[:2] == ["AMJ 2022", "MJJ 2022"]
    assert outlook.season.sel(lead=9).item() == "NDJ 2022/23"
    assert outlook["mean"].attrs["units"] == "degC"
    assert outlook.el_nino.attrs["units"] == "1"


def test_one_sample_dressed_with_its_error_is_a_gaussian(samples):
    single = samples.isel(sample=0, drop=True)
    error = xr.DataArray(np.linspace(0.3, 1.2, 14), coords={"lead": np.arange(1, 15)}, dims="lead")
    outlook = enso_outlook(single, error)
    centre, spread = outlook["mean"].values, error.values[1:13]
    np.testing.assert_allclose(outlook.el_nino, norm.sf(0.5, centre, spread), rtol=1e-10)
    np.testing.assert_allclose(outlook.la_nina, norm.cdf(-0.5, centre, spread), rtol=1e-10)
    np.testing.assert_allclose(outlook.upper, norm.ppf(0.9, centre, spread), atol=0.01)


def test_dressing_brings_the_spread_up_to_the_error_and_never_below_the_samples(samples):
    wide = enso_outlook(samples, 1.0)
    assert (wide.upper - wide.lower > enso_outlook(samples).upper - enso_outlook(samples).lower).all()
    np.testing.assert_allclose(wide.upper - wide.lower, 2 * norm.ppf(0.9), rtol=0.05)
    xr.testing.assert_allclose(enso_outlook(samples, 0.01).el_nino, enso_outlook(samples).el_nino)
    with pytest.raises(InvalidOption, match="leads"):
        enso_outlook(samples, xr.DataArray([1.0], coords={"lead": [2]}, dims="lead"))


def test_outlook_from_fields_with_a_record(record, samples):
    temperature = record + 26.0
    coords = {"lead": lead_coordinate(4), "init": record.time[419], "sample": [0, 1]}
    forecast = xr.DataArray(np.full((2, 4), 26.0), coords=coords, dims=("sample", "lead"))
    outlook = enso_outlook(forecast, observed=temperature)
    assert outlook.lead.values.tolist() == [1, 2, 3]  # with the last observed month
    assert outlook.season.values[0] == "DJF 2014/15"
    with pytest.raises(InvalidOption, match="observed="):
        enso_outlook(forecast)
    members = samples.rename(sample="case").assign_coords(
        number=("case", np.arange(200), {"standard_name": "realization"}), height=2.0
    )
    xr.testing.assert_allclose(enso_outlook(members), enso_outlook(samples))
    many = enso_outlook(samples.expand_dims(init=[samples.init.values]).chunk(sample=50))
    assert many["mean"].dims == ("init", "lead")
    assert many.el_nino.chunks is not None
    np.testing.assert_allclose(many.el_nino[0], enso_outlook(samples).el_nino)


# --- published hindcasts

ENSO = Path(os.environ.get("XFORECAST_DATA", "")) / "enso"
needs_data = pytest.mark.skipif(
    not (ENSO / "ham2019_cnn_nino34_hindcast.nc").is_file(),
    reason="XFORECAST_DATA does not name the data folder",
)


@pytest.fixture
def ersst():
    return nino34(xr.open_dataset(ENSO / "ersstv5_godas_anom_5deg_198001_201712.nc").ssta)


def published(column):
    table = np.genfromtxt(ENSO / "benchmark_nino34_skill_by_lead.csv", delimiter=",", names=True)
    return table[column]


@needs_data
def test_published_cnn_hindcasts_have_their_published_skill(ersst):
    """By lead, target season (1 = JFM) and year; the table counts the last, half-observed season in."""
    cnn = xr.open_dataset(ENSO / "ham2019_cnn_nino34_hindcast.nc").nino34_pred
    centre = 12 * (cnn.year - 1970) + cnn.target_month  # months since 1970-01
    stacked = cnn.assign_coords(start=centre - cnn.lead).stack(case=("target_month", "year"))
    by_start = [
        one.drop_vars(["case", "target_month", "year"]).swap_dims(case="start").drop_vars("lead")
        for one in (stacked.sel(lead=k) for k in cnn.lead.values)
    ]
    forecast = xr.concat(by_start, cnn.lead.assign_attrs(MONTHS), join="outer")
    init = forecast.start.values.astype("datetime64[M]").astype("datetime64[ns]")
    forecast = forecast.rename(start="init").assign_coords(init=init)
    skill = nino34_correlation(forecast, seasonal_mean(ersst, min_months=2), window=1, targets=slice("1984", "2017"))
    np.testing.assert_allclose(skill, published("cnn_ham2019_allseason"), atol=0.01)


@needs_data
@pytest.mark.parametrize(("column", "months"), [("persistence3_allseason", 3), ("persistence1_allseason", 1)])
def test_persistence_has_its_tabled_skill(ersst, column, months):
    last = ersst.rolling(time=months).mean().rename(time="init")
    forecast = last.expand_dims(lead=lead_coordinate(23))
    skill = nino34_correlation(forecast, seasonal_mean(ersst), window=1, targets=slice("1984", "2017"))
    np.testing.assert_allclose(skill, published(column), atol=0.01)
