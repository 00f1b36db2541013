"""The denoiser of PreDiff: a U-Net of cuboid self-attention over context and noisy target (Gao et al. 2023).

Axes in names of tensors: B batch, T H W grid, C channels, K global vectors, G their width, E time embedding.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.blocks import (
    PositionEmbedding,
    Upsample,
    linear,
)
from xforecast.models.contract import check_positive, check_shape
from xforecast.models.prediff.latent import (
    LatentConfig,
    LatentEncoder,
    ResidualBlock,
    TimedLevels,
    TimeEmbedding,
    initial_vectors,
)

__all__ = ["CuboidUNet", "CuboidUNetConfig", "LatentDecoder"]


class LatentDecoder(TimedLevels):
    """The way up: levels with upsampling in between, to which the features of the way down are added.

    Parameters
    ----------
    config : CuboidUNetConfig
        Configuration of the network that it is a part of.

    Examples
    --------
    >>> config = CuboidUNetConfig(history=2, horizon=1, grid=(4, 4), base_channels=8, depths=(1, 1))
    >>> memory = [torch.zeros(1, 3, 4, 4, 8), torch.zeros(1, 3, 2, 2, 16)]
    >>> LatentDecoder(config)(memory, torch.zeros(1, 32)).shape
    torch.Size([1, 3, 4, 4, 8])
    """

    def __init__(self, config: CuboidUNetConfig):
        super().__init__(config)
        self.skip_connections = config.skip_connections
        self.upsample = nn.ModuleList(
            Upsample(coarse, fine, (grid[1], grid[2]), config.upsample_kernel, scheme=None)
            for (fine, coarse), grid in zip(pairwise(config.widths), config.grids, strict=False)
        )
        self.vector_projection = self.projections(config, finer=True)

    def forward(
        self, memory: list[torch.Tensor], embedding_BE: torch.Tensor, vectors_BKG: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Features of the finest level, (batch, time, height, width, channel)."""
        x, vectors = memory[-1], vectors_BKG
        for level in reversed(range(len(self.residual))):
            if self.skip_connections and level < len(memory) - 1:
                x = x + memory[level]
            x, vectors = self.run_level(level, x, embedding_BE, vectors)
            if level:
                x = self.upsample[level - 1](x)
                if vectors is not None and self.vector_projection is not None:
                    vectors = self.vector_projection[level - 1](vectors)
        return x


@dataclass(frozen=True, kw_only=True)
class CuboidUNetConfig(LatentConfig):
    """Everything that defines a :class:`CuboidUNet`; the other options are those of :class:`LatentConfig`.

    The defaults are those of PreDiff on SEVIR-LR.

    Parameters
    ----------
    history, horizon : int
        Number of frames of the context and of the forecast.
    skip_connections : bool
        Add the features of the way down on the way up.
    upsample_kernel : int
        Odd kernel of the convolution after each upsampling.

    Examples
    --------
    >>> CuboidUNetConfig(history=7, horizon=6, grid=(16, 16)).grids
    ((13, 16, 16), (13, 8, 8))
    """

    history: int
    horizon: int
    skip_connections: bool = True
    upsample_kernel: int = 3

    def validate(self) -> None:
        check_positive("history, horizon", self.history, self.horizon)
        check_positive("upsample_kernel", self.upsample_kernel)
        if self.upsample_kernel % 2 == 0:
            remedy = f"upsample_kernel={self.upsample_kernel + 1}"
            raise InvalidOption("upsample_kernel", self.upsample_kernel, "an odd number", remedy)
        super().validate()
        if self.downsample[0] != 1:
            remedy = f"downsample={(1, *self.downsample[1:])}"
            raise InvalidOption("downsample", self.downsample, "a factor of 1 in time", remedy)

    @property
    def frames(self) -> int:
        """Number of frames that the network sees together."""
        return self.history + self.horizon


class CuboidUNet(nn.Module):
    """U-Net of cuboid attention that predicts the noise in a latent forecast (Gao et al. 2023: Earthformer-UNet).

    Context and noisy forecast are one sequence; an additional channel marks which is which. On the way down and up,
    residual blocks that know the diffusion step alternate with blocks of cuboid self-attention.

    Parameters
    ----------
    config : CuboidUNetConfig
        Sizes and options of the model.

    Examples
    --------
    >>> config = CuboidUNetConfig(history=3, horizon=2, grid=(8, 8), channels=4, base_channels=16, depths=(1, 1))
    >>> z, context = torch.randn(2, 2, 8, 8, 4), torch.randn(2, 3, 8, 8, 4)
    >>> CuboidUNet(config)(z, torch.tensor([10, 999]), context).shape
    torch.Size([2, 2, 8, 8, 4])
    """

    def __init__(self, config: CuboidUNetConfig):
        super().__init__()
        self.config = config
        self.global_vectors = initial_vectors(config)
        self.stem = ResidualBlock(config.channels + 1, config.base_channels, dropout=config.block.projection_dropout)
        self.position = PositionEmbedding(config.base_channels, config.grids[0], config.positions)
        self.time_embedding = TimeEmbedding(config.base_channels, config.time_ratio * config.base_channels)
        self.encoder = LatentEncoder(config)
        self.decoder = LatentDecoder(config)
        # As in the original, a new network predicts zero.
        self.head = linear(config.base_channels, config.channels, scheme="zeros")

    def forward(self, x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor) -> torch.Tensor:
        """Predicted noise.

        Parameters
        ----------
        x : Tensor, (batch, horizon, height, width, channel)
            Noisy latent of the forecast.
        t : LongTensor, (batch,)
            Diffusion step of each sample.
        cond : Tensor, (batch, history, height, width, channel)
            Latent of the context.

        Returns
        -------
        Tensor, (batch, horizon, height, width, channel)
        """
        config = self.config
        check_shape(x, (config.horizon, *config.grid, config.channels))
        check_shape(cond, (config.history, *config.grid, config.channels), name="cond")
        observed = torch.cat([torch.ones_like(cond[..., :1]), torch.zeros_like(x[..., :1])], dim=1)
        sequence = torch.cat([torch.cat([cond, x], dim=1), observed], dim=-1)
        embedding = self.time_embedding(t)
        vectors = None if self.global_vectors is None else self.global_vectors.expand(len(x), -1, -1)
        memory, vectors = self.encoder(self.position(self.stem(sequence)), embedding, vectors)
        return self.head(self.decoder(memory, embedding, vectors)[:, config.history :])
