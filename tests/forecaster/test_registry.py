"""Forecasters by name, and published checkpoints that are fetched, converted and never run.

Also guards `fetch.py` and `published.py`.
"""

from __future__ import annotations

import dataclasses
import os
import pickle
from importlib import import_module

import numpy as np
import pooch
import pytest
import torch

import xforecast as xf
from synthetic import persistence, radar_spec, sst_dataset, sst_spec
from xforecast.errors import CheckpointError, InvalidOption, SpecMismatch, UnknownForecaster
from xforecast.forecaster import Forecaster, registry
from xforecast.forecaster.published import PUBLISHED
from xforecast.models import PreDiff, build, compat, presets

fetching = import_module("xforecast.forecaster.fetch")  # the face has the function of this name

SHIPPED = [name for name in registry.IN_PACKAGE
           if (registry.files("xforecast") / "weights" / name / "forecaster.json").is_file()]  # fmt: skip
needs_weights = pytest.mark.skipif(len(SHIPPED) < len(registry.IN_PACKAGE), reason="the package has no weights yet")


@pytest.mark.parametrize("name", ["earthformer-ense", "nonsense", "", "/no/such/folder"])
def test_unknown_names(name):
    with pytest.raises(UnknownForecaster) as caught:
        xf.load(name)
    message = str(caught.value)
    assert repr(name) in message
    assert "earthformer-sevir-official" in message
    assert ("did you mean 'earthformer-enso'?" in message) == (name == "earthformer-ense")


@pytest.mark.parametrize("model", [5, 2.0, torch.nn.Identity(), ["earthformer-enso"]])
def test_what_is_no_model(model):
    with pytest.raises(InvalidOption, match="a name, a folder or a Forecaster"):
        xf.forecast(sst_dataset(), model)


def test_a_forecaster_that_the_installation_lacks(monkeypatch):
    monkeypatch.setitem(registry.IN_PACKAGE, "lost", True)
    with pytest.raises(CheckpointError, match="install xforecast anew"):
        xf.load("lost")


def test_published_checkpoints_are_not_fetched_unasked(cache, monkeypatch):
    monkeypatch.setattr(fetching, "download", lambda *_, **__: pytest.fail("went to the network"))
    with pytest.raises(CheckpointError, match=r"xforecast models fetch earthformer-sevir-official.*--from FILE"):
        xf.load("earthformer-sevir-official")


def test_the_list_names_everything(cache):
    table = xf.list_models()
    assert list(table.index) == [*registry.IN_PACKAGE, *PUBLISHED]
    assert {place.partition(" from")[0] for place in table["where"]} == {"in the package", "to be fetched"}
    assert "links have died" in table["where"]["prediff-sevirlr-official"]
    assert table.notna().all().all()


@pytest.mark.parametrize("name", [name for name in registry.IN_PACKAGE if "radar" in name])
def test_nowcasters_in_the_package_forecast(name):
    from xforecast.datasets import showers

    spec = xf.load(name).spec
    rain = showers(spec.history, spec.grid.shape)
    fc = xf.forecast(rain, name, horizon=2)
    assert fc.rain_rate.sizes["lead"] == 2
    assert 0 < float(fc.rain_rate.mean()) < 10 * float(rain.rain_rate.mean())


@pytest.mark.parametrize("name", [name for name in registry.IN_PACKAGE if "enso" in name])
def test_forecasters_in_the_package_forecast(name):
    import xarray as xr

    spec = xf.load(name).spec
    time = xr.date_range("2020-01", periods=spec.history, freq="MS")
    values = spec["sst"].climatology.values[time.month.values - 1]
    sst = xr.DataArray(
        np.where(np.isfinite(values), values, np.nan), name="sst", dims=("time", "lat", "lon"),
        coords={"time": time, "lat": list(spec.grid.y), "lon": list(spec.grid.x)},
        attrs={"standard_name": "sea_surface_temperature", "units": "degC"},
    )  # fmt: skip
    fc = xf.forecast(sst, name)
    assert fc.sst.sizes["lead"] == spec.horizon
    normal = spec["sst"].climatology.values[fc["valid_time"].dt.month.values - 1]
    assert float(abs(fc.sst.mean("sample") - normal).max()) < 0.8  # nothing unusual goes in, little comes out
    assert xf.forecast(sst).attrs["xforecast_model"] == next(key for key, auto in registry.IN_PACKAGE.items() if auto)


