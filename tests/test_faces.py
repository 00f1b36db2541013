"""What Tab offers after ``xf.skill.`` and the like: functions that are meant for users, and nothing else."""

from __future__ import annotations

from inspect import isclass, isfunction

import pytest

import xforecast as xf

BESIDES = {"NBody"}
"""The options of a data set, which is no function."""


@pytest.fixture(params=["skill", "datasets", "climatology", "plot"])
def face(request):
    return getattr(xf, request.param)


def test_tab_offers_functions_only(face):
    offered = {name: getattr(face, name) for name in dir(face)}
    others = {name for name, value in offered.items() if not isfunction(value)}
    assert others <= BESIDES
    assert all(isclass(offered[name]) for name in others)
    assert all((value.__doc__ or "").strip() for value in offered.values())


def test_what_tab_offers_is_listed_and_listed_names_are_there(face):
    assert set(dir(face)) <= set(face.__all__)
    assert len(set(face.__all__)) == len(face.__all__)
    assert all(hasattr(face, name) for name in face.__all__)


def test_pictures_are_offered_and_their_helpers_are_not():
    assert "maps" in dir(xf.plot)
    assert not {"pyplot", "style", "curves"} & set(dir(xf.plot))


def test_scores_are_offered_and_their_table_is_not():
    assert {"rmse", "nino34", "match_times"} <= set(dir(xf.skill))
    assert not {"SCORES", "np", "_pairs", "enso"} & set(dir(xf.skill))


def test_earlier_names_go_on_working():
    assert xf.skill.align is xf.skill.match_times
    assert xf.climatology.climatology is xf.climatology.monthly_climatology
    assert {"align"} <= set(xf.skill.__all__)
    assert {"climatology"} <= set(xf.climatology.__all__)
