"""What all models have in common: the contract, the loss, strict loading.

Also guards `config.py`, `protocol.py`.
"""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from xforecast.errors import CheckpointError
from xforecast.models import (
    EarthformerConfig,
    EnsembleConfig,
    PersistenceConfig,
    build,
)
from xforecast.models.contract import ForecastModel, load_strictly, weighted_mse

SMALL = EarthformerConfig(history=2, horizon=3, grid=(4, 5), base_channels=4)
CONFIGS = {
    "Earthformer": SMALL,
    "Ensemble": EnsembleConfig("Earthformer", SMALL, 2),
    "Persistence": PersistenceConfig(3),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_models_keep_the_contract(name):
    model = build(name, CONFIGS[name]).eval()
    assert isinstance(model, ForecastModel)
    x, y = torch.randn(2, 2, 4, 5, 1), torch.randn(2, 3, 4, 5, 1)
    assert model(x).shape == y.shape
    assert model.loss(x, y).shape == ()
    assert model.loss(x, y, torch.rand(3, 1, 1, 1)).isfinite()


# ------------------------------------------------------------------ the loss


@given(st.sampled_from([(2, 3, 4, 5, 1), (3, 1, 1, 1), (4, 5, 1), (2, 1, 1, 1, 1)]))
def test_the_weighted_mean_is_the_mean_of_copies(shape):
    """A weight of two counts twice."""
    prediction, target = torch.randn(2, 3, 4, 5, 1), torch.randn(2, 3, 4, 5, 1)
    weight = torch.randint(1, 3, shape).float()
    counts = weight.expand_as(target).flatten().int()
    error = (prediction - target).square().flatten().repeat_interleave(counts)
    torch.testing.assert_close(weighted_mse(prediction, target, weight), error.mean())
    torch.testing.assert_close(weighted_mse(prediction, target, 7 * weight), error.mean())


def test_missing_targets_of_no_weight_do_not_matter():
    prediction = torch.randn(3, requires_grad=True)
    loss = weighted_mse(prediction, torch.tensor([1.0, float("nan"), 2.0]), torch.tensor([1.0, 0.0, 1.0]))
    loss.backward()
    assert loss.isfinite()
    assert prediction.grad.isfinite().all()
    assert prediction.grad[1] == 0


# ------------------------------------------------------------------ strict loading


def test_every_wrong_weight_is_reported_at_once():
    state = {"weight": torch.zeros(2, 2), "scale": torch.zeros(1)}
    model = nn.Linear(1, 2)
    before = model.weight.clone()
    with pytest.raises(CheckpointError, match=r"3 problems(.|\n)*bias(.|\n)*scale(.|\n)*\(2, 2\), wanted \(2, 1\)"):
        load_strictly(model, state)
    assert torch.equal(model.weight, before)


def test_names_can_be_translated():
    model = nn.Linear(1, 2)
    load_strictly(model, {"weight_": torch.ones(2, 1), "bias_": torch.ones(2)}, rename=lambda name: f"{name}_")
    assert torch.equal(model.bias, torch.ones(2))
