"""Laws of cuboid attention: self-attention, cross-attention, global vectors.

Also guards `config.py`, `cross_attention.py`, `global_vectors.py`, `self_attention.py`.
"""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional

from xforecast.errors import InvalidOption
from xforecast.models.blocks import (
    BlockConfig,
    CrossAttentionBlock,
    CuboidCrossAttention,
    CuboidSelfAttention,
    GlobalVectorConfig,
    Quirks,
    SelfAttentionBlock,
)
from xforecast.models.blocks.cuboid import allowed_pairs
from xforecast.models.blocks.patterns import CrossCuboid, Cuboid

C = 8
grids = st.tuples(*[st.integers(1, 4)] * 3)
cuboids = st.builds(
    Cuboid,
    st.tuples(*[st.integers(2, 3)] * 3),
    st.tuples(*[st.sampled_from(["local", "dilated"])] * 3),
    st.tuples(*[st.integers(0, 1)] * 3),
)
vector_configs = st.builds(
    GlobalVectorConfig,
    count=st.just(2),
    projections=st.sampled_from(["shared", "separate"]),
    self_attention=st.booleans(),
)
PLAIN = BlockConfig(heads=2, relative_position=False)


def influence(function, x):
    """Which of the places of `x`, flat, each place of the result depends on, (result, x)."""
    y = function(x)
    changed = []
    for place in range(math.prod(x.shape[1:4])):
        other = x.clone()
        other.flatten(1, 3)[:, place] += torch.randn(x.shape[-1])
        changed.append((function(other) != y).any(dim=-1).flatten())
    return torch.stack(changed, dim=1)


@given(grids, cuboids)
@torch.no_grad()
def test_a_token_matters_in_its_own_cuboid_and_nowhere_else(grid, cuboid):
    layer = CuboidSelfAttention(C, grid, cuboid, BlockConfig(heads=2)).eval()
    partition = layer.partition
    order, real = partition.order(), torch.zeros(partition.padded, dtype=torch.bool)
    real[tuple(slice(n) for n in grid)] = True
    allowed = allowed_pairs(partition, partition)
    allowed = torch.ones(order.shape[0], 1, *order.shape[1:] * 2, dtype=torch.bool) if allowed is None else allowed
    expected = torch.zeros(real.numel(), real.numel(), dtype=torch.bool)
    unrolled = torch.arange(real.numel()).reshape(partition.padded).roll([-n for n in partition.shift], (0, 1, 2))
    places = partition.by_cuboid(unrolled)
    for tokens, pairs in zip(places, allowed[:, 0], strict=True):
        expected[tokens[:, None], tokens[None]] = pairs
    expected = expected[real.flatten()][:, real.flatten()]
    found = influence(lambda x: layer(x)[0], torch.randn(1, *grid, C))
    assert torch.equal(found, expected)


@given(st.integers(1, 2), st.integers(1, 9), st.integers(2, 4))
@torch.no_grad()
def test_padding_that_is_ignored_does_not_matter(frames, width, size):
    """The last, incomplete cuboid gives what it gives as a grid of its own."""
    layer = CuboidSelfAttention(C, (frames, 1, width), Cuboid((1, 1, size)), PLAIN).eval()
    x = torch.randn(2, frames, 1, width, C)
    start = (width - 1) // size * size
    alone = CuboidSelfAttention(C, (frames, 1, width - start), Cuboid((1, 1, size)), PLAIN).eval()
    alone.load_state_dict(layer.state_dict())
    torch.testing.assert_close(layer(x)[0][..., start:, :], alone(x[..., start:, :])[0])


@torch.no_grad()
def test_zeros_that_take_part_do_matter():
    x = torch.randn(1, 1, 1, 3, C)
    updates = []
    for padding in ("ignore", "zeros", "nearest"):
        torch.manual_seed(1)
        layer = CuboidSelfAttention(C, (1, 1, 3), Cuboid((1, 1, 2)), replace(PLAIN, padding=padding)).eval()
        updates.append(layer(x)[0])
    assert not torch.allclose(updates[0], updates[1])
    assert not torch.allclose(updates[0], updates[2])


