"""Official weights in our modules: layers, small models, full configurations, and what is wrong with a checkpoint.

Also guards `words.py`.
"""

import math
from itertools import pairwise

import numpy as np
import official
import pytest
import torch
from torch import nn

from xforecast.errors import CheckpointError, InvalidOption
from xforecast.models import Earthformer, compat, count_parameters
from xforecast.models.blocks import (
    ORIGINAL,
    BlockConfig,
    CrossAttentionBlock,
    CuboidCrossAttention,
    CuboidSelfAttention,
    GlobalVectorConfig,
    SelfAttentionBlock,
)
from xforecast.models.blocks.layers import FeedForward, PositionEmbedding, RMSNorm
from xforecast.models.blocks.patterns import CrossCuboid, Cuboid
from xforecast.models.blocks.resample import Head, PatchMerging, Stem, StemConfig, Upsample

WORDS = {"l": "local", "d": "dilated"}


def strategy(kwargs):
    return tuple(WORDS[letter] for letter in kwargs.get("strategy", "lll"))


def block(kwargs):
    return BlockConfig(
        heads=kwargs["num_heads"],
        padding=kwargs.get("padding_type", "ignore"),
        relative_position=kwargs.get("use_relative_pos", True),
        self_projection=kwargs.get("use_final_proj", True),
        query_bias=kwargs.get("qkv_bias", False),
        score_scale=kwargs.get("qk_scale"),
        activation=kwargs.get("activation", "gelu"),
    )


def vectors(kwargs, count):
    return GlobalVectorConfig(
        count=count,
        projections="separate" if kwargs.get("separate_global_qkv") else "shared",
        self_attention=kwargs.get("use_global_self_attn", False),
        width_ratio=kwargs.get("global_dim_ratio", 1),
        feed_forward=kwargs.get("use_global_vector_ffn", False),
    )


def position(kwargs, inputs):
    grid = (kwargs["maxT"], kwargs["maxH"], kwargs["maxW"])
    layer = PositionEmbedding(kwargs["embed_dim"], grid, compat.words.POSITION_WORDS[kwargs["typ"]])
    return layer, "position.", "enc_pos_embed."


def feed_forward(kwargs, inputs):
    layer = FeedForward(
        kwargs["units"],
        kwargs["hidden_size"],
        activation=compat.words.ACTIVATION_WORDS[kwargs["activation"]],
        gated=kwargs.get("gated_proj", False),
        norm=kwargs.get("normalization", "layer_norm"),
        norm_first=kwargs["pre_norm"],
    )
    return layer, "feed_forward.0.", "ffn_l.0."


def patch_merging(kwargs, inputs):
    out = kwargs["out_dim"] or max(kwargs["downsample"]) * kwargs["dim"]
    return PatchMerging(kwargs["dim"], out, tuple(kwargs["downsample"]), padding=kwargs["padding_type"]), "", ""


def upsample(kwargs, inputs):
    return Upsample(kwargs["dim"], kwargs["out_dim"], tuple(kwargs["target_size"][1:]), kwargs["kernel_size"]), "", ""


def stem(kwargs, inputs):
    config = StemConfig(((1, *kwargs["downsample_scale"]),), (kwargs["num_conv_layers"],), norm_groups=16)
    layer = Stem(config, kwargs["dim"], kwargs["out_dim"], padding=kwargs["padding_type"])
    return layer, "stem.", "initial_encoder."


def stacked_stem(kwargs, inputs):
    scales = tuple((1, factor, factor) for factor in kwargs["downsample_scale_list"])
    config = StemConfig(scales, kwargs["num_conv_per_merge_list"], kwargs["out_dim_list"])
    return Stem(config, kwargs["in_dim"], kwargs["out_dim_list"][-1], padding="nearest"), "stem.", "initial_encoder."


def head(kwargs, inputs):
    config = StemConfig(((1, 2, 2),), (kwargs["num_conv_layers"],), norm_groups=16)
    layer = Head(config, tuple(kwargs["target_thw"]), kwargs["dim"], 1)
    layer.projection = nn.Identity()
    return layer, "head.", "final_decoder."


