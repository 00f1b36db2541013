"""The knowledge alignment network of PreDiff: it estimates from a noisy latent what constraints are about.

Axes in names of tensors: N sequences, C channels, L tokens.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.blocks import PositionEmbedding, attend
from xforecast.models.contract import check_positive, check_shape
from xforecast.models.prediff.latent import LatentConfig, LatentEncoder, ResidualBlock, TimeEmbedding, initial_vectors

__all__ = ["KnowledgeAlignment", "KnowledgeAlignmentConfig"]


@dataclass(frozen=True, kw_only=True)
class KnowledgeAlignmentConfig(LatentConfig):
    """Everything that defines a :class:`KnowledgeAlignment`; the other options are those of :class:`LatentConfig`.

    Parameters
    ----------
    horizon : int
        Number of frames of the latent.
    output_channels : int
        How many numbers are estimated.
    per_frame : bool
        Estimate them for every frame, or once for all frames together.
    output_frames : int, optional
        Estimate them for this many last frames only.
    functional : str
        Name of what is estimated. A constraint of that name is applied through this network.
    output_mean, output_deviation : float
        Mean and standard deviation of the functional in the training data: the network works on departures from the
        mean in units of the deviation.
    strength : float
        Default strength of guidance by this network, for distances in units of the deviation.

    Examples
    --------
    >>> KnowledgeAlignmentConfig(horizon=6, grid=(16, 16), output_frames=2).estimated_frames
    2
    """

    horizon: int
    base_channels: int = 128
    depths: tuple[int, ...] = (1, 1)
    output_channels: int = 1
    per_frame: bool = True
    output_frames: int | None = None
    functional: str = "mean_intensity"
    output_mean: float = 0.0
    output_deviation: float = 1.0
    strength: float = 50.0

    def validate(self) -> None:
        check_positive("horizon, output_channels", self.horizon, self.output_channels)
        super().validate()
        if not self.output_deviation > 0:
            raise InvalidOption("output_deviation", self.output_deviation, "a positive number", "output_deviation=1.0")
        if self.output_frames is not None:
            check_positive("output_frames", self.output_frames)
            if not self.per_frame or self.output_frames > self.grids[-1][0]:
                wanted = f"at most {self.grids[-1][0]}, and per_frame true"
                raise InvalidOption("output_frames", self.output_frames, wanted, "leave output_frames= out")
        if self.widths[-1] % min(self.widths[-1], 32):
            wanted = "a multiple of 32, or less than 32"
            raise InvalidOption("width of the last level", self.widths[-1], wanted, "change base_channels")
        if self.global_vectors.count and self.global_vectors.width_ratio != 1:
            found = self.global_vectors.width_ratio
            raise InvalidOption("global_vectors.width_ratio", found, "1 for an alignment network", "width_ratio=1")

    @property
    def frames(self) -> int:
        """Number of frames that the network sees together."""
        return self.horizon

    @property
    def estimated_frames(self) -> int:
        """Number of frames that are estimated one by one."""
        return self.output_frames or self.grids[-1][0]

    @property
    def tokens(self) -> int:
        """Number of tokens that one estimate is made of."""
        frames, height, width = self.grids[-1]
        return (1 if self.per_frame else frames) * height * width + self.global_vectors.count


class _Readout(nn.Module):
    """Attention of the mean token to itself and to all tokens (Radford et al. 2021)."""

    def __init__(self, channels: int, tokens: int, heads: int, outputs: int):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(min(channels, 32), channels)
        self.activation = nn.SiLU()
        self.position = nn.Parameter(torch.randn(channels, tokens + 1) / channels**0.5)
        self.query_key_value = nn.Conv1d(channels, 3 * channels, 1)
        self.projection = nn.Conv1d(channels, outputs, 1)

    def forward(self, x_NCL: torch.Tensor) -> torch.Tensor:
        """Numbers (N, outputs)."""
        x = self.activation(self.norm(x_NCL))
        x = torch.cat([x.mean(dim=-1, keepdim=True), x], dim=-1) + self.position
        q, k, v = self.query_key_value(x).unflatten(1, (3, self.heads, -1)).permute(1, 0, 4, 2, 3)[:, :, None]
        out = attend(q[:, :, :1], k, v)[:, 0]
        return self.projection(out.transpose(1, 2))[..., 0]


class KnowledgeAlignment(nn.Module):
    """Estimates a functional of the forecast from the noisy latent (Gao et al. 2023).

    The functional is whatever it was trained on: a number for each frame, such as its mean intensity. The gradient of
    its estimate with respect to the latent then says how to denoise towards a wanted value; see
    :mod:`~xforecast.models.prediff.guidance`.

    Parameters
    ----------
    config : KnowledgeAlignmentConfig
        Sizes and options of the model.

    Examples
    --------
    >>> config = KnowledgeAlignmentConfig(horizon=2, grid=(8, 8), channels=4, base_channels=16)
    >>> KnowledgeAlignment(config)(torch.randn(3, 2, 8, 8, 4), torch.tensor([0, 10, 999])).shape
    torch.Size([3, 2, 1])
    """

    def __init__(self, config: KnowledgeAlignmentConfig):
        super().__init__()
        self.config = config
        self.global_vectors = initial_vectors(config)
        self.stem = ResidualBlock(config.channels, config.base_channels, dropout=config.block.projection_dropout)
        self.position = PositionEmbedding(config.base_channels, config.grids[0], config.positions)
        self.time_embedding = TimeEmbedding(config.base_channels, config.time_ratio * config.base_channels)
        self.encoder = LatentEncoder(config)
        self.readout = _Readout(config.widths[-1], config.tokens, config.block.heads, config.output_channels)

    def forward(self, x: torch.Tensor, t: torch.Tensor, cond: torch.Tensor | None = None) -> torch.Tensor:
        """Estimate of the functional.

        Parameters
        ----------
        x : Tensor, (batch, horizon, height, width, channel)
            Noisy latent of the forecast.
        t : LongTensor, (batch,)
            Diffusion step of each sample.
        cond : Tensor, optional
            Latent of the context, which the estimate does not depend on.

        Returns
        -------
        Tensor, (batch, output_frames, output_channels) or (batch, output_channels)
        """
        config = self.config
        check_shape(x, (config.horizon, *config.grid, config.channels))
        vectors = None if self.global_vectors is None else self.global_vectors.expand(len(x), -1, -1)
        memory, vectors = self.encoder(self.position(self.stem(x)), self.time_embedding(t), vectors)
        features = memory[-1]
        if not config.per_frame:
            return self._in_units(self.readout(_tokens(features.flatten(1, 3), vectors)))
        frames = config.estimated_frames
        if vectors is not None:
            # The original pairs frames, which it lists sample by sample, with vectors that it lists frame by frame.
            tiled = config.quirks.tiled_global_vectors
            vectors = vectors.repeat(frames, 1, 1) if tiled else vectors.repeat_interleave(frames, dim=0)
        tokens = _tokens(features[:, -frames:].flatten(0, 1).flatten(1, 2), vectors)
        return self._in_units(self.readout(tokens).unflatten(0, (len(x), frames)))

    def _in_units(self, departure: torch.Tensor) -> torch.Tensor:
        """The functional itself from its normalised departure."""
        return self.config.output_mean + self.config.output_deviation * departure

    def loss(self, z: torch.Tensor, t: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean squared error of the normalised estimate from noisy latents `z` at steps `t`.

        Parameters
        ----------
        z : Tensor, (batch, horizon, height, width, channel)
            Noisy latents.
        t : LongTensor, (batch,)
            Diffusion step of each sample.
        target : Tensor, (batch, output_frames, output_channels) or (batch, output_channels)
            The functional of the clean frames; an only channel may be left out.
        """
        estimate = self(z, t).float()
        if target.ndim == estimate.ndim - 1:
            target = target[..., None]
        if estimate.shape != target.shape:
            remedy = "a functional that gives one number for each frame: field.mean(dim=(2, 3, 4))"
            raise InvalidOption("shape of the functional", tuple(target.shape), f"{tuple(estimate.shape)}", remedy)
        return ((estimate - target) / self.config.output_deviation).square().mean()


def _tokens(x_NLC: torch.Tensor, vectors_NKC: torch.Tensor | None) -> torch.Tensor:
    """Tokens and the global vectors after them, (N, C, L)."""
    return (x_NLC if vectors_NKC is None else torch.cat([x_NLC, vectors_NKC], dim=1)).transpose(1, 2)
