"""The nowcasting UNet of the SEVIR data set: frames on the channels, no recurrence."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from xforecast.models.baselines.sizes import (
    check_divisible,
    check_sizes,
    frames_from_channels,
    frames_to_channels,
    halvings,
)
from xforecast.models.catalogue import register
from xforecast.models.contract import Config, check_positive, check_shape, weighted_mse

__all__ = ["UNet", "UNetConfig"]


@dataclass(frozen=True, kw_only=True)
class UNetConfig(Config):
    """Configuration of :class:`UNet`.

    Parameters
    ----------
    history, horizon : int
        Number of time steps that go in and that come out.
    grid : (int, int)
        Height and width of the data.
    input_channels, output_channels : int
        Number of channels that go in and that come out.
    channels : tuple of int, optional
        Width of each level, from fine to coarse; each halves the grid. If left out 32, 64, 128 and 256, as far as
        the grid can be halved.
    centre : int, optional
        Width at the bottom; four times that of the last level if left out.

    Examples
    --------
    >>> UNetConfig(history=12, horizon=14, grid=(24, 48)).widths
    (32, 64, 128)
    """

    history: int
    horizon: int
    grid: tuple[int, int]
    input_channels: int = 1
    output_channels: int = 1
    channels: tuple[int, ...] | None = None
    centre: int | None = None

    @property
    def widths(self) -> tuple[int, ...]:
        """Width of each level."""
        if self.channels is not None:
            return self.channels
        return tuple(32 * 2**level for level in range(halvings(self.grid, 4).count(2)))

    @property
    def centre_width(self) -> int:
        """Width at the bottom."""
        return self.centre or 4 * ([32, *self.widths][-1])

    def validate(self) -> None:
        check_sizes(self)
        check_positive("channels", self.widths)
        if self.centre is not None:
            check_positive("centre", self.centre)
        check_divisible(
            self.grid,
            2 ** len(self.widths),
            f"{len(self.widths)} levels, each half the size of the one before",
            "leave channels= out for as many levels as the grid allows",
        )


class UNet(nn.Module):
    """Encoder and decoder of convolutions with skip connections, one shot from all frames to all frames.

    Each level is two times convolution, batch norm, ReLU; encoder levels end in max-pooling, decoder levels begin
    with a transposed convolution that is concatenated after the skip.

    Parameters
    ----------
    config : UNetConfig
        Sizes and options of the model.

    References
    ----------
    Veillette, Samsi and Mattioli (2020), SEVIR: a storm event imagery dataset for deep learning applications in radar
    and satellite meteorology, NeurIPS; after Ronneberger, Fischer and Brox (2015), U-Net, MICCAI.

    Examples
    --------
    >>> model = UNet(UNetConfig(history=3, horizon=2, grid=(8, 12), channels=(4, 6))).eval()
    >>> model(torch.zeros(1, 3, 8, 12, 1)).shape
    torch.Size([1, 2, 8, 12, 1])
    """

    def __init__(self, config: UNetConfig):
        super().__init__()
        self.config = config
        widths = config.widths
        below = [*widths, config.centre_width][1:]
        frames = config.history * config.input_channels
        self.encoder = nn.ModuleList(_convolutions(*pair) for pair in zip([frames, *widths], widths, strict=False))
        self.pool = nn.MaxPool2d(2)
        self.centre = _convolutions([frames, *widths][-1], config.centre_width)
        self.decoder = nn.ModuleList(_Up(*pair) for pair in zip(below, widths, strict=True))
        head = [*widths, config.centre_width][0]
        self.head = nn.Conv2d(head, config.horizon * config.output_channels, 1)
        self.apply(_initialise)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast (batch, horizon, height, width, channel) from (batch, history, height, width, channel)."""
        config = self.config
        check_shape(x, (config.history, *config.grid, config.input_channels))
        y, skips = frames_to_channels(x), []
        for level in self.encoder:
            y = level(y)
            skips.append(y)
            y = self.pool(y)
        y = self.centre(y)
        for level in reversed(self.decoder):
            y = level(y, skips.pop())
        return frames_from_channels(self.head(y), config.horizon)

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted mean squared error."""
        return weighted_mse(self(x), y, weight)


register(UNet, UNetConfig)


class _Up(nn.Module):
    """One level of the decoder."""

    def __init__(self, below: int, channels: int):
        super().__init__()
        self.up = nn.ConvTranspose2d(below, channels, 2, stride=2)
        self.norm = _norm(2 * channels)
        self.convolutions = _convolutions(2 * channels, channels)

    def forward(self, x: torch.Tensor, skip: torch.Tensor) -> torch.Tensor:
        x = torch.cat([skip, self.up(x)], dim=1)
        return self.convolutions(self.norm(x).relu())


def _convolutions(inputs: int, channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for width in (inputs, channels):
        layers += [nn.Conv2d(width, channels, 3, padding=1), _norm(channels), nn.ReLU()]
    return nn.Sequential(*layers)


def _norm(channels: int) -> nn.BatchNorm2d:
    """Batch norm with the constants of Keras, in which the model was published."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.xavier_uniform_(module.weight)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