def stacked_head(kwargs, inputs):
    targets = kwargs["target_shape_list"][::-1]
    sizes = [target[1:3] for target in targets] + [inputs[0].shape[2:4]]
    scales = tuple(
        (1, math.ceil(fine[0] / coarse[0]), math.ceil(fine[1] / coarse[1])) for fine, coarse in pairwise(sizes)
    )
    config = StemConfig(scales, kwargs["num_conv_per_up_list"][::-1], [target[3] for target in targets])
    layer = Head(config, tuple(targets[0][:3]), kwargs["in_dim"], 1)
    layer.projection = nn.Identity()
    return layer, "head.", "final_decoder."


def rms_norm(kwargs, inputs):
    fraction = kwargs["p"] if 0 <= kwargs["p"] <= 1 else None
    return RMSNorm(kwargs["d"], epsilon=1e-8, offset=kwargs["bias"], fraction=fraction), "", ""


def self_attention(kwargs, inputs):
    cuboid = Cuboid(kwargs["cuboid_size"], strategy(kwargs), kwargs.get("shift_size", (0, 0, 0)))
    count = inputs[1].shape[1] if kwargs.get("use_global_vector") else 0
    grid = tuple(inputs[0].shape[1:4])
    return CuboidSelfAttention(kwargs["dim"], grid, cuboid, block(kwargs), vectors(kwargs, count), ORIGINAL), "", ""


def cross_attention(kwargs, inputs):
    cuboid = CrossCuboid(
        kwargs["cuboid_hw"],
        strategy(kwargs),
        kwargs.get("shift_hw", (0, 0)),
        kwargs.get("n_temporal", 1),
        kwargs.get("cross_last_n_frames"),
    )
    count = inputs[2].shape[1] if kwargs["use_global_vector"] else 0
    grid, frames = tuple(inputs[0].shape[1:4]), inputs[1].shape[1]
    offsets = kwargs["max_temporal_relative"]
    return CuboidCrossAttention(
        kwargs["dim"], grid, frames, cuboid, offsets, block(kwargs), vectors(kwargs, count)
    ), "", ""  # fmt: skip


def self_block(kwargs, inputs):
    cuboids = [
        Cuboid(size, tuple(WORDS[letter] for letter in letters), shift)
        for size, letters, shift in zip(
            kwargs["block_cuboid_size"], kwargs["block_strategy"], kwargs["block_shift_size"], strict=True
        )
    ]
    config = vectors(kwargs, inputs[1].shape[1])
    each = kwargs["use_inter_ffn"]
    return SelfAttentionBlock(
        kwargs["dim"], tuple(inputs[0].shape[1:4]), cuboids, block(kwargs), config, ORIGINAL, feed_forward_each=each
    ), "", ""  # fmt: skip


def cross_block(kwargs, inputs):
    cuboids = [
        CrossCuboid(size, tuple(WORDS[letter] for letter in letters), shift, chunks)
        for size, letters, shift, chunks in zip(
            kwargs["block_cuboid_hw"],
            kwargs["block_strategy"],
            kwargs["block_shift_hw"],
            kwargs["block_n_temporal"],
            strict=True,
        )
    ]
    grid, frames = tuple(inputs[0].shape[1:4]), inputs[1].shape[1]
    offsets, each = kwargs["max_temporal_relative"], kwargs["use_inter_ffn"]
    return CrossAttentionBlock(
        kwargs["dim"], grid, frames, cuboids, offsets, block(kwargs), feed_forward_each=each
    ), "", ""  # fmt: skip


LAYERS = {
    "PosEmbed": position,
    "PositionwiseFFN": feed_forward,
    "PatchMerging3D": patch_merging,
    "Upsample3DLayer": upsample,
    "InitialEncoder": stem,
    "InitialStackPatchMergingEncoder": stacked_stem,
    "FinalDecoder": head,
    "FinalStackUpsamplingDecoder": stacked_head,
    "RMSNorm": rms_norm,
    "CuboidSelfAttentionLayer": self_attention,
    "CuboidCrossAttentionLayer": cross_attention,
    "StackCuboidSelfAttentionBlock": self_block,
    "StackCuboidCrossAttentionBlock": cross_block,
}


