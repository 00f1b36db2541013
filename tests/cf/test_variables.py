"""Variables are found by standard name, then by name, and never guessed among several."""

from __future__ import annotations

import pytest
import xarray as xr

from xforecast.cf import Ambiguous, find_variable, is_anomaly, wants_anomaly
from xforecast.spec import Variable

WANTED = Variable("sst", "degC", ["sea_surface_temperature"], ["tos"])


def data(**attrs: dict) -> xr.Dataset:
    return xr.Dataset({name: (("y", "x"), [[0.0]], given) for name, given in attrs.items()})


def test_a_standard_name_goes_before_a_name():
    assert find_variable(data(sst={}, field={"standard_name": "sea_surface_temperature"}), WANTED) == "field"
    assert find_variable(data(TOS={}, other={}), WANTED) == "TOS"
    assert find_variable(data(other={}), WANTED) is None


def test_several_candidates_are_named():
    both = {"standard_name": "sea_surface_temperature"}
    with pytest.raises(Ambiguous) as caught:
        find_variable(data(b=both, a=both), WANTED)
    assert caught.value.candidates == ["a", "b"]


@pytest.mark.parametrize(
    ("name", "attrs", "anomaly"),
    [
        ("ssta", {}, True),
        ("t", {"standard_name": "sea_surface_temperature_anomaly"}, True),
        ("t", {"long_name": "SST anomaly"}, True),
        ("t", {"cell_methods": "time: mean anomaly_wrt: 1991-2020"}, True),
        ("sst", {"standard_name": "sea_surface_temperature"}, False),
    ],
)
def test_what_calls_itself_an_anomaly(name, attrs, anomaly):
    assert is_anomaly(data(**{name: attrs})[name], name) == anomaly
    assert wants_anomaly(
        Variable(name, "K", [attrs.get("standard_name", "x")], long_name=attrs.get("long_name", ""))
    ) == (anomaly and name != "ssta" and "cell_methods" not in attrs)
