"""Steps of a time axis: words, arithmetic, and the waves of the calendar."""

from __future__ import annotations

import cftime
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthetic import radar_dataset, sst_dataset
from xforecast.errors import InvalidOption
from xforecast.spec import TimeStep, calendar_waves, month_numbers
from xforecast.spec.timestep import cycle_phases

FIRST = sst_dataset().time.values
NOLEAP = np.array([cftime.DatetimeNoLeap(2000 + i // 12, i % 12 + 1, 1) for i in range(18)], object)


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


@settings(max_examples=40, deadline=None)
@given(
    st.one_of(st.builds(TimeStep, months=st.integers(1, 24)), st.builds(TimeStep, seconds=st.integers(1, 20 * 86400))),
    st.sampled_from([FIRST[:1], FIRST[:1].astype("datetime64[s]"), NOLEAP[:1]]),
)
def test_the_step_of_a_regular_axis_is_found(step, first):
    times = np.concatenate([step.shift(first, count) for count in range(5)])
    assert TimeStep.of(times) == step


def test_waves_are_the_sines_and_cosines_of_the_phases():
    times = np.stack([FIRST[:6], FIRST[6:12]])
    waves = calendar_waves(times, ["annual", "diurnal"])
    assert waves.shape == (2, 6, 4)
    assert waves.dtype == np.float32
    np.testing.assert_allclose(np.hypot(waves[..., 0::2], waves[..., 1::2]), 1, rtol=1e-6)
    annual = np.arctan2(waves[..., 0], waves[..., 1]) % (2 * np.pi)
    np.testing.assert_allclose(annual, cycle_phases(times, "annual"), atol=1e-5)
    np.testing.assert_array_equal(calendar_waves(times, ["diurnal"]), waves[..., 2:])
    assert calendar_waves(times, []).shape == (2, 6, 0)
