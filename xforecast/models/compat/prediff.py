"""The three official networks of PreDiff: constructor arguments and names of weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.blocks import CHECKPOINTS, ORIGINAL_LATENT, BlockConfig, GlobalVectorConfig, Initialisation
from xforecast.models.compat.words import (
    ACTIVATION_WORDS,
    CUBOID_KEYS,
    INITIALISATION_WORDS,
    NORM_WORDS,
    POSITION_WORDS,
    Keys,
    check_arguments,
    kept_tables,
    translate,
    triple,
    word,
)
from xforecast.models.contract import check_choice
from xforecast.models.prediff import AutoencoderConfig, CuboidUNetConfig, KnowledgeAlignmentConfig

__all__ = [
    "alignment_config",
    "autoencoder_config",
    "autoencoder_name",
    "autoencoder_state",
    "denoiser_config",
    "latent_name",
    "latent_state",
]

AUTOENCODER_DEFAULTS: dict[str, Any] = {
    "in_channels": 3,
    "out_channels": 3,
    "down_block_types": None,
    "up_block_types": None,
    "block_out_channels": (64,),
    "layers_per_block": 1,
    "act_fn": "silu",
    "latent_channels": 4,
    "norm_num_groups": 32,
    # Without effect on the network.
    "sample_size": 32,
    "scaling_factor": 0.18215,
    "data_channels": None,
}
"""Constructor arguments of the official autoencoder that may be left out."""

LATENT_DEFAULTS: dict[str, Any] = {
    "block_units": None,
    "scale_alpha": 1.0,
    "block_attn_patterns": None,
    "self_pattern": "axial",
    "num_heads": 4,
    "attn_drop": 0.1,
    "proj_drop": 0.1,
    "ffn_drop": 0.1,
    "downsample": 2,
    "downsample_type": "patch_merge",
    "ffn_activation": "gelu",
    "gated_ffn": False,
    "norm_layer": "layer_norm",
    "use_inter_ffn": True,
    "hierarchical_pos_embed": False,
    "pos_embed_type": "t+h+w",
    "padding_type": "zeros",
    "checkpoint_level": 0,
    "use_relative_pos": True,
    "self_attn_use_final_proj": True,
    "num_global_vectors": 0,
    "use_global_vector_ffn": False,
    "use_global_self_attn": False,
    "separate_global_qkv": False,
    "global_dim_ratio": 1,
    "time_embed_channels_mult": 4,
    "time_embed_use_scale_shift_norm": False,
    "time_embed_dropout": 0.0,
    "attn_linear_init_mode": "0",
    "ffn_linear_init_mode": "0",
    "ffn2_linear_init_mode": "2",
    "attn_proj_linear_init_mode": "2",
    "conv_init_mode": "0",
    "global_proj_linear_init_mode": "2",
    "norm_init_mode": "0",
}
"""Arguments that both networks of the latent have; those left out have the released values."""

DENOISER_DEFAULTS: dict[str, Any] = {
    **LATENT_DEFAULTS,
    "base_units": 256,
    "depth": (4, 4),
    "upsample_type": "upsample",
    "upsample_kernel_size": 3,
    "unet_res_connect": True,
    "down_up_linear_init_mode": "0",
    # In the released configuration file, and not used.
    "use_dec_self_global": False,
    "dec_self_update_global": True,
    "use_dec_cross_global": False,
}

ALIGNMENT_DEFAULTS: dict[str, Any] = {
    **LATENT_DEFAULTS,
    "base_units": 128,
    "depth": (1, 1),
    "out_channels": 1,
    "pool": "attention",
    "readout_seq": True,
    "out_len": None,
    "down_linear_init_mode": "0",
    # This belongs to the guidance and not to the network.
    "guide_scale": 50.0,
}

AUTOENCODER_ACTIVATIONS = {"silu": "silu", "swish": "silu", "relu": "relu", "gelu": "gelu"}
LATENT_INITIALISATION_WORDS = {**INITIALISATION_WORDS, "2": "zeros"}

AUTOENCODER_KEYS: Keys = (
    ("encoder.moments", "quant_conv"),
    ("decoder.latent", "post_quant_conv"),
    ("encoder.levels", "encoder.down_blocks"),
    ("decoder.levels", "decoder.up_blocks"),
    ("middle.blocks", "mid_block.resnets"),
    ("middle.attention", "mid_block.attentions.0"),
    ("mid_block.attentions.0.norm", "mid_block.attentions.0.group_norm"),
    ("projection", "proj_attn"),
    ("blocks", "resnets"),
    ("stem", "conv_in"),
    ("head.norm", "conv_norm_out"),
    ("head.convolution", "conv_out"),
    ("first.norm", "norm1"),
    ("first.convolution", "conv1"),
    ("second.norm", "norm2"),
    ("second.convolution", "conv2"),
    ("shortcut", "conv_shortcut"),
)
"""Names in the state dict of :class:`~xforecast.models.prediff.autoencoder.Autoencoder` and in the official one."""

NEWER_ATTENTION_KEYS = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
"""Names of the autoencoder's attention in newer releases of diffusers, and in those that the original was made with."""

