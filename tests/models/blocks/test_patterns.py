"""Patterns of cuboids."""

import official
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xforecast.errors import InvalidOption
from xforecast.models.blocks.patterns import (
    CROSS_PATTERNS,
    SELF_PATTERNS,
    CrossCuboid,
    Cuboid,
    cross_cuboids,
    self_cuboids,
)

grids = st.tuples(st.integers(1, 12), st.integers(1, 40), st.integers(1, 40))
STRATEGY = {"local": "l", "dilated": "d"}


@given(st.sampled_from(sorted(SELF_PATTERNS)), grids)
def test_cuboids_of_every_pattern_fit_every_grid(name, grid):
    for cuboid in self_cuboids(name, grid):
        fitted = cuboid.fitted(grid)
        assert all(size <= extent for size, extent in zip(fitted.size, grid, strict=True))
        assert fitted.fitted(grid) == fitted


@given(grids)
def test_axial_layers_together_connect_all_places(grid):
    sizes = [cuboid.size for cuboid in self_cuboids("axial", grid)]
    assert tuple(max(size[axis] for size in sizes) for axis in range(3)) == grid


@given(st.sampled_from(sorted(CROSS_PATTERNS)), grids)
def test_cross_cuboids_are_no_larger_than_the_grid(name, grid):
    for cuboid in cross_cuboids(name, grid):
        assert cuboid.size[0] <= grid[1]
        assert cuboid.size[1] <= grid[2]


def test_dilated_axes_are_not_shifted():
    assert Cuboid((2, 2, 2), ("dilated", "local", "local"), (1, 1, 1)).fitted((8, 8, 8)).shift == (0, 1, 1)


def test_an_unknown_pattern_is_reported_with_the_nearest_name():
    with pytest.raises(InvalidOption, match="did you mean 'axial'"):
        self_cuboids("axiall", (4, 4, 4))
    with pytest.raises(InvalidOption, match="cross_1x1"):
        cross_cuboids("cross_1x", (4, 4, 4))


@pytest.mark.parametrize(
    "arguments",
    [((2, 2),), ((2, 2, 0),), ((2, 2, 2), ("local", "near", "local")), ((2, 2, 2), ("local",) * 3, (-1, 0, 0))],
)
def test_cuboids_that_cannot_work_are_reported(arguments):
    with pytest.raises(InvalidOption, match="cuboid"):
        Cuboid(*arguments)


def official_patterns():
    cases = official.read_json("units/patterns.json")
    return [pytest.param(kind, name, case, id=name) for kind in ("self", "cross") for name, case in cases[kind].items()]


@pytest.mark.parametrize(("kind", "name", "cases"), official_patterns())
def test_patterns_are_the_official_ones(kind, name, cases):
    for case in cases:
        grid = tuple(case["shape" if kind == "self" else "mem_shape"][:3])
        found = self_cuboids(name, grid) if kind == "self" else cross_cuboids(name, grid)
        if kind == "cross":
            assert [list(c.size) for c in found] == case["cuboid_hw"]
            assert [list(c.shift) for c in found] == case["shift_hw"]
            assert [c.temporal_chunks for c in found] == case["n_temporal"]
        else:
            assert [list(c.size) for c in found] == case["cuboid_size"]
            assert [list(c.shift) for c in found] == case["shift_size"]
        assert [[STRATEGY[s] for s in c.strategy] for c in found] == case["strategy"]


def test_all_official_names_are_there():
    cases = official.read_json("units/patterns.json")
    assert set(cases["self"]) == set(SELF_PATTERNS)
    assert set(cases["cross"]) | {"last_frame_dst"} == set(CROSS_PATTERNS)


def test_the_pattern_of_the_last_frame_attends_to_all_of_it():
    assert cross_cuboids("last_frame_dst", (5, 6, 7)) == (CrossCuboid((6, 7), last_frames=1),)
