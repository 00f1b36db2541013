"""Words and names that the official Earthformer and PreDiff have in common."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import nn

from xforecast.errors import InvalidOption

ACTIVATION_WORDS: dict[Any, str] = {
    None: "identity",
    "leaky": "leaky_relu",
    "softrelu": "softplus",
    **{name: name for name in ("identity", "elu", "gelu", "relu", "sigmoid", "tanh", "softplus", "softsign")},
}
STRATEGY_WORDS = {"l": "local", "d": "dilated"}
POSITION_WORDS = {"t+h+w": "time+height+width", "t+hw": "time+space"}
NORM_WORDS: dict[Any, str] = {"layer_norm": "layer_norm", "rms_norm": "rms_norm", None: "none"}
INITIALISATION_WORDS = {"0": "fan_in", "1": "fan_out"}

Keys = Sequence[tuple[str, str]]
"""Names, ours and theirs, of parts of a weight's name between dots; they are replaced in this order."""

CUBOID_KEYS: Keys = (
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
"""Names of what is inside a block of cuboid attention, in position embeddings and in upsampling."""


def translate(name: str, keys: Keys) -> str:
    """The official name of a weight.

    Examples
    --------
    >>> translate("blocks.0.attention.2.query_key_value.weight", CUBOID_KEYS)
    'blocks.0.attn_l.2.qkv.weight'
    """
    name = f".{name}."
    for ours, theirs in keys:
        name = name.replace(f".{ours}.", f".{theirs}.")
    return re.sub(r"(ffn_l\.\d+)\.norm\.", r"\1.layer_norm.", name)[1:-1]


def kept_tables(
    model: nn.Module, state: Mapping[str, torch.Tensor], rename: Callable[[str], str]
) -> dict[str, torch.Tensor]:
    """The state without the index that the original stores beside each table of relative positions."""
    tables = {rename(name) for name in model.state_dict() if name.endswith("bias.relative.table")}
    indices = {name.removesuffix("bias_table") + "index" for name in tables}
    return {name: value for name, value in state.items() if name not in indices}


def check_arguments(
    model: str, kwargs: Mapping[str, Any], defaults: Mapping[str, Any], required: Sequence[str] = ()
) -> dict[str, Any]:
    """Arguments with defaults for those left out, or an error that lists the unknown and the missing."""
    unknown, missing = set(kwargs) - set(required) - set(defaults), set(required) - set(kwargs)
    if unknown or missing:
        remedies = [f"give a value for {', '.join(sorted(missing))}"] if missing else []
        remedies += [f"leave {', '.join(sorted(unknown))} out"] if unknown else []
        raise InvalidOption(
            f"arguments of the official {model}",
            {"unknown": sorted(unknown), "missing": sorted(missing)},
            f"{', '.join(required)} and any of {', '.join(defaults)}" if required else f"any of {', '.join(defaults)}",
            "; ".join(remedies),
        )
    return {**defaults, **kwargs}


def word(option: str, value: Any, words: Mapping[Any, str]) -> str:
    """Our word for one of theirs."""
    if value not in words:
        wanted = f"one of {', '.join(map(str, words))}"
        raise InvalidOption(option, value, wanted, f"for example {option}={next(iter(words))!r}")
    return words[value]


def triple(value: Any) -> tuple[int, ...]:
    """Factors in time, height and width from an integer, a pair or a triple."""
    values = (value, value) if isinstance(value, int) else tuple(value)
    return (1, *values) if len(values) == 2 else values
