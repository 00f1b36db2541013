"""What the networks that see a noisy latent share: their options, the diffusion step, and the way down.

Axes in names of tensors: B batch, T H W grid, C channels, K global vectors, G their width, E time embedding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from itertools import pairwise

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.blocks import (
    POSITIONS,
    BlockConfig,
    Cuboid,
    GlobalVectorConfig,
    Initialisation,
    PatchMerging,
    Quirks,
    SelfAttentionBlock,
    Triple,
    cuboids_at_level,
    level_channels,
    level_grids,
    linear,
)
from xforecast.models.contract import Config, check_axes, check_choice, check_positive

__all__ = [
    "LATENT_BLOCK",
    "LatentConfig",
    "LatentEncoder",
    "ResidualBlock",
    "TimeEmbedding",
    "TimedLevels",
    "initial_vectors",
    "sinusoid",
]

LATENT_BLOCK = BlockConfig(
    padding="zeros", initialisation=Initialisation(attention_output="zeros", feed_forward_output="zeros")
)
"""Options of attention in a network of noise: a new one starts as the identity."""


@dataclass(frozen=True, kw_only=True)
class LatentConfig(Config):
    """What the networks that see a noisy latent have in common.

    Parameters
    ----------
    grid : (int, int)
        Height and width of the latent.
    channels : int
        Channels of the latent.
    base_channels : int
        Width of the finest level.
    channel_growth : float
        Exponent of the growth of the width from level to level; 1 multiplies it by the factor of `downsample`.
    level_channels : tuple of int, optional
        Width of every level, instead of `channel_growth`.
    downsample : (int, int, int)
        Factors between levels in time, height and width.
    depths : tuple of int
        Number of blocks at each level, from fine to coarse.
    cuboids : str, tuple of Cuboid, or tuple with one of these for each level
        Pattern of the attention layers in a block, as in :class:`~xforecast.models.earthformer.EncoderConfig`.
    feed_forward_each : bool
        A feed-forward layer after every attention layer, or one at the end of a block.
    positions : {"time+height+width", "time+space"}
        Kind of position embedding.
    time_ratio : int
        Width of the embedding of the diffusion step, relative to `base_channels`.
    time_scales : bool
        The diffusion step scales and shifts the normalised features, instead of being added to them.
    time_dropout : float
        Dropout in the residual blocks that take the diffusion step.
    block : BlockConfig
        Options of all attention blocks.
    global_vectors : GlobalVectorConfig
        Options of the global vectors; none by default.
    quirks : Quirks
        Behaviour of the original implementation; off unless its weights are used.
    """

    grid: tuple[int, int]
    channels: int = 64
    base_channels: int = 256
    channel_growth: float = 1.0
    level_channels: tuple[int, ...] | None = None
    downsample: Triple = (1, 2, 2)
    depths: tuple[int, ...] = (4, 4)
    cuboids: str | tuple[Cuboid, ...] | tuple[str | tuple[Cuboid, ...], ...] = "axial"
    feed_forward_each: bool = True
    positions: str = "time+height+width"
    time_ratio: int = 4
    time_scales: bool = False
    time_dropout: float = 0.0
    block: BlockConfig = LATENT_BLOCK
    global_vectors: GlobalVectorConfig = field(default_factory=lambda: GlobalVectorConfig(0))
    quirks: Quirks = field(default_factory=Quirks)

    def validate(self) -> None:
        for name in ("channels", "base_channels", "time_ratio"):
            check_positive(name, getattr(self, name))
        check_axes("grid", self.grid, (16, 16))
        check_axes("downsample", self.downsample, (1, 2, 2))
        check_choice("positions", self.positions, POSITIONS)
        if not self.depths:
            raise InvalidOption("depths", self.depths, "at least one level", "depths=(1, 1)")
        check_positive("depths", self.depths)
        if len(self.widths) != self.levels or self.widths[0] != self.base_channels:
            wanted = f"{self.levels} widths that begin with base_channels"
            raise InvalidOption("level_channels", self.widths, wanted, "leave level_channels= out")
        for width in self.widths:
            if width % self.block.heads:
                raise InvalidOption(
                    "width of a level", width, f"a multiple of {self.block.heads} heads",
                    "change base_channels, level_channels or block.heads",
                )  # fmt: skip
        for level in range(self.levels):  # unknown patterns and lists of the wrong length
            self.cuboids_at(level)

    @property
    def frames(self) -> int:
        """Number of frames that the network sees together."""
        raise NotImplementedError

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.depths)

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of every level."""
        if self.level_channels is not None:
            return self.level_channels
        return level_channels(self.base_channels, self.channel_growth, self.downsample, self.levels)

    @property
    def grids(self) -> tuple[Triple, ...]:
        """Time, height and width at every level."""
        return level_grids((self.frames, *self.grid), self.downsample, self.levels)

    def cuboids_at(self, level: int) -> tuple[Cuboid, ...]:
        """Cuboids of the blocks at a level."""
        return cuboids_at_level("cuboids", self.cuboids, level, self.grids)


