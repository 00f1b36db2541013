"""Recipes of the shipped forecasters.

Guards `enso.py`, `markdown.py`, `radar.py`, `radar_scores.py`.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from synthetic import radar_spec
from xforecast.datasets import average_pixels
from xforecast.errors import UnknownForecaster
from xforecast.forecaster import Forecaster
from xforecast.models import EarthformerConfig, PreDiff, count_parameters
from xforecast.training import TrainingOptions, recipes
from xforecast.training.recipes import radar
from xforecast.training.recipes.radar_scores import open_sequence

DATA = os.environ.get("XFORECAST_DATA")


def test_the_enso_recipe_is_made_of_known_options():
    recipe = recipes.read("enso")
    TrainingOptions.from_dict(recipe["training"])
    EarthformerConfig.from_dict({"history": 12, "horizon": 18, "grid": [13, 57], **recipe["network"]})
    assert min(entry["members"] for entry in recipe["forecasters"]) >= 4


def test_the_radar_recipe_is_made_of_known_options_and_small():
    recipe = recipes.read("radar")
    spec = radar_spec(size=recipe["data"]["grid"], history=7, horizon=12)
    for options in (recipe["earthformer"]["training"], *recipe["prediff"]["stages"].values()):
        TrainingOptions.from_dict(options)
    EarthformerConfig.from_dict({"history": 7, "horizon": 12, "grid": [128, 128], **recipe["earthformer"]["network"]})
    model = PreDiff(radar.prediff_config(recipe["prediff"]["network"], spec))
    assert model.config.frame_grid == spec.grid.shape
    for part in (model.autoencoder, model.denoiser):
        assert 2 * count_parameters(part) < 4e6
    trained = {(part["file"], part.get("last")) for part in recipe["data"]["sequences"]}
    for part in recipe["held_out"]:
        ends = [last for file, last in trained if file == part["file"]]
        assert all(last is not None and last < part["first"] for last in ends)


def test_every_recipe_can_be_quick():
    for name in recipes.RECIPES:
        recipe = recipes.read(name)
        assert recipes._merged(recipe, recipe["quick"]).keys() == recipe.keys()


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


@pytest.mark.skipif(DATA is None, reason="XFORECAST_DATA does not name the data folder")
def test_the_radar_recipe_runs_and_forecasts(tmp_path):
    folders = recipes.run("radar", data=Path(DATA) / "radar", output=tmp_path, quick=True, progress=False)
    part = recipes.read("radar")["held_out"][1]
    rate = average_pixels(open_sequence(Path(DATA) / "radar", part), 2).isel(y=slice(0, 128), x=slice(40, 168))
    for folder, samples in zip(folders, (1, 2), strict=True):
        options = {"samples": samples, "steps": 2} if samples > 1 else {}
        fc = Forecaster.load(folder).forecast(rate.to_dataset(name="rain_rate"), **options)
        assert dict(fc.rain_rate.sizes) == {"sample": samples, "lead": 12, "y": 128, "x": 128}
        assert float(fc.rain_rate.min()) >= 0
        assert "None were measured" in (folder / "README.md").read_text()
        assert (folder / "weights.safetensors").stat().st_size < 5e6
