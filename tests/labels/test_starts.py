"""Starts by every kind of date, and what they mean on numpy and cftime axes."""

from __future__ import annotations

import datetime

import cftime
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from synthetic import persistence, radar_dataset, radar_spec, sst_dataset, sst_spec
from xforecast.errors import SpecMismatch
from xforecast.labels import Report
from xforecast.labels.starts import select_starts

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


@pytest.mark.parametrize("dim", ["time", "T"])
def test_the_remedy_for_steps_that_are_there_twice_works(dim):
    ds = sst_dataset().rename(time=dim)
    middle = ds.isel({dim: [3]}).assign_coords({dim: ds[dim].values[[3]] + np.timedelta64(10, "D")})
    for twice in (xr.concat([ds, ds.isel({dim: [3]})], dim), xr.concat([ds, middle], dim)):
        with pytest.raises(SpecMismatch, match="several steps within the same 1 month") as caught:
            persistence().forecast(twice)
        remedy = str(caught.value).rpartition("-> ")[2]
        mended = eval(remedy, {"ds": twice.sortby(dim)})
        mended.sst.attrs = ds.sst.attrs
        assert persistence().forecast(mended).sizes["lead"] == 4