@pytest.mark.parametrize(
    "case",
    [case for case in official.read_json("layers/index.json") if case["layer"] in LAYERS],
    ids=lambda case: case["file"].split(".")[0],
)
@torch.no_grad()
def test_layers_give_the_official_numbers(case, record_property):
    tensors = official.read_tensors(f"layers/{case['file']}")
    state = {name[3:]: value for name, value in tensors.items() if name.startswith("sd.")}
    inputs = [tensors[f"in.{name}"] for name in case["inputs"]]
    layer, ours, theirs = LAYERS[case["layer"]](case["kwargs"], inputs)
    found = official.load_layer(layer, state, ours, theirs)(*inputs)
    found = found if isinstance(found, tuple) else (found,)
    wanted = [tensors[f"out.{name}"] for name in case["outputs"]]
    for ours, theirs in zip(found, wanted, strict=False):
        record_property("difference", (ours - theirs).abs().max().item())
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("folder", official.models(), ids=lambda folder: folder.name)
def test_models_give_the_official_numbers_and_gradients(folder, record_property):
    case = official.read_json(folder / "config.json")
    io = official.read_tensors(folder / "io.safetensors")
    model = compat.from_official("earthformer", case["kwargs"], official.read_tensors(folder / "weights.safetensors"))
    found = model(io["input"])
    record_property("difference", (found - io["output"]).abs().max().item())
    torch.testing.assert_close(found, io["output"], atol=1e-4, rtol=0)

    found.square().mean().backward()
    one_stage = case["kwargs"]["initial_downsample_type"] == "conv"
    named = {compat.official_name(name, one_stage=one_stage): p.grad for name, p in model.named_parameters()}
    for name, (norm, total) in case["grad_l2norm_and_sum"].items():
        assert named[name].norm().item() == pytest.approx(norm, rel=1e-3, abs=1e-5), name
        assert named[name].sum().item() == pytest.approx(total, rel=1e-3, abs=1e-3), name
    dead = {name for name, gradient in named.items() if gradient is None or not gradient.any()}
    assert dead == {name for name in case["dead_parameters"] if name in named}


FULL_SIZES = sorted(path.stem for path in (official.DATA / "full").glob("*.safetensors"))


@pytest.mark.parametrize("name", FULL_SIZES)
@torch.no_grad()
def test_published_configurations_give_the_official_numbers(name, record_property):
    case = official.read_json(f"full/{name}.json")
    if case["model_class"] != "CuboidTransformerModel":
        pytest.skip("a model with auxiliary inputs")
    config = compat.translate_config("earthformer", case["kwargs"])
    with torch.device("meta"):
        shapes = Earthformer(config).state_dict()
    one_stage = case["kwargs"]["initial_downsample_type"] == "conv"
    names = {compat.official_name(name, one_stage=one_stage): tuple(value.shape) for name, value in shapes.items()}
    assert {name: list(shape) for name, shape in names.items()} == {
        name: shape for name, (shape, _, _) in case["param_checksum"].items()
    }
    state = {name: official.made_weight(name, shape) for name, shape in names.items()}
    for key, (_, total, norm) in case["param_checksum"].items():
        assert state[key].double().sum().item() == pytest.approx(total, rel=1e-5, abs=1e-3)
        assert state[key].double().norm().item() == pytest.approx(norm, rel=1e-5)

    model = compat.from_official_config("earthformer", config, state)
    assert count_parameters(model) == case["n_params"]
    found = model(official.made_input(case["inputs"]["input"]))
    wanted = official.read_tensors(f"full/{name}.safetensors")
    output = found if "output" in wanted else found[:, :, ::8, ::8]
    wanted = wanted.get("output", wanted.get("output_sub_hw8"))
    record_property("difference", (output - wanted).abs().max().item())
    torch.testing.assert_close(output, wanted, atol=3e-4, rtol=0)
    assert found.double().mean().item() == pytest.approx(case["output"]["mean"], abs=1e-4)
    assert found.double().std().item() == pytest.approx(case["output"]["std"], abs=1e-4)


@pytest.mark.parametrize("path", sorted((official.DATA / "full").glob("init_stats_*.json")), ids=lambda path: path.stem)
def test_fresh_weights_are_distributed_as_the_official_ones(path):
    name = path.stem.removeprefix("init_stats_")
    kwargs = official.read_json(f"full/{name}.json")["kwargs"]
    model = Earthformer(compat.translate_config("earthformer", kwargs))
    one_stage = kwargs["initial_downsample_type"] == "conv"
    named = {compat.official_name(name, one_stage=one_stage): value for name, value in model.named_parameters()}
    statistics = official.read_json(path)
    assert named.keys() == statistics.keys()
    for name, expected in statistics.items():
        value = named[name].detach()
        if value.numel() == 1 or expected["std"] == 0:
            continue
        noise = 6 / np.sqrt(2 * value.numel())
        assert value.std().item() == pytest.approx(expected["std"], rel=max(noise, 0.02)), name
        spread = 6 * expected["std"] / np.sqrt(value.numel())
        assert value.mean().item() == pytest.approx(expected["mean"], abs=2 * spread), name


