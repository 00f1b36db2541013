"""Padding, resizing, patch merging, upsampling, stem and head."""

import official
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xforecast.errors import InvalidOption
from xforecast.models.blocks.layers import INITIALISERS
from xforecast.models.blocks.resample import (
    Head,
    PatchMerging,
    Stem,
    StemConfig,
    Upsample,
    crop_grid,
    merged_grid,
    pad_grid,
    resize_nearest,
)

grids = st.tuples(*[st.integers(1, 5)] * 3)


@given(grids, grids, st.sampled_from(["zeros", "ignore"]))
def test_cropping_undoes_padding(grid, padding, kind):
    x = torch.randn(2, *grid, 3)
    padded = pad_grid(x, padding, kind)
    assert padded.shape[1:4] == tuple(a + b for a, b in zip(grid, padding, strict=True))
    assert torch.equal(crop_grid(padded, grid, kind), x)
    torch.testing.assert_close(padded.abs().sum(), x.abs().sum())


def test_frames_can_be_added_in_front():
    x = torch.ones(1, 2, 1, 1, 1)
    assert pad_grid(x, (1, 0, 0), "zeros", front=True).flatten().tolist() == [0, 1, 1]


@given(grids, grids)
def test_resizing_takes_the_value_at_the_floor(grid, target):
    x = torch.randn(1, *grid, 2)
    index = [torch.arange(new) * old // new for old, new in zip(grid, target, strict=True)]
    expected = x[:, index[0]][:, :, index[1]][:, :, :, index[2]]
    assert torch.equal(resize_nearest(x, target), expected)


@given(grids, st.tuples(*[st.integers(1, 3)] * 3), st.sampled_from(["zeros", "ignore", "nearest"]))
def test_patch_merging_sees_each_block_alone(grid, factors, padding):
    layer = PatchMerging(2, 3, factors, padding=padding)
    x = torch.randn(1, *grid, 2)
    y = layer(x)
    assert y.shape == (1, *merged_grid(grid, factors), 3)
    if padding == "nearest":
        return
    block = x[:, : factors[0], : factors[1], : factors[2]]
    torch.testing.assert_close(y[:, :1, :1, :1], layer(block))


@given(
    st.tuples(*[st.integers(1, 4)] * 2),
    st.tuples(*[st.integers(1, 3)] * 2),
    st.tuples(*[st.integers(0, 1)] * 2),
    st.sampled_from([1, 3, 5]),
)
def test_upsampling_is_a_resize_and_a_convolution(size, factors, rest, kernel):
    """Whole factors go another way than others; both are the same map, and so are their gradients."""
    target = tuple(n * f + r for n, f, r in zip(size, factors, rest, strict=True))
    layer = Upsample(2, 3, target, kernel)
    x = torch.randn(2, 2, *size, 2, requires_grad=True)
    found = layer(x)
    resized = resize_nearest(x, (2, *target)).flatten(0, 1).movedim(-1, 1)
    expected = layer.convolution(resized).movedim(1, -1).unflatten(0, (2, 2))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    weight = layer.convolution.weight
    torch.testing.assert_close(
        torch.autograd.grad(found.square().sum(), (x, weight)),
        torch.autograd.grad(expected.square().sum(), (x, weight)),
        atol=1e-3,
        rtol=1e-4,
    )


@given(st.tuples(st.integers(1, 3), st.integers(1, 17), st.integers(1, 17)), st.integers(1, 3), st.integers(1, 2))
def test_the_head_restores_the_grid_of_the_stem(grid, stages, scale):
    config = StemConfig(scales=((1, scale, 2),) * stages, convolutions=(1,) * stages)
    tokens = Stem(config, 2, 4)(torch.randn(1, *grid, 2))
    assert tokens.shape == (1, *config.grids(grid)[-1], 4)
    assert Head(config, grid, 4, 3)(tokens).shape == (1, *grid, 3)


@pytest.mark.parametrize("channels", [1, 5, 6, 9, 18, 24])
def test_any_width_can_be_normalised_in_groups(channels):
    for groups in (None, 16):
        config = StemConfig(convolutions=(1,), norm_groups=groups)
        assert Stem(config, 1, channels)(torch.randn(1, 2, 4, 4, 1)).isfinite().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scales": ((1, 2, 2),) * 2}, "number of stem stages"),
        ({"scales": ((2, 2),)}, "three factors"),
        ({"scales": ((1, 0, 2),)}, "at least 1"),
        ({"activation": "swish"}, "activation"),
        ({"scales": ()}, "number of stem stages"),
        ({"norm_groups": 0}, "norm_groups"),
    ],
)
def test_stems_that_cannot_work_are_reported(options, message):
    with pytest.raises(InvalidOption, match=message):
        StemConfig(**options)


def test_a_stage_without_convolution_cannot_change_the_width():
    with pytest.raises(InvalidOption, match="from 1 to 16"):
        StemConfig(convolutions=(0,)).check_channels(1, 16)
    StemConfig(convolutions=(0,)).check_channels(16, 16)
    with pytest.raises(InvalidOption, match="from 4 to 16"):
        StemConfig(
            scales=((1, 2, 2),) * 2, convolutions=(1, 1), channels=(4, 16), head_convolutions=(0, 1)
        ).check_channels(1, 16)


@pytest.mark.parametrize(("scheme", "deviation"), [("fan_in", 0.1), ("fan_out", (2 / 1.01 / 400) ** 0.5), ("zeros", 0)])
def test_initial_weights_have_the_stated_size(scheme, deviation):
    weight = torch.empty(400, 100)
    INITIALISERS[scheme](weight)
    assert weight.std().item() == pytest.approx(deviation, rel=0.03)


@pytest.mark.parametrize("case", official.read_json("units/padding.json"), ids=lambda case: str(case["case"]))
@pytest.mark.parametrize("kind", ["ignore", "zeros", "nearest"])
def test_padding_is_the_official_one(case, kind):
    tensors = official.read_tensors("units/padding.safetensors")
    x, number = tensors[f"{case['case']}.x"], case["case"]
    padding = (case["pad_t"], case["pad_h"], case["pad_w"])
    padded = pad_grid(x, padding, kind, front=case["t_pad_left"])
    assert torch.equal(padded, tensors[f"{number}.{kind}.padded"])
    assert torch.equal(crop_grid(padded, x.shape[1:4], kind), tensors[f"{number}.{kind}.unpadded"])


def test_merged_grids_are_the_official_ones():
    for case in official.read_json("units/shapes.json")["patch_merge_out_shape"]:
        assert list(merged_grid(tuple(case["shape"][:3]), tuple(case["downsample"]))) == case["out"][:3]
