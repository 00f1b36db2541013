"""The adversary of the autoencoder."""

import torch
from small_prediff import AUTOENCODER

from xforecast.models import (
    AdversarialAutoencoder,
    AdversarialAutoencoderConfig,
)


def test_adversary_takes_part_from_its_start_and_shares_no_gradient():
    config = AdversarialAutoencoderConfig(autoencoder=AUTOENCODER, width=4, layers=1, start=2)
    both, x = AdversarialAutoencoder(config), torch.rand(2, 16, 16, 1)
    adversary = list(both.discriminator.parameters())
    for step in range(4):
        both.zero_grad()
        both.loss(x).backward()
        assert all((parameter.grad is not None) == (step >= 2) for parameter in adversary)
    both.zero_grad()
    made = both.autoencoder(x)
    both.discriminator.loss(x, made).backward()
    assert all(parameter.grad is None for parameter in both.autoencoder.parameters())
    both.zero_grad()
    both.discriminator.fooled(both.autoencoder(x)).backward()
    assert all(parameter.grad is None for parameter in adversary)
    assert all(parameter.grad is not None for parameter in both.autoencoder.decoder.parameters())
    steps = both.steps.item()
    both.eval().loss(x)
    assert both.steps.item() == steps == 4
