"""Variational autoencoder of single frames: the latent space in which PreDiff diffuses (Rombach et al. 2022).

Axes in names of tensors: N images, C channels, H W height and width.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from xforecast.errors import InvalidOption
from xforecast.models.blocks import ACTIVATIONS, attend, resize_and_convolve
from xforecast.models.contract import Config, check_choice, check_positive

__all__ = ["Autoencoder", "AutoencoderConfig", "Posterior"]

EPSILON = 1e-6
LOG_VARIANCES = (-30.0, 20.0)
"""Smallest and largest logarithm of a posterior variance."""


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig(Config):
    """Everything that defines an :class:`Autoencoder`; the defaults are those of PreDiff on SEVIR-LR.

    Parameters
    ----------
    input_channels, output_channels : int
        Channels of the frames that go in and that come out.
    level_channels : tuple of int
        Width of every level, from fine to coarse; each level halves height and width of the one before.
    latent_channels : int
        Channels of the latent.
    blocks_per_level : int
        Residual blocks at every level of the encoder; the decoder has one more.
    norm_groups : int
        Groups of the normalisations; divides all widths.
    activation : str
        A name in :data:`~xforecast.models.blocks.layers.ACTIVATIONS`.
    kl_weight : float
        Weight of the divergence from the standard normal in the loss.
    reduction : {"sum", "mean"}
        Whether the loss is the sum over a frame, as published, or that divided by the number of its values. The second
        is the first at another learning rate, and does not depend on the grid.

    Examples
    --------
    >>> AutoencoderConfig().factor
    8
    """

    input_channels: int = 1
    output_channels: int = 1
    level_channels: tuple[int, ...] = (128, 256, 512, 512)
    latent_channels: int = 64
    blocks_per_level: int = 2
    norm_groups: int = 32
    activation: str = "silu"
    kl_weight: float = 1e-6
    reduction: str = "sum"

    def validate(self) -> None:
        for name in (
            "input_channels",
            "output_channels",
            "latent_channels",
            "blocks_per_level",
            "norm_groups",
        ):
            check_positive(f"autoencoder.{name}", getattr(self, name))
        if not self.level_channels:
            remedy = "level_channels=(128, 256)"
            raise InvalidOption("autoencoder.level_channels", self.level_channels, "at least one level", remedy)
        check_positive("autoencoder.level_channels", self.level_channels)
        for channels in self.level_channels:
            if channels % self.norm_groups:
                wanted = f"a multiple of {self.norm_groups} norm_groups"
                remedy = f"norm_groups={math.gcd(*self.level_channels)}"
                raise InvalidOption("autoencoder.level_channels", channels, wanted, remedy)
        check_choice("autoencoder.activation", self.activation, ACTIVATIONS)
        check_choice("autoencoder.reduction", self.reduction, ("sum", "mean"))

    @property
    def factor(self) -> int:
        """How much coarser the latent grid is."""
        return 2 ** (len(self.level_channels) - 1)

    def latent_grid(self, grid: tuple[int, int]) -> tuple[int, int]:
        """Height and width of the latent of a frame of that height and width.

        Examples
        --------
        >>> AutoencoderConfig().latent_grid((128, 100))
        (16, 13)
        """
        height, width = grid
        return -(-height // self.factor), -(-width // self.factor)


@dataclass(frozen=True)
class Posterior:
    """Normal distribution of the latent of each frame, independent in every place and channel.

    Parameters
    ----------
    mean, logvar : Tensor, (..., height, width, channel)
        Mean and logarithm of the variance.

    Examples
    --------
    >>> posterior = Posterior(torch.zeros(1, 2, 2, 3), torch.zeros(1, 2, 2, 3))
    >>> posterior.sample(torch.Generator().manual_seed(0)).shape, posterior.kl().tolist()
    (torch.Size([1, 2, 2, 3]), [0.0])
    """

    mean: torch.Tensor
    logvar: torch.Tensor

    @classmethod
    def of_moments(cls, moments: torch.Tensor) -> Posterior:
        """The distribution of a mean and a log variance, which follow one another on the last axis."""
        if moments.dtype in (torch.float16, torch.bfloat16):
            moments = moments.float()
        mean, logvar = moments.chunk(2, dim=-1)
        return cls(mean, logvar.clamp(*LOG_VARIANCES))

    @property
    def std(self) -> torch.Tensor:
        """Standard deviation."""
        return torch.exp(0.5 * self.logvar)

    def sample(self, generator: torch.Generator | None = None) -> torch.Tensor:
        """A latent drawn with `generator`, on whatever device that is."""
        device = self.mean.device if generator is None else generator.device
        noise = torch.randn(self.mean.shape, generator=generator, device=device, dtype=self.mean.dtype)
        return self.mean + self.std * noise.to(self.mean.device)

    def distribution(self) -> torch.distributions.Distribution:
        """The posterior as one torch distribution for each frame, for densities and divergences."""
        return torch.distributions.Independent(torch.distributions.Normal(self.mean, self.std), 3)

    def kl(self) -> torch.Tensor:
        """Divergence of every frame from the standard normal, (...)."""
        return 0.5 * (self.mean.square() + self.logvar.exp() - 1 - self.logvar).sum(dim=(-3, -2, -1))


class _NormConvolution(nn.Module):
    """Group normalisation, activation, 3 x 3 convolution."""

    def __init__(self, channels: int, out_channels: int, config: AutoencoderConfig):
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_groups, channels, eps=EPSILON)
        self.activation = ACTIVATIONS[config.activation]()
        self.convolution = nn.Conv2d(channels, out_channels, 3, padding=1)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        return self.convolution(self.activation(self.norm(x_NCHW)))


class _Residual(nn.Module):
    """Two normalised convolutions with a residual."""

    def __init__(self, channels: int, out_channels: int, config: AutoencoderConfig):
        super().__init__()
        self.first = _NormConvolution(channels, out_channels, config)
        self.second = _NormConvolution(out_channels, out_channels, config)
        self.shortcut = nn.Identity() if channels == out_channels else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        return self.shortcut(x_NCHW) + self.second(self.first(x_NCHW))


class _Attention(nn.Module):
    """Self-attention of one head over all places of an image, with a residual."""

    def __init__(self, channels: int, config: AutoencoderConfig):
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_groups, channels, eps=EPSILON)
        self.query, self.key, self.value, self.projection = (nn.Linear(channels, channels) for _ in range(4))

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(x_NCHW).flatten(2).transpose(1, 2)
        q, k, v = (layer(tokens)[:, None, :, None] for layer in (self.query, self.key, self.value))
        out = self.projection(attend(q, k, v)[:, 0])
        return x_NCHW + out.transpose(1, 2).unflatten(2, x_NCHW.shape[2:])


class _Halve(nn.Module):
    """Convolution with stride 2, padded at the bottom and at the right only."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, stride=2)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        return self.convolution(functional.pad(x_NCHW, (0, 1, 0, 1)))


