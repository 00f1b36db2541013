"""A PreDiff that is small enough for tests, and what it is tested with."""

import torch
from torch import nn

from xforecast.models import AutoencoderConfig, CuboidUNetConfig, KnowledgeAlignmentConfig, PreDiffConfig

AUTOENCODER = AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4)
DENOISER = CuboidUNetConfig(history=3, horizon=2, grid=(4, 4), channels=4, base_channels=16, depths=(1, 1))
ALIGNMENT = KnowledgeAlignmentConfig(horizon=2, grid=(4, 4), channels=4, base_channels=16, depths=(1, 1))
CONFIG = PreDiffConfig(autoencoder=AUTOENCODER, denoiser=DENOISER, alignment=ALIGNMENT)


def awake(model):
    """The model with weights that are not zero, so that everything has an effect."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model.eval()


def history(count=2, grid=(8, 8), channels=1):
    """Histories of random numbers, the same at each call."""
    return torch.rand(count, 3, *grid, channels, generator=torch.Generator().manual_seed(4))


def pairs():
    """Histories, targets of which the first rows are missing, and weights that are zero there."""
    y = torch.rand(4, 2, 8, 8, 1)
    weight = torch.ones(4, 1, 8, 8, 1)
    weight[:, :, :2] = 0
    y[:, :, :2] = torch.nan
    return history(4), y, weight


def generators(*seeds):
    """A generator for each seed."""
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def draw(model, x, starts=(0, 0, 1), seeds=(1, 2, 3), **options):
    """Samples of a few steps, one for each start and seed."""
    options = {"steps": 3, **options}
    return model.sample(x, torch.tensor(starts), torch.arange(len(starts)), generators(*seeds), **options)