def test_the_specs_of_published_models_fit_their_configurations():
    for entry in PUBLISHED.values():
        config, spec = entry.config(), entry.spec()
        assert (config.history, config.horizon) == (spec.history, spec.horizon)
        assert tuple(getattr(config, "frame_grid", None) or config.grid) == spec.grid.shape
        assert type(spec).from_json(spec.to_json()) == spec


def test_choosing_among_several(monkeypatch):
    one, two = persistence(name="one"), persistence(sst_spec(history=17), name="two")
    monkeypatch.setattr(registry, "IN_PACKAGE", {"one": True, "two": True, "three": False})
    monkeypatch.setattr(registry, "load", {"one": one, "two": two}.__getitem__)
    with pytest.raises(UnknownForecaster, match=r"fit several forecasters: one, two\n  -> name one"):
        xf.forecast(sst_dataset())
    assert xf.forecast(sst_dataset(12)).attrs["xforecast_model"] == "one"
    with pytest.raises(UnknownForecaster, match=r"(?s)fit no forecaster.*found 2, wanted at least 3.*name one"):
        xf.forecast(sst_dataset(2))
    assert xf.check(sst_dataset(12)).against == "one"
    rain = Forecaster(build("Persistence", {"horizon": 2}), radar_spec(), {"name": "rain"})
    monkeypatch.setattr(registry, "IN_PACKAGE", {"one": True, "rain": True})
    monkeypatch.setattr(registry, "load", {"one": one, "rain": rain}.__getitem__)
    with pytest.raises(SpecMismatch, match="found 2, wanted at least 3"):  # not that it is no rain
        xf.forecast(sst_dataset(2))


# ------------------------------------------------------------------ fetching


@pytest.fixture
def published(cache, monkeypatch, tmp_path):
    """A small published checkpoint, as its file, under the name ``tiny``; and its state."""
    entry = PUBLISHED["earthformer-icar-enso-official"]
    config = dataclasses.replace(
        presets.earthformer_enso(variant="released"), history=3, horizon=4, grid=(5, 8), base_channels=8
    )
    spec = sst_spec()
    monkeypatch.setitem(PUBLISHED, "tiny", dataclasses.replace(entry, config=lambda: config, spec=lambda: spec))
    state = {"torch_nn_module.a": torch.ones(2), "torch_nn_module.b": torch.zeros(1)}
    seen = {}

    def build(kind, given, found):
        seen.update(kind=kind, config=given, state=found)
        return persistence(spec).model

    monkeypatch.setattr(compat, "from_official_config", build)
    file = tmp_path / "tiny.pt"
    torch.save(state, file)
    return file, seen


def test_a_file_is_converted_and_remembered(published, cache):
    file, seen = published
    said = []
    folder = fetching.fetch("tiny", file, say=said.append)
    assert seen["kind"] == "earthformer"
    assert sorted(seen["state"]) == ["a", "b"]
    assert folder.is_relative_to(cache)
    assert said[0].startswith("sha256 ")
    assert xf.load("tiny").card["origin_sha256"] == said[0].removeprefix("sha256 ")
    assert xf.forecast(sst_dataset(), "tiny").sst.sizes["lead"] == 4
    fetching.fetch("tiny", file, say=said.append)  # the same file again


def test_a_file_that_changed_is_refused(published, cache):
    file, _ = published
    fetching.fetch("tiny", file, say=len)
    torch.save({"a": torch.zeros(2)}, file)
    with pytest.raises(CheckpointError, match=r"(?s)found sha256 .*wanted .*digests\.json"):
        fetching.fetch("tiny", file, say=len)


def test_state_dicts_within_checkpoints(published):
    file, seen = published
    torch.save({"state_dict": {"torch_nn_module.a": torch.ones(2)}, "epoch": 3}, file)
    fetching.fetch("tiny", file, say=len)
    assert sorted(seen["state"]) == ["a"]


