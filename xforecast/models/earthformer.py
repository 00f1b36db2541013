"""Earthformer: a hierarchical encoder-decoder of cuboid attention (Gao et al., NeurIPS 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.blocks import (
    POSITIONS,
    BlockConfig,
    CrossAttentionBlock,
    CrossCuboid,
    Cuboid,
    GlobalVectorConfig,
    Head,
    PatchMerging,
    PositionEmbedding,
    Quirks,
    SelfAttentionBlock,
    Stem,
    StemConfig,
    Triple,
    Upsample,
    cross_cuboids,
    cuboids_at_level,
    level_channels,
    level_grids,
    linear,
    resize_nearest,
)
from xforecast.models.catalogue import register
from xforecast.models.contract import Config, check_axes, check_choice, check_positive, check_shape, weighted_mse

__all__ = ["DecoderConfig", "Earthformer", "EarthformerConfig", "EncoderConfig", "describe_cuboids"]

INITIAL_FORECASTS = ("zeros", "nearest", "last", "mean")


@dataclass(frozen=True)
class EncoderConfig(Config):
    """Levels of the encoder, from fine to coarse.

    Parameters
    ----------
    depths : tuple of int
        Number of blocks at each level.
    cuboids : str, tuple of Cuboid, or tuple with one of these for each level
        Pattern of the attention layers in a block: a name in
        :data:`~xforecast.models.blocks.patterns.SELF_PATTERNS`, or the cuboids themselves.
    feed_forward_each : bool
        A feed-forward layer after every attention layer, or one at the end of a block.

    Examples
    --------
    >>> EncoderConfig(depths=(2, 2), cuboids=("video_swin_2x8", (Cuboid((4, 4, 4)),))).feed_forward_each
    True
    """

    depths: tuple[int, ...] = (1, 1)
    cuboids: str | tuple[Cuboid, ...] | tuple[str | tuple[Cuboid, ...], ...] = "axial"
    feed_forward_each: bool = True

    def validate(self) -> None:
        check_positive("encoder.depths", self.depths)
        if not self.depths:
            raise InvalidOption("encoder.depths", self.depths, "at least one level", "depths=(1, 1)")


@dataclass(frozen=True)
class DecoderConfig(Config):
    """Levels of the decoder; like those of the encoder they are listed from fine to coarse.

    Parameters
    ----------
    depths : tuple of int
        Number of blocks at each level.
    cuboids : str, tuple of Cuboid, or tuple with one of these for each level
        Pattern of the self-attention layers, as in :class:`EncoderConfig`.
    cross_cuboids : str, tuple of CrossCuboid, or tuple with one of these for each level
        Pattern of the cross-attention layers: a name in
        :data:`~xforecast.models.blocks.patterns.CROSS_PATTERNS`, or the cuboids themselves.
    cross_start_level : int
        Finest level with cross-attention.
    cross_last_frames : int, optional
        Attend to the last frames of the memory only.
    self_attention_first : bool
        Start the coarsest level with self-attention; otherwise the forecast first attends to the memory.
    initial_forecast : {"zeros", "nearest", "last", "mean"}
        What the decoder starts from: learned positions; or the coarsest memory, resized in time, its last frame, or its
        mean over time.
    initial_positions : bool
        Add a position embedding to the initial forecast, by which the leads differ; otherwise it has one only where it
        starts from zeros.
    position_each_level : bool
        Add a position embedding after every upsampling.
    feed_forward_each : bool
        A feed-forward layer after every attention layer, or one at the end of a block.
    upsample_kernel : int
        Odd kernel of the convolution after each upsampling.

    Examples
    --------
    >>> DecoderConfig(initial_forecast="last", cross_cuboids=(CrossCuboid((2, 2)),)).depths
    (1, 1)
    """

    depths: tuple[int, ...] = (1, 1)
    cuboids: str | tuple[Cuboid, ...] | tuple[str | tuple[Cuboid, ...], ...] = "axial"
    cross_cuboids: str | tuple[CrossCuboid, ...] | tuple[str | tuple[CrossCuboid, ...], ...] = "cross_1x1"
    cross_start_level: int = 0
    cross_last_frames: int | None = None
    self_attention_first: bool = False
    initial_forecast: str = "zeros"
    initial_positions: bool = False
    position_each_level: bool = False
    feed_forward_each: bool = True
    upsample_kernel: int = 3

    def validate(self) -> None:
        check_positive("decoder.depths", self.depths)
        check_positive("decoder.cross_start_level", self.cross_start_level, least=0)
        check_positive("decoder.upsample_kernel", self.upsample_kernel)
        check_choice("decoder.initial_forecast", self.initial_forecast, INITIAL_FORECASTS)
        if self.cross_last_frames is not None:
            check_positive("decoder.cross_last_frames", self.cross_last_frames)
        if self.upsample_kernel % 2 == 0:
            remedy = f"upsample_kernel={self.upsample_kernel + 1}"
            raise InvalidOption("decoder.upsample_kernel", self.upsample_kernel, "an odd number", remedy)


@dataclass(frozen=True, kw_only=True)
class EarthformerConfig(Config):
    """Everything that defines an :class:`Earthformer`.

    Parameters
    ----------
    history, horizon : int
        Number of time steps that go in and that come out.
    grid : (int, int)
        Height and width of the data, of any size.
    input_channels, output_channels : int
        Number of channels that go in and that come out.
    base_channels : int
        Width of the finest level.
    channel_growth : float
        Exponent of the growth of the width from level to level; 1 multiplies it by the factor of `downsample`.
    level_channels : tuple of int, optional
        Width of every level, instead of `channel_growth`.
    downsample : (int, int, int)
        Factors between levels in time, height and width.
    positions : {"time+height+width", "time+space"}
        Kind of position embedding.
    position_spread : float
        Standard deviation of the position embeddings at the start of training. That of the paper, 0.02, is faint beside
        tokens of unit size; where place decides much and data are few, a larger one learns faster.
    relative_amplitude : bool
        Divide each channel that is forecast by its root mean square over the history, and multiply the forecast by it:
        the forecast then scales with the history, as in a linear system.
    stem : StemConfig
        Convolutions and patch merging before the first level and after the last.
    encoder : EncoderConfig
        Depths and cuboids of the encoder.
    decoder : DecoderConfig
        Depths and cuboids of the decoder.
    block : BlockConfig
        Options of all attention blocks.
    global_vectors : GlobalVectorConfig
        Options of the global vectors.
    quirks : Quirks
        Behaviour of the original implementation; off unless its weights are used.

    Examples
    --------
    >>> config = EarthformerConfig(history=6, horizon=4, grid=(17, 32), base_channels=16)
    >>> config.channels, config.grids
    ((16, 32), ((6, 9, 16), (6, 5, 8)))
    >>> EarthformerConfig.from_dict(config.to_dict()) == config
    True
    """

    history: int
    horizon: int
    grid: tuple[int, int]
    input_channels: int = 1
    output_channels: int = 1
    base_channels: int = 64
    channel_growth: float = 1.0
    level_channels: tuple[int, ...] | None = None
    downsample: Triple = (1, 2, 2)
    positions: str = "time+height+width"
    position_spread: float = 0.02
    relative_amplitude: bool = False
    stem: StemConfig = field(default_factory=StemConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    block: BlockConfig = field(default_factory=BlockConfig)
    global_vectors: GlobalVectorConfig = field(default_factory=GlobalVectorConfig)
    quirks: Quirks = field(default_factory=Quirks)

    def validate(self) -> None:
        for name in ("history", "horizon", "input_channels", "output_channels", "base_channels"):
            check_positive(name, getattr(self, name))
        check_axes("grid", self.grid, (24, 48))
        check_axes("downsample", self.downsample, (1, 2, 2))
        check_choice("positions", self.positions, POSITIONS)
        if not self.position_spread >= 0:
            wanted = "a standard deviation, 0 or more"
            raise InvalidOption("position_spread", self.position_spread, wanted, "position_spread=0.02")
        if self.relative_amplitude and self.input_channels < self.output_channels:
            raise InvalidOption(
                "relative_amplitude",
                f"{self.input_channels} channels in, {self.output_channels} out",
                "every channel that comes out among the first that go in",
                "relative_amplitude=False",
            )
        self.stem.check_channels(self.input_channels, self.base_channels)
        self._check_levels()
        for level in range(self.levels):  # unknown patterns and lists of the wrong length
            self.encoder_cuboids(level), self.decoder_cuboids(level), self.cross_cuboids(level)

    def _check_levels(self) -> None:
        if len(self.decoder.depths) != self.levels:
            raise InvalidOption(
                "decoder.depths",
                self.decoder.depths,
                f"one depth for each of the encoder's {self.levels} levels",
                f"depths={(1,) * self.levels}",
            )
        if self.decoder.cross_start_level >= self.levels:
            found, wanted = self.decoder.cross_start_level, f"a level from 0 to {self.levels - 1}"
            raise InvalidOption("decoder.cross_start_level", found, wanted, "cross_start_level=0")
        if len(self.channels) != self.levels or self.channels[0] != self.base_channels:
            wanted = f"{self.levels} widths that begin with base_channels"
            raise InvalidOption("level_channels", self.channels, wanted, "leave level_channels= out")
        for channels in self.channels:
            if channels % self.block.heads:
                raise InvalidOption(
                    "width of a level", channels, f"a multiple of {self.block.heads} heads",
                    "change base_channels, level_channels or block.heads",
                )  # fmt: skip

    @property
    def levels(self) -> int:
        """Number of levels."""
        return len(self.encoder.depths)

    @property
    def channels(self) -> tuple[int, ...]:
        """Width of every level."""
        if self.level_channels is not None:
            return self.level_channels
        return level_channels(self.base_channels, self.channel_growth, self.downsample, self.levels)

    @property
    def grids(self) -> tuple[Triple, ...]:
        """Time, height and width of the encoder's memory at every level."""
        return level_grids(self.stem.grids((self.history, *self.grid))[-1], self.downsample, self.levels)

    def forecast_grid(self, level: int) -> Triple:
        """Time, height and width of the decoder at a level."""
        return (self.horizon, *self.grids[level][1:])

    def encoder_cuboids(self, level: int) -> tuple[Cuboid, ...]:
        """Cuboids of the encoder's blocks at a level."""
        return cuboids_at_level("encoder.cuboids", self.encoder.cuboids, level, self.grids)

    def decoder_cuboids(self, level: int) -> tuple[Cuboid, ...]:
        """Cuboids of the decoder's self-attention blocks at a level."""
        from_history = self.quirks.decoder_cuboids_from_history
        grids = self.grids if from_history else tuple(map(self.forecast_grid, range(self.levels)))
        return cuboids_at_level("decoder.cuboids", self.decoder.cuboids, level, grids)

    def cross_cuboids(self, level: int) -> tuple[CrossCuboid, ...]:
        """Cuboids of the decoder's cross-attention blocks at a level."""
        return cuboids_at_level(
            "decoder.cross_cuboids", self.decoder.cross_cuboids, level, self.grids, named=cross_cuboids
        )


