"""Units: every conversion is the inverse of its opposite, and no detour changes it."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from synthetic import RATES, TEMPERATURES
from xforecast.cf import units

finite = st.floats(-1e3, 1e3)


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([TEMPERATURES, RATES]).flatmap(lambda kind: st.tuples(*[st.sampled_from(kind)] * 3)), finite)
def test_there_and_back_and_by_a_detour(three, value):
    first, second, third = three
    there = units.conversion(first, second)
    assert there.inverse()(there(value)) == pytest.approx(value, rel=1e-9, abs=1e-6)
    detour = units.conversion(second, third)(there(value))
    assert detour == pytest.approx(units.conversion(first, third)(value), rel=1e-6, abs=1e-6)
    assert units.conversion(first, first).is_identity


@settings(deadline=None, max_examples=30)
@given(st.sampled_from(TEMPERATURES), st.sampled_from(TEMPERATURES), finite, finite)
def test_differences_convert_without_offset(first, second, a, b):
    whole, difference = units.conversion(first, second), units.conversion(first, second, difference=True)
    assert difference(a - b) == pytest.approx(whole(a) - whole(b), rel=1e-6, abs=1e-6)


def test_known_conversions():
    assert units.conversion("degC", "K")(20.0) == 293.15
    assert units.conversion("kg m-2 s-1", "mm/h")(1 / 3600) == pytest.approx(1.0)
    assert units.conversion("degF", "degC")(212.0) == pytest.approx(100.0)
    assert units.conversion("%", "1")(50.0) == pytest.approx(0.5)
    assert units.conversion("km", "m")(1.5) == 1500.0


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        ("dBZ", "mm/h"),
        ("dB", "1"),
        ("degC", "mm/h"),
        ("bananas", "degC"),
        ("degC", "bananas"),
        ("m", "s"),
        ("", "degC"),
    ],
)
def test_what_no_linear_map_connects(found, wanted):
    assert not units.compatible(found, wanted)


@pytest.mark.parametrize(
    ("found", "wanted"), [("dBZ", "DBZ"), ("bananas", "bananas"), ("", "1"), ("1", "dimensionless")]
)
def test_the_same_unit_is_itself(found, wanted):
    assert units.compatible(found, wanted)
    assert units.conversion(found, wanted).is_identity
