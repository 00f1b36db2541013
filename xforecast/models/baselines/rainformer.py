"""Rainformer: convolutions for what is local and window attention for what is not, weighed against one another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from xforecast.errors import InvalidOption
from xforecast.models.baselines.sizes import check_sizes, frames_from_channels, frames_to_channels, halvings
from xforecast.models.blocks import attend
from xforecast.models.catalogue import register
from xforecast.models.contract import Config, check_positive, check_shape, weighted_mse

__all__ = ["FeatureBalance", "Rainformer", "RainformerConfig"]

LARGEST_WINDOW = 12
"""Largest side of the windows that are chosen by the grid."""


@dataclass(frozen=True, kw_only=True)
class RainformerConfig(Config):
    """Configuration of :class:`Rainformer`; tuples have one entry for each level, from fine to coarse.

    Parameters
    ----------
    history, horizon : int
        Number of time steps that go in and that come out.
    grid : (int, int)
        Height and width of the data.
    input_channels, output_channels : int
        Number of channels that go in and that come out.
    channels : int
        Width of the first level; each has twice that of the one before.
    heads : tuple of int
        Number of attention heads.
    factors : tuple of int, optional
        How much coarser each level is than the one before; 2 while the grid can be halved if left out.
    head_channels : int
        Width of a head.
    window : int, optional
        Side of the attention windows, which divide the grid of every level; the largest up to 12 if left out.
    legacy_unused : bool
        Allocate the weights that the authors' code counts and does not use, to compare numbers of parameters.

    Examples
    --------
    >>> RainformerConfig(history=12, horizon=14, grid=(24, 48), factors=(1, 2, 2, 2)).grids
    ((24, 48), (12, 24), (6, 12), (3, 6))
    """

    history: int
    horizon: int
    grid: tuple[int, int]
    input_channels: int = 1
    output_channels: int = 1
    channels: int = 32
    heads: tuple[int, ...] = (4, 4, 8, 16)
    factors: tuple[int, ...] | None = None
    head_channels: int = 8
    window: int | None = None
    legacy_unused: bool = False

    @property
    def steps(self) -> tuple[int, ...]:
        """Factor of each level."""
        return self.factors or halvings(self.grid, len(self.heads))

    @property
    def grids(self) -> tuple[tuple[int, int], ...]:
        """Height and width of each level."""
        products = [math.prod(self.steps[: level + 1]) for level in range(len(self.steps))]
        return tuple((self.grid[0] // product, self.grid[1] // product) for product in products)

    @property
    def window_size(self) -> int:
        """Side of the windows."""
        common = math.gcd(*self.grid, *(side for grid in self.grids for side in grid))
        return self.window or max(size for size in range(1, LARGEST_WINDOW + 1) if common % size == 0)

    def validate(self) -> None:
        check_sizes(self)
        if not self.heads or len(self.steps) != len(self.heads):
            wanted = f"{len(self.heads)} values, one for each of heads" if self.heads else "heads for one level or more"
            remedy = "leave factors= out" if self.heads else "heads=(4, 4, 8, 16)"
            raise InvalidOption(*("factors", self.factors) if self.heads else ("heads", self.heads), wanted, remedy)
        check_positive("heads, factors", self.heads, self.steps)
        check_positive("channels, head_channels", self.channels, self.head_channels)
        product = math.prod(self.steps)
        if any(side % product for side in self.grid):
            wanted = f"multiples of {product} (factors {self.steps})"
            raise InvalidOption("grid", self.grid, wanted, "leave factors= out")
        if self.window is not None:
            check_positive("window", self.window)
        if any(side % self.window_size for grid in (self.grid, *self.grids) for side in grid):
            raise InvalidOption(
                "window",
                self.window,
                f"a divisor of every level's grid: {(self.grid, *self.grids)}",
                "leave window= out",
            )
        for level, (width, step) in enumerate(zip(self._expanded(), self.steps, strict=True)):
            if width % step**2:
                wanted = f"{width} at level {level + 1} divisible by the factor {step} squared"
                multiple = math.lcm(*(factor**2 for factor in self.steps))
                remedy = f"channels={-(-self.channels // multiple) * multiple}"
                raise InvalidOption("channels", self.channels, wanted, remedy)

    def _expanded(self) -> list[int]:
        """Width that is expanded to each level, from fine to coarse."""
        levels = len(self.heads)
        return [self.channels * 2 ** min(level + 1, levels - 1) for level in range(levels)]


# ------------------------------------------------------------------ resampling


class _Merge(nn.Module):
    """Patches to channels, then a linear layer."""

    def __init__(self, inputs: int, channels: int, factor: int):
        super().__init__()
        self.factor = factor
        self.linear = nn.Linear(inputs * factor**2, channels)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self.linear(functional.pixel_unshuffle(x_BCHW, self.factor).movedim(1, -1)).movedim(-1, 1)


class _Expand(nn.Module):
    """Channels to patches, then a linear layer."""

    def __init__(self, inputs: int, channels: int, factor: int):
        super().__init__()
        self.factor = factor
        self.linear = nn.Linear(inputs // factor**2, channels)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        return self.linear(functional.pixel_shuffle(x_BCHW, self.factor).movedim(1, -1)).movedim(-1, 1)


# ------------------------------------------------------------------ the local path


def _two_layers(channels: int, hidden: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(channels, hidden), nn.ReLU(), nn.Linear(hidden, channels))


class _Local(nn.Module):
    """Two convolutions, then gates of the channels and of the places (CBAM, Woo et al. 2018)."""

    def __init__(self, channels: int):
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [nn.Conv2d(channels, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU()]
        self.convolutions = nn.Sequential(*layers)
        self.channel_gate = _two_layers(channels, channels // 16 or channels)
        self.place_gate = nn.Sequential(nn.Conv2d(2, 1, 3, padding=1, bias=False), nn.BatchNorm2d(1))

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        x = self.convolutions(x_BCHW)
        x = x * (self.channel_gate(x.mean((2, 3))) + self.channel_gate(x.amax((2, 3)))).sigmoid()[..., None, None]
        return x * self.place_gate(torch.cat([x.mean(1, keepdim=True), x.amax(1, keepdim=True)], dim=1)).sigmoid()


# ------------------------------------------------------------------ the global path


class _WindowAttention(nn.Module):
    """Attention within windows, cyclically shifted or not (Swin; Liu et al. 2021); one bias table for all heads."""

    index: torch.Tensor
    allowed: torch.Tensor | None

    def __init__(self, channels: int, grid: tuple[int, int], heads: int, width: int, window: int, shift: int):
        super().__init__()
        self.grid, self.heads, self.window, self.shift = grid, heads, window, shift
        self.qkv = nn.Linear(channels, 3 * heads * width, bias=False)
        self.project = nn.Linear(heads * width, channels)
        self.table = nn.Parameter(torch.randn(2 * window - 1, 2 * window - 1))
        place = torch.cartesian_prod(torch.arange(window), torch.arange(window))
        across = place[None] - place[:, None] + window - 1  # key minus query
        self.register_buffer("index", across[..., 0] * (2 * window - 1) + across[..., 1], persistent=False)
        self.register_buffer("allowed", self._regions() if shift else None, persistent=False)

    def _regions(self) -> torch.Tensor:
        """Where cells of a shifted window are neighbours, (window, 1, token, token)."""
        rows, columns = (torch.arange(side) >= side - self.shift for side in self.grid)
        regions = self._windows((2 * rows.int()[:, None] + columns.int())[None, ..., None].float())[0, ..., 0]
        return (regions[:, None] == regions[:, :, None])[:, None]

    def _windows(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        """(batch, window, token, channel)."""
        x = x_BHWC.unflatten(2, (-1, self.window)).unflatten(1, (-1, self.window))
        return x.transpose(2, 3).flatten(3, 4).flatten(1, 2)

    def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        shift, across = self.shift, self.grid[1] // self.window
        x = x_BHWC.roll((-shift, -shift), (1, 2)) if shift else x_BHWC
        q, k, v = self._windows(self.qkv(x)).unflatten(-1, (3, self.heads, -1)).unbind(3)
        bias = self.table.flatten()[self.index][None, None]
        if self.allowed is not None:
            bias = bias.masked_fill(~self.allowed, -torch.inf)
        y = self.project(attend(q, k, v, bias))
        y = y.unflatten(2, (self.window, self.window)).unflatten(1, (-1, across)).transpose(2, 3)
        y = y.flatten(3, 4).flatten(1, 2)
        return y.roll((shift, shift), (1, 2)) if shift else y


class _GlobalBlock(nn.Module):
    """Window attention with a gate of the channels, and a feed-forward layer."""

    def __init__(self, channels: int, hidden: int, attention: _WindowAttention):
        super().__init__()
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.attention = attention
        gate = channels // 16 if channels // 16 >= 10 else channels
        self.gate_mean, self.gate_maximum = _two_layers(channels, gate), _two_layers(channels, gate)
        self.feed_forward = nn.Sequential(nn.Linear(channels, hidden), nn.GELU(), nn.Linear(hidden, channels))

    def forward(self, x_BHWC: torch.Tensor) -> torch.Tensor:
        y = self.attention(self.norm_attention(x_BHWC))
        gate = (self.gate_mean(y.mean((1, 2))) + self.gate_maximum(y.amax((1, 2)))).sigmoid()
        x = x_BHWC + y * gate[:, None, None]
        return x + self.feed_forward(self.norm_feed_forward(x))


# ------------------------------------------------------------------ both together


class FeatureBalance(nn.Module):
    """A local and a global path over the same input, and gates that weigh them.

    Parameters
    ----------
    channels : int
        Width of the features.
    grid : (int, int)
        Height and width.
    hidden : int
        Width inside the feed-forward layers.
    heads, head_channels : int
        Number and width of the attention heads.
    window : int
        Side of the attention windows.
    legacy_unused : bool
        Allocate what the authors' code does not use.

    Examples
    --------
    >>> FeatureBalance(12, (6, 12), 48, 2, 4, 3)(torch.zeros(1, 12, 6, 12)).shape
    torch.Size([1, 12, 6, 12])
    """

    def __init__(
        self,
        channels: int,
        grid: tuple[int, int],
        hidden: int,
        heads: int,
        head_channels: int,
        window: int,
        legacy_unused: bool = False,
    ):
        super().__init__()
        self.local = _Local(channels)
        self.blocks = nn.Sequential(
            *(
                _GlobalBlock(channels, hidden, _WindowAttention(channels, grid, heads, head_channels, window, shift))
                for shift in (0, window // 2)
            )
        )
        self.gates = nn.Sequential(
            nn.Conv2d(2 * channels, 2 * channels, 3, padding=1), nn.LayerNorm([2 * channels, *grid]), nn.Sigmoid()
        )
        if legacy_unused:
            for name, inputs in (("unused_first", channels), ("unused_second", 2 * channels)):
                layers = nn.Conv2d(inputs, channels, 3, padding=1), nn.LayerNorm([channels, *grid])
                self.add_module(name, nn.Sequential(*layers))
            masks = nn.Parameter(torch.zeros(2, window**2, window**2), requires_grad=False)
            self.register_parameter("unused_masks", masks)

    def forward(self, x_BCHW: torch.Tensor) -> torch.Tensor:
        """Balanced features, (batch, channel, height, width)."""
        far, near = self.blocks(x_BCHW.movedim(1, -1)).movedim(-1, 1), self.local(x_BCHW)
        of_far, of_near = self.gates(torch.cat([far, near], dim=1)).chunk(2, dim=1)
        return of_far * far + of_near * near


class Rainformer(nn.Module):
    """Frames on the channels, down and up through levels of feature balance with skip connections.

    The layer norms of the gates have weights for every place, so a model belongs to one grid. The authors' code also
    allocates weights that it never uses, 76.5 of 184 million for SEVIR; they are here only with `legacy_unused`.

    Parameters
    ----------
    config : RainformerConfig
        Sizes and options of the model.

    References
    ----------
    Bai et al. (2022), Rainformer: features extraction balanced network for radar-based precipitation nowcasting, IEEE
    Geosci. Remote Sens. Lett. 19, 4023305.

    Examples
    --------
    >>> model = Rainformer(RainformerConfig(history=3, horizon=2, grid=(8, 12), channels=8, heads=(2, 2))).eval()
    >>> model(torch.zeros(1, 3, 8, 12, 1)).shape
    torch.Size([1, 2, 8, 12, 1])
    """

    def __init__(self, config: RainformerConfig):
        super().__init__()
        self.config = config
        steps, grids, heads = config.steps, config.grids, config.heads
        widths = [config.channels * 2**level for level in range(len(steps))]
        inputs = [config.history * config.input_channels, *widths]
        outputs = config.horizon * config.output_channels

        def balance(channels: int, grid: tuple[int, int], hidden: int, number: int) -> FeatureBalance:
            return FeatureBalance(
                channels, grid, hidden, number, config.head_channels, config.window_size, config.legacy_unused
            )

        self.merge = nn.ModuleList(_Merge(*sizes) for sizes in zip(inputs, widths, steps, strict=False))
        self.encoder = nn.ModuleList(
            balance(width, grid, 4 * width, number) for width, grid, number in zip(widths, grids, heads, strict=True)
        )
        below = [*widths[1:], widths[-1]]  # what is expanded to each level: the skip has doubled the width
        above = [outputs, *widths[:-1]]
        self.expand = nn.ModuleList(_Expand(*sizes) for sizes in zip(below, above, steps, strict=True))
        self.decoder = nn.ModuleList(
            balance(2 * width, grid, 4 * width, number)
            for width, grid, number in zip(widths[:-1], grids[:-1], heads[1:], strict=True)
        )
        self.head = balance(outputs, config.grid, 4 * outputs, heads[0])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast (batch, horizon, height, width, channel) from (batch, history, height, width, channel)."""
        config = self.config
        check_shape(x, (config.history, *config.grid, config.input_channels))
        y, skips = frames_to_channels(x), []
        for merge, balance in zip(self.merge, self.encoder, strict=True):
            y = balance(merge(y))
            skips.append(y)
        skips.pop()
        for level in reversed(range(len(skips))):
            up = self.expand[level + 1](y)
            y = self.decoder[level](torch.cat([up, skips[level]], dim=1))
        return frames_from_channels(self.head(self.expand[0](y)), config.horizon)

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted mean squared error."""
        return weighted_mse(self(x), y, weight)


register(Rainformer, RainformerConfig)
