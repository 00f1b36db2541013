"""Reports count, sort and print."""

from __future__ import annotations

import pytest

from xforecast import errors
from xforecast.errors import SpecMismatch
from xforecast.labels import Report


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
