"""Cuboid self-attention (Earthformer, sec. 3.1): attend inside each cuboid, and let global vectors connect them.

Axes in names of tensors: B batch, T H W grid, C channels, N cuboids, L tokens of a cuboid, K global vectors, G their
width.
"""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional

from xforecast.models.blocks.config import DEFAULT_BLOCK, NO_QUIRKS, BlockConfig, GlobalVectorConfig, Quirks
from xforecast.models.blocks.cuboid import (
    Partition,
    RelativePositionBias,
    ScoreBias,
    allowed_pairs,
    relative_position_index,
)
from xforecast.models.blocks.global_vectors import PROJECTIONS, Attention, given, split_heads
from xforecast.models.blocks.layers import NORMS, Recomputing, attend, linear, recompute
from xforecast.models.blocks.patterns import Cuboid, Triple

__all__ = ["CuboidSelfAttention", "SelfAttentionBlock"]


class CuboidSelfAttention(nn.Module):
    """Self-attention within cuboids, and with global vectors (Earthformer, sec. 3.1).

    The result is the update; the caller adds it to the input.

    Parameters
    ----------
    channels : int
        Width of the tokens.
    grid : (int, int, int)
        Time, height and width of the input.
    cuboid : Cuboid
        How the grid is cut into cuboids.
    block : BlockConfig
        Options that all attention blocks of a model share.
    vectors : GlobalVectorConfig, optional
        Left out or with count 0, there are no global vectors.
    quirks : Quirks
        Behaviour of the original implementation to be followed.

    Examples
    --------
    >>> layer = CuboidSelfAttention(16, (4, 6, 6), Cuboid((2, 3, 3)), vectors=GlobalVectorConfig(count=2))
    >>> x, vectors = layer(torch.zeros(1, 4, 6, 6, 16), torch.zeros(1, 2, 16))
    >>> x.shape, vectors.shape
    (torch.Size([1, 4, 6, 6, 16]), torch.Size([1, 2, 16]))
    """

    vectors_allowed: torch.Tensor | None

    def __init__(
        self,
        channels: int,
        grid: Triple,
        cuboid: Cuboid,
        block: BlockConfig = DEFAULT_BLOCK,
        vectors: GlobalVectorConfig | None = None,
        quirks: Quirks = NO_QUIRKS,
    ):
        super().__init__()
        vectors = vectors if vectors and vectors.count else None
        self.heads = block.heads
        self.scale = block.score_scale or (channels // block.heads) ** -0.5
        self.attention_dropout = block.attention_dropout
        self.partition = Partition.of(cuboid, grid, block.padding)
        self.norm = NORMS[block.norm](channels)
        schemes = block.initialisation
        self.query_key_value = linear(channels, 3 * channels, bias=block.query_bias, scheme=schemes.attention)
        self.projection: nn.Module = nn.Identity()
        if block.self_projection:
            self.projection = linear(channels, channels, scheme=schemes.attention_output)
        self.dropout = nn.Dropout(block.projection_dropout)
        relative = self._relative(cuboid, quirks, block.heads) if block.relative_position else None
        allowed = allowed_pairs(self.partition, self.partition)
        self.bias = ScoreBias(relative, allowed, has_globals=vectors is not None)
        self.vectors: nn.Module | None = None
        if vectors:
            self._add_vectors(channels, vectors, block, quirks)

    def _relative(self, cuboid: Cuboid, quirks: Quirks, heads: int) -> RelativePositionBias:
        size = self.partition.size
        if not quirks.sliced_relative_index:
            return RelativePositionBias(size, relative_position_index(size, size, size), heads)
        volume = math.prod(size)
        index = relative_position_index(cuboid.size, cuboid.size, cuboid.size)[:volume, :volume]
        return RelativePositionBias(cuboid.size, index.clone(), heads)

    def _add_vectors(self, channels: int, vectors: GlobalVectorConfig, block: BlockConfig, quirks: Quirks) -> None:
        width = vectors.width_ratio * channels
        self.vectors = PROJECTIONS[vectors.projections](channels, vectors, block)
        self.vector_norm = NORMS[block.norm](width)
        # The original leaves this one layer as torch initialises it.
        self.vector_projection = nn.Linear(width, width) if block.self_projection else nn.Identity()
        allowed = None
        if block.padding == "ignore" and any(self.partition.missing):
            real = self.partition.real()
            real = real.flatten() if quirks.unordered_global_mask else self.partition.by_cuboid(real).flatten()
            own_keys = vectors.count if vectors.self_attention else 0
            allowed = functional.pad(real, (0, own_keys), value=True).expand(1, 1, vectors.count, -1)
        self.register_buffer("vectors_allowed", allowed, persistent=False)

    def forward(
        self, x_BTHWC: torch.Tensor, vectors_BKG: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Updates of the tokens, (batch, time, height, width, channel), and of the global vectors."""
        x = self.partition.decompose(self.norm(x_BTHWC))
        local = split_heads(self.query_key_value(x), 3, self.heads)
        if self.vectors is None:
            out = self.bias.silence(self._attend(local, self.bias()))
            return self._update(out), None
        vectors_BKG = given(vectors_BKG)
        of_tokens, of_vectors = self.vectors(x, self.vector_norm(vectors_BKG), local)
        out = self._attend(of_tokens, self.bias(vectors_BKG.shape[1]))
        vectors = self._attend(of_vectors, self.vectors_allowed)[:, 0]
        return self._update(out), self.dropout(self.vector_projection(vectors))

    def _attend(self, attention: Attention, bias: torch.Tensor | None) -> torch.Tensor:
        dropout = self.attention_dropout if self.training else 0.0
        return attend(*attention, bias, scale=self.scale, dropout=dropout)

    def _update(self, x_BNLC: torch.Tensor) -> torch.Tensor:
        return self.partition.reassemble(self.dropout(self.projection(x_BNLC)))


class SelfAttentionBlock(Recomputing):
    """Self-attention layers of one pattern in sequence, each followed by a feed-forward layer.

    Parameters
    ----------
    channels : int
        Width of the tokens.
    grid : (int, int, int)
        Time, height and width.
    cuboids : sequence of Cuboid
        One for each attention layer.
    block : BlockConfig
        Options that all attention blocks of a model share.
    vectors : GlobalVectorConfig, optional
        Options of the global vectors; left out or with count 0, there are none.
    quirks : Quirks
        Behaviour of the original implementation to be followed.
    feed_forward_each : bool
        A feed-forward layer after every attention layer, or one at the end.

    Examples
    --------
    >>> block = SelfAttentionBlock(16, (2, 4, 4), [Cuboid((2, 1, 1)), Cuboid((1, 4, 4))])
    >>> block(torch.zeros(1, 2, 4, 4, 16))[0].shape
    torch.Size([1, 2, 4, 4, 16])
    """

    def __init__(
        self,
        channels: int,
        grid: Triple,
        cuboids: tuple[Cuboid, ...] | list[Cuboid],
        block: BlockConfig = DEFAULT_BLOCK,
        vectors: GlobalVectorConfig | None = None,
        quirks: Quirks = NO_QUIRKS,
        *,
        feed_forward_each: bool = True,
    ):
        super().__init__()
        self.checkpoint = block.checkpoint
        self.feed_forward_each = feed_forward_each
        self.attention = nn.ModuleList(
            CuboidSelfAttention(channels, grid, cuboid, block, vectors, quirks) for cuboid in cuboids
        )
        count = len(cuboids) if feed_forward_each else 1
        self.feed_forward = nn.ModuleList(block.feed_forward(channels) for _ in range(count))
        self.vector_feed_forward = None
        if vectors and vectors.count and vectors.feed_forward:
            width = vectors.width_ratio * channels
            self.vector_feed_forward = nn.ModuleList(block.feed_forward(width) for _ in range(count))

    def forward(
        self, x_BTHWC: torch.Tensor, vectors_BKG: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Tokens, (batch, time, height, width, channel), and global vectors."""
        x, vectors = x_BTHWC, vectors_BKG
        for k, attention in enumerate(self.attention):
            update, vector_update = recompute(attention, x, vectors, when=self.checkpoint == "all")
            x = x + update
            if vectors is not None and vector_update is not None:
                vectors = vectors + vector_update
            if self.feed_forward_each or attention is self.attention[-1]:
                x, vectors = self._feed_forward(k if self.feed_forward_each else 0, x, vectors)
        return x, vectors

    def _feed_forward(
        self, k: int, x: torch.Tensor, vectors: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        when = self.checkpoint != "none"
        x = recompute(self.feed_forward[k], x, when=when)
        if vectors is not None and self.vector_feed_forward is not None:
            vectors = recompute(self.vector_feed_forward[k], vectors, when=when)
        return x, vectors
