"""Starts by every kind of date, and what they mean on numpy and cftime axes."""

from __future__ import annotations

import datetime

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from synthetic import persistence, radar_dataset, radar_spec, sst_dataset, sst_spec
from xforecast.errors import InvalidOption, SpecMismatch
from xforecast.labels import Report
from xforecast.labels.starts import select_starts
from xforecast.spec.timestep import TimeStep, cycle_phases, month_numbers

FIRST = sst_dataset().time.values
NOLEAP = np.array([cftime.DatetimeNoLeap(2000 + i // 12, i % 12 + 1, 1) for i in range(18)], object)


def chosen(init, times=FIRST, spec=None):
    report = Report("the tests")
    return select_starts(times, spec or sst_spec(), init, report), report


@pytest.mark.parametrize("times", [FIRST, FIRST.astype("datetime64[s]"), NOLEAP], ids=["ns", "s", "noleap"])
@pytest.mark.parametrize(
    "init",
    [
        "2001-03", "2001-03-01", "2001-03-20", np.datetime64("2001-03-01"), np.datetime64("2001-03", "M"),
        pd.Timestamp("2001-03-01"), datetime.datetime(2001, 3, 1), datetime.date(2001, 3, 9),
        cftime.DatetimeNoLeap(2001, 3, 1), cftime.Datetime360Day(2001, 3, 30), pd.Period("2001-03", "M"),
        xr.DataArray(np.datetime64("2001-03-01", "ns")), np.array("2001-03-01", "datetime64[ns]"),
    ],
    ids=lambda init: type(init).__name__ + str(init)[:12],
)  # fmt: skip
def test_one_date_is_one_start(times, init):
    starts, report = chosen(init, times)
    assert report.ok, report
    assert starts.scalar
    assert list(starts.positions) == [14]


@pytest.mark.parametrize("times", [FIRST, NOLEAP], ids=["numpy", "noleap"])
@pytest.mark.parametrize(
    "init",
    [
        ["2000-05", "2001-02"], ("2000-05", "2001-02"), np.array(["2000-05-01", "2001-02-01"], "datetime64[ns]"),
        pd.DatetimeIndex(["2000-05-01", "2001-02-01"]), pd.Series(pd.to_datetime(["2000-05-01", "2001-02-01"])),
        xr.DataArray(np.array(["2000-05-01", "2001-02-01"], "datetime64[ns]"), dims="t"),
        xr.CFTimeIndex([cftime.DatetimeNoLeap(2000, 5, 1), cftime.DatetimeNoLeap(2001, 2, 1)]),
        [cftime.DatetimeNoLeap(2000, 5, 1), "2001-02"], pd.period_range("2000-05", periods=10, freq="M")[::9],
    ],
    ids=lambda init: type(init).__name__,
)  # fmt: skip
def test_several_dates_are_several_starts(times, init):
    starts, report = chosen(init, times)
    assert report.ok, report
    assert not starts.scalar
    assert list(starts.positions) == [4, 13]


@pytest.mark.parametrize("times", [FIRST, NOLEAP], ids=["numpy", "noleap"])
@pytest.mark.parametrize(
    "init",
    [
        slice("2000-05", "2000-08"), slice(np.datetime64("2000-05-01"), np.datetime64("2000-08-31")),
        slice(pd.Timestamp("2000-05-01"), datetime.datetime(2000, 8, 1)),
        slice(cftime.DatetimeNoLeap(2000, 5, 1), cftime.DatetimeNoLeap(2000, 8, 2)),
    ],
)  # fmt: skip
def test_a_range_of_dates(times, init):
    starts, report = chosen(init, times)
    assert report.ok, report
    assert list(starts.positions) == [4, 5, 6, 7]


def test_a_range_with_a_step_and_open_ends():
    assert list(chosen(slice("2000-03", None, 6))[0].positions) == [2, 8, 14]
    assert list(chosen("all")[0].positions) == list(range(2, 18))
    assert list(chosen(None)[0].positions) == [17]
    assert list(chosen(["2001-06", "2000-03", "2001-06"])[0].positions) == [17, 2, 17]


def test_a_year_is_not_one_month():
    starts, report = chosen("2001")
    assert starts is None
    assert "not on the time axis: 2001" in repr(report)


def test_five_minute_starts_on_a_cftime_axis():
    times = radar_dataset().time.values
    wanted = persistence(radar_spec()).forecast(radar_dataset(), init=times[2])
    ds = radar_dataset().convert_calendar("noleap", use_cftime=True)
    for init in (times[2], "2020-06-01T12:10", pd.Timestamp(times[2]), ds.time.values[2]):
        fc = persistence(radar_spec()).forecast(ds, init=init)
        np.testing.assert_array_equal(fc.rr, wanted.rr)
        assert fc.init.item() == ds.time.values[2]
    with pytest.raises(SpecMismatch, match="not on the time axis"):
        persistence(radar_spec()).forecast(ds, init="2020-06-01T12:11")


# ------------------------------------------------------------------ steps


@pytest.mark.parametrize(
    ("text", "months", "seconds"),
    [
        ("5 minutes", 0, 300), ("5 min", 0, 300), ("5min", 0, 300), ("1 minute", 0, 60), ("6 h", 0, 21600),
        ("6 hours", 0, 21600), ("day", 0, 86400), ("2 days", 0, 172800), ("week", 0, 604800), ("30 s", 0, 30),
        ("1 month", 1, 0), ("3 months", 3, 0), ("Month", 1, 0), ("1 year", 12, 0), ("2 years", 24, 0),
    ],
)  # fmt: skip
def test_steps_in_words(text, months, seconds):
    step = TimeStep.parse(text)
    assert (step.months, step.seconds) == (months, seconds)
    assert TimeStep.parse(str(step)) == step
    assert TimeStep.parse(step) is step


@pytest.mark.parametrize("text", ["", "fortnight", "5", "-1 month", "0 days", "1.5 h", "5 minutess", None])
def test_steps_that_are_none(text):
    with pytest.raises(InvalidOption, match="time step"):
        TimeStep.parse(text)


@pytest.mark.parametrize("steps", [1, 5, 13, -2])
def test_shifting_there_and_back_is_the_identity(steps):
    for times, step in ((FIRST, "1 month"), (NOLEAP, "3 months"), (radar_dataset().time.values, "5 minutes")):
        step = TimeStep.parse(step)
        np.testing.assert_array_equal(step.shift(step.shift(times, steps), -steps), times)
        moved = step.shift(times, steps)
        assert moved.dtype == times.dtype
        if step.monthly:
            np.testing.assert_array_equal(month_numbers(moved) - month_numbers(times), steps * step.months)


def test_phases_are_those_of_the_calendar():
    np.testing.assert_allclose(cycle_phases(FIRST[:3], "annual"), np.array([0, 1, 2]) * np.pi / 6)
    np.testing.assert_allclose(cycle_phases(NOLEAP[:3], "annual"), np.array([0, 1, 2]) * np.pi / 6)
    hours = np.array(["2000-01-01T06:00", "2000-07-01T18:00"], "datetime64[s]")
    clock = np.array([cftime.DatetimeNoLeap(2000, 1, 1, 6), cftime.DatetimeNoLeap(2000, 7, 1, 18)], object)
    for times in (hours, clock):
        np.testing.assert_allclose(cycle_phases(times, "diurnal"), [np.pi / 2, 3 * np.pi / 2])
