"""Cuboid cross-attention (Earthformer, sec. 3.2): the forecast attends to the memory of the encoder.

Axes in names of tensors: B batch, T H W grid, C channels, N cuboids, L tokens of a cuboid, K global vectors, G their
width.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import nn

from xforecast.models.blocks.config import DEFAULT_BLOCK, BlockConfig, GlobalVectorConfig
from xforecast.models.blocks.cuboid import (
    Partition,
    RelativePositionBias,
    ScoreBias,
    allowed_pairs,
    relative_position_index,
)
from xforecast.models.blocks.global_vectors import Attention, given, side_by_side, split_heads, with_globals
from xforecast.models.blocks.layers import NORMS, Recomputing, attend, linear, recompute
from xforecast.models.blocks.patterns import CrossCuboid, Triple
from xforecast.models.blocks.resample import merged_grid

__all__ = ["CrossAttentionBlock", "CuboidCrossAttention"]


class CuboidCrossAttention(nn.Module):
    """Attention of the forecast to the memory of the encoder, cuboid by cuboid (Earthformer, sec. 3.2).

    The result is the update; the caller adds it to the input. The memory and its global vectors are used as they are,
    without a norm.

    Parameters
    ----------
    channels : int
        Width of the tokens.
    grid : (int, int, int)
        Time, height and width of the forecast.
    frames : int
        Frames of the memory, which has the same height and width.
    cuboid : CrossCuboid
        How forecast and memory are cut into cuboids.
    offsets : int
        Frames that the table of relative positions covers, more than those of forecast or memory.
    block : BlockConfig
        Options that all attention blocks of a model share.
    vectors : GlobalVectorConfig, optional
        Attend to global vectors too.

    Examples
    --------
    >>> layer = CuboidCrossAttention(16, (3, 6, 6), 5, CrossCuboid((2, 2)), offsets=8)
    >>> layer(torch.zeros(1, 3, 6, 6, 16), torch.zeros(1, 5, 6, 6, 16)).shape
    torch.Size([1, 3, 6, 6, 16])
    """

    def __init__(
        self,
        channels: int,
        grid: Triple,
        frames: int,
        cuboid: CrossCuboid,
        offsets: int,
        block: BlockConfig = DEFAULT_BLOCK,
        vectors: GlobalVectorConfig | None = None,
    ):
        super().__init__()
        vectors = vectors if vectors and vectors.count else None
        self.heads = block.heads
        self.scale = block.score_scale or (channels // block.heads) ** -0.5
        self.attention_dropout = block.attention_dropout
        self.frames = min(frames, cuboid.last_frames or frames)
        self.forecast = self._partition(cuboid, grid, block.padding)
        memory = self._partition(cuboid, (self.frames, *grid[1:]), block.padding)
        self.memory = replace(memory, pad_front=True)

        def project(inputs: int, outputs: int) -> nn.Linear:
            return linear(inputs, outputs, bias=block.query_bias, scheme=block.initialisation.attention)

        self.norm = NORMS[block.norm](channels)
        self.query = project(channels, channels)
        self.key_value = project(channels, 2 * channels)
        self.projection = linear(channels, channels, scheme=block.initialisation.attention_output)
        self.dropout = nn.Dropout(block.projection_dropout)
        self.has_vectors = vectors is not None
        self.token_query = self.vector_key_value = None
        if vectors and vectors.projections == "separate":
            self.token_query = project(channels, channels)
            self.vector_key_value = project(vectors.width_ratio * channels, 2 * channels)

        relative = None
        if block.relative_position:
            extent = (offsets, *cuboid.size)
            index = relative_position_index(extent, self.forecast.size, self.memory.size)
            relative = RelativePositionBias(extent, index, block.heads)
        allowed = allowed_pairs(self.forecast, self.memory)
        self.bias = ScoreBias(relative, allowed, has_globals=self.has_vectors)

    @staticmethod
    def _partition(cuboid: CrossCuboid, grid: Triple, padding: str) -> Partition:
        chunks = cuboid.temporal_chunks
        size = (-(-grid[0] // chunks), *cuboid.size)
        counts = (chunks, *merged_grid(grid, size)[1:])
        height, width = (
            0 if strategy == "dilated" else shift
            for strategy, shift in zip(cuboid.strategy[1:], cuboid.shift, strict=True)
        )
        return Partition(grid, size, counts, cuboid.strategy, (0, height, width), padding)

    def forward(
        self,
        x_BTHWC: torch.Tensor,
        memory_BTHWC: torch.Tensor,
        vectors_BKG: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Update of the forecast's tokens, (batch, time, height, width, channel)."""
        x = self.forecast.decompose(self.norm(x_BTHWC))
        memory = self.memory.decompose(memory_BTHWC[:, -self.frames :])
        (q,) = split_heads(self.query(x), 1, self.heads)
        k, v = split_heads(self.key_value(memory), 2, self.heads)
        global_keys = 0
        if self.has_vectors:
            vectors_BKG = given(vectors_BKG)
            global_keys = vectors_BKG.shape[1]
            q, k, v = self._with_vectors(x, vectors_BKG, (q, k, v))
        dropout = self.attention_dropout if self.training else 0.0
        out = attend(q, k, v, self.bias(global_keys), scale=self.scale, dropout=dropout)
        return self.forecast.reassemble(self.dropout(self.projection(self.bias.silence(out))))

    def _with_vectors(self, x_BNLC: torch.Tensor, vectors_BKG: torch.Tensor, local: Attention) -> Attention:
        q, k, v = local
        if self.token_query is None or self.vector_key_value is None:
            vector_k, vector_v = split_heads(self.key_value(vectors_BKG), 2, self.heads)
        else:
            vector_k, vector_v = split_heads(self.vector_key_value(vectors_BKG), 2, self.heads)
            k, vector_k = side_by_side(k, vector_k)
            q = torch.cat([q, *split_heads(self.token_query(x_BNLC), 1, self.heads)], dim=-1)
        return q, with_globals(k, vector_k), with_globals(v, vector_v)