@given(grids)
@torch.no_grad()
def test_a_cuboid_that_covers_everything_is_full_attention(grid):
    layer = CuboidSelfAttention(C, grid, Cuboid((4, 4, 4)), PLAIN).eval()
    full = torch.nn.MultiheadAttention(C, 2, batch_first=True).eval()
    full.in_proj_weight.copy_(layer.query_key_value.weight)
    full.in_proj_bias.zero_()
    full.out_proj.load_state_dict(layer.projection.state_dict())
    x = torch.randn(2, *grid, C)
    tokens = layer.norm(x).flatten(1, 3)
    expected = full(tokens, tokens, tokens)[0].reshape(x.shape)
    torch.testing.assert_close(layer(x)[0], expected, atol=1e-5, rtol=1e-4)


@given(grids)
@torch.no_grad()
def test_without_positions_order_is_irrelevant(grid):
    layer = CuboidSelfAttention(C, grid, Cuboid(grid), PLAIN).eval()
    x = torch.randn(1, *grid, C)
    order = torch.randperm(math.prod(grid))

    def shuffle(x):
        return x.flatten(1, 3)[:, order].reshape(x.shape)

    torch.testing.assert_close(layer(shuffle(x))[0], shuffle(layer(x)[0]), atol=1e-5, rtol=1e-4)


@given(st.integers(1, 3), st.integers(1, 2))
@torch.no_grad()
def test_moving_by_whole_cuboids_moves_the_result(size, steps):
    layer = CuboidSelfAttention(C, (2, 1, 3 * size), Cuboid((1, 1, size)), BlockConfig(heads=2)).eval()
    x = torch.randn(1, 2, 1, 3 * size, C)
    torch.testing.assert_close(layer(x.roll(steps * size, 3))[0], layer(x)[0].roll(steps * size, 3))


@torch.no_grad()
def test_a_shifted_layer_is_the_plain_one_on_shifted_data():
    plain = CuboidSelfAttention(C, (1, 1, 8), Cuboid((1, 1, 4)), BlockConfig(heads=2)).eval()
    shifted = CuboidSelfAttention(C, (1, 1, 8), Cuboid((1, 1, 4), shift=(0, 0, 2)), BlockConfig(heads=2)).eval()
    shifted.load_state_dict(plain.state_dict())
    x = torch.randn(1, 1, 1, 8, C)
    expected = plain(x.roll(-2, 3))[0].roll(2, 3)
    torch.testing.assert_close(shifted(x)[0][..., 2:6, :], expected[..., 2:6, :])
    assert not torch.allclose(shifted(x)[0][..., :2, :], expected[..., :2, :])  # no attention across the seam


# ------------------------------------------------------------------ global vectors


@given(grids, cuboids, cuboids, vector_configs)
@torch.no_grad()
def test_what_global_vectors_see_does_not_depend_on_the_cuboids(grid, one, other, config):
    x, vectors = torch.randn(2, *grid, C), torch.randn(2, 2, C)
    first = CuboidSelfAttention(C, grid, one, PLAIN, config).eval()
    second = CuboidSelfAttention(C, grid, other, PLAIN, config).eval()
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(x, vectors)[1], second(x, vectors)[1], atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_the_original_masks_other_tokens_where_there_is_padding():
    x, vectors = torch.randn(1, 1, 3, 3, C), torch.randn(1, 2, C)
    found = {}
    for size in (1, 2):
        for quirk in (True, False):
            torch.manual_seed(1)
            layer = CuboidSelfAttention(
                C, (1, 3, 3), Cuboid((1, size, size)), PLAIN, GlobalVectorConfig(2), Quirks(unordered_global_mask=quirk)
            ).eval()
            found[size, quirk] = layer(x, vectors)[1]
    torch.testing.assert_close(found[1, True], found[1, False])
    assert not torch.allclose(found[2, True], found[2, False])


