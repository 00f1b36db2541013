"""The forecasters in the package: size, licence, card, and the skill they claim."""

import json
import os
from pathlib import Path

import pytest

import xforecast as xf
from xforecast import benchmark
from xforecast.forecaster.registry import IN_PACKAGE
from xforecast.models import count_parameters
from xforecast.training import recipes
from xforecast.training.recipes import radar_scores

DATA = os.environ.get("XFORECAST_DATA")
WEIGHTS = Path(xf.__file__).parent / "weights"


@pytest.mark.parametrize("name", IN_PACKAGE)
def test_a_shipped_forecaster_is_small_and_described(name):
    forecaster = xf.load(name)
    model = getattr(forecaster.model, "network", forecaster.model)
    parts = [model.autoencoder, model.denoiser] if hasattr(model, "autoencoder") else [model]
    assert all(2 * count_parameters(part) < 4e6 for part in parts)
    assert (WEIGHTS / name / "weights.safetensors").stat().st_size < 2.2 * count_parameters(forecaster.model)
    assert {"title", "period", "licence", "references", "recipe"} <= set(forecaster.card)
    card = (WEIGHTS / name / "README.md").read_text()
    for heading in ("Data", "Period", "Recipe", "Scores on data it never saw", "Licence", "Limits"):
        assert f"## {heading}" in card


def test_all_weights_together_are_small():
    assert sum(file.stat().st_size for file in WEIGHTS.rglob("*.safetensors")) < 20e6


@pytest.mark.skipif(DATA is None, reason="XFORECAST_DATA does not name the data folder")
def test_the_1981_forecaster_has_the_skill_it_claims(tmp_path):
    table = benchmark.run("enso", Path(DATA) / "enso" / "era5_sst_5deg_194001_201712.nc", tmp_path)
    leads = table.frame[[str(lead) for lead in range(1, 18)]]
    ours, persistence = leads.loc["earthformer-enso-1981"], leads.loc["persistence"]
    assert (ours > persistence)["2":].all()
    for lead, floor in {3: 0.77, 6: 0.55, 9: 0.35}.items():
        assert ours[str(lead)] >= floor
    claimed = json.loads((WEIGHTS / "earthformer-enso-1981" / "forecaster.json").read_text())["card"]
    for lead, value in claimed["hindcast_correlation"].items():
        assert ours[lead] == pytest.approx(value, abs=0.01)
    assert {file.name for file in tmp_path.iterdir()} == {"enso", "enso.csv", "enso.md", "enso.png"}


@pytest.mark.skipif(DATA is None, reason="XFORECAST_DATA does not name the data folder")
def test_the_nowcaster_has_the_skill_it_claims(monkeypatch):
    recipe, forecaster = recipes.read("radar"), xf.load("earthformer-radar")
    part = recipe["held_out"][1]
    monkeypatch.setattr(radar_scores, "_others", lambda *_: {})  # which need no test, and are slow
    found = radar_scores.held_out_scores([forecaster], recipe | {"held_out": [part]}, Path(DATA) / "radar")
    claimed = forecaster.card["scores"][part["title"]]
    for score in ("CRPS", "CSI 0.5", "CSI 2", "bias"):
        measured = found[part["title"]]["earthformer-radar"][score]
        assert measured == pytest.approx(claimed["earthformer-radar"][score], abs=0.01)
    ours, extrapolation = (claimed[name]["CSI 0.5"] for name in ("earthformer-radar", "extrapolation"))
    assert all(ours[lead] > extrapolation[lead] for lead in range(2, 12))
    assert claimed["prediff-radar"]["CRPS"][11] < claimed["STEPS"]["CRPS"][11]