def describe_cuboids(config: EarthformerConfig) -> str:
    """Table of the cuboids of every attention layer, for reading.

    Examples
    --------
    >>> print(describe_cuboids(EarthformerConfig(history=6, horizon=4, grid=(16, 32), encoder=EncoderConfig((1,)),
    ...                                          decoder=DecoderConfig((1,)))))
    level 0, 64 channels
      encoder on (6, 8, 16): (6, 1, 1) (1, 8, 1) (1, 1, 16)
      decoder on (4, 8, 16): (4, 1, 1) (1, 8, 1) (1, 1, 16)
      cross: (1, 1)
    """

    def draw(cuboid: Cuboid | CrossCuboid) -> str:
        marks = "".join("d" if strategy == "dilated" else "l" for strategy in cuboid.strategy)
        text = f"{cuboid.size}" + (f" {marks}" if "d" in marks else "")
        return text + (f" shift {cuboid.shift}" if any(cuboid.shift) else "")

    lines = []
    for level, channels in enumerate(config.channels):
        grid, forecast = config.grids[level], config.forecast_grid(level)
        rows: dict[str, Sequence[Cuboid | CrossCuboid]] = {
            f"encoder on {grid}": [cuboid.fitted(grid) for cuboid in config.encoder_cuboids(level)],
            f"decoder on {forecast}": [cuboid.fitted(forecast) for cuboid in config.decoder_cuboids(level)],
            "cross": config.cross_cuboids(level) if level >= config.decoder.cross_start_level else [],
        }
        lines.append(f"level {level}, {channels} channels")
        lines += [f"  {name}: {' '.join(map(draw, cuboids)) or 'none'}" for name, cuboids in rows.items()]
    return "\n".join(lines)


