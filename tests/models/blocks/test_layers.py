"""Norms, feed-forward, position embedding, the attention product."""

import official
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xforecast.models.blocks import layers
from xforecast.models.blocks.cuboid import ScoreBias
from xforecast.models.blocks.layers import ACTIVATIONS, FeedForward, PositionEmbedding, RMSNorm, attend, recompute
from xforecast.models.compat.words import ACTIVATION_WORDS


def reference(q, k, v, bias, scale):
    """Attention written out."""
    scores = torch.einsum("bnlad,bnmad->bnalm", q, k) * scale
    if bias is not None:
        scores = scores.masked_fill(~bias, float("-inf")) if bias.dtype == torch.bool else scores + bias
    return torch.einsum("bnalm,bnmae->bnlae", scores.softmax(dim=-1), v).flatten(-2)


@given(
    st.tuples(*[st.integers(1, 3)] * 2, *[st.integers(1, 5)] * 3),
    st.sampled_from(["none", "by offset", "by cuboid", "boolean"]),
)
def test_attention_is_softmax_of_products(sizes, kind):
    batch, groups, queries, keys, heads = sizes
    q = torch.randn(batch, groups, queries, heads, 4)
    k, v = torch.randn(batch, groups, keys, heads, 4), torch.randn(batch, groups, keys, heads, 6)
    bias = {
        "none": None,
        "by offset": torch.randn(1, heads, queries, keys),
        "by cuboid": torch.randn(groups, heads, queries, keys),
        "boolean": (torch.rand(groups, 1, queries, keys) < 0.5).index_fill(-1, torch.tensor(0), True),
    }[kind]
    torch.testing.assert_close(attend(q, k, v, bias, scale=0.3), reference(q, k, v, bias, 0.3), atol=1e-5, rtol=1e-4)


class Given(torch.nn.Module):
    """Scores instead of learned ones."""

    def __init__(self, scores):
        super().__init__()
        self.scores = scores

    def forward(self):
        return self.scores


@pytest.mark.parametrize("masked", [True, False])
def test_the_masked_softmax_is_the_official_one(masked):
    tensors = official.read_tensors("units/masked_softmax.safetensors")
    allowed = tensors["mask"].bool()[:, None] if masked else None
    _, heads, groups, length, _ = tensors["score"].shape
    nothing = torch.zeros(1, groups, length, heads, 1)
    places = torch.eye(length).expand(1, groups, heads, -1, -1).transpose(2, 3)
    for score, expected in zip(tensors["score"], tensors["out" if masked else "out_nomask"], strict=True):
        bias = ScoreBias(Given(score.transpose(0, 1)), allowed, has_globals=False)
        found = bias.silence(attend(nothing, nothing, places, bias()))
        torch.testing.assert_close(found[0].unflatten(-1, (heads, length)).movedim(2, 0), expected)


@pytest.mark.parametrize("name", sorted(set(official.read_tensors("units/activations.safetensors")) - {"x"}))
def test_activations_are_the_official_ones(name):
    tensors = official.read_tensors("units/activations.safetensors")
    word = ACTIVATION_WORDS[None if name == "None" else name]
    torch.testing.assert_close(ACTIVATIONS[word]()(tensors["x"]), tensors[name])


@given(st.integers(1, 9), st.floats(0.1, 100))
def test_rms_norm_gives_unit_size_whatever_the_scale(channels, factor):
    x = torch.randn(3, channels) + 1
    norm = RMSNorm(channels, epsilon=0.0)
    torch.testing.assert_close(norm(x).square().mean(dim=-1), torch.ones(3))
    torch.testing.assert_close(norm(factor * x), norm(x))


def test_a_feed_forward_layer_with_zero_output_is_the_identity():
    layer = FeedForward(4, gated=True)
    torch.nn.init.zeros_(layer.contract.weight)
    x = torch.randn(2, 3, 4)
    assert torch.equal(layer(x), x)


def test_positions_are_the_same_for_every_sample_and_differ_between_places():
    x = torch.zeros(2, 2, 3, 4, 5)
    for kind in ("time+height+width", "time+space"):
        y = PositionEmbedding(5, (2, 3, 4), kind)(x)
        assert torch.equal(y[0], y[1])
        assert len(y[0].flatten(0, 2).unique(dim=0)) == 24


def test_recomputing_changes_no_number():
    layer = FeedForward(4, dropout=0.5)
    x = torch.randn(2, 3, 4, requires_grad=True)
    results = []
    for when in (True, False):
        torch.manual_seed(1)
        y = recompute(layer, x, when=when)
        (gradient,) = torch.autograd.grad(y.square().sum(), x)
        results.append((y, gradient))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize("groups", [1, 5])
def test_many_groups_are_attended_to_in_pieces(groups, monkeypatch):
    """CUDA's kernels take a limited number of them in one call."""
    q, k, v = torch.randn(3, 2, 5, 4, 2, 8).unbind()
    bias = torch.randn(groups, 2, 4, 4)
    whole = attend(q, k, v, bias)
    monkeypatch.setattr(layers, "LARGEST", 3)
    torch.testing.assert_close(attend(q, k, v, bias), whole)