def sinusoid(t: torch.Tensor, channels: int) -> torch.Tensor:
    """Cosines, then sines of `t` at frequencies from 1 down to 1/10000 (Vaswani et al. 2017), (batch, channels).

    Examples
    --------
    >>> sinusoid(torch.tensor([0]), 5).tolist()
    [[1.0, 1.0, 0.0, 0.0, 0.0]]
    """
    half = channels // 2
    frequencies = torch.exp(-math.log(10_000) * torch.arange(half, dtype=torch.float32, device=t.device) / half)
    angles = t[:, None].float() * frequencies
    return nn.functional.pad(torch.cat([angles.cos(), angles.sin()], dim=-1), (0, channels % 2))


class TimeEmbedding(nn.Module):
    """Vector of a diffusion step: sinusoids through two linear layers.

    Parameters
    ----------
    channels : int
        Number of sinusoids.
    out_channels : int
        Width of the embedding.

    Examples
    --------
    >>> TimeEmbedding(8, 32)(torch.tensor([0, 999])).shape
    torch.Size([2, 32])
    """

    def __init__(self, channels: int, out_channels: int):
        super().__init__()
        self.channels = channels
        self.layers = nn.Sequential(nn.Linear(channels, out_channels), nn.SiLU(), nn.Linear(out_channels, out_channels))

    def forward(self, t: torch.Tensor) -> torch.Tensor:
        """Embedding of steps (batch,), (batch, out_channels)."""
        return self.layers(sinusoid(t, self.channels).to(next(self.parameters()).dtype))


def _group_norm(channels: int) -> nn.GroupNorm:
    """32 groups where the channels can be divided so, else a group for each channel."""
    return nn.GroupNorm(channels if channels % 32 else 32, channels)