class CrossAttentionBlock(Recomputing):
    """Cross-attention layers of one pattern in sequence, each followed by a feed-forward layer.

    Parameters
    ----------
    channels : int
        Width of the tokens.
    grid : (int, int, int)
        Time, height and width of the forecast.
    frames : int
        Frames of the memory.
    cuboids : sequence of CrossCuboid
        One for each attention layer.
    offsets : int
        Frames that the table of relative positions covers.
    block : BlockConfig
        Options that all attention blocks of a model share.
    vectors : GlobalVectorConfig, optional
        Options of the global vectors; left out or with count 0, there are none.
    feed_forward_each : bool
        A feed-forward layer after every attention layer, or one at the end.

    Examples
    --------
    >>> block = CrossAttentionBlock(16, (2, 4, 4), 3, [CrossCuboid((1, 1))], offsets=5)
    >>> block(torch.zeros(1, 2, 4, 4, 16), torch.zeros(1, 3, 4, 4, 16)).shape
    torch.Size([1, 2, 4, 4, 16])
    """

    def __init__(
        self,
        channels: int,
        grid: Triple,
        frames: int,
        cuboids: tuple[CrossCuboid, ...] | list[CrossCuboid],
        offsets: int,
        block: BlockConfig = DEFAULT_BLOCK,
        vectors: GlobalVectorConfig | None = None,
        *,
        feed_forward_each: bool = True,
    ):
        super().__init__()
        self.checkpoint = block.checkpoint
        self.feed_forward_each = feed_forward_each
        self.attention = nn.ModuleList(
            CuboidCrossAttention(channels, grid, frames, cuboid, offsets, block, vectors) for cuboid in cuboids
        )
        count = len(cuboids) if feed_forward_each else 1
        self.feed_forward = nn.ModuleList(block.feed_forward(channels) for _ in range(count))

    def forward(
        self,
        x_BTHWC: torch.Tensor,
        memory_BTHWC: torch.Tensor,
        vectors_BKG: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Tokens of the forecast, (batch, time, height, width, channel)."""
        x = x_BTHWC
        for k, attention in enumerate(self.attention):
            x = x + recompute(attention, x, memory_BTHWC, vectors_BKG, when=self.checkpoint == "all")
            if self.feed_forward_each or attention is self.attention[-1]:
                layer = self.feed_forward[k if self.feed_forward_each else 0]
                x = recompute(layer, x, when=self.checkpoint != "none")
        return x
