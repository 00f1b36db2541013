"""Attention with global vectors: a few tokens that attend to everything and that everything attends to.

Axes in names of tensors: B batch, N cuboids, L tokens of a cuboid, M keys, A heads, C channels, D width of a head, K
global vectors, G their width.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from xforecast.errors import InvalidOption
from xforecast.models.blocks.config import BlockConfig, GlobalVectorConfig
from xforecast.models.blocks.layers import linear

__all__ = [
    "PROJECTIONS",
    "Attention",
    "SeparateProjections",
    "SharedProjections",
    "given",
    "side_by_side",
    "split_heads",
    "with_globals",
]

Attention = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries, keys and values, each (batch, groups, tokens, heads, width of a head)."""


def given(vectors_BKG: torch.Tensor | None) -> torch.Tensor:
    """The global vectors, or an error if a layer that was built for some is called without them."""
    if vectors_BKG is None:
        wanted = "global vectors, (batch, count, width): the layer was built for them"
        raise InvalidOption("vectors_BKG", None, wanted, "build the layer with vectors=None")
    return vectors_BKG


def split_heads(x: torch.Tensor, parts: int, heads: int) -> Any:
    """Split the last axis into `parts` tensors, (..., heads, width of a head)."""
    return x.unflatten(-1, (parts, heads, -1)).unbind(-3)


def with_globals(tokens_BNMAD: torch.Tensor, globals_BKAD: torch.Tensor) -> torch.Tensor:
    """Keys or values of the global vectors after those of every cuboid."""
    expanded = globals_BKAD[:, None].expand(-1, tokens_BNMAD.shape[1], -1, -1, -1)
    return torch.cat([tokens_BNMAD, expanded], dim=2)


def side_by_side(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys of two kinds, widened with zeros so that each meets only its own half of the widened query."""
    return functional.pad(first, (0, second.shape[-1])), functional.pad(second, (first.shape[-1], 0))


class SharedProjections(nn.Module):
    """Global vectors meet the tokens' own queries, keys and values; one projection serves the vectors.

    Parameters
    ----------
    channels : int
        Width of tokens and of global vectors.
    config : GlobalVectorConfig
        Options of the global vectors.
    block : BlockConfig
        Options that all attention blocks of a model share.
    """

    def __init__(self, channels: int, config: GlobalVectorConfig, block: BlockConfig):
        super().__init__()
        self.heads, self.self_attention = block.heads, config.self_attention
        scheme = block.initialisation.attention
        self.query_key_value = linear(channels, 3 * channels, bias=block.query_bias, scheme=scheme)

    def forward(self, x_BNLC: torch.Tensor, vectors_BKG: torch.Tensor, local: Attention) -> tuple[Attention, Attention]:
        """Attention of the tokens and of the global vectors."""
        q, k, v = local
        vector_q, vector_k, vector_v = split_heads(self.query_key_value(vectors_BKG), 3, self.heads)
        of_tokens = q, with_globals(k, vector_k), with_globals(v, vector_v)
        all_k, all_v = k.flatten(1, 2)[:, None], v.flatten(1, 2)[:, None]
        if self.self_attention:
            all_k, all_v = with_globals(all_k, vector_k), with_globals(all_v, vector_v)
        return of_tokens, (vector_q[:, None], all_k, all_v)


class SeparateProjections(nn.Module):
    """Attention between tokens and global vectors with projections of its own.

    Queries of two kinds share one softmax: they are put side by side, and each kind of key is zero on the other's half.

    Parameters
    ----------
    channels : int
        Width of tokens.
    config : GlobalVectorConfig
        Options of the global vectors.
    block : BlockConfig
        Options that all attention blocks of a model share.
    """

    def __init__(self, channels: int, config: GlobalVectorConfig, block: BlockConfig):
        super().__init__()
        width = config.width_ratio * channels
        self.heads, self.self_attention = block.heads, config.self_attention

        def project(inputs: int, outputs: int) -> nn.Linear:
            return linear(inputs, outputs, bias=block.query_bias, scheme=block.initialisation.attention)

        self.token_query = project(channels, channels)
        self.vector_key_value = project(width, 2 * channels)
        self.vector_query = project(width, channels)
        self.token_key = project(channels, channels)
        self.token_value = project(channels, width)
        self.vector_query_key_value = project(width, 3 * width) if config.self_attention else None

    def forward(self, x_BNLC: torch.Tensor, vectors_BKG: torch.Tensor, local: Attention) -> tuple[Attention, Attention]:
        """Attention of the tokens and of the global vectors."""
        q, k, v = local
        (token_q,) = split_heads(self.token_query(x_BNLC), 1, self.heads)
        vector_k, vector_v = split_heads(self.vector_key_value(vectors_BKG), 2, self.heads)
        k, vector_k = side_by_side(k, vector_k)
        of_tokens = (
            torch.cat([q, token_q], dim=-1),
            with_globals(k, vector_k),
            with_globals(v, vector_v),
        )

        (vector_q,) = split_heads(self.vector_query(vectors_BKG), 1, self.heads)
        (all_k,) = split_heads(self.token_key(x_BNLC).flatten(1, 2)[:, None], 1, self.heads)
        (all_v,) = split_heads(self.token_value(x_BNLC).flatten(1, 2)[:, None], 1, self.heads)
        if self.vector_query_key_value is not None:
            own_q, own_k, own_v = split_heads(self.vector_query_key_value(vectors_BKG), 3, self.heads)
            all_k, own_k = side_by_side(all_k, own_k)
            vector_q = torch.cat([vector_q, own_q], dim=-1)
            all_k, all_v = with_globals(all_k, own_k), with_globals(all_v, own_v)
        return of_tokens, (vector_q[:, None], all_k, all_v)


PROJECTIONS = {"shared": SharedProjections, "separate": SeparateProjections}
"""Projections of the global vectors by the name in :class:`~xforecast.models.blocks.config.GlobalVectorConfig`."""
