"""Models by name: registered, found, described and built again."""

import json
import subprocess
import sys
from dataclasses import dataclass

import pytest
import torch
from torch import nn

from xforecast import models
from xforecast.errors import InvalidOption
from xforecast.models import (
    MODELS,
    Config,
    Earthformer,
    EarthformerConfig,
    EnsembleConfig,
    PersistenceConfig,
    build,
    config_class,
    configure,
    describe,
    find_config,
    find_model,
    name_of,
    register,
    weighted_mse,
)
from xforecast.models.contract import load_strictly

SMALL = EarthformerConfig(history=2, horizon=3, grid=(4, 5), base_channels=4)


CONFIGS = {
    "Earthformer": SMALL,
    "Ensemble": EnsembleConfig("Earthformer", SMALL, 2),
    "Persistence": PersistenceConfig(3),
}


@dataclass(frozen=True)
class ShelfConfig(Config):
    """What a shelf is."""

    horizon: int


@pytest.fixture
def shelf():
    """A class of models that is known for the length of a test."""

    class Shelf(nn.Module):
        def __init__(self, config):
            super().__init__()
            self.config = config

        def forward(self, x):
            return x[:, -1:].expand(-1, self.config.horizon, -1, -1, -1)

        def loss(self, x, y, weight=None):
            return weighted_mse(self(x), y, weight)

    register(Shelf, ShelfConfig)
    yield Shelf
    MODELS.pop("Shelf", None)


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_is_rebuilt_from_its_description(name):
    model = build(name, CONFIGS[name])
    other = build(**json.loads(json.dumps(describe(model))))
    assert type(other) is type(model) is MODELS[name][0]
    assert other.config == model.config
    load_strictly(other, model.state_dict())
    x = torch.randn(1, 2, 4, 5, 1)
    assert torch.equal(other.eval()(x), model.eval()(x))


def test_what_cannot_be_built_is_reported():
    with pytest.raises(InvalidOption, match="did you mean 'Earthformer'"):
        build("Earthformr", {})
    with pytest.raises(InvalidOption, match="PersistenceConfig"):
        build("Persistence", SMALL)
    with pytest.raises(InvalidOption, match="Linear"):
        describe(nn.Linear(1, 1))
    with pytest.raises(InvalidOption, match="EarthformerConfig"):
        EnsembleConfig("Earthformer", PersistenceConfig(3), 2)
    with pytest.raises(InvalidOption, match="horizon"):
        PersistenceConfig(0)


def test_the_published_models_are_named():
    assert MODELS["Earthformer"] == (Earthformer, EarthformerConfig)


# ------------------------------------------------------------------ names


@pytest.mark.parametrize("name", sorted(MODELS))
def test_every_model_is_found_by_its_name_in_any_writing(name):
    assert find_model(name) == find_model(name.lower()) == find_model(f"{name[0]}-{name[1:]}".upper()) == name
    assert config_class(name) is MODELS[name][1]


def test_every_configuration_belongs_to_one_model():
    configs = [config for _, config in MODELS.values()]
    assert len(set(configs)) == len(configs)
    assert find_config(PersistenceConfig(3)) == "Persistence"
    assert find_config(SMALL) == "Earthformer"


def test_a_model_that_is_registered_can_be_built_and_described(shelf):
    assert name_of(shelf(ShelfConfig(3))) == "Shelf"
    assert describe(build("shelf", {"horizon": 3})) == {"model": "Shelf", "config": {"horizon": 3}}
    assert find_config(ShelfConfig(2)) == "Shelf"


def test_a_class_that_is_defined_again_replaces_the_one_before(shelf):
    old = shelf(ShelfConfig(3))
    again = type("Shelf", (shelf,), {"__module__": shelf.__module__, "__qualname__": shelf.__qualname__})
    register(again, ShelfConfig)
    assert MODELS["Shelf"][0] is again
    assert name_of(old) == "Shelf"  # an object of the class before is still known


def test_the_name_of_another_model_is_refused(shelf):
    other = type("Shelf", (shelf,), {"__module__": "elsewhere"})
    with pytest.raises(InvalidOption, match="rename the class"):
        register(other, ShelfConfig)
    assert register(other, ShelfConfig, name="Shelf2") is other
    assert MODELS.pop("Shelf2") == (other, ShelfConfig)


def test_a_configuration_takes_the_shape_of_the_data():
    shape = {"history": 5, "horizon": 4, "grid": (8, 10), "input_channels": 2, "output_channels": 1, "minutes": 5}
    made = configure("Earthformer", shape, {"base_channels": 8})
    assert (made.history, made.horizon, made.grid, made.input_channels, made.base_channels) == (5, 4, (8, 10), 2, 8)
    again = configure(made, {**shape, "horizon": 7})
    assert (again.horizon, again.base_channels) == (7, 8)
    with pytest.raises(InvalidOption, match="did you mean base_channels"):
        configure("Earthformer", shape, {"base_chanels": 8})


def test_the_catalogue_imports_no_model():
    program = (
        "import sys, types, pathlib, xforecast\n"
        "package = types.ModuleType('xforecast.models')\n"  # in place of the face, which imports all models
        "package.__path__ = [str(pathlib.Path(xforecast.__file__).parent / 'models')]\n"
        "sys.modules['xforecast.models'] = package\n"
        "from xforecast.models.catalogue import MODELS, find_model\n"
        "assert not MODELS and find_model('Earthformer') is None\n"
        "print(*sorted(name for name in sys.modules if name.startswith('xforecast.models.')))"
    )
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert found.stdout.split() == [f"xforecast.models.{name}" for name in ("catalogue", "config", "contract")]


def test_the_face_offers_public_names_only():
    assert {"Earthformer", "check_model", "presets"} < set(dir(models)) < set(models.__all__)
    assert all(hasattr(models, name) for name in models.__all__)