class ResidualBlock(nn.Module):
    """Two convolutions of space-time with a residual, which know the diffusion step (Dhariwal and Nichol 2021).

    A new block is the identity or a projection: the last convolution starts from zero.

    Parameters
    ----------
    channels, out_channels : int
        Channels of the features before and after.
    time_channels : int, optional
        Width of the time embedding; None for a block without.
    scales : bool
        The time embedding scales and shifts the normalised features, instead of being added to them.
    dropout : float
        Share of the features that is dropped in training.

    Examples
    --------
    >>> x, embedding = torch.randn(2, 3, 4, 4, 8), torch.randn(2, 16)
    >>> torch.equal(ResidualBlock(8, 8, time_channels=16)(x, embedding), x)
    True
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        *,
        time_channels: int | None = None,
        scales: bool = False,
        dropout: float = 0.0,
    ):
        super().__init__()
        self.scales = scales
        self.norm_in = _group_norm(channels)
        self.convolution_in = nn.Conv3d(channels, out_channels, 3, padding=1)
        self.step = None if time_channels is None else linear(time_channels, (1 + scales) * out_channels)
        self.norm_out = _group_norm(out_channels)
        self.dropout = nn.Dropout(dropout)
        self.convolution_out = nn.Conv3d(out_channels, out_channels, 3, padding=1)
        nn.init.zeros_(self.convolution_out.weight)
        nn.init.zeros_(self.convolution_out.bias)  # type: ignore[arg-type]
        self.shortcut = nn.Identity() if channels == out_channels else nn.Conv3d(channels, out_channels, 1)
        self.activation = nn.SiLU()

    def forward(self, x_BTHWC: torch.Tensor, embedding_BE: torch.Tensor | None = None) -> torch.Tensor:
        """Features (batch, time, height, width, out_channels)."""
        x = x_BTHWC.movedim(-1, 1)
        if torch.is_grad_enabled() and not x.requires_grad:
            # Torch crashes in the gradient of a group norm of channels-last data that need no gradient themselves.
            x = x.contiguous()
        hidden = self.convolution_in(self.activation(self.norm_in(x)))
        if self.step is None or embedding_BE is None:
            hidden = self.norm_out(hidden)
        else:
            timed = self.step(self.activation(embedding_BE))[..., None, None, None]
            if self.scales:
                scale, shift = timed.chunk(2, dim=1)
                hidden = self.norm_out(hidden) * (1 + scale) + shift
            else:
                hidden = self.norm_out(hidden + timed)
        hidden = self.convolution_out(self.dropout(self.activation(hidden)))
        return (self.shortcut(x) + hidden).movedim(1, -1)


class TimedLevels(nn.Module):
    """At every level a residual block, used before each of the level's blocks of self-attention."""

    def __init__(self, config: LatentConfig):
        super().__init__()
        widths = config.widths
        self.residual = nn.ModuleList(
            ResidualBlock(
                width,
                width,
                time_channels=config.time_ratio * config.base_channels,
                scales=config.time_scales,
                dropout=config.time_dropout,
            )
            for width in widths
        )
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                SelfAttentionBlock(
                    widths[level],
                    config.grids[level],
                    config.cuboids_at(level),
                    config.block,
                    config.global_vectors,
                    config.quirks,
                    feed_forward_each=config.feed_forward_each,
                )
                for _ in range(depth)
            )
            for level, depth in enumerate(config.depths)
        )

    def run_level(
        self, level: int, x: torch.Tensor, embedding_BE: torch.Tensor, vectors: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Features and global vectors after the blocks of a level."""
        for block in self.blocks[level]:  # type: ignore[attr-defined]
            x, vectors = block(self.residual[level](x, embedding_BE), vectors)
        return x, vectors

    def projections(self, config: LatentConfig, *, finer: bool) -> nn.ModuleList | None:
        """Projections of the global vectors from level to level; the original leaves them as torch initialises them."""
        if not config.global_vectors.count:
            return None
        ratio = config.global_vectors.width_ratio
        pairs = ((coarse, fine) if finer else (fine, coarse) for fine, coarse in pairwise(config.widths))
        return nn.ModuleList(nn.Linear(ratio * before, ratio * after) for before, after in pairs)


class LatentEncoder(TimedLevels):
    """The way down: levels with patch merging in between.

    Parameters
    ----------
    config : LatentConfig
        Configuration of the network that it is a part of.

    Examples
    --------
    >>> from xforecast.models import CuboidUNetConfig
    >>> config = CuboidUNetConfig(history=2, horizon=1, grid=(4, 4), base_channels=8, depths=(1, 1))
    >>> memory, _ = LatentEncoder(config)(torch.zeros(1, 3, 4, 4, 8), torch.zeros(1, 32))
    >>> [tuple(x.shape) for x in memory]
    [(1, 3, 4, 4, 8), (1, 3, 2, 2, 16)]
    """

    def __init__(self, config: LatentConfig):
        super().__init__(config)
        self.downsample = nn.ModuleList(
            PatchMerging(
                fine, coarse, config.downsample, padding=config.block.padding,
                scheme=config.block.initialisation.resample,
            )
            for fine, coarse in pairwise(config.widths)
        )  # fmt: skip
        self.vector_projection = self.projections(config, finer=False)

    def forward(
        self, x_BTHWC: torch.Tensor, embedding_BE: torch.Tensor, vectors_BKG: torch.Tensor | None = None
    ) -> tuple[list[torch.Tensor], torch.Tensor | None]:
        """Features of every level, from fine to coarse, and global vectors of the coarsest."""
        x, vectors = x_BTHWC, vectors_BKG
        memory: list[torch.Tensor] = []
        for level in range(len(self.residual)):
            if level:
                x = self.downsample[level - 1](x)
                if vectors is not None and self.vector_projection is not None:
                    vectors = self.vector_projection[level - 1](vectors)
            x, vectors = self.run_level(level, x, embedding_BE, vectors)
            memory.append(x)
        return memory, vectors


def initial_vectors(config: LatentConfig) -> nn.Parameter | None:
    """Learned global vectors that a network starts from, (count, width); None if it has none."""
    if not config.global_vectors.count:
        return None
    width = config.global_vectors.width_ratio * config.base_channels
    return nn.Parameter(0.02 * torch.randn(config.global_vectors.count, width))
