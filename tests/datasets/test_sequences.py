"""Sequences as one record: nothing is lost, no window crosses a gap, and it stays lazy."""

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xforecast as xf
from xforecast.datasets import as_record
from xforecast.errors import InvalidOption

STEP = np.timedelta64(5, "m").astype("timedelta64[ns]")


def sequences(count=3, length=5):
    values = np.arange(count * length * 4.0).reshape(count, length, 2, 2)
    return xr.Dataset(
        {"rain": (("sequence", "time", "y", "x"), values, {"units": "mm/h"})},
        coords={"time": np.arange(length) * STEP, "event": ("sequence", np.arange(count))},
    )


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(2, 6))
def test_every_frame_is_there_once_and_in_order(count, length):
    ds = sequences(count, length)
    record = as_record(ds)
    np.testing.assert_array_equal(record.rain.values.reshape(ds.rain.shape), ds.rain)
    np.testing.assert_array_equal(record.sequence.values, np.repeat(np.arange(count), length))
    steps = np.diff(record.time.values) / np.timedelta64(5, "m")
    assert sorted(set(steps)) == ([1.0, 2.0] if count > 1 else [1.0])
    assert (steps == 2).sum() == count - 1


def test_no_window_reaches_across_a_gap():
    record = as_record(sequences(4, 5))
    forecaster = xf.fit(record, "Persistence", history=2, horizon=2, valid=None)
    ends = record.time.values.reshape(4, 5)[:, 2]
    assert forecaster.forecast(record, init=list(ends)).sizes["init"] == 4
    with pytest.raises(xf.errors.SpecMismatch):
        forecaster.forecast(record, init=record.time.values[5])


def test_lazy_stays_lazy_and_dimensions_are_required():
    record = as_record(sequences().chunk(sequence=1))
    assert record.rain.chunks is not None
    with pytest.raises(InvalidOption, match="event"):
        as_record(sequences(), sequence="event_id")
    uneven = sequences().assign_coords(
        time=np.array([0, 1, 2, 4, 9]) * np.timedelta64(1, "s").astype("timedelta64[ns]")
    )
    with pytest.raises(InvalidOption, match="regular"):
        as_record(uneven)


MONTHS = {
    "dates": np.arange("1999-11", "2000-04", dtype="datetime64[M]").astype("datetime64[ns]"),
    "no leap days": xr.date_range("1999-11-01", periods=5, freq="MS", calendar="noleap", use_cftime=True),
    "numbers of months": xr.Variable("time", np.arange(-1, 4), {"units": "months"}),
}  # fmt: skip


@pytest.mark.parametrize("time", MONTHS.values(), ids=MONTHS)
def test_months_stay_months(time):
    ds = sequences().drop_vars("time").assign_coords(time=time if isinstance(time, xr.Variable) else ("time", time))
    dates = as_record(ds).time
    months = dates.dt.year.values * 12 + dates.dt.month.values
    np.testing.assert_array_equal(np.diff(months), [1, 1, 1, 1, 8, 1, 1, 1, 1, 8, 1, 1, 1, 1])
    assert (dates.dt.day == 1).all()
    assert dates.dt.month[0] == (1 if isinstance(time, xr.Variable) else 11)


def test_days_of_another_calendar_keep_their_step():
    days = xr.date_range("2000-01-01", periods=5, freq="D", calendar="noleap", use_cftime=True)
    steps = np.diff(as_record(sequences().assign_coords(time=("time", days))).time.values)
    assert set(steps) == {np.timedelta64(1, "D"), np.timedelta64(2, "D")}


def test_frames_about_midnight_are_no_months():
    frames = np.array(["2020-05-31T23:55", "2020-06-01T00:00"], "datetime64[ns]")
    record = as_record(sequences(2, 2).assign_coords(time=("time", frames)))
    assert np.diff(record.time.values).tolist() == [STEP, 2 * STEP, STEP]


def test_uneven_months_and_words_are_refused_and_nothing_is_a_record_too():
    for values in ([0, 3, 6], ["a", "b", "c"]):
        time = xr.Variable("time", values, {"units": "months"})
        with pytest.raises(InvalidOption, match=r"months|dates"):
            as_record(sequences(2, 3).assign_coords(time=time.astype(object) if values[0] == "a" else time))
    assert as_record(sequences().isel(sequence=slice(0))).sizes["time"] == 0
