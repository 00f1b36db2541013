"""PredRNN: LSTM cells whose second memory travels through all layers and on to the next time step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from xforecast.errors import InvalidOption
from xforecast.models.baselines.recurrent import SCHEDULED_SAMPLING, Gates, NextFrameModel, SamplingSchedule
from xforecast.models.baselines.sizes import check_divisible, check_next_frame
from xforecast.models.catalogue import register
from xforecast.models.contract import Config, check_positive

__all__ = ["PredRNN", "PredRNNConfig", "SpatiotemporalLSTMCell"]


class SpatiotemporalLSTMCell(nn.Module):
    """One step of a spatiotemporal LSTM (Wang et al. 2017).

    With ``*`` a convolution, the input x, the hidden state h, the cell state c and the travelling memory m::

        i = sigmoid(W_xi * x + W_hi * h)            f = sigmoid(W_xf * x + W_hf * h + 1)
        g = tanh(W_xg * x + W_hg * h)               c' = f c + i g
        i_m = sigmoid(W_xi_m * x + W_mi_m * m)      f_m = sigmoid(W_xf_m * x + W_mf_m * m + 1)
        g_m = tanh(W_xg_m * x + W_mg_m * m)         m' = f_m m + i_m g_m
        o = sigmoid(W_xo * x + W_ho * h + W_co * c' + W_mo * m')
        h' = o tanh(W_1x1 * [c', m'])

    The convolutions have no biases, and the forget gates an offset of one, as in the authors' code.

    Parameters
    ----------
    inputs, channels : int
        Width of x, and of h, c and m.
    kernel : int
        Side of the convolutions.
    norm_grid : (int, int), optional
        Height and width; with them layer norms after the convolutions, over channels and places.

    Examples
    --------
    >>> cell, x, zeros = SpatiotemporalLSTMCell(1, 4), torch.zeros(2, 1, 6, 8), torch.zeros(2, 4, 6, 8)
    >>> h, c, m, (added_to_c, added_to_m) = cell(cell.from_input(x), zeros, zeros, zeros)
    >>> h.shape
    torch.Size([2, 4, 6, 8])
    """

    def __init__(self, inputs: int, channels: int, kernel: int = 5, norm_grid: tuple[int, int] | None = None):
        super().__init__()

        def gates(names: tuple[str, ...], width: int) -> Gates:
            norm = nn.LayerNorm([len(names) * channels, *norm_grid]) if norm_grid else None
            return Gates(names, width, channels, (kernel, kernel), bias=False, norm=norm)

        self.from_input = gates(("i", "f", "g", "i_m", "f_m", "g_m", "o"), inputs)
        self.from_hidden = gates(("i", "f", "g", "o"), channels)
        self.from_memory = gates(("i_m", "f_m", "g_m"), channels)
        self.from_cells = gates(("o",), 2 * channels)  # c' and m'
        self.output = nn.Conv2d(2 * channels, channels, 1, bias=False)

    def forward(self, from_input: torch.Tensor, h: torch.Tensor, c: torch.Tensor, m: torch.Tensor) -> tuple:
        """Next h, c and m, and what was added to c and m, from the input's share of the gates."""
        x = self.from_input.named(from_input)
        hidden = self.from_hidden.named(self.from_hidden(h))
        memory = self.from_memory.named(self.from_memory(m))
        to_c = (x["i"] + hidden["i"]).sigmoid() * (x["g"] + hidden["g"]).tanh()
        to_m = (x["i_m"] + memory["i_m"]).sigmoid() * (x["g_m"] + memory["g_m"]).tanh()
        c = (x["f"] + hidden["f"] + 1).sigmoid() * c + to_c
        m = (x["f_m"] + memory["f_m"] + 1).sigmoid() * m + to_m
        cells = torch.cat([c, m], dim=1)
        o = (x["o"] + hidden["o"] + self.from_cells(cells)).sigmoid()
        return o * self.output(cells).tanh(), c, m, (to_c, to_m)


@dataclass(frozen=True, kw_only=True)
class PredRNNConfig(Config):
    """Configuration of :class:`PredRNN`.

    Parameters
    ----------
    history, horizon : int
        Number of time steps that go in and that come out.
    grid : (int, int)
        Height and width of the data.
    input_channels, output_channels : int
        The first input channels are those of the forecast.
    channels, layers : int
        Width and number of the cells.
    kernel : int
        Odd size of the convolutions.
    patch : int, optional
        Side of the square patches that become channels; if left out 4, 2 or 1, the largest that divides the grid.
    layer_norm : bool
        Normalise after the convolutions; this ties the model to its grid.
    decoupling : float
        Weight of the decoupling loss; more than 0 makes PredRNN-V2, whose authors take 0.1 or 0.01 and reverse
        sampling.
    sampling : SamplingSchedule
        When training feeds the model true frames, and when its own predictions.

    Examples
    --------
    >>> version_2 = PredRNNConfig(
    ...     history=12, horizon=14, grid=(24, 48), decoupling=0.1, sampling=SamplingSchedule("reverse")
    ... )
    >>> version_2.patch_size
    4
    """

    history: int
    horizon: int
    grid: tuple[int, int]
    input_channels: int = 1
    output_channels: int = 1
    channels: int = 128
    layers: int = 4
    kernel: int = 5
    patch: int | None = None
    layer_norm: bool = False
    decoupling: float = 0.0
    sampling: SamplingSchedule = SCHEDULED_SAMPLING

    @property
    def patch_size(self) -> int:
        """Side of the patches."""
        return self.patch or fitting_patch(self.grid)

    def validate(self) -> None:
        check_next_frame(self)
        check_positive("channels, layers, kernel, patch", self.channels, self.layers, self.kernel, self.patch_size)
        check_divisible(self.grid, self.patch_size, "patch", "leave patch= out")
        if not self.decoupling >= 0:
            raise InvalidOption("decoupling", self.decoupling, "0 or more", "decoupling=0.0")


