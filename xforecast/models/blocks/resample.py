"""Changes of resolution: padding, nearest resize, patch merging, upsampling, and the convolutional stem and head."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from xforecast.errors import InvalidOption
from xforecast.models.blocks.layers import ACTIVATIONS, INITIALISERS, linear
from xforecast.models.blocks.patterns import Triple
from xforecast.models.contract import Config, check_choice, check_positive

__all__ = [
    "PADDINGS",
    "Head",
    "PatchMerging",
    "Stem",
    "StemConfig",
    "Upsample",
    "crop_grid",
    "in_two_steps",
    "level_channels",
    "level_grids",
    "merged_grid",
    "pad_grid",
    "padding_to_multiple",
    "resize_and_convolve",
    "resize_nearest",
]

PADDINGS = ("ignore", "zeros", "nearest")
"""How a grid is filled up to a multiple of the cuboid: with zeros that nothing attends to, with zeros that take part,
or by resizing the grid to the nearest value."""


def resize_nearest(x_BTHWC: torch.Tensor, grid: Triple) -> torch.Tensor:
    """Resize to `grid` (time, height, width); place i takes the value at ``floor(i * old / new)``.

    Examples
    --------
    >>> resize_nearest(torch.arange(3.0).reshape(1, 1, 1, 3, 1), (1, 1, 5)).flatten().tolist()
    [0.0, 0.0, 1.0, 1.0, 2.0]
    """
    if x_BTHWC.shape[1:4] == grid:
        return x_BTHWC
    return functional.interpolate(x_BTHWC.movedim(-1, 1), size=grid, mode="nearest").movedim(1, -1)


def padding_to_multiple(grid: Triple, size: Triple) -> Triple:
    """What is missing along each axis of `grid` to a multiple of `size`.

    Examples
    --------
    >>> padding_to_multiple((5, 7, 8), (2, 3, 4))
    (1, 2, 0)
    """
    t, h, w = ((-extent) % step for extent, step in zip(grid, size, strict=True))
    return t, h, w


def pad_grid(x_BTHWC: torch.Tensor, padding: Triple, kind: str, *, front: bool = False) -> torch.Tensor:
    """Extend time, height and width at their ends, by a kind in :data:`PADDINGS`.

    With `front`, zeros come before the first frame instead of after the last.

    Examples
    --------
    >>> pad_grid(torch.ones(1, 1, 1, 2, 1), (0, 0, 1), "zeros").flatten().tolist()
    [1.0, 1.0, 0.0]
    """
    if not any(padding):
        return x_BTHWC
    t, h, w = padding
    if kind == "nearest":
        frames, height, width = x_BTHWC.shape[1:4]
        return resize_nearest(x_BTHWC, (frames + t, height + h, width + w))
    return functional.pad(x_BTHWC, (0, 0, 0, w, 0, h, *((t, 0) if front else (0, t))))


def crop_grid(x_BTHWC: torch.Tensor, grid: Triple, kind: str) -> torch.Tensor:
    """Undo :func:`pad_grid` at the end of each axis: the first `grid` places, or the nearest ones.

    Examples
    --------
    >>> crop_grid(torch.arange(3.0).reshape(1, 1, 1, 3, 1), (1, 1, 2), "zeros").flatten().tolist()
    [0.0, 1.0]
    """
    if kind == "nearest":
        return resize_nearest(x_BTHWC, grid)
    t, h, w = grid
    return x_BTHWC[:, :t, :h, :w]


def merged_grid(grid: Triple, factors: Triple) -> Triple:
    """Grid after :class:`PatchMerging`: each axis divided by its factor, rounded up.

    Examples
    --------
    >>> merged_grid((5, 13, 19), (1, 2, 2))
    (5, 7, 10)
    """
    t, h, w = (-(-extent // factor) for extent, factor in zip(grid, factors, strict=True))
    return t, h, w


def level_grids(grid: Triple, factors: Triple, levels: int) -> tuple[Triple, ...]:
    """Grid at every level, with :class:`PatchMerging` in between.

    Examples
    --------
    >>> level_grids((5, 13, 19), (1, 2, 2), 3)
    ((5, 13, 19), (5, 7, 10), (5, 4, 5))
    """
    grids = [grid]
    for _ in range(levels - 1):
        grids.append(merged_grid(grids[-1], factors))
    return tuple(grids)


def level_channels(base: int, growth: float, factors: Triple, levels: int) -> tuple[int, ...]:
    """Width of every level, which grows by the largest factor to the power of `growth`, rounded down.

    Examples
    --------
    >>> level_channels(16, 1.0, (1, 2, 2), 3), level_channels(16, 0.5, (1, 2, 2), 3)
    ((16, 32, 64), (16, 16, 32))
    """
    return tuple(base * int((max(factors) ** growth) ** level) for level in range(levels))


class PatchMerging(nn.Module):
    """Gather blocks of tokens into one: pad, concatenate their channels, normalise, project (Liu et al. 2021).

    Parameters
    ----------
    channels, out_channels : int
        Width of the tokens before and after.
    factors : (int, int, int)
        Extent of a block in time, height and width.
    padding : str
        A kind in :data:`PADDINGS`.
    scheme : str
        A scheme in :data:`~xforecast.models.blocks.layers.INITIALISERS`.

    Examples
    --------
    >>> PatchMerging(4, 8, (1, 2, 2))(torch.zeros(1, 3, 5, 6, 4)).shape
    torch.Size([1, 3, 3, 3, 8])
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        factors: Triple,
        *,
        padding: str = "zeros",
        scheme: str = "fan_in",
    ):
        super().__init__()
        self.factors, self.padding = factors, padding
        gathered = channels * math.prod(factors)
        self.norm = nn.LayerNorm(gathered)
        self.reduction = linear(gathered, out_channels, bias=False, scheme=scheme)

    def forward(self, x_BTHWC: torch.Tensor) -> torch.Tensor:
        """Coarser `x`, on :func:`merged_grid`."""
        t, h, w = x_BTHWC.shape[1:4]
        x = pad_grid(x_BTHWC, padding_to_multiple((t, h, w), self.factors), self.padding)
        for axis, factor in zip((1, 3, 5), self.factors, strict=True):
            x = x.unflatten(axis, (-1, factor))
        return self.reduction(self.norm(x.permute(0, 1, 3, 5, 2, 4, 6, 7).flatten(4)))