Levels = list[torch.Tensor]
OptionalLevels = list[torch.Tensor | None]


class Encoder(nn.Module):
    """Blocks of self-attention at every level, with patch merging in between."""

    def __init__(self, config: EarthformerConfig):
        super().__init__()
        channels, schemes = config.channels, config.block.initialisation
        self.levels = nn.ModuleList(
            nn.ModuleList(
                SelfAttentionBlock(
                    channels[level],
                    config.grids[level],
                    config.encoder_cuboids(level),
                    config.block,
                    config.global_vectors,
                    config.quirks,
                    feed_forward_each=config.encoder.feed_forward_each,
                )
                for _ in range(depth)
            )
            for level, depth in enumerate(config.encoder.depths)
        )
        self.downsample = nn.ModuleList(
            PatchMerging(fine, coarse, config.downsample, padding=config.block.padding, scheme=schemes.resample)
            for fine, coarse in pairwise(channels)
        )
        self.vector_projection = None
        if config.global_vectors.count:
            ratio = config.global_vectors.width_ratio
            # The original leaves these layers as torch initialises them.
            self.vector_projection = nn.ModuleList(
                nn.Linear(ratio * fine, ratio * coarse) for fine, coarse in pairwise(channels)
            )

    def forward(self, x_BTHWC: torch.Tensor, vectors_BKG: torch.Tensor | None) -> tuple[Levels, OptionalLevels]:
        """Memory and global vectors of every level, from fine to coarse."""
        x, vectors = x_BTHWC, vectors_BKG
        memory: Levels = []
        vector_memory: OptionalLevels = []
        for level, blocks in enumerate(self.levels):
            if level:
                x = self.downsample[level - 1](x)
                if vectors is not None and self.vector_projection is not None:
                    vectors = self.vector_projection[level - 1](vectors)
            for block in blocks:  # type: ignore[attr-defined]
                x, vectors = block(x, vectors)
            memory.append(x)
            vector_memory.append(vectors)
        return memory, vector_memory


