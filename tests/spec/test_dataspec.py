"""Specs: what they derive, what they refuse, and their way to JSON and back.

Also guards `grid.py` and `stored.py`.
"""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from synthetic import MASK, persistence, radar_spec, sst_dataset, sst_spec
from xforecast.errors import CheckpointError, InvalidOption
from xforecast.spec import Climatology, DataSpec, Grid, TimeStep, Variable


@pytest.mark.parametrize(
    "spec",
    [
        sst_spec(), sst_spec(mask=None, calendar=["annual", "diurnal"]), radar_spec(),
        sst_spec(variables=[sst_spec()["sst"], Variable("u", "m s-1", fill="nearest")], targets=["u"]),
        DataSpec([Variable("v", "1")], Grid("pixel", (2, 3)), "10 s", 1, 1),
    ],
)  # fmt: skip
def test_specs_go_to_json_and_back(spec):
    again = DataSpec.from_json(spec.to_json())
    assert again == spec
    assert hash(again) == hash(spec)
    assert repr(again) == repr(spec)
    assert again.to_json() == spec.to_json()
    assert pickle.loads(pickle.dumps(spec)) == spec
    assert "<table>" in spec._repr_html_()
    assert (spec.mask is None) == (again.mask is None)


def test_shapes_follow_from_the_parts():
    spec = sst_spec(calendar=["annual"])
    assert spec.input_shape == (3, 5, 8, 3)
    assert spec.target_shape == (4, 5, 8, 1)
    assert spec.channels == 3
    assert spec["sst"].anomaly
    assert spec != sst_spec()
    with pytest.raises(KeyError):
        spec["tas"]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: sst_spec(history=0), "history"),
        (lambda: sst_spec(horizon=-1), "horizon"),
        (lambda: sst_spec(time_step="fortnight"), "time step"),
        (lambda: sst_spec(targets=["tas"]), "targets"),
        (lambda: sst_spec(calendar=["lunar"]), "calendar"),
        (lambda: sst_spec(mask=MASK.T), "mask"),
        (lambda: sst_spec(variables=[]), "variables"),
        (lambda: sst_spec(variables=[Variable("a", "1"), Variable("a", "1")]), "variables"),
        (lambda: Variable("a", "1", scale=0.0), "scale"),
        (lambda: Variable("a", "1", scale=float("nan")), "scale"),
        (lambda: Variable("a", "1", fill="mean"), "fill"),
        (lambda: Grid("sphere", (2, 2)), "kind"),
        (lambda: Grid("latlon", (2, 2), y=[1, 2, 3], x=[1, 2]), "Grid.y"),
        (lambda: Climatology(("1981", "2010"), np.zeros((11, 2, 2))), "Climatology"),
        (lambda: sst_spec(grid=Grid("pixel", (2, 2)), mask=None), "climatology of 'sst'"),
    ],
)
def test_specs_that_cannot_be(make, words):
    with pytest.raises(InvalidOption, match=words):
        make()


def test_a_spec_from_the_future():
    stored = sst_spec().to_dict() | {"colour": "blue"}
    with pytest.raises(CheckpointError, match=r"(?s)colour.*upgrade xforecast"):
        DataSpec.from_dict(stored)


def test_arrays_in_a_spec_cannot_be_changed():
    again = DataSpec.from_json(sst_spec().to_json())
    for array in (again.mask, again["sst"].climatology.values):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_the_time_step_is_parsed_once(monkeypatch):
    """By each spec when it is made; a forecast parses nothing."""
    parsed = []
    parse = TimeStep.parse.__func__

    def counted(cls, text):
        parsed.append(text)
        return parse(cls, text)

    monkeypatch.setattr(TimeStep, "parse", classmethod(counted))
    spec = sst_spec(time_step="month")
    assert parsed == ["month"]
    assert spec.time_step == "1 month"
    assert spec.step is spec.step
    forecaster = persistence(spec)
    parsed.clear()
    forecaster.forecast(sst_dataset(), init="all")
    assert parsed == []


@pytest.mark.parametrize(
    "make",
    [
        lambda: sst_spec(history=0), lambda: sst_spec(targets=["tas"]), lambda: sst_spec(calendar=["lunar"]),
        lambda: sst_spec(variables=[]), lambda: sst_spec(mask=MASK.T), lambda: sst_spec(time_step="fortnight"),
        lambda: TimeStep(), lambda: Variable("a", "1", scale=0.0), lambda: Variable("a", "1", fill="mean"),
        lambda: Variable("a", "1", transform="log"), lambda: Grid("sphere", (2, 2)),
        lambda: Grid("latlon", (2, 2), y=[1, 2, 3], x=[1, 2]), lambda: sst_spec().to_physical(np.zeros((2, 2))),
        lambda: Climatology(("1981", "2010"), np.zeros((11, 2, 2))),
    ],
)  # fmt: skip
def test_every_refusal_says_what_to_do(make):
    with pytest.raises(InvalidOption, match=r"(?s)found .*, wanted .*\n  -> \S"):
        make()
