"""Recipes of the shipped forecasters."""

import os
from pathlib import Path

import numpy as np
import pytest

from xforecast.errors import UnknownForecaster
from xforecast.forecaster import Forecaster
from xforecast.models import EarthformerConfig
from xforecast.training import TrainingOptions, recipes

DATA = os.environ.get("XFORECAST_DATA")


def test_the_enso_recipe_is_made_of_known_options():
    recipe = recipes.read("enso")
    TrainingOptions.from_dict(recipe["training"])
    EarthformerConfig.from_dict({"history": 12, "horizon": 18, "grid": [13, 57], **recipe["network"]})
    assert min(entry["members"] for entry in recipe["forecasters"]) >= 4


def test_unknown_recipes_and_forecasters_are_told(tmp_path):
    with pytest.raises(UnknownForecaster, match="enso"):
        recipes.run("el-nino", data=tmp_path, output=tmp_path)
    with pytest.raises(UnknownForecaster, match="earthformer-enso-1981"):
        recipes.run("enso", data=tmp_path, output=tmp_path, only="earthformer-enso-1950")


@pytest.mark.skipif(DATA is None, reason="XFORECAST_DATA does not name the data folder")
def test_the_recipe_runs_and_sees_nothing_after_its_last_year(tmp_path, monkeypatch):
    from xforecast.training.recipes import enso

    recipe = recipes.read("enso")
    recipe["training"] |= {"steps": 2}
    recipe["simulation"] |= {"series": 2, "months": 60}
    entry = recipe["forecasters"][0] | {"members": 1}
    folder = enso.train(recipe, entry, Path(DATA) / "enso", tmp_path / "first", progress=False)
    original = enso.open_data

    def scrambled_after_1981(path):
        ds = original(path)
        late = ds.time.dt.year > 1981
        return ds.map(lambda field: field.where(~late, field + 5) if "time" in field.dims else field, keep_attrs=True)

    monkeypatch.setattr(enso, "open_data", scrambled_after_1981)
    again = enso.train(recipe, entry, Path(DATA) / "enso", tmp_path / "second", progress=False)
    first, second = Forecaster.load(folder), Forecaster.load(again)
    assert first.digest == second.digest
    assert first.spec.variables[0].climatology.base == ("1952", "1981")
    assert np.isfinite(list(first.card["hindcast_error"].values())).all()
