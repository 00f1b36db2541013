"""Cuboid attention (Earthformer, sec. 3.1): attend inside each cuboid, and let global vectors connect them.

Axes in names of tensors: B batch, T H W grid, C channels, N cuboids, L tokens of a cuboid, M keys, A heads, D width of
a head, K global vectors, G their width.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from xforecast.errors import InvalidOption
from xforecast.models.blocks.cuboid import (
    Partition,
    RelativePositionBias,
    ScoreBias,
    allowed_pairs,
    relative_position_index,
)
from xforecast.models.blocks.layers import ACTIVATIONS, NORMS, FeedForward, Initialisation, attend, linear, recompute
from xforecast.models.blocks.patterns import CrossCuboid, Cuboid, Triple
from xforecast.models.blocks.resample import PADDINGS, merged_grid
from xforecast.models.contract import Config, check_choice, check_positive

__all__ = [
    "BlockConfig",
    "CrossAttentionBlock",
    "CuboidCrossAttention",
    "CuboidSelfAttention",
    "GlobalVectorConfig",
    "Quirks",
    "SelfAttentionBlock",
]

CHECKPOINTS = ("none", "feed_forward", "all")
"""Which layers are computed again for the gradient to save memory."""


@dataclass(frozen=True)
class BlockConfig(Config):
    """What all attention blocks of a model share.

    Parameters
    ----------
    heads : int
        Attention heads.
    padding : {"ignore", "zeros", "nearest"}
        How a grid that is no multiple of the cuboid is filled up: with zeros that nothing attends to; with zeros that
        take part; or by a resize.
    relative_position : bool
        Add a learned bias to the scores for each offset between two tokens of a cuboid.
    self_projection : bool
        Linear layer after self-attention; cross-attention always has one.
    query_bias : bool
        Bias of the query, key and value projections.
    score_scale : float, optional
        Factor of the scores; ``1 / sqrt(width of a head)`` if left out.
    norm : {"layer_norm", "rms_norm", "none"}
        Normalisation before attention and feed-forward.
    activation : str
        Of the feed-forward layers, a name in :data:`~xforecast.models.blocks.layers.ACTIVATIONS`.
    gated : bool
        Gated feed-forward layers.
    attention_dropout, projection_dropout, feed_forward_dropout : float
        Shares that are dropped in training: of attention weights, of projected updates, of feed-forward outputs.
    checkpoint : {"none", "feed_forward", "all"}
        Save memory in training by computing these layers again for the gradient. Changes no number.
    initialisation : Initialisation
        Schemes of the linear layers.

    Examples
    --------
    >>> BlockConfig(heads=8, padding="zeros").padding
    'zeros'
    """

    heads: int = 4
    padding: str = "ignore"
    relative_position: bool = True
    self_projection: bool = True
    query_bias: bool = False
    score_scale: float | None = None
    norm: str = "layer_norm"
    activation: str = "gelu"
    gated: bool = False
    attention_dropout: float = 0.1
    projection_dropout: float = 0.1
    feed_forward_dropout: float = 0.1
    checkpoint: str = "none"
    initialisation: Initialisation = field(default_factory=Initialisation)

    def validate(self) -> None:
        check_positive("block.heads", self.heads)
        check_choice("block.padding", self.padding, PADDINGS)
        check_choice("block.norm", self.norm, NORMS)
        check_choice("block.activation", self.activation, ACTIVATIONS)
        check_choice("block.checkpoint", self.checkpoint, CHECKPOINTS)
        for name in ("attention_dropout", "projection_dropout", "feed_forward_dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise InvalidOption(f"block.{name}", getattr(self, name), "a share between 0 and 1")

    def feed_forward(self, channels: int) -> FeedForward:
        """A feed-forward layer with these options."""
        return FeedForward(
            channels,
            activation=self.activation,
            gated=self.gated,
            norm=self.norm,
            dropout=self.feed_forward_dropout,
            initialisation=self.initialisation,
        )


@dataclass(frozen=True)
class GlobalVectorConfig(Config):
    """Global vectors: a few tokens that attend to everything and that everything attends to (Earthformer, sec. 3.1).

    Parameters
    ----------
    count : int
        Number of vectors; 0 for none.
    projections : {"shared", "separate"}
        Whether attention with global vectors uses the tokens' own queries, keys and values, or projections of its own.
    self_attention : bool
        Global vectors attend to one another too.
    width_ratio : int
        Width of a global vector relative to a token; other than 1 it needs separate projections.
    feed_forward : bool
        Feed-forward layers on the global vectors.
    decoder_self_attention, decoder_cross_attention : bool
        Use them in the decoder's self- and cross-attention; otherwise they serve the encoder only.
    decoder_update : bool
        The decoder's self-attention changes them for the layers that follow.

    Examples
    --------
    >>> GlobalVectorConfig(8, projections="separate", width_ratio=2).width_ratio
    2
    """

    count: int = 8
    projections: str = "shared"
    self_attention: bool = False
    width_ratio: int = 1
    feed_forward: bool = False
    decoder_self_attention: bool = False
    decoder_cross_attention: bool = False
    decoder_update: bool = True

    def validate(self) -> None:
        check_positive("global_vectors.count", self.count, least=0)
        check_positive("global_vectors.width_ratio", self.width_ratio)
        check_choice("global_vectors.projections", self.projections, ("shared", "separate"))
        if self.width_ratio != 1 and self.projections == "shared":
            raise InvalidOption("global_vectors.width_ratio", self.width_ratio, "1", 'or set projections to "separate"')


@dataclass(frozen=True)
class Quirks(Config):
    """Behaviour of the original implementation that its weights rely on; all off for a new model.

    Parameters
    ----------
    decoder_cuboids_from_history : bool
        Patterns of the decoder's self-attention are sized by the history instead of the horizon, so that a longer
        horizon is cut into pieces of the history's length.
    sliced_relative_index : bool
        Where a cuboid is larger than the grid, offsets are those of the first tokens of the full cuboid, which is wrong
        if height or width shrinks, instead of those of the fitted one.
    unordered_global_mask : bool
        With padding "ignore", the mask of global vectors over tokens lists places in the order of the grid while the
        tokens are in the order of cuboids, so that some real tokens are ignored and some padding is not.
    tiled_global_vectors : bool
        Where every frame of a batch is given the global vectors of its sample, frames are listed sample by sample and
        the vectors frame by frame, so that samples of one batch get each other's vectors.

    Examples
    --------
    >>> Quirks().decoder_cuboids_from_history
    False
    """

    decoder_cuboids_from_history: bool = False
    sliced_relative_index: bool = False
    unordered_global_mask: bool = False
    tiled_global_vectors: bool = False


Attention = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
"""Queries, keys and values, each (batch, groups, tokens, heads, width of a head)."""


def _given(vectors_BKG: torch.Tensor | None) -> torch.Tensor:
    if vectors_BKG is None:
        raise InvalidOption("vectors_BKG", None, "global vectors, (batch, count, width): the layer was built for them")
    return vectors_BKG


def _heads(x: torch.Tensor, parts: int, heads: int) -> Any:
    """Split the last axis into `parts` tensors, (..., heads, width of a head)."""
    return x.unflatten(-1, (parts, heads, -1)).unbind(-3)


def _with_globals(tokens_BNMAD: torch.Tensor, globals_BKAD: torch.Tensor) -> torch.Tensor:
    """Keys or values of the global vectors after those of every cuboid."""
    expanded = globals_BKAD[:, None].expand(-1, tokens_BNMAD.shape[1], -1, -1, -1)
    return torch.cat([tokens_BNMAD, expanded], dim=2)


def _side_by_side(first: torch.Tensor, second: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys of two kinds, widened with zeros so that each meets only its own half of the widened query."""
    return functional.pad(first, (0, second.shape[-1])), functional.pad(second, (first.shape[-1], 0))