def fitting_patch(grid: tuple[int, int]) -> int:
    """The largest of 4, 2 and 1 that divides the grid."""
    return next(size for size in (4, 2, 1) if not (grid[0] % size or grid[1] % size))


class _State(NamedTuple):
    hidden: tuple[torch.Tensor, ...]
    cell: tuple[torch.Tensor, ...]
    memory: torch.Tensor
    coupling: torch.Tensor | float


class PredRNN(NextFrameModel):
    """Predictive recurrent network: next-frame prediction with spatiotemporal LSTM cells on patches.

    The memory m climbs through the layers of one time step and enters the first layer of the next. Training learns
    from every one-step prediction, with scheduled sampling; with `decoupling` (PredRNN-V2) also from the similarity
    of what c and m take up, which should be small.

    Parameters
    ----------
    config : PredRNNConfig
        Sizes and options of the model.

    References
    ----------
    Wang et al. (2017), PredRNN: recurrent neural networks for predictive learning using spatiotemporal LSTMs, NeurIPS;
    Wang et al. (2022), PredRNN: a recurrent neural network for spatiotemporal predictive learning, IEEE TPAMI.

    Examples
    --------
    >>> model = PredRNN(PredRNNConfig(history=3, horizon=2, grid=(8, 12), channels=8, layers=2))
    >>> model(torch.zeros(1, 3, 8, 12, 1)).shape
    torch.Size([1, 2, 8, 12, 1])
    """

    config: PredRNNConfig

    def __init__(self, config: PredRNNConfig):
        super().__init__(config)
        width, size = config.channels, config.patch_size
        inside = (config.grid[0] // size, config.grid[1] // size)
        pixels = size**2 * config.input_channels
        self.cells = nn.ModuleList(
            SpatiotemporalLSTMCell(width if k else pixels, width, config.kernel, inside if config.layer_norm else None)
            for k in range(config.layers)
        )
        self.head = nn.Conv2d(width, pixels, 1, bias=False)
        self.adapter = nn.Conv2d(width, width, 1, bias=False) if config.decoupling else None

    def begin(self, frames_BTCHW: torch.Tensor) -> _State:
        """All zeros."""
        shape = (len(frames_BTCHW), self.config.channels, *frames_BTCHW.shape[-2:])
        zeros = (frames_BTCHW.new_zeros(shape),) * self.config.layers
        return _State(zeros, zeros, zeros[0], 0.0)

    def embed(self, frame_BCHW: torch.Tensor) -> torch.Tensor:
        """The frame's share of the first layer's gates."""
        return self.cells[0].from_input(frame_BCHW)  # type: ignore[operator]

    def step(self, embedded: torch.Tensor, state: _State, number: int) -> tuple[torch.Tensor, _State]:
        """Next frame and state; the coupling of the layers is added up on the way."""
        memory, coupling = state.memory, state.coupling
        hidden: list[torch.Tensor] = []
        cells: list[torch.Tensor] = []
        gates = embedded
        for layer, cell in enumerate(self.cells):
            if layer:
                gates = cell.from_input(hidden[-1])  # type: ignore[operator]
            h, c, memory, added = cell(gates, state.hidden[layer], state.cell[layer], memory)
            hidden.append(h)
            cells.append(c)
            if self.adapter is not None and self.training:
                coupling = coupling + self._similarity(*added)
        return self.head(hidden[-1]), _State(tuple(hidden), tuple(cells), memory, coupling)

    def _similarity(self, to_c: torch.Tensor, to_m: torch.Tensor) -> torch.Tensor:
        """Mean absolute value of the cosine between two increments over space, for each channel."""
        a, b = (self.adapter(part).flatten(2) for part in (to_c, to_m))  # type: ignore[misc]
        return functional.cosine_similarity(a, b, dim=-1).abs().mean()

    def penalty(self, state: _State) -> torch.Tensor | float:
        """The decoupling loss: mean similarity over steps and layers, times its weight."""
        steps = self.config.history + self.config.horizon - 1
        return self.config.decoupling * state.coupling / (steps * self.config.layers)


register(PredRNN, PredRNNConfig)
