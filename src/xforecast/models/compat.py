"""Weights of the original implementations, in our modules.

:func:`from_official` takes the constructor arguments and the state dict that belong to an official checkpoint and
returns our module, which gives the official numbers. Names are translated by tables, from ours to theirs, so that what
is wrong with a checkpoint is told in its own names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.attention import CHECKPOINTS, BlockConfig, GlobalVectorConfig
from xforecast.models.earthformer import DecoderConfig, Earthformer, EarthformerConfig, EncoderConfig
from xforecast.models.layers import Initialisation
from xforecast.models.patterns import CrossCuboid, Cuboid
from xforecast.models.presets import ORIGINAL
from xforecast.models.protocol import Config, check_choice, load_strictly
from xforecast.models.resample import StemConfig

__all__ = ["from_official", "from_official_config", "official_name", "translate_config"]

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

ACTIVATION_WORDS: dict[Any, str] = {
    None: "identity",
    "leaky": "leaky_relu",
    "softrelu": "softplus",
    **{name: name for name in ("identity", "elu", "gelu", "relu", "sigmoid", "tanh", "softplus", "softsign")},
}
STRATEGY_WORDS = {"l": "local", "d": "dilated"}
POSITION_WORDS = {"t+h+w": "time+height+width", "t+hw": "time+space"}
INITIAL_FORECAST_WORDS = {"zeros": "zeros", "nearest_interp": "nearest", "last": "last", "mean": "mean"}
NORM_WORDS: dict[Any, str] = {"layer_norm": "layer_norm", "rms_norm": "rms_norm", None: "none"}
INITIALISATION_WORDS = {"0": "fan_in", "1": "fan_out"}

EARTHFORMER_KEYS = (
    # ours, theirs; applied in this order to whole dotted parts
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
    ("convolution", "conv"),
    ("time", "T_embed.weight"),
    ("height", "H_embed.weight"),
    ("width", "W_embed.weight"),
    ("space", "HW_embed.weight"),
    ("vector_feed_forward", "global_ffn_l"),
    ("feed_forward", "ffn_l"),
    ("expand", "ffn_1"),
    ("gate", "ffn_1_gate"),
    ("contract", "ffn_2"),
    ("attention", "attn_l"),
    ("bias.relative.table", "relative_position_bias_table"),
    ("vectors.query_key_value", "global_qkv"),
    ("vectors.vector_query_key_value", "g2g_global_qkv_net"),
    ("vectors.vector_query", "g2l_global_q_net"),
    ("vectors.token_key", "g2l_k_net"),
    ("vectors.token_value", "g2l_v_net"),
    ("vectors.token_query", "l2g_q_net"),
    ("vectors.vector_key_value", "l2g_global_kv_net"),
    ("token_query", "l2g_q_net"),
    ("vector_key_value", "l2g_global_kv_net"),
    ("vector_norm", "global_vec_norm"),
    ("vector_projection", "global_proj"),
    ("query_key_value", "qkv"),
    ("key_value", "kv_proj"),
    ("query", "q_proj"),
    ("projection", "proj"),
)
"""Names in the state dict of :class:`~xforecast.models.earthformer.Earthformer` and in the official one."""


@dataclass(frozen=True)
class _Kind:
    """How one official class becomes one of ours."""

    model: type[nn.Module]
    config: Callable[[Mapping[str, Any]], Config]
    prepare: Callable[[nn.Module, dict[str, torch.Tensor]], tuple[dict[str, torch.Tensor], Callable[[str], str]]]


def from_official(kind: str, kwargs: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]) -> nn.Module:
    """Our module with the weights of an official one.

    Parameters
    ----------
    kind : {"earthformer"}
        Which of the official classes the weights are of.
    kwargs : mapping
        Constructor arguments of the official class; those left out have the official defaults. Lists as read from JSON
        or YAML are taken for tuples.
    state_dict : mapping of str to Tensor
        The official state dict, or that of a training checkpoint with the prefix ``torch_nn_module.``.

    Returns
    -------
    Module
        In evaluation mode; its forward gives the official numbers.

    Raises
    ------
    InvalidOption
        For unknown arguments, and for values that the official class does not have.
    CheckpointError
        For missing, unexpected and misshapen weights, all at once.

    Examples
    --------
    >>> kwargs = {"input_shape": (2, 4, 4, 1), "target_shape": (1, 4, 4, 1), "enc_depth": [1], "dec_depth": [1],
    ...           "base_units": 16, "enc_attn_patterns": "axial", "dec_self_attn_patterns": "axial",
    ...           "dec_cross_attn_patterns": "cross_1x1"}
    >>> from_official("earthformer", kwargs, {})  # doctest: +ELLIPSIS
    Traceback (most recent call last):
    ...
    xforecast.errors.CheckpointError: the weights do not fit Earthformer (... problems)
      missing     init_global_vectors (4, 16)
    ...
    """
    return from_official_config(kind, translate_config(kind, kwargs), state_dict)


def translate_config(kind: str, kwargs: Mapping[str, Any]) -> Config:
    """Our configuration for the constructor arguments of an official class; see :func:`from_official`.

    Examples
    --------
    >>> kwargs = {"input_shape": (12, 24, 48, 1), "target_shape": (14, 24, 48, 1), "enc_depth": [1], "dec_depth": [1],
    ...           "enc_attn_patterns": "axial"}
    >>> translate_config("earthformer", kwargs).encoder.cuboids
    'axial'
    """
    check_choice("kind", kind, KINDS)
    return KINDS[kind].config(kwargs)


def from_official_config(kind: str, config: Config, state_dict: Mapping[str, torch.Tensor]) -> nn.Module:
    """Our module with the weights of an official one, from our configuration of it; see :func:`from_official`."""
    check_choice("kind", kind, KINDS)
    prefix = "torch_nn_module."
    if any(name.startswith(prefix) for name in state_dict):
        state_dict = {name.removeprefix(prefix): value for name, value in state_dict.items() if name.startswith(prefix)}
    model = KINDS[kind].model(config)
    state, rename = KINDS[kind].prepare(model, dict(state_dict))
    load_strictly(model, state, rename=rename)
    return model.eval()


def official_name(name: str, *, one_stage: bool = False) -> str:
    """The name that a weight of our Earthformer has in the official state dict.

    Parameters
    ----------
    name : str
        Name in ours.
    one_stage : bool
        The official stem is of the kind that has one stage and no lists of them.

    Examples
    --------
    >>> official_name("encoder.levels.0.1.attention.2.query_key_value.weight")
    'encoder.blocks.0.1.attn_l.2.qkv.weight'
    >>> official_name("stem.merging.0.norm.bias", one_stage=True)
    'initial_encoder.patch_merge.norm.bias'
    """
    name = f".{name}."
    for ours, theirs in EARTHFORMER_KEYS:
        name = name.replace(f".{ours}.", f".{theirs}.")
    name = re.sub(r"(ffn_l\.\d+)\.norm\.", r"\1.layer_norm.", name)
    if one_stage:
        name = re.sub(r"_list\.0(?=\.)", "", name)
    return name[1:-1]


def _earthformer_state(
    model: nn.Module, state: dict[str, torch.Tensor]
) -> tuple[dict[str, torch.Tensor], Callable[[str], str]]:
    """The weights that we have too, and the function from our names to theirs."""
    one_stage = not any(name.startswith("initial_encoder.patch_merge_list.") for name in state)
    rename = partial(official_name, one_stage=one_stage)
    tables = {rename(name) for name in model.state_dict() if name.endswith("bias.relative.table")}
    indices = {name.removesuffix("bias_table") + "index" for name in tables}
    # The original has positions for its initial forecast even where it does not use them.
    unused = () if model.config.decoder.initial_forecast == "zeros" else ("dec_pos_embed.",)  # type: ignore[union-attr]
    kept = {name: value for name, value in state.items() if name not in indices and not name.startswith(unused)}
    return kept, rename


def _word(option: str, value: Any, words: Mapping[Any, str]) -> str:
    """Our word for one of theirs."""
    if value not in words:
        raise InvalidOption(option, value, f"one of {', '.join(map(str, words))}")
    return words[value]


def _triple(value: Any) -> tuple[int, ...]:
    """Factors in time, height and width from an integer, a pair or a triple."""
    values = (value, value) if isinstance(value, int) else tuple(value)
    return (1, *values) if len(values) == 2 else values


def _cuboids(patterns: Any, kind: type, *lists: Any) -> Any:
    """Names of patterns where they are given, else cuboids from the official lists.

    The lists hold sizes, strategies, shifts and so on, with one entry for each layer, or such a list for each level.
    """
    if patterns is not None:
        return patterns
    if len({len(entries) for entries in lists}) > 1:
        raise InvalidOption("lists of cuboids", lists, "sizes, strategies and shifts of equal number")
    layers = zip(*lists, strict=True)
    if isinstance(lists[0][0][0], list | tuple):
        return [_cuboids(None, kind, *level) for level in layers]
    return [
        kind(size, [_word("cuboid strategy", word, STRATEGY_WORDS) for word in strategy], *rest)
        for size, strategy, *rest in layers
    ]


def _earthformer_config(kwargs: Mapping[str, Any]) -> EarthformerConfig:
    """Our configuration from the official constructor arguments."""
    required = {"input_shape", "target_shape"}
    unknown, missing = set(kwargs) - required - set(EARTHFORMER_DEFAULTS), required - set(kwargs)
    if unknown or missing:
        raise InvalidOption(
            "arguments of the official Earthformer",
            {"unknown": sorted(unknown), "missing": sorted(missing)},
            f"input_shape, target_shape and any of {', '.join(EARTHFORMER_DEFAULTS)}",
        )
    a = {**EARTHFORMER_DEFAULTS, **kwargs}
    (history, *grid, input_channels), (horizon, *target_grid, output_channels) = (
        a["input_shape"],
        a["target_shape"],
    )
    if grid != target_grid:
        raise InvalidOption("target_shape", target_grid, f"the height and width of input_shape, {grid}")
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
        downsample=_triple(a["downsample"]),  # type: ignore[arg-type]
        positions=_word("pos_embed_type", a["pos_embed_type"], POSITION_WORDS),
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
        initial_forecast=_word("z_init_method", a["z_init_method"], INITIAL_FORECAST_WORDS),
        position_each_level=a["dec_hierarchical_pos_embed"],
        feed_forward_each=a["dec_use_inter_ffn"],
        upsample_kernel=a["upsample_kernel_size"],
    )


def _stem(a: Mapping[str, Any]) -> StemConfig:
    activation = _word("initial_downsample_activation", a["initial_downsample_activation"], ACTIVATION_WORDS)
    check_choice("initial_downsample_type", a["initial_downsample_type"], ("conv", "stack_conv"))
    if a["initial_downsample_type"] == "conv":
        return StemConfig(
            scales=(_triple(a["initial_downsample_scale"]),),  # type: ignore[arg-type]
            convolutions=(a["initial_downsample_conv_layers"],),
            head_convolutions=(a["final_upsample_conv_layers"],),
            norm_groups=16,
            activation=activation,
        )
    return StemConfig(
        scales=tuple(_triple(factor) for factor in a["initial_downsample_stack_conv_downscale_list"]),  # type: ignore[misc]
        convolutions=tuple(a["initial_downsample_stack_conv_num_conv_list"]),
        channels=a["initial_downsample_stack_conv_dim_list"],
        activation=activation,
    )


def _block(a: Mapping[str, Any]) -> BlockConfig:
    def scheme(option: str) -> str:
        return _word(option, a[option], INITIALISATION_WORDS)

    feed_forward = scheme("ffn_linear_init_mode")
    return BlockConfig(
        heads=a["num_heads"],
        padding=a["padding_type"],
        relative_position=a["use_relative_pos"],
        self_projection=a["self_attn_use_final_proj"],
        norm=_word("norm_layer", a["norm_layer"], NORM_WORDS),
        activation=_word("ffn_activation", a["ffn_activation"], ACTIVATION_WORDS),
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


KINDS: dict[str, _Kind] = {"earthformer": _Kind(Earthformer, _earthformer_config, _earthformer_state)}
"""Official classes by the name that :func:`from_official` takes."""