class SharedProjections(nn.Module):
    """Global vectors meet the tokens' own queries, keys and values; one projection serves the vectors.

    Parameters
    ----------
    channels : int
        Width of tokens and of global vectors.
    config : GlobalVectorConfig
    block : BlockConfig
    """

    def __init__(self, channels: int, config: GlobalVectorConfig, block: BlockConfig):
        super().__init__()
        self.heads, self.self_attention = block.heads, config.self_attention
        scheme = block.initialisation.attention
        self.query_key_value = linear(channels, 3 * channels, bias=block.query_bias, scheme=scheme)

    def forward(self, x_BNLC: torch.Tensor, vectors_BKG: torch.Tensor, local: Attention) -> tuple[Attention, Attention]:
        """Attention of the tokens and of the global vectors."""
        q, k, v = local
        vector_q, vector_k, vector_v = _heads(self.query_key_value(vectors_BKG), 3, self.heads)
        of_tokens = q, _with_globals(k, vector_k), _with_globals(v, vector_v)
        all_k, all_v = k.flatten(1, 2)[:, None], v.flatten(1, 2)[:, None]
        if self.self_attention:
            all_k, all_v = _with_globals(all_k, vector_k), _with_globals(all_v, vector_v)
        return of_tokens, (vector_q[:, None], all_k, all_v)


