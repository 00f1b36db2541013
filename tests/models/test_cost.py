"""Numbers of parameters and multiply-accumulates: of layers by hand, and of the published configurations."""

import pytest
import torch
from torch import nn

from xforecast.models import (
    Persistence,
    PersistenceConfig,
    SamplingSchedule,
    build,
    count_parameters,
    presets,
)
from xforecast.models.cost import macs

PUBLISHED = {  # model, parameters, 10^9 multiply-accumulates
    "unet_sevir": ("UNet", 16_556_044, 32.70),
    "unet_enso": ("UNet", 12_062_254, 0.349),
    "convlstm_sevir": ("ConvLSTM", 13_792_673, 528.8),
    "convlstm_enso": ("ConvLSTM", 14_069_313, 10.80),
    "predrnn_sevir": ("PredRNN", 46_546_944, 160.9),
    "predrnn_enso": ("PredRNN", 23_838_720, 42.9),
    "phydnet_sevir": ("PhyDNet", 13_710_612, 761.4),
    "phydnet_enso": ("PhyDNet", 3_091_732, 5.66),
    "e3dlstm_sevir": ("E3DLSTM", 35_608_064, 258.3),
    "e3dlstm_enso": ("E3DLSTM", 12_898_832, 49.8),
    "rainformer_sevir": ("Rainformer", 107_120_568, 169.9),
    "rainformer_enso": ("Rainformer", 13_640_620, 1.33),
    "earthformer_sevir": ("Earthformer", 15_082_069, 255.70),
    "earthformer_enso": ("Earthformer", 7_600_077, 23.65),
}
"""The numbers of the authors' codes, with the settings of the comparison."""


def built(preset, **options):
    """A model without memory for its weights, and the shape of its history."""
    name, *_ = PUBLISHED[preset]
    config = getattr(presets, preset)(**options)
    with torch.device("meta"):
        return build(name, config), (config.history, *config.grid, 1)


@pytest.mark.parametrize("preset", PUBLISHED)
def test_the_published_configurations_cost_what_they_should(preset):
    model, shape = built(preset)
    _, parameters, billions = PUBLISHED[preset]
    assert count_parameters(model) == parameters
    assert macs(model, shape) / 1e9 == pytest.approx(billions, rel=0.01)


@pytest.mark.parametrize(("preset", "parameters"), [("rainformer_sevir", 183_952_768), ("rainformer_enso", 19_178_692)])
def test_the_published_count_of_rainformer_has_weights_that_nothing_uses(preset, parameters):
    assert count_parameters(built(preset, legacy_unused=True)[0]) == parameters


def test_version_2_of_predrnn_has_one_more_convolution():
    with torch.device("meta"):
        config = presets.predrnn_sevir()
        second = build(
            "PredRNN", {**config.to_dict(), "decoupling": 0.1, "sampling": SamplingSchedule("reverse").to_dict()}
        )
    assert count_parameters(second) == PUBLISHED["predrnn_sevir"][1] + 128 * 128


# ------------------------------------------------------------------ the counter


class Layer(nn.Module):
    """A layer of frames one by one."""

    def __init__(self, layer):
        super().__init__()
        self.layer = layer

    def forward(self, x):
        return self.layer(x[0].movedim(-1, 1))


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Conv2d(3, 5, 3, padding=1), 2 * 6 * 8 * 3 * 5 * 9),
        (nn.Conv2d(3, 5, 3, stride=2, padding=1), 2 * 3 * 4 * 3 * 5 * 9),
        (nn.ConvTranspose2d(3, 5, 4, stride=2, padding=1), 2 * 6 * 8 * 3 * 5 * 16),
        (nn.Linear(8, 7), 2 * 3 * 6 * 8 * 7),
        (nn.ReLU(), 0),
    ],
)
def test_layers_count_as_by_hand(layer, expected):
    assert macs(Layer(layer), (2, 6, 8, 3)) == expected


def test_counting_changes_nothing():
    model = Layer(nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout())).train()
    model.layer[2].eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    macs(model, (2, 6, 8, 1))
    assert [module.training for module in model.layer] == [True, True, False]
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_what_runs_here_may_cost_less_than_what_is_published():
    model, shape = built("earthformer_sevir")
    assert macs(model, shape, executed=True) < 0.75 * macs(model, shape)
    unet, shape = built("unet_enso")
    assert macs(unet, shape, executed=True) == macs(unet, shape)


def test_persistence_is_free():
    model = Persistence(PersistenceConfig(3))
    assert (count_parameters(model), macs(model, (2, 4, 5, 1))) == (0, 0)
