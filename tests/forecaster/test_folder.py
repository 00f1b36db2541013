"""Save, load: the same forecast; anything damaged is told and nothing is left half-written."""

from __future__ import annotations

import hashlib
import json
import os

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import load_file, save_file

import xforecast as xf
from synthetic import noise, persistence, sst_dataset, sst_spec
from xforecast.errors import CheckpointError, UnknownForecaster
from xforecast.forecaster import Forecaster
from xforecast.forecaster.folder import CONFIG_FILE, WEIGHTS_FILE
from xforecast.models import EarthformerConfig, build


def small() -> Forecaster:
    """A network with weights."""
    config = EarthformerConfig(history=3, horizon=4, grid=(5, 8), base_channels=8)
    torch.manual_seed(0)
    return Forecaster(build("Earthformer", config), sst_spec(), {"name": "small", "licence": "Apache-2.0"})


@pytest.fixture(scope="module")
def original():
    return small()


@pytest.fixture
def folder(original, tmp_path):
    return original.save(tmp_path / "small")


def test_the_same_forecast(original, folder):
    again = Forecaster.load(folder)
    xr.testing.assert_equal(again.forecast(sst_dataset()), original.forecast(sst_dataset()))
    assert again.digest == original.digest
    assert again.spec == original.spec
    assert again.card == original.card
    xr.testing.assert_equal(xf.forecast(sst_dataset(), folder), original.forecast(sst_dataset()))
    xr.testing.assert_equal(sst_dataset().earthformer.forecast(str(folder)), original.forecast(sst_dataset()))
    assert sorted(entry.name for entry in folder.iterdir()) == sorted([CONFIG_FILE, WEIGHTS_FILE])
    assert [entry.name for entry in folder.parent.iterdir()] == ["small"]


def test_half_precision_is_half_the_size_and_nearly_the_same(original, folder, tmp_path):
    half = original.save(tmp_path / "half", half=True)
    assert (half / WEIGHTS_FILE).stat().st_size < 0.6 * (folder / WEIGHTS_FILE).stat().st_size
    again = Forecaster.load(half)
    assert {value.dtype for value in again.model.state_dict().values() if value.is_floating_point()} == {torch.float32}
    np.testing.assert_allclose(again.forecast(sst_dataset()).sst, original.forecast(sst_dataset()).sst, atol=0.02)
    assert again.digest != original.digest


def test_a_forecaster_is_replaced(folder):
    persistence().save(folder)
    assert Forecaster.load(folder).name == "tiny-persistence"
    assert xf.load(folder).name == "tiny-persistence"


def test_loading_again_reads_what_was_saved_meanwhile(folder):
    assert xf.load(folder).name == "small"
    assert xf.load(folder) is xf.load(folder)
    persistence().save(folder)
    assert xf.load(folder).name == "tiny-persistence"