class SeparateProjections(nn.Module):
    """Attention between tokens and global vectors with projections of its own.

    Queries of two kinds share one softmax: they are put side by side, and each kind of key is zero on the other's half.

    Parameters
    ----------
    channels : int
        Width of tokens.
    config : GlobalVectorConfig
    block : BlockConfig
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
        (token_q,) = _heads(self.token_query(x_BNLC), 1, self.heads)
        vector_k, vector_v = _heads(self.vector_key_value(vectors_BKG), 2, self.heads)
        k, vector_k = _side_by_side(k, vector_k)
        of_tokens = (
            torch.cat([q, token_q], dim=-1),
            _with_globals(k, vector_k),
            _with_globals(v, vector_v),
        )

        (vector_q,) = _heads(self.vector_query(vectors_BKG), 1, self.heads)
        (all_k,) = _heads(self.token_key(x_BNLC).flatten(1, 2)[:, None], 1, self.heads)
        (all_v,) = _heads(self.token_value(x_BNLC).flatten(1, 2)[:, None], 1, self.heads)
        if self.vector_query_key_value is not None:
            own_q, own_k, own_v = _heads(self.vector_query_key_value(vectors_BKG), 3, self.heads)
            all_k, own_k = _side_by_side(all_k, own_k)
            vector_q = torch.cat([vector_q, own_q], dim=-1)
            all_k, all_v = _with_globals(all_k, own_k), _with_globals(all_v, own_v)
        return of_tokens, (vector_q[:, None], all_k, all_v)


_PROJECTIONS = {"shared": SharedProjections, "separate": SeparateProjections}


class CuboidSelfAttention(nn.Module):
    """Self-attention within cuboids, and with global vectors (Earthformer, sec. 3.1).

    The result is the update; the caller adds it to the input.

    Parameters
    ----------
    channels : int
    grid : (int, int, int)
        Time, height and width of the input.
    cuboid : Cuboid
    block : BlockConfig
    vectors : GlobalVectorConfig, optional
        Left out or with count 0, there are no global vectors.
    quirks : Quirks

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
        block: BlockConfig = BlockConfig(),
        vectors: GlobalVectorConfig | None = None,
        quirks: Quirks = Quirks(),
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
        self.vectors = _PROJECTIONS[vectors.projections](channels, vectors, block)
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
        local = _heads(self.query_key_value(x), 3, self.heads)
        if self.vectors is None:
            out = self.bias.silence(self._attend(local, self.bias()))
            return self._update(out), None
        vectors_BKG = _given(vectors_BKG)
        of_tokens, of_vectors = self.vectors(x, self.vector_norm(vectors_BKG), local)
        out = self._attend(of_tokens, self.bias(vectors_BKG.shape[1]))
        vectors = self._attend(of_vectors, self.vectors_allowed)[:, 0]
        return self._update(out), self.dropout(self.vector_projection(vectors))

    def _attend(self, attention: Attention, bias: torch.Tensor | None) -> torch.Tensor:
        dropout = self.attention_dropout if self.training else 0.0
        return attend(*attention, bias, scale=self.scale, dropout=dropout)

    def _update(self, x_BNLC: torch.Tensor) -> torch.Tensor:
        return self.partition.reassemble(self.dropout(self.projection(x_BNLC)))


