"""The forecasters in the package: size, licence, card, and the skill they claim."""

import json
import os
from pathlib import Path

import pytest

import xforecast as xf
from xforecast import benchmark
from xforecast.registry import IN_PACKAGE

DATA = os.environ.get("XFORECAST_DATA")
WEIGHTS = Path(xf.__file__).parent / "weights"


@pytest.mark.parametrize("name", IN_PACKAGE)
def test_a_shipped_forecaster_is_small_and_described(name):
    forecaster = xf.load(name)
    assert (WEIGHTS / name / "weights.safetensors").stat().st_size < 4e6
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
