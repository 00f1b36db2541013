"""Laws of the autoencoder: frames one by one, any size, its distribution and its loss."""

import dataclasses

import pytest
import torch
from small_prediff import AUTOENCODER, awake, generators

from xforecast.models import (
    Autoencoder,
)


def test_frames_are_taken_one_by_one():
    autoencoder, x = awake(Autoencoder(AUTOENCODER)), torch.rand(2, 5, 8, 12, 1)
    mean = autoencoder.encode(x).mean
    assert mean.shape == (2, 5, 4, 6, 4)
    torch.testing.assert_close(autoencoder.encode(x[1, 3][None]).mean[0], mean[1, 3], rtol=1e-4, atol=1e-5)
    for chunk in (1, 3, 100):
        torch.testing.assert_close(autoencoder.encode(x, chunk=chunk).mean, mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(autoencoder.decode(mean, chunk=chunk), autoencoder(x), rtol=1e-4, atol=1e-5)


def test_chunks_change_no_gradient():
    autoencoder, z = awake(Autoencoder(AUTOENCODER)), torch.randn(1, 5, 4, 4, 4, requires_grad=True)
    whole, pieces = (
        torch.autograd.grad(autoencoder.decode(z, chunk=chunk).square().sum(), z)[0] for chunk in (None, 2)
    )
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid", [(8, 8), (7, 10), (1, 1), (9, 5)])
def test_any_height_and_width(grid):
    autoencoder = Autoencoder(AUTOENCODER)
    x = torch.rand(1, 2, *grid, 1)
    assert autoencoder(x).shape == x.shape
    assert autoencoder.encode(x).mean.shape[2:4] == AUTOENCODER.latent_grid(grid)
    assert autoencoder.loss(x).isfinite()


def test_posterior_is_drawn_from():
    posterior = awake(Autoencoder(AUTOENCODER)).encode(torch.rand(1, 1, 8, 8, 1))
    same = [posterior.sample(*generators(5)) for _ in range(2)]
    assert torch.equal(*same)
    draws = torch.stack([posterior.sample(seed) for seed in generators(*range(2_000))])
    assert ((draws.mean(0) - posterior.mean) / posterior.std).abs().max() < 0.15
    assert (draws.std(0) / posterior.std - 1).abs().max() < 0.15


def test_loss_of_the_autoencoder():
    autoencoder, x = Autoencoder(AUTOENCODER), torch.rand(2, 3, 8, 8, 1)
    posterior = autoencoder.encode(x)
    error, divergence = autoencoder.loss_terms(x + 0.5, x, posterior)
    assert error.item() == pytest.approx(32.0)
    assert divergence.item() == pytest.approx(posterior.kl().mean().item())
    gap = x.clone()
    gap[:, :, :4] = torch.nan
    weight = gap.isfinite()
    known, _ = autoencoder.loss_terms(x + 0.5, gap, posterior, weight)
    assert known.item() == pytest.approx(32.0)  # a frame's worth of known cells
    mean = Autoencoder(dataclasses.replace(AUTOENCODER, reduction="mean"))
    assert [term.item() for term in mean.loss_terms(x + 0.5, x, posterior)] == pytest.approx(
        [0.5, posterior.kl().mean().item() / 64]
    )


def test_autoencoder_learns():
    torch.manual_seed(0)
    autoencoder = Autoencoder(dataclasses.replace(AUTOENCODER, reduction="mean"))
    optimiser = torch.optim.Adam(autoencoder.parameters(), 3e-3)
    wave = torch.sin(torch.linspace(0, 6, 8))
    x = (torch.rand(16, 1, 1, 1) * wave[None, :, None, None]).expand(-1, 8, 8, 1)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        losses.append(autoencoder.loss(x))
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.4 * losses[0]