def _frames(x_BTHWC: torch.Tensor) -> torch.Tensor:
    """Every frame as an image, (batch * time, channel, height, width), in channels-last memory."""
    return x_BTHWC.flatten(0, 1).movedim(-1, 1)


def _video(x_NCHW: torch.Tensor, frames: int) -> torch.Tensor:
    return x_NCHW.movedim(1, -1).unflatten(0, (-1, frames))


class Upsample(nn.Module):
    """Resize every frame to the nearest value and convolve it, in one step where the factors are integers.

    Parameters
    ----------
    channels, out_channels : int
        Width of the tokens before and after.
    size : (int, int)
        Height and width of the result.
    kernel : int
        Odd extent of the kernel.
    scheme : str, optional
        A scheme in :data:`~xforecast.models.blocks.layers.INITIALISERS`; None for weights as torch initialises them.

    Examples
    --------
    >>> Upsample(8, 4, (5, 7))(torch.zeros(1, 2, 3, 3, 8)).shape
    torch.Size([1, 2, 5, 7, 4])
    """

    def __init__(
        self,
        channels: int,
        out_channels: int,
        size: tuple[int, int],
        kernel: int = 3,
        *,
        scheme: str | None = "fan_out",
    ):
        super().__init__()
        self.size = size
        self.convolution = nn.Conv2d(channels, out_channels, kernel, padding=kernel // 2)
        if scheme is not None:
            INITIALISERS[scheme](self.convolution.weight)
            nn.init.zeros_(self.convolution.bias)  # type: ignore[arg-type]

    def forward(self, x_BTHWC: torch.Tensor) -> torch.Tensor:
        """Finer `x`, (batch, time, *size, out_channels)."""
        return _video(resize_and_convolve(_frames(x_BTHWC), self.convolution, self.size), x_BTHWC.shape[1])


def resize_and_convolve(x_NCHW: torch.Tensor, convolution: nn.Conv2d, size: tuple[int, int]) -> torch.Tensor:
    """Resize images to the nearest value and convolve them, in one step where the factors are integers.

    Examples
    --------
    >>> resize_and_convolve(torch.zeros(1, 8, 3, 3), nn.Conv2d(8, 4, 3, padding=1), (6, 6)).shape
    torch.Size([1, 4, 6, 6])
    """
    (rows, row_rest), (columns, column_rest) = map(divmod, size, x_NCHW.shape[-2:])
    if row_rest or column_rest or _in_two_steps:
        return convolution(functional.interpolate(x_NCHW, size=size, mode="nearest"))
    kernel, padding = _kernel_with_resize(convolution.weight, rows, columns), convolution.weight.shape[-1] // 2
    return functional.conv_transpose2d(x_NCHW, kernel, convolution.bias, stride=(rows, columns), padding=padding)


_in_two_steps = False


@contextmanager
def in_two_steps() -> Iterator[None]:
    """Within it :func:`resize_and_convolve` resizes and then convolves, as published, to count what that costs."""
    global _in_two_steps
    before, _in_two_steps = _in_two_steps, True
    try:
        yield
    finally:
        _in_two_steps = before


def _kernel_with_resize(weight_OIHW: torch.Tensor, rows: int, columns: int) -> torch.Tensor:
    """Kernel whose transposed convolution, with stride, is a nearest resize by integer factors and a convolution.

    Neighbouring taps read the same value after the resize. Adding them beforehand leaves (factor + 2)^2 products of
    the (3 factor)^2 that a 3 x 3 kernel needs for each value before the resize.
    """
    flipped = weight_OIHW.flip(-2, -1).transpose(0, 1)
    shifted = [
        functional.pad(flipped, (column, columns - 1 - column, row, rows - 1 - row))
        for row in range(rows)
        for column in range(columns)
    ]
    return torch.stack(shifted).sum(dim=0)


@dataclass(frozen=True)
class StemConfig(Config):
    """Convolutions and patch merging before the encoder, mirrored after the decoder.

    Every stage convolves and then merges patches. The defaults have one stage.

    Parameters
    ----------
    scales : tuple of (int, int, int)
        Factors of the stages in time, height and width.
    convolutions : tuple of int
        Number of 3 x 3 convolutions in each stage.
    channels : tuple of int, optional
        Width of each stage; the last must be the model's base width, which is taken for all if left out.
    head_convolutions : tuple of int, optional
        Number of convolutions in the head's counterpart of each stage; as in the stem if left out.
    norm_groups : int, optional
        Groups of the normalisation; one for four channels if left out. Where the channels are not a multiple, the next
        smaller number that divides them is taken.
    activation : str
        A name in :data:`~xforecast.models.blocks.layers.ACTIVATIONS`.

    Examples
    --------
    >>> StemConfig(scales=((1, 3, 3), (1, 2, 2)), convolutions=(2, 2), channels=(16, 64)).stage_channels(64)
    (16, 64)
    """

    scales: tuple[Triple, ...] = ((1, 2, 2),)
    convolutions: tuple[int, ...] = (2,)
    channels: tuple[int, ...] | None = None
    head_convolutions: tuple[int, ...] | None = None
    norm_groups: int | None = None
    activation: str = "leaky_relu"

    def validate(self) -> None:
        check_choice("stem.activation", self.activation, ACTIVATIONS)
        lengths = {
            name: len(values)
            for name in ("scales", "convolutions", "channels", "head_convolutions")
            if (values := getattr(self, name)) is not None
        }
        if len(set(lengths.values())) > 1 or not self.scales:
            raise InvalidOption(
                "number of stem stages", lengths, "one entry a stage in each option",
                "StemConfig(scales=((1, 2, 2),), convolutions=(2,)) has one stage",
            )  # fmt: skip
        for scale in self.scales:
            if len(scale) != 3:
                wanted = "three factors a stage: time, height, width"
                raise InvalidOption("stem.scales", scale, wanted, "scales=((1, 2, 2),)")
            check_positive("stem.scales", *scale)
        check_positive("stem.convolutions", *self.convolutions, *(self.head_convolutions or ()), least=0)
        check_positive("stem.channels", *(self.channels or ()))
        if self.norm_groups is not None:
            check_positive("stem.norm_groups", self.norm_groups)

    def stage_channels(self, base_channels: int) -> tuple[int, ...]:
        """Width of every stage."""
        return self.channels or (base_channels,) * len(self.scales)

    def check_channels(self, input_channels: int, base_channels: int) -> None:
        """Raise :class:`~xforecast.errors.InvalidOption` if the stages do not lead to the base width."""
        channels = self.stage_channels(base_channels)
        if channels[-1] != base_channels:
            wanted = f"a last width equal to base_channels, {base_channels}"
            raise InvalidOption("stem.channels", channels, wanted, f"channels={(*channels[:-1], base_channels)}")
        stem = zip((input_channels, *channels[:-1]), channels, self.convolutions, strict=True)
        head = zip(channels, (*channels[1:], base_channels), self.head_convolutions or self.convolutions, strict=True)
        for before, after, count in (*stem, *head):
            if before != after and count == 0:
                wanted = f"at least one where the width changes from {before} to {after}"
                raise InvalidOption("stem convolutions", 0, wanted, f"convolutions={(1,) * len(self.scales)}")

    def grids(self, grid: Triple) -> tuple[Triple, ...]:
        """The grid before the first stage and after every stage.

        Examples
        --------
        >>> StemConfig().grids((5, 9, 12))
        ((5, 9, 12), (5, 5, 6))
        """
        grids = [grid]
        for scale in self.scales:
            grids.append(merged_grid(grids[-1], scale))
        return tuple(grids)


def _convolutions(channels: int, out_channels: int, count: int, config: StemConfig) -> nn.Sequential:
    """Convolution, normalisation and activation, `count` times; weights as torch initialises them."""
    wanted = config.norm_groups or max(1, out_channels // 4)
    groups = next(n for n in range(min(wanted, out_channels), 0, -1) if out_channels % n == 0)
    layers: list[nn.Module] = []
    for k in range(count):
        layers += [
            nn.Conv2d(channels if k == 0 else out_channels, out_channels, 3, padding=1),
            nn.GroupNorm(groups, out_channels),
            ACTIVATIONS[config.activation](),
        ]
    return nn.Sequential(*layers)


class Stem(nn.Module):
    """From data to tokens: stages of convolutions and patch merging (Earthformer, sec. 3.2).

    Parameters
    ----------
    config : StemConfig
        The stages.
    channels : int
        Channels of the data.
    base_channels : int
        Width of the result.
    padding, scheme : str
        Options of :class:`PatchMerging`.

    Examples
    --------
    >>> Stem(StemConfig(), 1, 16)(torch.zeros(1, 3, 8, 8, 1)).shape
    torch.Size([1, 3, 4, 4, 16])
    """

    def __init__(
        self,
        config: StemConfig,
        channels: int,
        base_channels: int,
        *,
        padding: str = "zeros",
        scheme: str = "fan_in",
    ):
        super().__init__()
        widths = config.stage_channels(base_channels)
        self.convolutions = nn.ModuleList()
        self.merging = nn.ModuleList()
        for before, after, count, scale in zip(
            (channels, *widths), widths, config.convolutions, config.scales, strict=False
        ):
            self.convolutions.append(_convolutions(before, after, count, config))
            self.merging.append(PatchMerging(after, after, scale, padding=padding, scheme=scheme))

    def forward(self, x_BTHWC: torch.Tensor) -> torch.Tensor:
        """Tokens, (batch, time, height, width, base_channels)."""
        x = x_BTHWC
        for convolutions, merging in zip(self.convolutions, self.merging, strict=True):
            x = merging(_video(convolutions(_frames(x)), x.shape[1]))
        return x


class Head(nn.Module):
    """From tokens to data: the stages of :class:`Stem` in reverse, with upsampling for patch merging.

    Parameters
    ----------
    config : StemConfig
        The stages of the stem.
    grid : (int, int, int)
        Time, height and width of the data.
    base_channels : int
        Width of the tokens.
    channels : int
        Channels of the data.
    scheme : str
        A scheme in :data:`~xforecast.models.blocks.layers.INITIALISERS` for the last projection.

    Examples
    --------
    >>> Head(StemConfig(), (3, 8, 8), 16, 1)(torch.zeros(1, 3, 4, 4, 16)).shape
    torch.Size([1, 3, 8, 8, 1])
    """

    def __init__(self, config: StemConfig, grid: Triple, base_channels: int, channels: int, *, scheme: str = "fan_in"):
        super().__init__()
        widths = config.stage_channels(base_channels)[::-1]
        counts = (config.head_convolutions or config.convolutions)[::-1]
        sizes = [size for _, *size in config.grids(grid)[-2::-1]]
        self.upsampling = nn.ModuleList()
        self.convolutions = nn.ModuleList()
        for before, after, count, (height, width) in zip((base_channels, *widths), widths, counts, sizes, strict=False):
            self.upsampling.append(Upsample(before, before, (height, width)))
            self.convolutions.append(_convolutions(before, after, count, config))
        self.projection = linear(widths[-1], channels, scheme=scheme)

    def forward(self, x_BTHWC: torch.Tensor) -> torch.Tensor:
        """Data, (batch, time, height, width, channel)."""
        x = x_BTHWC
        for upsampling, convolutions in zip(self.upsampling, self.convolutions, strict=True):
            x = upsampling(x)
            x = _video(convolutions(_frames(x)), x.shape[1])
        return self.projection(x)