class _Double(nn.Module):
    """Resize to twice the height and width, and convolution."""

    def __init__(self, channels: int):
        super().__init__()
        self.convolution = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        height, width = x_NCHW.shape[2:]
        return resize_and_convolve(x_NCHW, self.convolution, (2 * height, 2 * width))


def _blocks(channels: int, out_channels: int, count: int, config: AutoencoderConfig) -> nn.ModuleList:
    widths = (channels, *(out_channels,) * count)
    return nn.ModuleList(_Residual(before, after, config) for before, after in pairwise(widths))


class _Level(nn.Module):
    """Residual blocks, and a change of resolution after them."""

    def __init__(self, blocks: nn.ModuleList, resample: nn.Module):
        super().__init__()
        self.blocks, self.resample = blocks, resample

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        for block in self.blocks:
            x_NCHW = block(x_NCHW)
        return self.resample(x_NCHW)


class _Middle(nn.Module):
    """Attention at the coarsest level, between two residual blocks."""

    def __init__(self, channels: int, config: AutoencoderConfig):
        super().__init__()
        self.blocks = _blocks(channels, channels, 2, config)
        self.attention = _Attention(channels, config)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        return self.blocks[1](self.attention(self.blocks[0](x_NCHW)))


class _Encoder(nn.Module):
    """From frames to mean and log variance of their latents."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        widths = config.level_channels
        self.stem = nn.Conv2d(config.input_channels, widths[0], 3, padding=1)
        self.levels = nn.ModuleList(
            _Level(
                _blocks(before, after, config.blocks_per_level, config),
                _Halve(after) if level < len(widths) - 1 else nn.Identity(),
            )
            for level, (before, after) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        self.middle = _Middle(widths[-1], config)
        self.head = _NormConvolution(widths[-1], 2 * config.latent_channels, config)
        self.moments = nn.Conv2d(2 * config.latent_channels, 2 * config.latent_channels, 1)

    def forward(self, x_NCHW: torch.Tensor) -> torch.Tensor:
        x = self.stem(x_NCHW)
        for level in self.levels:
            x = level(x)
        return self.moments(self.head(self.middle(x)))


class _Decoder(nn.Module):
    """From latents to frames."""

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        widths = config.level_channels[::-1]
        self.latent = nn.Conv2d(config.latent_channels, config.latent_channels, 1)
        self.stem = nn.Conv2d(config.latent_channels, widths[0], 3, padding=1)
        self.middle = _Middle(widths[0], config)
        self.levels = nn.ModuleList(
            _Level(
                _blocks(before, after, config.blocks_per_level + 1, config),
                _Double(after) if level < len(widths) - 1 else nn.Identity(),
            )
            for level, (before, after) in enumerate(zip((widths[0], *widths), widths, strict=False))
        )
        self.head = _NormConvolution(widths[-1], config.output_channels, config)

    def forward(self, z_NCHW: torch.Tensor) -> torch.Tensor:
        x = self.middle(self.stem(self.latent(z_NCHW)))
        for level in self.levels:
            x = level(x)
        return self.head(x)


def _by_frame(function: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, chunk: int | None) -> torch.Tensor:
    """Apply a function of images to (..., height, width, channel), at most `chunk` frames at a time."""
    images = x.flatten(0, -4).movedim(-1, 1)
    if chunk is None or len(images) <= chunk:
        out = function(images)
    elif torch.is_grad_enabled() and images.requires_grad:
        # Pieces save memory only if their activations are forgotten and computed again for the gradient.
        out = torch.cat([checkpoint(function, piece, use_reentrant=False) for piece in images.split(chunk)])
    else:
        out = torch.cat([function(piece) for piece in images.split(chunk)])
    return out.movedim(1, -1).unflatten(0, x.shape[:-3])


class Autoencoder(nn.Module):
    """Variational autoencoder that takes every frame by itself (Kingma and Welling 2014; Gao et al. 2023).

    Frames are (..., height, width, channel), such as (batch, time, height, width, channel). A height or width that is
    no multiple of the factor is padded with its last values, and cropped again where the size is given.

    Parameters
    ----------
    config : AutoencoderConfig
        Sizes and options of the model.

    Examples
    --------
    >>> autoencoder = Autoencoder(AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4))
    >>> x = torch.rand(2, 3, 16, 20, 1)
    >>> z = autoencoder.encode(x).mean
    >>> z.shape, autoencoder.decode(z).shape
    (torch.Size([2, 3, 8, 10, 4]), torch.Size([2, 3, 16, 20, 1]))
    """

    def __init__(self, config: AutoencoderConfig):
        super().__init__()
        self.config = config
        self.encoder = _Encoder(config)
        self.decoder = _Decoder(config)

    def encode(self, x: torch.Tensor, *, chunk: int | None = None) -> Posterior:
        """Distribution of the latent of every frame.

        Parameters
        ----------
        x : Tensor, (..., height, width, channel)
            The frames.
        chunk : int, optional
            Number of frames to process at a time; all if left out. Changes memory, not the result.

        Returns
        -------
        Posterior
            Distribution of latents (..., height / factor, width / factor, latent channel), in float32 or better.

        Raises
        ------
        InvalidOption
            For another number of channels.
        """
        self._check(x, "x", self.config.input_channels)
        return Posterior.of_moments(_by_frame(self.encoder, self._padded(x), chunk))

    def decode(self, z: torch.Tensor, *, grid: tuple[int, int] | None = None, chunk: int | None = None) -> torch.Tensor:
        """Frames of latents.

        Parameters
        ----------
        z : Tensor, (..., height, width, latent channel)
            The latents.
        grid : (int, int), optional
            Height and width of the frames, where they are not multiples of the factor.
        chunk : int, optional
            Number of frames to process at a time; all if left out. Changes memory, not the result.

        Returns
        -------
        Tensor, (..., height * factor, width * factor, channel)
            Not clipped to the range of the data.

        Raises
        ------
        InvalidOption
            For another number of channels.
        """
        self._check(z, "z", self.config.latent_channels)
        frames = _by_frame(self.decoder, z, chunk)
        return frames if grid is None else frames[..., : grid[0], : grid[1], :]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Frames made again from the mean of their latents, of the height and width of `x`."""
        return self.decode(self.encode(x).mean, grid=_grid(x))

    def loss(self, x: torch.Tensor, y: torch.Tensor | None = None, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Absolute error of the frames made from a latent that is drawn, and divergence of the latents.

        Parameters
        ----------
        x : Tensor, (..., height, width, channel)
            The frames.
        y : Tensor, optional
            What to make of `x`; `x` itself if left out.
        weight : Tensor, optional
            Broadcasts against `y`. Where it is zero `y` may be missing (NaN).
        """
        y = x if y is None else y
        posterior = self.encode(x)
        error, divergence = self.loss_terms(self.decode(posterior.sample(), grid=_grid(x)), y, posterior, weight)
        return error + self.config.kl_weight * divergence

    def loss_terms(
        self,
        prediction: torch.Tensor,
        y: torch.Tensor,
        posterior: Posterior,
        weight: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Absolute error and divergence of a frame on average, before the latter is weighted; see :meth:`loss`."""
        difference = prediction.float() - y
        if weight is not None:
            weight = weight.to(difference.dtype).expand_as(difference)
            difference = weight * torch.where(weight == 0, 0.0, difference)
        values = math.prod(y.shape[-3:])
        counted = y.numel() / values if weight is None else weight.sum() / values
        error, divergence = difference.abs().sum() / counted, posterior.kl().mean()
        return (error, divergence) if self.config.reduction == "sum" else (error / values, divergence / values)

    def _padded(self, x: torch.Tensor) -> torch.Tensor:
        factor = self.config.factor
        rows, columns = (-extent % factor for extent in _grid(x))
        if not rows and not columns:
            return x
        images = functional.pad(x.flatten(0, -4).movedim(-1, 1), (0, columns, 0, rows), mode="replicate")
        return images.movedim(1, -1).unflatten(0, x.shape[:-3])

    def _check(self, x: torch.Tensor, name: str, channels: int) -> None:
        if x.ndim < 4 or x.shape[-1] != channels:
            raise InvalidOption(
                f"shape of {name}",
                tuple(x.shape),
                f"(..., height, width, {channels}), with at least one axis before",
                "build the model with a configuration for this number of channels",
            )


def _grid(x: torch.Tensor) -> tuple[int, int]:
    return x.shape[-3], x.shape[-2]
