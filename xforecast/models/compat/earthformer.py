"""The official Earthformer: constructor arguments and names of weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.blocks import (
    CHECKPOINTS,
    ORIGINAL,
    BlockConfig,
    CrossCuboid,
    Cuboid,
    GlobalVectorConfig,
    Initialisation,
    StemConfig,
)
from xforecast.models.compat.words import (
    ACTIVATION_WORDS,
    CUBOID_KEYS,
    INITIALISATION_WORDS,
    NORM_WORDS,
    POSITION_WORDS,
    STRATEGY_WORDS,
    check_arguments,
    kept_tables,
    translate,
    triple,
    word,
)
from xforecast.models.contract import check_choice
from xforecast.models.earthformer import DecoderConfig, EarthformerConfig, EncoderConfig

__all__ = ["earthformer_config", "earthformer_name", "earthformer_state"]

EARTHFORMER_DEFAULTS: dict[str, Any] = {
    "base_units": 128,
    "block_units": None,
    "scale_alpha": 1.0,
    "num_heads": 4,
    "attn_drop": 0.0,
    "proj_drop": 0.0,
    "ffn_drop": 0.0,
    "downsample": 2,
    "downsample_type": "patch_merge",
    "upsample_type": "upsample",
    "upsample_kernel_size": 3,
    "enc_depth": (4, 4, 4),
    "enc_attn_patterns": None,
    "enc_cuboid_size": ((4, 4, 4), (4, 4, 4)),
    "enc_cuboid_strategy": (("l", "l", "l"), ("d", "d", "d")),
    "enc_shift_size": ((0, 0, 0), (0, 0, 0)),
    "enc_use_inter_ffn": True,
    "dec_depth": (2, 2),
    "dec_cross_start": 0,
    "dec_self_attn_patterns": None,
    "dec_self_cuboid_size": ((4, 4, 4), (4, 4, 4)),
    "dec_self_cuboid_strategy": (("l", "l", "l"), ("d", "d", "d")),
    "dec_self_shift_size": ((1, 1, 1), (0, 0, 0)),
    "dec_cross_attn_patterns": None,
    "dec_cross_cuboid_hw": ((4, 4), (4, 4)),
    "dec_cross_cuboid_strategy": (("l", "l", "l"), ("d", "l", "l")),
    "dec_cross_shift_hw": ((0, 0), (0, 0)),
    "dec_cross_n_temporal": (1, 2),
    "dec_cross_last_n_frames": None,
    "dec_use_inter_ffn": True,
    "dec_hierarchical_pos_embed": False,
    "num_global_vectors": 4,
    "use_dec_self_global": True,
    "dec_self_update_global": True,
    "use_dec_cross_global": True,
    "use_global_vector_ffn": True,
    "use_global_self_attn": False,
    "separate_global_qkv": False,
    "global_dim_ratio": 1,
    "z_init_method": "nearest_interp",
    "initial_downsample_type": "conv",
    "initial_downsample_activation": "leaky",
    "initial_downsample_scale": 1,
    "initial_downsample_conv_layers": 2,
    "final_upsample_conv_layers": 2,
    "initial_downsample_stack_conv_num_layers": 1,
    "initial_downsample_stack_conv_dim_list": None,
    "initial_downsample_stack_conv_downscale_list": (1,),
    "initial_downsample_stack_conv_num_conv_list": (2,),
    "ffn_activation": "leaky",
    "gated_ffn": False,
    "norm_layer": "layer_norm",
    "padding_type": "ignore",
    "pos_embed_type": "t+hw",
    "checkpoint_level": True,
    "use_relative_pos": True,
    "self_attn_use_final_proj": True,
    "dec_use_first_self_attn": False,
    "attn_linear_init_mode": "0",
    "ffn_linear_init_mode": "0",
    "conv_init_mode": "0",
    "down_up_linear_init_mode": "0",
    "norm_init_mode": "0",
}
"""Constructor arguments of the official Earthformer that may be left out."""

INITIAL_FORECAST_WORDS = {"zeros": "zeros", "nearest_interp": "nearest", "last": "last", "mean": "mean"}
EARTHFORMER_KEYS = (
    ("global_vectors", "init_global_vectors"),
    ("stem.convolutions", "initial_encoder.conv_block_list"),
    ("stem.merging", "initial_encoder.patch_merge_list"),
    ("head.convolutions", "final_decoder.conv_block_list"),
    ("head.upsampling", "final_decoder.upsample_list"),
    ("head.projection", "dec_final_proj"),
    ("initial_forecast.position", "dec_pos_embed"),
    ("initial_forecast.projection", "z_proj"),
    ("position", "enc_pos_embed"),
    ("encoder.levels", "encoder.blocks"),
    ("encoder.downsample", "encoder.down_layers"),
    ("encoder.vector_projection", "encoder.down_layer_global_proj"),
    ("decoder.upsample", "decoder.upsample_layers"),
    ("decoder.positions", "decoder.hierarchical_pos_embed_l"),
)
"""Names in the state dict of :class:`~xforecast.models.earthformer.Earthformer` and in the official one."""


def earthformer_name(name: str, *, one_stage: bool = False) -> str:
    """The official name of a weight of our Earthformer; `one_stage` for a stem that has no lists of stages."""
    name = translate(name, (*EARTHFORMER_KEYS, *CUBOID_KEYS))
    return re.sub(r"_list\.0(?=\.)", "", name) if one_stage else name


def earthformer_state(
    model: nn.Module, state: dict[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], Callable[[str], str]]:
    """The weights that we have too, and the function from our names to theirs."""
    one_stage = not any(name.startswith("initial_encoder.patch_merge_list.") for name in state)
    rename = partial(earthformer_name, one_stage=one_stage)
    # The original has positions for its initial forecast even where it does not use them.
    unused = () if model.config.decoder.initial_forecast == "zeros" else ("dec_pos_embed.",)  # type: ignore[union-attr]
    kept = {name: value for name, value in state.items() if not name.startswith(unused)}
    return kept_tables(model, kept, rename), rename


def _cuboids(patterns: Any, kind: type, *lists: Any) -> Any:
    """Names of patterns where they are given, else cuboids from the official lists.

    The lists hold sizes, strategies, shifts and so on, with one entry for each layer, or such a list for each level.
    """
    if patterns is not None:
        return patterns
    if len({len(entries) for entries in lists}) > 1:
        wanted = "sizes, strategies and shifts of equal number"
        raise InvalidOption("lists of cuboids", lists, wanted, "give one entry of each for every attention layer")
    layers = zip(*lists, strict=True)
    if isinstance(lists[0][0][0], list | tuple):
        return [_cuboids(None, kind, *level) for level in layers]
    return [
        kind(size, [word("cuboid strategy", letter, STRATEGY_WORDS) for letter in strategy], *rest)
        for size, strategy, *rest in layers
    ]


def earthformer_config(kwargs: Mapping[str, Any]) -> EarthformerConfig:
    """Our configuration from the official constructor arguments."""
    a = check_arguments("Earthformer", kwargs, EARTHFORMER_DEFAULTS, required=("input_shape", "target_shape"))
    (history, *grid, input_channels), (horizon, *target_grid, output_channels) = (
        a["input_shape"],
        a["target_shape"],
    )
    if grid != target_grid:
        wanted, remedy = f"the height and width of input_shape, {grid}", (horizon, *grid, output_channels)
        raise InvalidOption("target_shape", target_grid, wanted, f"target_shape={remedy}")
    for option, only in {
        "downsample_type": "patch_merge",
        "upsample_type": "upsample",
        "conv_init_mode": "0",
        "norm_init_mode": "0",
    }.items():
        check_choice(option, a[option], (only,))
    return EarthformerConfig(
        history=history,
        horizon=horizon,
        grid=tuple(grid),
        input_channels=input_channels,
        output_channels=output_channels,
        base_channels=a["base_units"],
        channel_growth=a["scale_alpha"],
        level_channels=a["block_units"],
        downsample=triple(a["downsample"]),  # type: ignore[arg-type]
        positions=word("pos_embed_type", a["pos_embed_type"], POSITION_WORDS),
        stem=_stem(a),
        encoder=EncoderConfig(
            depths=a["enc_depth"],
            cuboids=_cuboids(
                a["enc_attn_patterns"], Cuboid, a["enc_cuboid_size"], a["enc_cuboid_strategy"], a["enc_shift_size"]
            ),
            feed_forward_each=a["enc_use_inter_ffn"],
        ),
        decoder=_decoder(a),
        block=_block(a),
        global_vectors=_global_vectors(a),
        quirks=ORIGINAL,
    )


def _decoder(a: Mapping[str, Any]) -> DecoderConfig:
    return DecoderConfig(
        depths=a["dec_depth"],
        cuboids=_cuboids(
            a["dec_self_attn_patterns"],
            Cuboid,
            a["dec_self_cuboid_size"],
            a["dec_self_cuboid_strategy"],
            a["dec_self_shift_size"],
        ),
        cross_cuboids=_cuboids(
            a["dec_cross_attn_patterns"],
            CrossCuboid,
            a["dec_cross_cuboid_hw"],
            a["dec_cross_cuboid_strategy"],
            a["dec_cross_shift_hw"],
            a["dec_cross_n_temporal"],
        ),
        cross_start_level=a["dec_cross_start"],
        cross_last_frames=a["dec_cross_last_n_frames"],
        self_attention_first=a["dec_use_first_self_attn"],
        initial_forecast=word("z_init_method", a["z_init_method"], INITIAL_FORECAST_WORDS),
        position_each_level=a["dec_hierarchical_pos_embed"],
        feed_forward_each=a["dec_use_inter_ffn"],
        upsample_kernel=a["upsample_kernel_size"],
    )


def _stem(a: Mapping[str, Any]) -> StemConfig:
    activation = word("initial_downsample_activation", a["initial_downsample_activation"], ACTIVATION_WORDS)
    check_choice("initial_downsample_type", a["initial_downsample_type"], ("conv", "stack_conv"))
    if a["initial_downsample_type"] == "conv":
        return StemConfig(
            scales=(triple(a["initial_downsample_scale"]),),  # type: ignore[arg-type]
            convolutions=(a["initial_downsample_conv_layers"],),
            head_convolutions=(a["final_upsample_conv_layers"],),
            norm_groups=16,
            activation=activation,
        )
    return StemConfig(
        scales=tuple(triple(factor) for factor in a["initial_downsample_stack_conv_downscale_list"]),  # type: ignore[misc]
        convolutions=tuple(a["initial_downsample_stack_conv_num_conv_list"]),
        channels=a["initial_downsample_stack_conv_dim_list"],
        activation=activation,
    )


def _block(a: Mapping[str, Any]) -> BlockConfig:
    def scheme(option: str) -> str:
        return word(option, a[option], INITIALISATION_WORDS)

    feed_forward = scheme("ffn_linear_init_mode")
    return BlockConfig(
        heads=a["num_heads"],
        padding=a["padding_type"],
        relative_position=a["use_relative_pos"],
        self_projection=a["self_attn_use_final_proj"],
        norm=word("norm_layer", a["norm_layer"], NORM_WORDS),
        activation=word("ffn_activation", a["ffn_activation"], ACTIVATION_WORDS),
        gated=a["gated_ffn"],
        attention_dropout=a["attn_drop"],
        projection_dropout=a["proj_drop"],
        feed_forward_dropout=a["ffn_drop"],
        checkpoint=CHECKPOINTS[min(int(a["checkpoint_level"]), 2)],
        initialisation=Initialisation(
            attention=scheme("attn_linear_init_mode"),
            attention_output=feed_forward,
            feed_forward=feed_forward,
            feed_forward_output=feed_forward,
            resample=scheme("down_up_linear_init_mode"),
        ),
    )


def _global_vectors(a: Mapping[str, Any]) -> GlobalVectorConfig:
    return GlobalVectorConfig(
        count=a["num_global_vectors"],
        projections="separate" if a["separate_global_qkv"] else "shared",
        self_attention=a["use_global_self_attn"],
        width_ratio=a["global_dim_ratio"],
        feed_forward=a["use_global_vector_ffn"],
        decoder_self_attention=a["use_dec_self_global"],
        decoder_cross_attention=a["use_dec_cross_global"],
        decoder_update=a["dec_self_update_global"],
    )
