"""A bar is drawn where it is wanted, and changes nothing."""

from __future__ import annotations

from xforecast.forecaster.progress import track


def test_a_bar_changes_nothing(capsys):
    assert list(track([3, 1, 2], "counting")) == [3, 1, 2]
    assert list(track(iter("ab"), "letters", enabled=True, total=2)) == ["a", "b"]
    assert capsys.readouterr().err == ""
