"""Cuboids: cutting and putting together, masks, relative positions."""

import itertools
import math

import official
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xforecast.models.blocks import BlockConfig, CuboidCrossAttention
from xforecast.models.blocks.cuboid import Partition, ScoreBias, allowed_pairs, relative_position_index
from xforecast.models.blocks.patterns import CrossCuboid, Cuboid
from xforecast.models.blocks.resample import merged_grid

WORDS = {"l": "local", "d": "dilated"}
extents = st.tuples(*[st.integers(1, 7)] * 3)
strategies = st.tuples(*[st.sampled_from(["local", "dilated"])] * 3)


@st.composite
def partitions(draw, paddings=("ignore", "zeros")):
    size = draw(extents)
    shift = tuple(draw(st.integers(0, n - 1)) for n in size)
    return Partition.of(Cuboid(size, draw(strategies), shift), draw(extents), draw(st.sampled_from(paddings)))


@given(partitions())
def test_what_was_cut_can_be_put_together(partition):
    x = torch.randn(2, *partition.grid, 3)
    tokens = partition.decompose(x)
    assert tokens.shape == (2, math.prod(partition.counts), math.prod(partition.size), 3)
    assert torch.equal(partition.reassemble(tokens), x)


@given(partitions())
def test_every_place_is_in_one_cuboid(partition):
    order = partition.order()
    assert torch.equal(order.flatten().sort().values, torch.arange(order.numel()))
    assert partition.real().sum() == math.prod(partition.grid)


@given(partitions(paddings=["ignore"]))
def test_real_tokens_are_allowed_within_their_region_and_padding_never_is(partition):
    allowed = allowed_pairs(partition, partition)
    real = partition.by_cuboid(partition.real())
    if allowed is None:
        assert real.all()
        return
    pairs = real[:, :, None] & real[:, None, :]
    assert not (allowed[:, 0] & ~pairs).any()
    assert torch.equal(allowed[:, 0].diagonal(dim1=1, dim2=2), real)
    if not any(partition.shift):
        assert torch.equal(allowed[:, 0], pairs)


@given(partitions())
def test_neighbours_before_rolling_are_the_only_ones_that_attend(partition):
    """Where rolling brought the two ends of an axis together, tokens of the one end do not see the other."""
    allowed = allowed_pairs(partition, partition)
    if allowed is None:
        return
    rolled = [torch.arange(n).roll(-shift) for n, shift in zip(partition.padded, partition.shift, strict=True)]
    for place, size, strategy in zip(
        torch.meshgrid(*rolled, indexing="ij"), partition.size, partition.strategy, strict=True
    ):
        tokens = partition.by_cuboid(place)
        distance = (tokens[:, :, None] - tokens[:, None, :]).abs()
        if strategy == "local":
            assert (distance[allowed[:, 0]] < size).all()


@given(extents, strategies)
def test_a_cuboid_as_large_as_the_grid_is_the_grid(grid, strategy):
    partition = Partition.of(Cuboid((9, 9, 9), strategy, (1, 1, 1)), grid)
    x = torch.randn(1, *grid, 2)
    assert torch.equal(partition.decompose(x), x.flatten(1, 3)[:, None])
    assert allowed_pairs(partition, partition) is None


