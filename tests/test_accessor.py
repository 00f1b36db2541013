"""What a notebook offers: names behind a dot, options behind a bracket, docstrings behind a question mark.

Also guards `_doors.py`.
"""

from __future__ import annotations

import inspect

import pytest
import xarray as xr

import xforecast as xf
from xforecast import accessor, plot
from xforecast._doors import FIT, FORECAST

DATA = (xr.Dataset(), xr.DataArray(1.0))


def names(thing) -> list[str]:
    return [name for name in dir(thing) if not name.startswith("_")]


@pytest.mark.parametrize("data", DATA, ids=["Dataset", "DataArray"])
def test_names_behind_the_dot(data):
    assert names(data.earthformer) == ["check", "fit", "forecast", "plot"]
    assert names(data.earthformer.plot) == sorted(dir(plot))
    assert set(names(xf)) == {name for name in xf.__all__ if not name.startswith("_")}
    assert all(inspect.isfunction(getattr(xf.skill, name)) for name in names(xf.skill))
    assert xf.skill.protocols.sevir
    assert {"csi", "crps", "nino34"} < set(names(xf.skill)) < set(xf.skill.__all__)


@pytest.mark.parametrize("name", accessor.PICTURES)
def test_pictures_are_methods_with_the_signature_and_the_docstring_of_their_function(name):
    method, function = getattr(xr.DataArray(1.0).earthformer.plot, name), getattr(plot, name)
    assert inspect.ismethod(method)
    _, *others = inspect.signature(function).parameters.values()
    mine = inspect.signature(method).parameters.values()
    assert [(p.name, p.default, p.kind) for p in mine] == [(p.name, p.default, p.kind) for p in others]
    assert method.__doc__ == function.__doc__


@pytest.mark.parametrize("name", accessor.PICTURES)
def test_pictures_get_these_data_and_every_option(name, monkeypatch):
    seen = {}
    function = getattr(plot, name)
    monkeypatch.setattr(plot, name, lambda *args, **options: seen.update(args=args, **options))
    data = xr.DataArray(1.0)
    others = list(inspect.signature(function).parameters)[1:]
    getattr(data.earthformer.plot, name)(**{option: option for option in others})
    first, *positional = seen.pop("args")
    assert first is data
    assert {*positional, *seen.values()} == set(others)


def told(function, table) -> None:
    doc = inspect.getdoc(function)
    for option in inspect.signature(function).parameters:
        kind, meaning = table["ds" if option == "self" else option]
        assert f"{option} : {kind}" in doc
        assert " ".join(meaning.split()) in " ".join(doc.split())


@pytest.mark.parametrize("name", ["forecast", "check"])
def test_docstrings_explain_every_option(name):
    for door in (getattr(xf, name), getattr(xr.Dataset().earthformer, name)):
        told(door, FORECAST)


def test_the_docstring_of_fit_explains_every_option():
    for door in (xf.fit, xr.Dataset().earthformer.fit):
        told(door, FIT)


def test_every_option_reaches_the_function(monkeypatch):
    """The accessor passes on what it is given, under its name."""
    import xforecast.forecaster
    import xforecast.training

    for owner, name in (
        (xforecast.forecaster, "forecast"),
        (xforecast.forecaster, "check"),
        (xforecast.training, "fit"),
    ):
        seen = {}
        options = list(inspect.signature(getattr(owner, name)).parameters)[2:]
        monkeypatch.setattr(owner, name, lambda ds, model, seen=seen, **given: seen.update(given, model=model))
        getattr(xr.Dataset().earthformer, name)("a model", **{option: f"my {option}" for option in options})
        assert seen == {option: f"my {option}" for option in options} | {"model": "a model"}