def _position_embedding(config: EarthformerConfig, channels: int, grid: Triple) -> PositionEmbedding:
    return PositionEmbedding(channels, grid, config.positions, config.position_spread)


class InitialForecast(nn.Module):
    """What the decoder starts from, made of learned positions or of the coarsest memory."""

    def __init__(self, config: EarthformerConfig):
        super().__init__()
        self.kind, self.grid = config.decoder.initial_forecast, config.forecast_grid(config.levels - 1)
        channels = config.channels[-1]
        self.position = None
        if self.kind == "zeros" or config.decoder.initial_positions:
            self.position = _position_embedding(config, channels, self.grid)
        self.projection = linear(channels, channels)

    def forward(self, memory_BTHWC: torch.Tensor) -> torch.Tensor:
        """Tokens, (batch, horizon, height, width, channel)."""
        if self.kind == "zeros" and self.position is not None:
            zeros = memory_BTHWC.new_zeros(1, *self.grid, memory_BTHWC.shape[-1])
            return self.projection(self.position(zeros)).expand(len(memory_BTHWC), -1, -1, -1, -1)
        tokens = self.projection(self._from_memory(memory_BTHWC)).expand(-1, self.grid[0], -1, -1, -1)
        return tokens if self.position is None else self.position(tokens)

    def _from_memory(self, memory_BTHWC: torch.Tensor) -> torch.Tensor:
        if self.kind == "nearest":
            return resize_nearest(memory_BTHWC, self.grid)
        return memory_BTHWC.mean(dim=1, keepdim=True) if self.kind == "mean" else memory_BTHWC[:, -1:]


