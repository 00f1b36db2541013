"""Laws of ensembles: each sample is the forecast of its own network."""

import functools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xforecast.errors import InvalidOption
from xforecast.models import (
    EarthformerConfig,
    Ensemble,
    EnsembleConfig,
    PersistenceConfig,
)
from xforecast.models.contract import ProbabilisticModel

SMALL = EarthformerConfig(history=2, horizon=3, grid=(4, 5), base_channels=4)


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
    starts, samples = (torch.tensor(numbers) for numbers in zip(*pairs, strict=True))
    drawn = ensemble.sample(x, starts, samples, generators(len(pairs)))
    for forecast, (start, sample) in zip(drawn, pairs, strict=True):
        wanted = ensemble.networks[sample](x[start : start + 1])[0]
        torch.testing.assert_close(forecast, wanted, atol=1e-5, rtol=1e-4)


def test_a_sample_too_many_is_refused():
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