def test_local_cuboids_are_blocks_and_dilated_ones_are_combs():
    x = torch.arange(6).reshape(1, 6, 1, 1, 1)
    local, dilated = (Partition.of(Cuboid((2, 1, 1), (name,) * 3), (6, 1, 1)) for name in ("local", "dilated"))
    assert local.decompose(x)[0, ..., 0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert dilated.decompose(x)[0, ..., 0].tolist() == [[0, 3], [1, 4], [2, 5]]


def test_cuboids_that_need_no_copy_are_views():
    x = torch.randn(2, 3, 4, 5, 6)
    assert Partition.of(Cuboid((1, 1, 5)), (3, 4, 5)).decompose(x).data_ptr() == x.data_ptr()


@given(st.tuples(*[st.integers(1, 4)] * 3))
def test_relative_positions_tell_offsets_apart(size):
    index = relative_position_index(size, size, size)
    places = list(itertools.product(*map(range, size)))
    rows = {}
    for i, a in enumerate(places):
        for j, b in enumerate(places):
            rows.setdefault(index[i, j].item(), set()).add(tuple(p - q for p, q in zip(a, b, strict=True)))
    assert all(len(offsets) == 1 for offsets in rows.values())
    assert len(rows) == math.prod(2 * n - 1 for n in size)
    assert index.min() == 0
    assert index.max() == len(rows) - 1


def test_a_query_with_nothing_to_attend_to_gives_zero_and_no_bad_gradient():
    allowed = torch.tensor([[True, False], [False, False]])[None, None]
    bias = ScoreBias(None, allowed, has_globals=False)
    assert bias()[0, 0].tolist() == [[True, False], [True, True]]
    assert bias.silence(torch.ones(1, 1, 2, 3))[0, 0].tolist() == [[1, 1, 1], [0, 0, 0]]


# ------------------------------------------------------------------ numbers of the original


def official_partition(case, padding):
    strategy = tuple(WORDS[letter] for letter in case["strategy"])
    cuboid = Cuboid(case["cuboid_size"], strategy, case["shift_size"])
    return Partition.of(cuboid, tuple(case["data_shape"]), padding)


@pytest.mark.parametrize("case", official.read_json("units/self_cuboid.json"), ids=lambda case: str(case["case"]))
def test_cuboids_are_the_official_ones(case):
    tensors = official.read_tensors("units/self_cuboid.safetensors")
    number = f"{case['case']:02d}"
    for padding in ("ignore", "zeros", "nearest"):
        partition = official_partition(case, padding)
        assert partition.size == tuple(case["new_cuboid_size"])
        assert partition.shift == tuple(case["new_shift_size"])
        assert partition.missing == tuple(case["pad_thw"])
        assert torch.equal(partition.order(), tensors[f"{number}.reorder"].long())
        allowed, wanted = allowed_pairs(partition, partition), tensors[f"{number}.mask.{padding}"].bool()
        assert wanted.all() if allowed is None else torch.equal(allowed[:, 0], wanted)
    partition = official_partition(case, "ignore")
    assert torch.equal(partition.real().flatten(), tensors[f"{number}.g2l_mask_ignore"].bool())


@pytest.mark.parametrize("case", official.read_json("units/cross_mask.json"), ids=lambda case: str(case["case"]))
def test_cross_masks_are_the_official_ones(case):
    strategy = tuple(WORDS[letter] for letter in case["strategy"])
    cuboid = CrossCuboid(case["cuboid_hw"], strategy, case["shift_hw"], case["n_temporal"])
    grid = (case["T_x"], case["H"], case["W"])
    layer = CuboidCrossAttention(
        4, grid, case["T_mem"], cuboid, offsets=20, block=BlockConfig(padding=case["padding_type"])
    )
    wanted = official.read_tensors("units/cross_mask.safetensors")[f"{case['case']:02d}.mask"].bool()
    allowed = allowed_pairs(layer.forecast, layer.memory)
    assert wanted.all() if allowed is None else torch.equal(allowed[:, 0], wanted)


@pytest.mark.parametrize("case", official.read_json("units/relative_position_index.json"), ids=lambda case: case["key"])
def test_relative_positions_are_the_official_ones(case):
    extent = tuple(case.get("cuboid_size") or (case["max_temporal_relative"], *case["cuboid_hw"]))
    wanted = official.read_tensors("units/relative_position_index.safetensors")[case["key"]]
    assert torch.equal(relative_position_index(extent, extent, extent), wanted.long())


@given(extents, extents)
def test_the_merged_grid_covers_the_grid(grid, factors):
    merged = merged_grid(grid, factors)
    assert all((n - 1) * f < extent <= n * f for n, f, extent in zip(merged, factors, grid, strict=True))


@given(partitions())
def test_numbers_of_cuboids_are_where_their_tokens_are(partition):
    numbers = partition.numbers()
    assert numbers.shape == partition.grid
    tokens = partition.decompose(1.0 + numbers[None, ..., None])[0, ..., 0]
    expected = 1.0 + torch.arange(len(tokens))[:, None].expand(tokens.shape)
    real = partition.by_cuboid(partition.real())
    assert torch.equal(tokens[real], expected[real])
