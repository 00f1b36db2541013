"""Laws of the denoiser: any shape and options, what its prediction depends on, what is refused."""

import dataclasses

import pytest
import torch
from small_prediff import DENOISER, awake

from xforecast.errors import InvalidOption
from xforecast.models import (
    BlockConfig,
    CuboidUNet,
    CuboidUNetConfig,
    GlobalVectorConfig,
)
from xforecast.models.prediff.latent import ResidualBlock, TimeEmbedding


def test_new_networks_start_from_nothing():
    z, t, context = torch.randn(2, 2, 4, 4, 4), torch.tensor([3, 900]), torch.randn(2, 3, 4, 4, 4)
    assert (CuboidUNet(DENOISER)(z, t, context) == 0).all()
    x = torch.randn(1, 2, 3, 3, 8)
    assert torch.equal(ResidualBlock(8, 8)(x), x)


def test_the_diffusion_step_matters():
    denoiser, z, context = awake(CuboidUNet(DENOISER)), torch.randn(1, 2, 4, 4, 4), torch.randn(1, 3, 4, 4, 4)
    early, late = (denoiser(z, torch.tensor([t]), context) for t in (3, 900))
    assert not torch.allclose(early, late)
    embedding = TimeEmbedding(16, 32)(torch.arange(1000))
    assert torch.cdist(embedding, embedding).fill_diagonal_(1).min() > 0


def test_context_is_used_and_samples_are_apart():
    denoiser, z, context = awake(CuboidUNet(DENOISER)), torch.randn(2, 2, 4, 4, 4), torch.randn(2, 3, 4, 4, 4)
    t = torch.tensor([3, 900])
    out = denoiser(z, t, context)
    torch.testing.assert_close(denoiser(z[1:], t[1:], context[1:])[0], out[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(denoiser(z, t, context + 1), out)


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": (5, 7), "depths": (1, 1, 1)},
        {"grid": (5, 7), "cuboids": "video_swin_2x4", "block": BlockConfig(padding="ignore")},
        {"cuboids": ("axial", "full"), "channel_growth": 0.5},
        {"level_channels": (16, 24), "skip_connections": False, "time_scales": True, "upsample_kernel": 5},
        {
            "positions": "time+space",
            "global_vectors": GlobalVectorConfig(2, projections="separate", width_ratio=2),
        },
        {"feed_forward_each": False, "history": 1, "horizon": 5},
    ],
)
def test_any_shape_and_options(changes):
    config = dataclasses.replace(DENOISER, **changes)
    z = torch.randn(2, config.horizon, *config.grid, 4)
    context = torch.randn(2, config.history, *config.grid, 4)
    denoiser = awake(CuboidUNet(config))
    out = denoiser(z, torch.tensor([3, 900]), context)
    assert out.shape == z.shape
    out.square().mean().backward()
    unused = [name for name, p in denoiser.named_parameters() if p.grad is None]
    # Of the last block's global vectors nothing is left.
    assert all(name.startswith("decoder.blocks.0.0") for name in unused)
    assert CuboidUNetConfig.from_dict(config.to_dict()) == config


@pytest.mark.parametrize(
    "changes",
    [
        {"depths": ()},
        {"base_channels": 15},
        {"upsample_kernel": 2},
        {"downsample": (2, 2, 2)},
        {"cuboids": ("axial",) * 3},
    ],
)
def test_impossible_networks_are_refused(changes):
    with pytest.raises(InvalidOption):
        dataclasses.replace(DENOISER, **changes)