@given(vector_configs)
@torch.no_grad()
def test_global_vectors_carry_news_from_cuboid_to_cuboid(config):
    block = SelfAttentionBlock(C, (1, 1, 4), [Cuboid((1, 1, 2))] * 2, PLAIN, config).eval()
    alone = SelfAttentionBlock(C, (1, 1, 4), [Cuboid((1, 1, 2))] * 2, PLAIN).eval()
    x, vectors = torch.randn(1, 1, 1, 4, C), torch.randn(1, 2, C)
    assert influence(lambda x: block(x, vectors)[0], x).all()
    assert influence(lambda x: alone(x)[0], x).sum() == 8


@torch.no_grad()
def test_global_vectors_are_tokens_of_every_cuboid():
    layer = CuboidSelfAttention(C, (1, 1, 4), Cuboid((1, 1, 2)), PLAIN, GlobalVectorConfig(2)).eval()
    x, vectors = torch.randn(1, 1, 1, 4, C), torch.randn(1, 2, C)
    q, k, v = layer.query_key_value(layer.norm(x)).unflatten(-1, (3, 2, 4)).unbind(-3)
    _, vector_k, vector_v = (
        layer.vectors.query_key_value(layer.vector_norm(vectors)).unflatten(-1, (3, 2, 4)).unbind(-3)
    )
    pairs = []
    for start in (0, 2):
        own = slice(start, start + 2)
        keys = torch.cat([k[:, 0, 0, own], vector_k], dim=1).transpose(1, 2)
        values = torch.cat([v[:, 0, 0, own], vector_v], dim=1).transpose(1, 2)
        pairs.append(functional.scaled_dot_product_attention(q[:, 0, 0, own].transpose(1, 2), keys, values))
    expected = layer.projection(torch.cat(pairs, dim=2).transpose(1, 2).flatten(-2))
    torch.testing.assert_close(layer(x, vectors)[0][:, 0, 0], expected)


# ------------------------------------------------------------------ cross-attention


