"""Checks of lengths, grids and channels, and depths that fit a grid."""

from __future__ import annotations

from typing import Any

import torch

from xforecast.errors import InvalidOption
from xforecast.models.contract import check_axes, check_positive

__all__ = [
    "check_divisible",
    "check_next_frame",
    "check_sizes",
    "frames_from_channels",
    "frames_to_channels",
    "halvings",
]


def check_sizes(config: Any) -> None:
    """Raise :class:`~xforecast.errors.InvalidOption` unless lengths, grid and channels are positive integers."""
    for name in ("history", "horizon", "input_channels", "output_channels"):
        check_positive(name, getattr(config, name))
    check_axes("grid", config.grid, (24, 48))


def check_next_frame(config: Any) -> None:
    """Call :func:`check_sizes`, and raise if a forecast cannot be the next input for want of channels."""
    check_sizes(config)
    if config.output_channels > config.input_channels:
        raise InvalidOption(
            "output_channels",
            config.output_channels,
            f"at most input_channels = {config.input_channels}, since the model reads its own forecast",
            f"input_channels={config.output_channels}",
        )


def check_divisible(grid: tuple[int, int], divisor: int, reason: str, remedy: str) -> None:
    """Raise :class:`~xforecast.errors.InvalidOption` unless both sides of a grid are multiples of `divisor`.

    Examples
    --------
    >>> check_divisible((24, 50), 4, "patch", "choose another patch")
    Traceback (most recent call last):
    ...
    xforecast.errors.InvalidOption: grid: found (24, 50), wanted multiples of 4 (patch)
      -> choose another patch
    """
    if any(side % divisor for side in grid):
        raise InvalidOption("grid", grid, f"multiples of {divisor} ({reason})", remedy)


def halvings(grid: tuple[int, int], levels: int) -> tuple[int, ...]:
    """Strides of `levels` levels: 2 while both sides are even and more than 2, then 1.

    Examples
    --------
    >>> halvings((24, 48), 4), halvings((5, 6), 3)
    ((2, 2, 2, 1), (1, 1, 1))
    """
    strides, (height, width) = [], grid
    for _ in range(levels):
        stride = 2 if height % 2 == width % 2 == 0 and min(height, width) > 2 else 1
        height, width = height // stride, width // stride
        strides.append(stride)
    return tuple(strides)


def frames_to_channels(x_BTHWC: torch.Tensor) -> torch.Tensor:
    """Put the frames on the channels, (batch, time * channel, height, width)."""
    return x_BTHWC.permute(0, 1, 4, 2, 3).flatten(1, 2)


def frames_from_channels(x_BCHW: torch.Tensor, frames: int) -> torch.Tensor:
    """The inverse of :func:`frames_to_channels`, (batch, time, height, width, channel).

    Examples
    --------
    >>> x = torch.randn(1, 2, 3, 4, 5)
    >>> torch.equal(frames_from_channels(frames_to_channels(x), 2), x)
    True
    """
    return x_BCHW.unflatten(1, (frames, -1)).permute(0, 1, 3, 4, 2)