class Malice:
    """Runs a command when it is unpickled."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.mkdir, (str(self.marker),)


def malicious(file, marker):
    torch.save({"a": torch.ones(1), "b": Malice(marker)}, file)


def malicious_pickle(file, marker):
    file.write_bytes(pickle.dumps(Malice(marker)))


def html(file, marker):
    file.write_text("<!DOCTYPE html><html><body>Sign in to download</body></html>")


def empty(file, marker):
    file.write_bytes(b"")


def truncated(file, marker):
    file.write_bytes(file.read_bytes()[:200])


def no_tensors(file, marker):
    torch.save({"a": 1, "b": [2]}, file)


def a_tensor(file, marker):
    torch.save(torch.ones(3), file)


@pytest.mark.filterwarnings("ignore")  # torch says that it found a pickle of another kind
@pytest.mark.parametrize("damage", [malicious, malicious_pickle, html, empty, truncated, no_tensors, a_tensor])
def test_files_that_are_not_weights_are_refused_and_never_run(damage, published, cache, tmp_path):
    file, _ = published
    good, marker = file.read_bytes(), tmp_path / "was-run"
    damage(file, marker)
    with pytest.raises(CheckpointError) as caught:
        fetching.fetch("tiny", file, say=len)
    assert "->" in str(caught.value)
    assert "weights_only=False" not in str(caught.value).replace(" ", "")
    assert not marker.exists()
    assert not list(cache.rglob("forecaster.json"))
    file.write_bytes(good)  # the first digest to be trusted is that of a good file
    fetching.fetch("tiny", file, say=len)


def test_what_cannot_be_fetched(published, monkeypatch, tmp_path):
    with pytest.raises(UnknownForecaster, match="xforecast models"):
        fetching.fetch("earthformer-enso")
    with pytest.raises(CheckpointError, match="check the path"):
        fetching.fetch("tiny", tmp_path / "absent.pt")

    def offline(*_, **__):
        raise OSError("no route to host")

    monkeypatch.setattr(pooch, "retrieve", offline)
    with pytest.raises(CheckpointError, match=r"(?s)no route to host.*--from FILE"):
        fetching.fetch("tiny")


def test_a_download(published, monkeypatch):
    file, seen = published
    monkeypatch.setattr(pooch, "retrieve", lambda url, *_, **__: file)
    fetching.fetch("tiny", say=len)
    assert sorted(seen["state"]) == ["a", "b"]


def test_weights_that_do_not_fit_the_published_configuration(cache, tmp_path):
    torch.save({"nonsense": torch.ones(1)}, tmp_path / "other.pt")
    with pytest.raises(CheckpointError, match="nonsense"):
        fetching.fetch("earthformer-icar-enso-official", tmp_path / "other.pt", say=len)
    assert not list(cache.rglob("*.safetensors"))


# ------------------------------------------------------------------ a forecaster of several files


@pytest.fixture
def three(cache, monkeypatch, tmp_path):
    """A small PreDiff as its authors' three files, under the name ``tiny``; its folder and the model."""
    torch.manual_seed(0)
    published = PUBLISHED["prediff-sevirlr-official"]
    config = published.config()
    size = {"horizon": 2, "grid": (4, 4), "channels": 8, "base_channels": 16, "depths": (1, 1)}
    config = dataclasses.replace(
        config,
        autoencoder=dataclasses.replace(config.autoencoder, level_channels=(8, 16), latent_channels=8, norm_groups=4),
        denoiser=dataclasses.replace(config.denoiser, history=2, **size),
        alignment=dataclasses.replace(config.alignment, output_frames=2, **size),
    )
    spec = published.spec()
    spec = spec.replace(grid=dataclasses.replace(spec.grid, shape=(8, 8)), history=2, horizon=2)
    entry = dataclasses.replace(published, config=lambda: config, spec=lambda: spec)
    monkeypatch.setitem(PUBLISHED, "tiny", entry)
    model = PreDiff(config).eval()
    folder = tmp_path / "published"
    folder.mkdir()
    parts = {"prediff-vae": model.autoencoder, "prediff-unet": model.denoiser, "prediff-alignment": model.alignment}
    for kind, part in parts.items():
        for parameter in part.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        state = {compat.official_name(key, kind): value for key, value in part.state_dict().items()}
        torch.save(state, folder / entry.files[kind])
    return folder, model