LATENT_KEYS: Keys = (
    ("readout.norm", "out.0"),
    ("readout.position", "out.2.positional_embedding"),
    ("readout.query_key_value", "out.2.qkv_proj"),
    ("readout.projection", "out.2.c_proj"),
    ("global_vectors", "init_global_vectors"),
    ("stem", "first_proj"),
    ("head", "final_proj"),
    ("position", "pos_embed"),
    ("time_embedding.layers", "time_embed.layer"),
    ("encoder.residual", "down_time_embed_blocks"),
    ("decoder.residual", "up_time_embed_blocks"),
    ("encoder.blocks", "down_self_blocks"),
    ("decoder.blocks", "up_self_blocks"),
    ("encoder.downsample", "downsample_layers"),
    ("decoder.upsample", "upsample_layers"),
    ("encoder.vector_projection", "down_layer_global_proj"),
    ("decoder.vector_projection", "up_layer_global_proj"),
    ("norm_in", "in_layers.0"),
    ("convolution_in", "in_layers.2"),
    ("step", "emb_layers.1"),
    ("norm_out", "out_layers.0"),
    ("convolution_out", "out_layers.3"),
    ("shortcut", "skip_connection"),
    *CUBOID_KEYS,
)
"""Names in the state dicts of :class:`~xforecast.models.prediff.denoiser.CuboidUNet` and
:class:`~xforecast.models.prediff.alignment.KnowledgeAlignment`, and in the official ones."""

State = dict[str, torch.Tensor]


def autoencoder_name(name: str) -> str:
    """The official name of a weight of our autoencoder."""
    name = translate(name, AUTOENCODER_KEYS)
    name = re.sub(r"(down_blocks\.\d+)\.resample\.convolution", r"\1.downsamplers.0.conv", name)
    return re.sub(r"(up_blocks\.\d+)\.resample\.convolution", r"\1.upsamplers.0.conv", name)


def latent_name(name: str) -> str:
    """The official name of a weight of our denoiser or alignment network."""
    return translate(name, LATENT_KEYS)


def autoencoder_state(model: nn.Module, state: State) -> tuple[State, Callable[[str], str]]:
    """The weights under the older names, and the function from our names to those."""

    def older(name: str) -> str:
        found = re.fullmatch(r"(.*mid_block\.attentions\.0)\.(to_q|to_k|to_v|to_out\.0)\.(\w+)", name)
        return f"{found[1]}.{NEWER_ATTENTION_KEYS[found[2]]}.{found[3]}" if found else name

    return {older(name): value for name, value in state.items()}, autoencoder_name


def latent_state(model: nn.Module, state: State) -> tuple[State, Callable[[str], str]]:
    """The weights that we have too, and the function from our names to theirs."""
    return kept_tables(model, state, latent_name), latent_name


def autoencoder_config(kwargs: Mapping[str, Any]) -> AutoencoderConfig:
    """Our configuration from the constructor arguments of the official autoencoder."""
    a = check_arguments("autoencoder", kwargs, AUTOENCODER_DEFAULTS)
    levels = len(a["block_out_channels"])
    for option, only in {
        "down_block_types": "DownEncoderBlock2D",
        "up_block_types": "UpDecoderBlock2D",
    }.items():
        if a[option] is not None and tuple(a[option]) != (only,) * levels:
            wanted = f"{only} for each of {levels} block_out_channels"
            raise InvalidOption(option, a[option], wanted, f"leave {option} out")
    return AutoencoderConfig(
        input_channels=a["in_channels"],
        output_channels=a["out_channels"],
        level_channels=a["block_out_channels"],
        latent_channels=a["latent_channels"],
        blocks_per_level=a["layers_per_block"],
        norm_groups=a["norm_num_groups"],
        activation=word("act_fn", a["act_fn"], AUTOENCODER_ACTIVATIONS),
    )


