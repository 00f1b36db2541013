"""Units, reports and errors: the words in which the layers talk."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xforecast import errors
from xforecast.cf import units
from xforecast.errors import CheckpointError, InvalidOption, MissingExtra, SpecMismatch, UnknownForecaster
from xforecast.forecaster.progress import track
from xforecast.labels import Report

TEMPERATURES = ("degC", "K", "degF", "celsius", "degrees C", "Kelvin", "degree_Celsius", "deg_C", "°C")
RATES = ("mm/h", "mm hr-1", "kg m-2 s-1", "mm/day", "m s-1", "kg/m2/s")
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


# ------------------------------------------------------------------ errors and reports


def test_every_error_is_an_xforecast_error_and_a_usual_one():
    kinds = {
        SpecMismatch: ValueError, InvalidOption: ValueError, UnknownForecaster: LookupError,
        CheckpointError: ValueError, errors.DataFileError: OSError, errors.TrainingError: RuntimeError,
        MissingExtra: ImportError,
    }  # fmt: skip
    for kind, usual in kinds.items():
        assert issubclass(kind, errors.XForecastError)
        assert issubclass(kind, usual)


@pytest.mark.parametrize(
    "error",
    [
        SpecMismatch("a\n b", Report("x")), InvalidOption("seed", 0.5, "a whole number", "seed=0"),
        MissingExtra("zarr", "zarr", "Zarr"), CheckpointError("c"), UnknownForecaster("u"), errors.TrainingError("t"),
        errors.DataFileError("d"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_travel_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert repr(getattr(again, "report", None)) == repr(getattr(error, "report", None))


def test_a_missing_extra_names_the_pip_line():
    with pytest.raises(MissingExtra, match=r"pip install 'xforecast\[demo\]'"):
        errors.require("no_such_package_at_all", extra="demo", purpose="The demo")


def test_reports_count_and_sort():
    report = Report("me")
    assert repr(report) == "check against 'me': the data fit"
    report.repair("units", "K to degC")
    report.warn("mask", "some land", "look")
    assert report
    report.error("time", "a gap", "fill it")
    assert not report
    assert repr(report).splitlines()[0] == "check against 'me': 1 problem, 1 warning, 1 repair"
    assert [line.strip()[0] for line in repr(report).splitlines()[1:] if "->" not in line] == ["✗", "!", "~"]
    with pytest.raises(SpecMismatch) as caught:
        report.raise_errors()
    assert str(caught.value).splitlines()[0] == "the data do not fit 'me' (1 problem)"
    assert caught.value.report is report
    with pytest.warns(errors.XForecastWarning, match="mask: some land -> look"):
        report.emit_warnings()


def test_a_bar_changes_nothing(capsys):
    assert list(track([3, 1, 2], "counting")) == [3, 1, 2]
    assert list(track(iter("ab"), "letters", enabled=True, total=2)) == ["a", "b"]
    assert capsys.readouterr().err == ""
