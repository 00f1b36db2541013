"""What all models have in common: the contract, configurations, strict loading, ensembles, persistence."""

import functools
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from xforecast.errors import CheckpointError, InvalidOption
from xforecast.models import (
    MODELS,
    Earthformer,
    EarthformerConfig,
    Ensemble,
    EnsembleConfig,
    Persistence,
    PersistenceConfig,
    build,
    describe,
)
from xforecast.models.contract import ForecastModel, ProbabilisticModel, load_strictly, weighted_mse

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


@pytest.mark.parametrize("name", CONFIGS)
def test_a_model_is_rebuilt_from_its_description(name):
    model = build(name, CONFIGS[name])
    other = build(**json.loads(json.dumps(describe(model))))
    assert type(other) is type(model) is MODELS[name][0]
    assert other.config == model.config
    load_strictly(other, model.state_dict())
    x = torch.randn(1, 2, 4, 5, 1)
    assert torch.equal(other.eval()(x), model.eval()(x))


def test_what_cannot_be_built_is_told():
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


def test_only_the_last_frame_persists():
    x = torch.randn(2, 5, 3, 4, 2)
    assert torch.equal(Persistence(PersistenceConfig(3))(x), x[:, [-1, -1, -1]])
    assert torch.equal(Persistence(PersistenceConfig(3, 1))(x), x[:, [-1, -1, -1], ..., :1])


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


def test_every_wrong_weight_is_told_at_once():
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


# ------------------------------------------------------------------ ensembles


def generators(count):
    return [torch.Generator().manual_seed(k) for k in range(count)]


@functools.cache
def three_networks():
    return Ensemble(EnsembleConfig("Earthformer", SMALL, 3)).eval()


@torch.no_grad()
def test_networks_of_an_ensemble_differ_and_their_mean_is_the_forecast():
    ensemble = three_networks()
    x = torch.randn(2, 2, 4, 5, 1)
    forecasts = torch.stack([network(x) for network in ensemble.networks])
    assert (forecasts.std(dim=0) > 0).all()
    torch.testing.assert_close(ensemble(x), forecasts.mean(dim=0))


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2)), min_size=1, max_size=5))
@settings(max_examples=10)
@torch.no_grad()
def test_a_sample_is_that_of_its_network_whatever_else_is_asked_for(pairs):
    ensemble = three_networks()
    assert isinstance(ensemble, ProbabilisticModel)
    assert ensemble.size == 3
    x = torch.randn(2, 2, 4, 5, 1)
    rows, members = (torch.tensor(numbers) for numbers in zip(*pairs, strict=True))
    samples = ensemble.sample(x, rows, members, generators(len(pairs)))
    for sample, (row, member) in zip(samples, pairs, strict=True):
        torch.testing.assert_close(sample, ensemble.networks[member](x[row : row + 1])[0], atol=1e-5, rtol=1e-4)


def test_a_member_too_many_is_told():
    ensemble = Ensemble(EnsembleConfig("Persistence", PersistenceConfig(1), 2))
    with pytest.raises(InvalidOption, match="at most 2"):
        ensemble.sample(torch.zeros(1, 1, 1, 1, 1), torch.tensor([0]), torch.tensor([2]), generators(1))


def test_every_network_learns_as_if_it_were_alone():
    ensemble = Ensemble(EnsembleConfig("Earthformer", SMALL, 2)).eval()
    x, y = torch.randn(2, 2, 4, 5, 1), torch.randn(2, 3, 4, 5, 1)
    ensemble.loss(x, y).backward()
    shared = [p.grad.clone() for p in ensemble.networks[0].parameters() if p.grad is not None]
    ensemble.zero_grad()
    ensemble.networks[0].loss(x, y).backward()
    alone = [p.grad / 2 for p in ensemble.networks[0].parameters() if p.grad is not None]
    torch.testing.assert_close(shared, alone)


def test_the_published_models_are_named():
    assert MODELS["Earthformer"] == (Earthformer, EarthformerConfig)