def denoiser_config(kwargs: Mapping[str, Any]) -> CuboidUNetConfig:
    """Our configuration from the constructor arguments of the official denoiser."""
    a = check_arguments("denoiser", kwargs, DENOISER_DEFAULTS, required=("input_shape", "target_shape"))
    (history, *grid, channels), (horizon, *target) = a["input_shape"], a["target_shape"]
    if [*grid, channels] != target:
        wanted = f"height, width and channels of input_shape, {[*grid, channels]}"
        raise InvalidOption("target_shape", target, wanted, f"target_shape={(horizon, *grid, channels)}")
    check_choice("upsample_type", a["upsample_type"], ("upsample",))
    return CuboidUNetConfig(
        history=history,
        horizon=horizon,
        skip_connections=a["unet_res_connect"],
        upsample_kernel=a["upsample_kernel_size"],
        **_latent(a, grid, channels, resample="down_up_linear_init_mode"),
    )


def alignment_config(kwargs: Mapping[str, Any]) -> KnowledgeAlignmentConfig:
    """Our configuration from the constructor arguments of the official alignment network."""
    a = check_arguments("alignment network", kwargs, ALIGNMENT_DEFAULTS, required=("input_shape",))
    horizon, *grid, channels = a["input_shape"]
    check_choice("pool", a["pool"], ("attention",))
    return KnowledgeAlignmentConfig(
        horizon=horizon,
        output_channels=a["out_channels"],
        per_frame=a["readout_seq"],
        output_frames=a["out_len"] if a["readout_seq"] else None,
        **_latent(a, grid, channels, resample="down_linear_init_mode"),
    )


def _latent(a: Mapping[str, Any], grid: list[int], channels: int, *, resample: str) -> dict[str, Any]:
    """What both networks of the latent have in common."""
    for option, only in {
        "downsample_type": "patch_merge",
        "conv_init_mode": "0",
        "norm_init_mode": "0",
    }.items():
        check_choice(option, a[option], (only,))
    if a["hierarchical_pos_embed"]:
        wanted = "False; the original cannot be built otherwise"
        raise InvalidOption("hierarchical_pos_embed", True, wanted, "hierarchical_pos_embed=False")
    return {
        "grid": tuple(grid),
        "channels": channels,
        "base_channels": a["base_units"],
        "channel_growth": a["scale_alpha"],
        "level_channels": a["block_units"],
        "downsample": triple(a["downsample"]),
        "depths": a["depth"],
        "cuboids": a["self_pattern"] if a["block_attn_patterns"] is None else a["block_attn_patterns"],
        "feed_forward_each": a["use_inter_ffn"],
        "positions": word("pos_embed_type", a["pos_embed_type"], POSITION_WORDS),
        "time_ratio": a["time_embed_channels_mult"],
        "time_scales": a["time_embed_use_scale_shift_norm"],
        "time_dropout": a["time_embed_dropout"],
        "block": _block(a, resample),
        "global_vectors": GlobalVectorConfig(
            a["num_global_vectors"],
            projections="separate" if a["separate_global_qkv"] else "shared",
            self_attention=a["use_global_self_attn"],
            width_ratio=a["global_dim_ratio"],
            feed_forward=a["use_global_vector_ffn"],
        ),
        "quirks": ORIGINAL_LATENT,
    }


def _block(a: Mapping[str, Any], resample: str) -> BlockConfig:
    def scheme(option: str) -> str:
        return word(option, a[option], LATENT_INITIALISATION_WORDS)

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
            attention_output=scheme("attn_proj_linear_init_mode"),
            feed_forward=scheme("ffn_linear_init_mode"),
            feed_forward_output=scheme("ffn2_linear_init_mode"),
            resample=scheme(resample),
        ),
    )