class CuboidCrossAttention(nn.Module):
    """Attention of the forecast to the memory of the encoder, cuboid by cuboid (Earthformer, sec. 3.2).

    The result is the update; the caller adds it to the input. The memory and its global vectors are used as they are,
    without a norm.

    Parameters
    ----------
    channels : int
    grid : (int, int, int)
        Time, height and width of the forecast.
    frames : int
        Frames of the memory, which has the same height and width.
    cuboid : CrossCuboid
    offsets : int
        Frames that the table of relative positions covers, more than those of forecast or memory.
    block : BlockConfig
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
        block: BlockConfig = BlockConfig(),
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
        (q,) = _heads(self.query(x), 1, self.heads)
        k, v = _heads(self.key_value(memory), 2, self.heads)
        global_keys = 0
        if self.has_vectors:
            vectors_BKG = _given(vectors_BKG)
            global_keys = vectors_BKG.shape[1]
            q, k, v = self._with_vectors(x, vectors_BKG, (q, k, v))
        dropout = self.attention_dropout if self.training else 0.0
        out = attend(q, k, v, self.bias(global_keys), scale=self.scale, dropout=dropout)
        return self.forecast.reassemble(self.dropout(self.projection(self.bias.silence(out))))

    def _with_vectors(self, x_BNLC: torch.Tensor, vectors_BKG: torch.Tensor, local: Attention) -> Attention:
        q, k, v = local
        if self.token_query is None or self.vector_key_value is None:
            vector_k, vector_v = _heads(self.key_value(vectors_BKG), 2, self.heads)
        else:
            vector_k, vector_v = _heads(self.vector_key_value(vectors_BKG), 2, self.heads)
            k, vector_k = _side_by_side(k, vector_k)
            q = torch.cat([q, *_heads(self.token_query(x_BNLC), 1, self.heads)], dim=-1)
        return q, _with_globals(k, vector_k), _with_globals(v, vector_v)


class SelfAttentionBlock(nn.Module):
    """Self-attention layers of one pattern in sequence, each followed by a feed-forward layer.

    Parameters
    ----------
    channels : int
    grid : (int, int, int)
        Time, height and width.
    cuboids : sequence of Cuboid
        One for each attention layer.
    block : BlockConfig
    vectors : GlobalVectorConfig, optional
    quirks : Quirks
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
        block: BlockConfig = BlockConfig(),
        vectors: GlobalVectorConfig | None = None,
        quirks: Quirks = Quirks(),
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


class CrossAttentionBlock(nn.Module):
    """Cross-attention layers of one pattern in sequence, each followed by a feed-forward layer.

    Parameters
    ----------
    channels : int
    grid : (int, int, int)
        Time, height and width of the forecast.
    frames : int
        Frames of the memory.
    cuboids : sequence of CrossCuboid
        One for each attention layer.
    offsets : int
        Frames that the table of relative positions covers.
    block : BlockConfig
    vectors : GlobalVectorConfig, optional
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
        block: BlockConfig = BlockConfig(),
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


def recomputing_layers(model: nn.Module) -> list[SelfAttentionBlock | CrossAttentionBlock]:
    """The layers of a model that can compute their activations again for the gradient, see `BlockConfig`."""
    return [module for module in model.modules() if isinstance(module, SelfAttentionBlock | CrossAttentionBlock)]
