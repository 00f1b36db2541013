"""The alignment network: the numbers that it estimates, and the quirk of the original."""

import dataclasses

import pytest
import torch
from small_prediff import ALIGNMENT, awake

from xforecast.errors import InvalidOption
from xforecast.models import (
    GlobalVectorConfig,
    KnowledgeAlignment,
    Quirks,
)


def test_alignment_reads_frames_or_the_whole():
    z, t = torch.randn(2, 2, 4, 4, 4), torch.tensor([3, 900])
    for changes, shape in {
        (): (2, 2, 1),
        (("output_frames", 1),): (2, 1, 1),
        (("output_channels", 3),): (2, 2, 3),
        (("per_frame", False),): (2, 1),
        (("global_vectors", GlobalVectorConfig(2)),): (2, 2, 1),
    }.items():
        network = awake(KnowledgeAlignment(dataclasses.replace(ALIGNMENT, **dict(changes))))
        out = network(z, t)
        assert out.shape == shape
        torch.testing.assert_close(network(z[1:], t[1:])[0], out[1], rtol=1e-4, atol=1e-5)
        with pytest.raises(InvalidOption, match="functional"):
            network.loss(z, t, torch.zeros(2, 7))


def test_tiled_global_vectors_are_those_of_other_samples():
    """What the original does: right for one sample, and for more only where all have the same vectors."""
    config = dataclasses.replace(ALIGNMENT, global_vectors=GlobalVectorConfig(2))
    ours = awake(KnowledgeAlignment(config))
    theirs = KnowledgeAlignment(dataclasses.replace(config, quirks=Quirks(tiled_global_vectors=True))).eval()
    theirs.load_state_dict(ours.state_dict())
    z, t = torch.randn(2, 2, 4, 4, 4), torch.tensor([3, 900])
    torch.testing.assert_close(theirs(z[:1], t[:1]), ours(z[:1], t[:1]))
    tiled, right = theirs(z, t), ours(z, t)
    torch.testing.assert_close(tiled[0, 0], right[0, 0])
    torch.testing.assert_close(tiled[1, 1], right[1, 1])
    assert not torch.allclose(tiled[0, 1], right[0, 1], atol=1e-6)
