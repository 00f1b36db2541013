"""Weights of the original implementations, in our modules.

:func:`from_official` takes the constructor arguments and the state dict that belong to an official checkpoint and
returns our module, which gives the official numbers. Names are translated by tables, from ours to theirs, so that what
is wrong with a checkpoint is reported in its own names.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from xforecast.models.compat.earthformer import earthformer_config, earthformer_name, earthformer_state
from xforecast.models.compat.prediff import (
    alignment_config,
    autoencoder_config,
    autoencoder_name,
    autoencoder_state,
    denoiser_config,
    latent_name,
    latent_state,
)
from xforecast.models.contract import Config, check_choice, load_strictly
from xforecast.models.earthformer import Earthformer
from xforecast.models.prediff import Autoencoder, CuboidUNet, KnowledgeAlignment, PreDiff, PreDiffConfig

__all__ = ["from_official", "from_official_config", "official_name", "prediff_from_official", "translate_config"]

State = dict[str, torch.Tensor]


@dataclass(frozen=True)
class _Kind:
    """How one official class becomes one of ours."""

    model: type[nn.Module]
    config: Callable[[Mapping[str, Any]], Config]
    name: Callable[..., str]
    prepare: Callable[[nn.Module, State], tuple[State, Callable[[str], str]]]
    prefixes: tuple[str, ...]


KINDS: dict[str, _Kind] = {
    "earthformer": _Kind(Earthformer, earthformer_config, earthformer_name, earthformer_state, ("torch_nn_module.",)),
    "prediff-vae": _Kind(
        Autoencoder,
        autoencoder_config,
        autoencoder_name,
        autoencoder_state,
        ("first_stage_model.", "torch_nn_module."),
    ),
    "prediff-unet": _Kind(CuboidUNet, denoiser_config, latent_name, latent_state, ("torch_nn_module.",)),
    "prediff-alignment": _Kind(
        KnowledgeAlignment,
        alignment_config,
        latent_name,
        latent_state,
        ("alignment_model.", "torch_nn_module."),
    ),
}
"""Official classes by the name that :func:`from_official` takes; prefixes are those of weights in training checkpoints,
the first found of which is taken."""


def from_official(kind: str, kwargs: Mapping[str, Any], state_dict: Mapping[str, torch.Tensor]) -> nn.Module:
    """Our module with the weights of an official one.

    Parameters
    ----------
    kind : {"earthformer", "prediff-vae", "prediff-unet", "prediff-alignment"}
        Which of the official classes the weights are of.
    kwargs : mapping
        Constructor arguments of the official class; those left out have the official defaults, which for PreDiff are
        not the released values. Lists as read from JSON or YAML are taken for tuples.
    state_dict : mapping of str to Tensor
        The official state dict, or that of a training checkpoint, where names have a prefix such as
        ``torch_nn_module.``. The attention of the autoencoder may have the names of either diffusers generation.

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
    state = dict(state_dict)
    for prefix in KINDS[kind].prefixes:
        if any(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
            break
    model = KINDS[kind].model(config)
    state, rename = KINDS[kind].prepare(model, state)
    load_strictly(model, state, rename=rename)
    return model.eval()


def prediff_from_official(config: PreDiffConfig, states: Mapping[str, Mapping[str, torch.Tensor]]) -> PreDiff:
    """A PreDiff with all its parts from the state dicts of the official networks.

    Parameters
    ----------
    config : PreDiffConfig
        Without learned uncertainty of the loss, which is no part of the official networks' files.
    states : mapping of str to mapping
        Official state dicts by kind: "prediff-vae", "prediff-unet" and, for knowledge control through the network,
        "prediff-alignment".

    Returns
    -------
    PreDiff
        In evaluation mode.

    Raises
    ------
    CheckpointError
        For missing, unexpected and misshapen weights.
    """
    if "prediff-alignment" not in states:
        config = replace(config, alignment=None)
    parts = {"autoencoder": "prediff-vae", "denoiser": "prediff-unet", "alignment": "prediff-alignment"}
    made = {
        part: from_official_config(kind, getattr(config, part), states[kind])
        for part, kind in parts.items()
        if getattr(config, part) is not None
    }
    with torch.device("meta"):  # every part is replaced
        model = PreDiff(config)
    for part, network in made.items():
        setattr(model, part, network)
    return model.eval()


def official_name(name: str, kind: str = "earthformer", **options: Any) -> str:
    """The name that a weight of our model has in the official state dict.

    Parameters
    ----------
    name : str
        Name of the weight in our model.
    kind : str
        Which of the official classes; see :func:`from_official`.
    one_stage : bool
        For "earthformer": the official stem is of the kind that has one stage and no lists of them.

    Examples
    --------
    >>> official_name("encoder.levels.0.1.attention.2.query_key_value.weight")
    'encoder.blocks.0.1.attn_l.2.qkv.weight'
    >>> official_name("stem.merging.0.norm.bias", one_stage=True)
    'initial_encoder.patch_merge.norm.bias'
    >>> official_name("encoder.residual.0.step.weight", "prediff-unet")
    'down_time_embed_blocks.0.emb_layers.1.weight'
    """
    check_choice("kind", kind, KINDS)
    return KINDS[kind].name(name, **options)