class Decoder(nn.Module):
    """Blocks of self- and cross-attention at every level, from coarse to fine, with upsampling in between."""

    def __init__(self, config: EarthformerConfig):
        super().__init__()
        decoder, vectors = config.decoder, config.global_vectors
        channels, top = config.channels, config.levels - 1
        self.start, self.self_first = decoder.cross_start_level, decoder.self_attention_first
        self.update = vectors.decoder_update
        self.self_blocks = nn.ModuleList(
            nn.ModuleList(
                SelfAttentionBlock(
                    channels[level],
                    config.forecast_grid(level),
                    config.decoder_cuboids(level),
                    config.block,
                    vectors if vectors.decoder_self_attention else None,
                    config.quirks,
                    feed_forward_each=decoder.feed_forward_each,
                )
                for _ in range(depth if level < top or decoder.self_attention_first else depth - 1)
            )
            for level, depth in enumerate(decoder.depths)
        )
        self.cross_blocks = nn.ModuleList(
            nn.ModuleList(self._cross_block(config, level) for _ in range(decoder.depths[level]))
            for level in range(self.start, config.levels)
        )
        self.upsample = nn.ModuleList(
            Upsample(coarse, fine, config.grids[level][1:], decoder.upsample_kernel)
            for level, (fine, coarse) in enumerate(pairwise(channels))
        )
        self.positions = None
        if decoder.position_each_level:
            self.positions = nn.ModuleList(
                _position_embedding(config, channels[level], config.forecast_grid(level)) for level in range(top)
            )

    @staticmethod
    def _cross_block(config: EarthformerConfig, level: int) -> CrossAttentionBlock:
        decoder, vectors = config.decoder, config.global_vectors
        frames = config.grids[level][0]
        if decoder.cross_last_frames is not None:
            frames = min(frames, decoder.cross_last_frames)
        return CrossAttentionBlock(
            config.channels[level],
            config.forecast_grid(level),
            frames,
            config.cross_cuboids(level),
            config.grids[0][0] + config.horizon,
            config.block,
            vectors if vectors.decoder_cross_attention else None,
            feed_forward_each=decoder.feed_forward_each,
        )

    def forward(self, x_BTHWC: torch.Tensor, memory: Levels, vectors: OptionalLevels) -> torch.Tensor:
        """Tokens of the finest level, (batch, horizon, height, width, channel)."""
        x = x_BTHWC
        for level in reversed(range(len(self.self_blocks))):
            x = self._level(level, x, memory[level], vectors[level])
            if level:
                x = self.upsample[level - 1](x)
                if self.positions is not None:
                    x = self.positions[level - 1](x)
        return x

    def _level(self, level: int, x: torch.Tensor, memory: torch.Tensor, vectors: torch.Tensor | None) -> torch.Tensor:
        self_blocks: Any = self.self_blocks[level]
        cross_blocks: Any = self.cross_blocks[level - self.start] if level >= self.start else []
        if level == len(self.self_blocks) - 1 and not self.self_first:
            x, cross_blocks = cross_blocks[0](x, memory, vectors), cross_blocks[1:]
        for k, block in enumerate(self_blocks):
            x, updated = block(x, vectors)
            if self.update and updated is not None:
                vectors = updated
            if cross_blocks:
                x = cross_blocks[k](x, memory, vectors)
        return x