@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 3), st.sampled_from(["local", "dilated"]))
@torch.no_grad()
def test_pieces_of_the_forecast_attend_to_the_same_pieces_of_the_memory(horizon, history, chunks, strategy):
    cuboid = CrossCuboid((1, 1), (strategy, "local", "local"), temporal_chunks=chunks)
    layer = CuboidCrossAttention(C, (horizon, 1, 1), history, cuboid, 9, BlockConfig(heads=2)).eval()
    x, memory = torch.randn(1, horizon, 1, 1, C), torch.randn(1, history, 1, 1, C)

    def pieces(frames, front):
        length = -(-frames // chunks)
        place = torch.arange(frames) + (length * chunks - frames if front else 0)
        return place // length if strategy == "local" else place % chunks

    found = influence(lambda memory: layer(x, memory), memory)
    expected = pieces(horizon, front=False)[:, None] == pieces(history, front=True)[None]
    assert torch.equal(found, expected)
    lonely = ~expected.any(dim=1)
    torch.testing.assert_close(
        layer(x, memory)[0, lonely, 0, 0], layer.projection.bias.expand(int(lonely.sum()), -1), atol=0, rtol=0
    )


@given(st.integers(1, 5), st.integers(1, 6))
@torch.no_grad()
def test_only_the_last_frames_matter_if_so_wanted(history, last):
    cuboid = CrossCuboid((1, 1), last_frames=last)
    layer = CuboidCrossAttention(C, (2, 1, 1), history, cuboid, 9, BlockConfig(heads=2)).eval()
    memory = torch.randn(1, history, 1, 1, C)
    found = influence(lambda memory: layer(torch.ones(1, 2, 1, 1, C), memory), memory)
    assert found.all(dim=0).tolist() == [history - frame <= last for frame in range(history)]
    assert found.any(dim=0).tolist() == found.all(dim=0).tolist()


@pytest.mark.parametrize("padding", ["ignore", "zeros", "nearest"])
@torch.no_grad()
def test_cross_attention_works_on_any_grid(padding):
    cuboid = CrossCuboid((2, 3), ("local", "dilated", "local"), (1, 1), temporal_chunks=2)
    layer = CuboidCrossAttention(C, (3, 5, 7), 5, cuboid, 9, BlockConfig(heads=2, padding=padding)).eval()
    memory = torch.randn(1, 5, 5, 7, C)
    found = influence(lambda memory: layer(torch.ones(1, 3, 5, 7, C), memory), memory)
    assert found.any(dim=1).all()
    assert found.any(dim=0).all()


@pytest.mark.parametrize("projections", ["shared", "separate"])
@torch.no_grad()
def test_cross_attention_sees_global_vectors(projections):
    config = GlobalVectorConfig(2, projections, decoder_cross_attention=True)
    block = CrossAttentionBlock(C, (2, 3, 3), 2, [CrossCuboid((2, 2))], 5, PLAIN, config).eval()
    x, memory, vectors = torch.randn(1, 2, 3, 3, C), torch.randn(1, 2, 3, 3, C), torch.randn(1, 2, C)
    changed = block(x, memory, vectors + 1) != block(x, memory, vectors)
    assert changed.any(dim=-1).all()


# ------------------------------------------------------------------ training, options


@given(cuboids, vector_configs)
def test_gradients_are_finite_and_reach_every_weight(cuboid, config):
    layer = CuboidSelfAttention(C, (3, 4, 5), cuboid, BlockConfig(heads=2), config)
    x, vectors = layer(torch.randn(2, 3, 4, 5, C), torch.randn(2, 2, C))
    (x.square().sum() + vectors.square().sum()).backward()
    for name, parameter in layer.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_dropout_is_for_training_only():
    layer = CuboidSelfAttention(C, (2, 2, 2), Cuboid((2, 2, 2)), BlockConfig(heads=2, attention_dropout=0.5))
    x = torch.randn(1, 2, 2, 2, C)
    assert not torch.equal(layer(x)[0], layer(x)[0])
    layer.eval()
    assert torch.equal(layer(x)[0], layer(x)[0])


def test_offsets_of_a_smaller_grid_are_its_own_or_those_of_the_original():
    def index(grid, quirk):
        quirks = Quirks(sliced_relative_index=quirk)
        layer = CuboidSelfAttention(C, grid, Cuboid((3, 3, 3)), BlockConfig(heads=2), quirks=quirks)
        return layer.bias.relative.table[layer.bias.relative.index][..., 0]

    # A grid of 2 x 2 has 3 x 3 offsets; the first four tokens of the cuboid, three and one below, have 5 + 2 * 3.
    for quirk, kinds in ((False, 9), (True, 11)):
        assert len(index((1, 2, 2), quirk).unique()) == kinds


def test_one_feed_forward_layer_for_a_block_or_one_for_each_attention():
    sizes = [Cuboid((1, 1, 2))] * 3
    assert len(SelfAttentionBlock(C, (1, 1, 2), sizes, PLAIN).feed_forward) == 3
    assert len(SelfAttentionBlock(C, (1, 1, 2), sizes, PLAIN, feed_forward_each=False).feed_forward) == 1


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        (BlockConfig, {"padding": "reflect"}, "padding"),
        (BlockConfig, {"norm": "batch_norm"}, "norm"),
        (BlockConfig, {"heads": 0}, "heads"),
        (BlockConfig, {"attention_dropout": 1.5}, "attention_dropout"),
        (BlockConfig, {"checkpoint": "some"}, "checkpoint"),
        (GlobalVectorConfig, {"width_ratio": 2}, "separate"),
        (GlobalVectorConfig, {"projections": "none"}, "projections"),
        (GlobalVectorConfig, {"count": -1}, "count"),
    ],
)
def test_options_that_cannot_work_are_reported(kind, options, message):
    with pytest.raises(InvalidOption, match=message):
        kind(**options)


def test_missing_global_vectors_are_reported():
    x = torch.zeros(1, 1, 1, 2, C)
    layer = CuboidSelfAttention(C, (1, 1, 2), Cuboid((1, 1, 2)), PLAIN, GlobalVectorConfig(2))
    with pytest.raises(InvalidOption, match="global vectors"):
        layer(x)
    cross = CuboidCrossAttention(C, (1, 1, 2), 1, CrossCuboid((1, 1)), 3, PLAIN, GlobalVectorConfig(2))
    with pytest.raises(InvalidOption, match="global vectors"):
        cross(x, x)
