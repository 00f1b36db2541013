"""ConvLSTM: recurrence with convolutions, as an encoder and a forecaster that runs through its levels in reverse."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.baselines.recurrent import Gates, over_time
from xforecast.models.baselines.sizes import check_divisible, check_sizes, halvings
from xforecast.models.catalogue import register
from xforecast.models.contract import Config, check_positive, check_shape, weighted_mse

__all__ = ["ConvLSTM", "ConvLSTMCell", "ConvLSTMConfig"]

State = tuple[torch.Tensor, torch.Tensor]


class ConvLSTMCell(nn.Module):
    """One step of a convolutional LSTM (Shi et al. 2015, equation 3).

    With ``*`` a convolution, the input x, the hidden state h and the cell state c::

        i = sigmoid(W_xi * x + W_hi * h + w_ci c + b_i)      f = sigmoid(W_xf * x + W_hf * h + w_cf c + b_f)
        g = tanh(W_xg * x + W_hg * h + b_g)                  c' = f c + i g
        o = sigmoid(W_xo * x + W_ho * h + w_co c' + b_o)     h' = o tanh(c')

    Parameters
    ----------
    inputs, channels : int
        Width of x, and of h and c.
    kernel : int
        Side of the convolutions.
    peephole_grid : (int, int), optional
        Height and width; with them the maps ``w_c?``, which tie the cell to a grid.

    Examples
    --------
    >>> cell, x = ConvLSTMCell(1, 4), torch.zeros(2, 1, 6, 8)
    >>> h, c = cell(cell.from_input(x), cell.begin(x))
    >>> h.shape
    torch.Size([2, 4, 6, 8])
    """

    GATES = ("i", "f", "g", "o")

    def __init__(self, inputs: int, channels: int, kernel: int = 3, peephole_grid: tuple[int, int] | None = None):
        super().__init__()
        self.channels = channels
        self.from_input = Gates(self.GATES, inputs, channels, (kernel, kernel))
        self.from_hidden = Gates(self.GATES, channels, channels, (kernel, kernel), bias=False)
        self.peephole = nn.ParameterDict(
            {gate: nn.Parameter(torch.zeros(channels, *peephole_grid)) for gate in "ifo"} if peephole_grid else {}
        )

    def begin(self, x: torch.Tensor) -> State:
        """Zero states for inputs (batch, channel, height, width)."""
        zeros = x.new_zeros(len(x), self.channels, *x.shape[-2:])
        return zeros, zeros

    def forward(self, from_input: torch.Tensor, state: State) -> State:
        """Next (h, c) from the input's share of the gates, ``self.from_input(x)``, and the last (h, c)."""
        h, c = state
        gates = self.from_input.named(from_input + self.from_hidden(h))
        i, f = self._peep("i", gates, c).sigmoid(), self._peep("f", gates, c).sigmoid()
        c = f * c + i * gates["g"].tanh()
        return self._peep("o", gates, c).sigmoid() * c.tanh(), c

    def _peep(self, gate: str, gates: dict[str, torch.Tensor], c: torch.Tensor) -> torch.Tensor:
        return gates[gate] + self.peephole[gate] * c if gate in self.peephole else gates[gate]

    def run(self, x_BTCHW: torch.Tensor, state: State) -> tuple[torch.Tensor, State]:
        """Hidden states after every frame of a sequence, and the last state."""
        hidden = []
        for gates in over_time(self.from_input, x_BTCHW).unbind(1):
            state = self(gates, state)
            hidden.append(state[0])
        return torch.stack(hidden, dim=1), state


@dataclass(frozen=True, kw_only=True)
class ConvLSTMConfig(Config):
    """Configuration of :class:`ConvLSTM`; tuples have one entry for each level, from fine to coarse.

    Parameters
    ----------
    history, horizon : int
        Number of time steps that go in and that come out.
    grid : (int, int)
        Height and width of the data.
    input_channels, output_channels : int
        Number of channels that go in and that come out.
    channels : tuple of int
        Width of the cells.
    strides : tuple of int, optional
        How much coarser each level is than the one before; 2 while the grid can be halved if left out.
    kernels : tuple of int, optional
        Odd sizes of the strided convolutions; 7, 5, 3, 3 ... if left out.
    transposed_kernels : tuple of int, optional
        Sizes of the transposed convolutions, at least the stride; twice the stride, or 3, if left out.
    cell_kernel : int
        Side of the convolutions inside the cells.
    convolution_channels : tuple of int, optional
        Width of the strided convolutions; that of the cells if left out.
    head : int
        Width at full resolution, before the last convolution.
    head_convolution : bool
        Another 3 x 3 convolution at full resolution.
    peephole : bool
        Let gates see the cell state through weights for every place.

    Examples
    --------
    >>> ConvLSTMConfig(history=12, horizon=14, grid=(24, 48)).steps
    (2, 2, 2)
    """

    history: int
    horizon: int
    grid: tuple[int, int]
    input_channels: int = 1
    output_channels: int = 1
    channels: tuple[int, ...] = (96, 112, 256)
    strides: tuple[int, ...] | None = None
    kernels: tuple[int, ...] | None = None
    transposed_kernels: tuple[int, ...] | None = None
    cell_kernel: int = 3
    convolution_channels: tuple[int, ...] | None = None
    head: int = 16
    head_convolution: bool = False
    peephole: bool = False

    @property
    def steps(self) -> tuple[int, ...]:
        """Stride of each level."""
        return self.strides or halvings(self.grid, len(self.channels))

    @property
    def sizes(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Kernels of the strided and of the transposed convolutions."""
        levels = len(self.channels)
        down = self.kernels or (7, 5, 3, *[3] * levels)[:levels]
        return down, self.transposed_kernels or tuple(max(3, 2 * step) if step > 1 else 3 for step in self.steps)

    def validate(self) -> None:
        check_sizes(self)
        if not self.channels:
            wanted = "the width of at least one level"
            raise InvalidOption("channels", self.channels, wanted, "channels=(64, 96)")
        for name in ("channels", "strides", "kernels", "transposed_kernels", "convolution_channels"):
            value = getattr(self, name)
            if value is not None and len(value) != len(self.channels):
                wanted = f"{len(self.channels)} values, one for each of channels"
                raise InvalidOption(name, value, wanted, f"leave {name}= out")
            check_positive(name, value or ())
        check_positive("cell_kernel, head", self.cell_kernel, self.head)
        down, up = self.sizes
        if any(size % 2 == 0 for size in down):
            remedy = f"kernels={tuple(size + 1 - size % 2 for size in down)}"
            raise InvalidOption("kernels", down, "odd sizes, which keep the grid aligned", remedy)
        if any(size < step or (step == 1 and size % 2 == 0) for size, step in zip(up, self.steps, strict=True)):
            wanted = f"sizes of at least the strides {self.steps}, odd at stride 1"
            raise InvalidOption("transposed_kernels", up, wanted, "leave transposed_kernels= out")
        check_divisible(self.grid, math.prod(self.steps), f"strides {self.steps}", "leave strides= out")


class ConvLSTM(nn.Module):
    """Convolutional LSTM, encoder and forecaster.

    The encoder goes from fine to coarse: strided convolution, leaky ReLU, a cell over all frames. The forecaster goes
    back with cells of its own, which start from the encoder's last states, and transposed convolutions. Its coarsest
    cell has no input; nothing that is forecast is read again.

    Parameters
    ----------
    config : ConvLSTMConfig
        Sizes and options of the model.

    References
    ----------
    Shi et al. (2015), Convolutional LSTM network, NeurIPS (the cell); Shi et al. (2017), Deep learning for
    precipitation nowcasting: a benchmark and a new model, NeurIPS (encoder and forecaster).

    Examples
    --------
    >>> model = ConvLSTM(ConvLSTMConfig(history=3, horizon=2, grid=(8, 12), channels=(4, 6)))
    >>> model(torch.zeros(1, 3, 8, 12, 1)).shape
    torch.Size([1, 2, 8, 12, 1])
    """

    def __init__(self, config: ConvLSTMConfig):
        super().__init__()
        self.config = config
        widths = config.channels
        inner = config.convolution_channels or widths
        grids, (height, width) = [], config.grid
        for step in config.steps:
            height, width = height // step, width // step
            grids.append((height, width) if config.peephole else None)
        down, up = config.sizes
        levels = range(len(widths))
        before = (config.input_channels, *widths)
        above = (config.head, *widths)
        self.down = nn.ModuleList(_down(before[k], inner[k], down[k], config.steps[k]) for k in levels)
        self.encoder = nn.ModuleList(ConvLSTMCell(inner[k], widths[k], config.cell_kernel, grids[k]) for k in levels)
        self.forecaster = nn.ModuleList(
            ConvLSTMCell(widths[k], widths[k], config.cell_kernel, grids[k]) for k in levels
        )
        self.up = nn.ModuleList(_up(widths[k], above[k], up[k], config.steps[k]) for k in levels)
        more = [nn.Conv2d(config.head, config.head, 3, padding=1), nn.LeakyReLU(0.2)] if config.head_convolution else []
        self.head = nn.Sequential(*more, nn.Conv2d(config.head, config.output_channels, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast (batch, horizon, height, width, channel) from (batch, history, height, width, channel)."""
        config = self.config
        check_shape(x, (config.history, *config.grid, config.input_channels))
        y, states = x.movedim(-1, 2), []
        for down, cell in zip(self.down, self.encoder, strict=True):
            y = over_time(down, y)
            y, state = cell.run(y, cell.begin(y))  # type: ignore[operator]
            states.append(state)
        y = y.new_zeros(len(y), config.horizon, *y.shape[2:])
        for up, cell in zip(reversed(self.up), reversed(self.forecaster), strict=True):
            y, _ = cell.run(y, states.pop())  # type: ignore[operator]
            y = over_time(up, y)
        return over_time(self.head, y).movedim(2, -1)

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Weighted mean squared error."""
        return weighted_mse(self(x), y, weight)


register(ConvLSTM, ConvLSTMConfig)


def _down(inputs: int, channels: int, kernel: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, channels, kernel, stride, padding=kernel // 2), nn.LeakyReLU(0.2))


def _up(inputs: int, channels: int, kernel: int, stride: int) -> nn.Sequential:
    padding = -((stride - kernel) // 2)
    rest = stride - kernel + 2 * padding
    return nn.Sequential(
        nn.ConvTranspose2d(inputs, channels, kernel, stride, padding, output_padding=rest), nn.LeakyReLU(0.2)
    )