class Earthformer(nn.Module):
    """Space-time transformer that forecasts by cuboid attention (Gao et al., NeurIPS 2022).

    Data go through a convolutional stem, a hierarchical encoder of cuboid self-attention with global vectors, a decoder
    that attends to the encoder's memory at every level, and a convolutional head.

    Parameters
    ----------
    config : EarthformerConfig
        For the published configurations see :mod:`xforecast.models.presets`.

    References
    ----------
    Gao, Z., X. Shi, H. Wang, Y. Zhu, Y. Wang, M. Li, D.-Y. Yeung, 2022: Earthformer: Exploring space-time transformers
    for Earth system forecasting. NeurIPS 35. https://arxiv.org/abs/2207.05833

    Examples
    --------
    >>> config = EarthformerConfig(history=4, horizon=3, grid=(9, 12), base_channels=16)
    >>> model = Earthformer(config).eval()
    >>> model(torch.zeros(2, 4, 9, 12, 1)).shape
    torch.Size([2, 3, 9, 12, 1])
    """

    def __init__(self, config: EarthformerConfig):
        super().__init__()
        self.config = config
        padding, scheme = config.block.padding, config.block.initialisation.resample
        self.global_vectors = None
        if config.global_vectors.count:
            width = config.global_vectors.width_ratio * config.base_channels
            self.global_vectors = nn.Parameter(0.02 * torch.randn(config.global_vectors.count, width))
        self.stem = Stem(config.stem, config.input_channels, config.base_channels, padding=padding, scheme=scheme)
        self.position = _position_embedding(config, config.base_channels, config.grids[0])
        self.encoder = Encoder(config)
        self.initial_forecast = InitialForecast(config)
        self.decoder = Decoder(config)
        grid = (config.horizon, *config.grid)
        self.head = Head(config.stem, grid, config.base_channels, config.output_channels, scheme=scheme)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast from the history.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
            The histories.

        Returns
        -------
        Tensor, (batch, horizon, height, width, channel)
        """
        check_shape(x, (self.config.history, *self.config.grid, self.config.input_channels))
        vectors = None
        if self.global_vectors is not None:
            vectors = self.global_vectors.expand(len(x), -1, -1)
        amplitude = None
        if self.config.relative_amplitude:
            amplitude = self._amplitude(x)
            x = torch.cat(
                [x[..., : self.config.output_channels] / amplitude, x[..., self.config.output_channels :]], dim=-1
            )
        memory, vector_memory = self.encoder(self.position(self.stem(x)), vectors)
        tokens = self.decoder(self.initial_forecast(memory[-1]), memory, vector_memory)
        forecast = self.head(tokens)
        return forecast if amplitude is None else forecast * amplitude

    def _amplitude(self, x: torch.Tensor) -> torch.Tensor:
        """Root mean square of each channel that is forecast, (batch, 1, 1, 1, channel)."""
        mean = x[..., : self.config.output_channels].square().mean(dim=(1, 2, 3), keepdim=True)
        return mean.sqrt().clamp(min=1e-6)

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Mean squared error of the forecast, weighted by `weight` where given.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
            The histories.
        y : Tensor, (batch, horizon, height, width, channel)
            The frames that followed the histories.
        weight : Tensor, optional
            Broadcasts against `y`.
        """
        return weighted_mse(self(x), y, weight)


register(Earthformer, EarthformerConfig)