def vil(size: int = 8):
    import xarray as xr

    metres = {axis: (axis, 3000.0 * np.arange(size), {"units": "m", "standard_name": f"projection_{axis}_coordinate"})
              for axis in "yx"}  # fmt: skip
    codes = np.random.default_rng(0).uniform(0, 255, (2, size, size))
    time = xr.date_range("2019-06-01", periods=2, freq="10min")
    return xr.DataArray(
        codes, coords={"time": time, **metres}, dims=("time", "y", "x"), name="vil", attrs={"units": "1"}
    )


def same_weights(forecaster, model) -> bool:
    own = forecaster.model.state_dict()
    return own.keys() == model.state_dict().keys() and all(
        torch.equal(own[key], value) for key, value in model.state_dict().items()
    )


def test_a_folder_of_several_files_becomes_one_forecaster(three):
    folder, model = three
    said = []
    fetching.fetch("tiny", folder, say=said.append)
    assert len([line for line in said if line.startswith("sha256 ")]) == 3
    forecaster = xf.load("tiny")
    assert same_weights(forecaster, model)
    assert set(forecaster.card["origin_sha256"]) == {"prediff-vae", "prediff-unet", "prediff-alignment"}
    fc = xf.forecast(vil(), "tiny", samples=2, steps=3)
    assert dict(fc.vil.sizes) == {"sample": 2, "lead": 2, "y": 8, "x": 8}


def test_files_may_be_named_one_by_one(three, tmp_path):
    folder, model = three
    files = [folder / file for file in PUBLISHED["tiny"].files.values()]
    fetching.fetch("tiny", files[::-1], say=len)  # known by their names
    renamed = [file.rename(tmp_path / f"{number}.pt") for number, file in enumerate(files)]
    fetching.fetch("tiny", renamed, say=len)  # or by their order
    assert same_weights(xf.load("tiny"), model)


def test_without_the_network_of_constraints(three):
    folder, _ = three
    (folder / "pretrained_sevirlr_alignment_avg_x_cuboid_v1.pt").unlink()
    said = []
    fetching.fetch("tiny", folder, say=said.append)
    assert "without pretrained_sevirlr_alignment_avg_x_cuboid_v1.pt" in said
    assert xf.load("tiny").model.alignment is None


def test_missing_and_superfluous_files_are_told(three, tmp_path):
    folder, _ = three
    with pytest.raises(CheckpointError, match="found 4 files, wanted pretrained_sevirlr_vae"):
        fetching.fetch("tiny", [*folder.iterdir(), tmp_path / "another.pt"], say=len)
    (folder / "pretrained_sevirlr_earthformerunet_v1.pt").unlink()
    with pytest.raises(CheckpointError, match=r"wanted pretrained_sevirlr_earthformerunet_v1.pt too"):
        fetching.fetch("tiny", folder, say=len)
    with pytest.raises(CheckpointError, match="no such file"):
        fetching.fetch("tiny", tmp_path, say=len)


def test_dead_links_are_told_and_other_addresses_taken(three, monkeypatch):
    folder, model = three
    with pytest.raises(CheckpointError, match=r"(?s)published links have died.*--from FOLDER"):
        fetching.fetch("tiny")
    asked = []

    def answer(url, *_, **__):
        asked.append(url)
        return folder / url.rpartition("/")[2]

    monkeypatch.setattr(pooch, "retrieve", answer)
    places = [f"https://example.org/{file}" for file in PUBLISHED["tiny"].files.values()]
    fetching.fetch("tiny", places, say=len)
    assert asked == places
    assert same_weights(xf.load("tiny"), model)


def test_a_part_that_changed_is_refused(three):
    folder, _ = three
    fetching.fetch("tiny", folder, say=len)
    torch.save({"a": torch.zeros(2)}, folder / "pretrained_sevirlr_vae_8x8x64_v1.pt")
    with pytest.raises(CheckpointError, match=r"(?s)tiny/prediff-vae: found sha256 .*wanted"):
        fetching.fetch("tiny", folder, say=len)


def test_the_published_network_of_constraints_is_asked_in_codes():
    config = PUBLISHED["prediff-sevirlr-official"].config()
    assert config.alignment.output_deviation == 255
    assert config.loss.learned_uncertainty is False