def small():
    kwargs = {
        "input_shape": [3, 8, 8, 1],
        "target_shape": [2, 8, 8, 1],
        "base_units": 16,
        "enc_depth": [1],
        "dec_depth": [1],
        "enc_attn_patterns": "axial",
        "dec_self_attn_patterns": "axial",
        "dec_cross_attn_patterns": "cross_1x1",
        "z_init_method": "last",
    }
    model = Earthformer(compat.translate_config("earthformer", kwargs))
    state = {compat.official_name(name, one_stage=True): value for name, value in model.state_dict().items()}
    return kwargs, state


def test_every_wrong_weight_is_reported_at_once_in_the_official_names():
    kwargs, state = small()
    state["z_proj.bias"] = state["z_proj.bias"][:3]
    state["encoder.blocks.9.weight"] = state.pop("dec_final_proj.weight")
    with pytest.raises(CheckpointError) as error:
        compat.from_official("earthformer", kwargs, state)
    for line in (
        "3 problems",
        "missing     dec_final_proj.weight (1, 16)",
        "unexpected  encoder.blocks.9.weight (1, 16)",
        "misshapen   z_proj.bias (3,), wanted (16,)",
    ):
        assert line in str(error.value)


def test_index_buffers_unused_positions_and_the_prefix_of_training_are_no_problem():
    kwargs, state = small()
    tables = [name for name in state if name.endswith("bias_table")]
    state |= {name.replace("bias_table", "index"): torch.zeros(2, 2, dtype=torch.long) for name in tables}
    state["dec_pos_embed.T_embed.weight"] = torch.zeros(2, 16)
    state = {f"torch_nn_module.{name}": value for name, value in state.items()} | {"other": torch.zeros(1)}
    model = compat.from_official("earthformer", kwargs, state)
    assert not model.training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"enc_deph": [1]}, "enc_deph"),
        ({"norm_layer": "batch_norm"}, "norm_layer"),
        ({"ffn_activation": "swish"}, "ffn_activation"),
        ({"ffn_activation": nn.GELU()}, "ffn_activation"),
        ({"downsample_type": "pool"}, "downsample_type"),
        ({"target_shape": [2, 9, 8, 1]}, "target_shape"),
        ({"num_heads": 5}, "heads"),
        ({"dec_depth": [1, 1]}, "decoder.depths"),
    ],
)
def test_arguments_that_cannot_work_are_reported(changes, message):
    with pytest.raises(InvalidOption, match=message):
        compat.translate_config("earthformer", small()[0] | changes)


def test_an_unknown_kind_is_reported():
    with pytest.raises(InvalidOption, match="earthformer"):
        compat.from_official("earthforme", {}, {})


@pytest.mark.parametrize(
    "changes",
    [
        {"enc_attn_patterns": None, "enc_cuboid_strategy": [["l", "l", "l"], ["d", "d", "d"]]},
        {"dec_hierarchical_pos_embed": True},
        {"dec_cross_attn_patterns": "cross_4x4", "padding_type": "zeros", "input_shape": [3, 9, 11, 1]},
        {"dec_cross_attn_patterns": "cross_4x4_heter", "padding_type": "nearest", "input_shape": [3, 9, 11, 1]},
        {"dec_cross_attn_patterns": "last_frame_dst"},
        {"base_units": 24},
        {"enc_depth": [1, 1], "dec_depth": [1, 1], "downsample": [2, 1, 1]},
    ],
    ids=["lists", "one level with positions", "cross zeros", "cross nearest", "last frame", "groups", "time only"],
)
def test_what_fails_in_the_original_works(changes):
    kwargs = small()[0] | changes
    kwargs["target_shape"] = [2, *kwargs["input_shape"][1:]]
    model = Earthformer(compat.translate_config("earthformer", kwargs)).eval()
    x = torch.randn(1, *kwargs["input_shape"])
    found = model(x)
    assert found.shape == (1, *kwargs["target_shape"])
    assert found.isfinite().all()