@pytest.mark.parametrize("exists", [True, False])
def test_a_failed_save_leaves_what_was_there(exists, original, folder, tmp_path, monkeypatch):
    target = folder if exists else tmp_path / "new"

    def fail(path, data):
        with open(path, "wb") as file:
            file.write(data[: len(data) // 2])
        raise OSError("no space left")

    monkeypatch.setattr("pathlib.Path.write_bytes", fail)
    with pytest.raises(OSError, match="no space left"):
        persistence().save(target)
    assert [entry.name for entry in tmp_path.iterdir()] == ["small"]
    assert Forecaster.load(folder).digest == original.digest


@pytest.mark.skipif(os.name != "posix", reason="rights of other users are posix")
def test_colleagues_may_read_what_was_saved(tmp_path):
    before = os.umask(0o022)
    try:
        saved = persistence().save(tmp_path / "shared")
    finally:
        os.umask(before)
    assert {file.stat().st_mode & 0o777 for file in saved.iterdir()} == {0o644}


def test_other_files_are_not_overwritten(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CheckpointError, match="holds other files"):
        persistence().save(tmp_path)
    with pytest.raises(CheckpointError, match="is a file"):
        persistence().save(tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_a_module_of_ones_own_forecasts_but_is_not_saved(tmp_path):
    assert noise().forecast(sst_dataset()).sizes["sample"] == 1
    with pytest.raises(CheckpointError, match=r"Noise.*wanted one of.*Earthformer"):
        noise().save(tmp_path / "noise")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------ damage


def rewritten(folder, **changes):
    """The description with other entries, and the digest of the weights as they are."""
    stored = json.loads((folder / CONFIG_FILE).read_text()) | changes
    stored["weights_sha256"] = hashlib.sha256((folder / WEIGHTS_FILE).read_bytes()).hexdigest()
    (folder / CONFIG_FILE).write_text(json.dumps({key: value for key, value in stored.items() if value is not None}))


def with_weights(change):
    """The weights changed, with a digest to match."""

    def damage(folder):
        state = load_file(folder / WEIGHTS_FILE)
        change(state)
        save_file(state, folder / WEIGHTS_FILE)
        rewritten(folder)

    return damage


def truncated(folder):
    raw = (folder / WEIGHTS_FILE).read_bytes()
    (folder / WEIGHTS_FILE).write_bytes(raw[: len(raw) // 2])


def truncated_knowingly(folder):
    truncated(folder)
    rewritten(folder)


def exchanged(folder):
    state = load_file(folder / WEIGHTS_FILE)
    save_file({key: value + 1 for key, value in state.items()}, folder / WEIGHTS_FILE)


def wrong_spec(folder):
    stored = json.loads((folder / CONFIG_FILE).read_text())
    del stored["spec"]["grid"]
    rewritten(folder, spec=stored["spec"])


def newer_spec(folder):
    stored = json.loads((folder / CONFIG_FILE).read_text())
    rewritten(folder, spec=stored["spec"] | {"colour": "blue"})


def reshaped(state):
    key = sorted(state)[0]
    state[key] = torch.zeros(3, 1, 4)


DAMAGE = {
    "no folder": (lambda folder: [entry.unlink() for entry in folder.iterdir()], "is missing"),
    "no weights": (lambda folder: (folder / WEIGHTS_FILE).unlink(), "weights.safetensors is missing"),
    "half a description": (lambda folder: (folder / CONFIG_FILE).write_text('{"format": 1, "mod'), "is damaged"),
    "not text": (lambda folder: (folder / CONFIG_FILE).write_bytes(b"\xff\xfe\x00\x81"), "is damaged"),
    "not a table": (lambda folder: (folder / CONFIG_FILE).write_text("[1, 2]"), "is damaged"),
    "entries missing": (lambda folder: rewritten(folder, model=None, card=None), "card, model missing"),
    "another format": (lambda folder: rewritten(folder, format=99), "found format 99, wanted 1"),
    "unknown model": (lambda folder: rewritten(folder, model={"model": "Oracle", "config": {}}), "Oracle"),
    "unknown option": (lambda folder: rewritten(folder, model={"model": "Persistence", "config": {"hue": 1}}), "hue"),
    "no option": (lambda folder: rewritten(folder, model={}), "describes no model"),
    "half a spec": (wrong_spec, "describes no model"),
    "a newer spec": (newer_spec, "colour"),
    "half the weights": (truncated, "found sha256"),
    "half the weights, by design": (truncated_knowingly, "is damaged"),
    "other weights": (exchanged, "damaged or was exchanged"),
    "weights missing": (with_weights(lambda state: state.pop(sorted(state)[0])), "missing"),
    "weights too many": (with_weights(lambda state: state.update(extra=torch.zeros(2))), "unexpected extra"),
    "weights misshapen": (with_weights(reshaped), "misshapen"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_told(name, folder):
    damage, words = DAMAGE[name]
    damage(folder)
    with pytest.raises(CheckpointError) as caught:
        Forecaster.load(folder)
    message = " ".join(str(caught.value).split())
    assert words in message, message
    assert "->" in message, message


def test_no_forecaster_there(tmp_path):
    with pytest.raises(CheckpointError, match="no forecaster in"):
        Forecaster.load(tmp_path / "absent")
    with pytest.raises(UnknownForecaster, match="wanted a folder with"):
        xf.load(tmp_path / "absent")


def test_forecasters_print_themselves(original):
    assert "small" in repr(original)
    assert "Apache-2.0" in repr(original)
    assert "3 steps in, 4 steps out" in repr(original)
    html = Forecaster(original.model, original.spec, {"name": "<script>"})._repr_html_()
    assert "<script>" not in html
    assert "Earthformer" in html
