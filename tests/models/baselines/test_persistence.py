"""Persistence."""

import torch

from xforecast.models import (
    Persistence,
    PersistenceConfig,
)


def test_only_the_last_frame_persists():
    x = torch.randn(2, 5, 3, 4, 2)
    assert torch.equal(Persistence(PersistenceConfig(3))(x), x[:, [-1, -1, -1]])
    assert torch.equal(Persistence(PersistenceConfig(3, 1))(x), x[:, [-1, -1, -1], ..., :1])
