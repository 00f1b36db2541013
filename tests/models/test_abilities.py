"""What a model can do stands in its abilities; attributes that merely sound like something mean nothing."""

import pytest
import torch
import xarray as xr
from torch import nn
from trained import drifting

import xforecast as xf
from xforecast.models import Abilities, Ensemble, Moving, PreDiff, abilities_of, draws_samples, learns, weighted_mse

QUICK = {"device": "cpu", "progress": False, "steps": 1, "history": 2, "horizon": 2, "seed": 3}


class Plain(nn.Module):
    """A model of one number."""

    def __init__(self):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(0.5))

    def forward(self, x):
        return self.factor * x[:, -1:].expand(-1, 2, -1, -1, -1)

    def loss(self, x, y, weight=None):
        return weighted_mse(self(x), y, weight)


class Suggestive(Plain):
    """The same, with attributes that other models have for reasons of their own."""

    any_grid = True
    bound_to_places = True
    closed_form = True
    deterministic = False
    units = "furlong"
    parts = ("first", "second")
    optional_parts = ("second",)
    sampling = "nearest"
    sample = "text"
    preview = "text"
    encode_context = "text"
    fit_series = "text"
    at_step = 7
    members = 5
    samples = 9

    def __init__(self):
        super().__init__()
        self.size = 64
        self.stages = nn.ModuleList([nn.Identity(), nn.Identity()])  # as ConvNeXt and Swin have
        self.options = {"temperature": 2}

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return super().forward(x)


class OtherMethods(Plain):
    """The same, with methods of the names of the contract that take other arguments."""

    def sample(self, temperature):
        raise AssertionError("not of the contract")

    def preview(self, image):
        raise AssertionError("not of the contract")

    def stage(self, number):
        raise AssertionError("not of the contract")

    def fit_series(self):
        raise AssertionError("not of the contract")


@pytest.fixture(scope="module")
def forecast():
    return xf.fit(drifting(), Plain(), **QUICK).forecast(drifting())


@pytest.mark.parametrize("kind", [Suggestive, OtherMethods])
def test_names_that_sound_like_something_change_nothing(kind, forecast):
    made = xf.fit(drifting(), kind(), **QUICK)
    assert made.deterministic
    assert made.model.factor != 0.5  # the training took a step
    xr.testing.assert_equal(made.forecast(drifting()).drop_attrs(), forecast.drop_attrs())


def test_such_a_model_has_the_abilities_of_any():
    assert abilities_of(Suggestive()) == abilities_of(OtherMethods()) == abilities_of(nn.Linear(1, 1)) == Abilities()
    assert not draws_samples(Suggestive())
    assert learns(Suggestive())


def test_methods_of_the_contract_are_taken_for_what_they_are():
    class Draws(Plain):
        def sample(self, x, starts, samples, generators, *, warmth=1.0):
            return self(x[starts])

    class Fitted(Plain):
        def fit_series(self, series, weight=None):
            return self

    class Scheduled(Plain):
        def at_step(self, step, total):
            pass

    class Shows(Plain):
        def preview(self, x, y):
            return {}

    assert abilities_of(Draws) == abilities_of(Draws()) == Abilities(samples=None)
    assert abilities_of(Fitted) == Abilities(closed_form=True, bound_to_places=True)
    assert abilities_of(Scheduled) == Abilities(follows_training=True)
    assert abilities_of(Shows) == Abilities(previews=True)
    assert not learns(Fitted())


def test_what_is_stated_goes_before_what_methods_seem_to_be():
    class Stated(Plain):
        abilities = Abilities(any_grid=True)

        def sample(self, x, starts, samples, generators):
            return self(x[starts])

    class Misspelt(Plain):
        abilities = "all of them"

    assert abilities_of(Stated()) == Abilities(any_grid=True)
    assert abilities_of(Misspelt()) == Abilities()


def test_abilities_print_what_differs_from_the_usual():
    assert repr(Abilities()) == "Abilities(samples=1)"
    assert repr(Abilities(samples=None, units="mm h-1")) == "Abilities(samples=None, units='mm h-1')"
    assert "autoencoder" in repr(abilities_of(PreDiff))
    assert abilities_of(Ensemble) == abilities_of(Moving) == Abilities(samples=None)  # before one is built
