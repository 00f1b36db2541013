"""Eidetic 3-D LSTM: cells of 3-D convolutions over short windows, which recall all of their past states."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from xforecast.models.baselines.predrnn import fitting_patch
from xforecast.models.baselines.recurrent import SCHEDULED_SAMPLING, Gates, NextFrameModel, SamplingSchedule
from xforecast.models.baselines.sizes import check_divisible, check_next_frame
from xforecast.models.catalogue import register
from xforecast.models.contract import Config, check_axes, check_choice, check_positive

__all__ = ["E3DLSTM", "E3DLSTMConfig", "EideticLSTMCell"]

EPSILON = 1e-12
"""Number that keeps the norms from dividing by zero."""


class EideticLSTMCell(nn.Module):
    """One step of an eidetic 3-D LSTM (Wang et al. 2019), as in the authors' code.

    With ``*`` a 3-D convolution, n a norm over channel, window and place, the input x, the hidden state h, the cell
    state c with all its past, and the travelling memory m; each of ``W_x *``, ``W_h *`` and ``W_m *`` is normalised::

        i = sigmoid(W_xi * x + W_hi * h)    g = tanh(W_xg * x + W_hg * h)    r = sigmoid(W_xr * x + W_hr * h)
        recall = softmax(r past^T) past     c' = n(c + recall) + i g
        i_m = sigmoid(W_xi_m * x + W_mi_m * m)    f_m = sigmoid(W_xf_m * x + W_mf_m * m + 1)
        g_m = tanh(W_xg_m * x + W_mg_m * m)       m' = f_m tanh(W_mm * m) + i_m g_m
        o = tanh(W_xo * x + W_ho * h + W_co * c' + W_mo * m')
        h' = sigmoid(o) tanh(W_1x1x1 * [c', m'])

    Parameters
    ----------
    inputs, channels : int
        Width of x, and of h, c and m.
    kernel : (int, int, int)
        Along window, height and width.

    Examples
    --------
    >>> cell, x, zeros = EideticLSTMCell(1, 4), torch.zeros(1, 1, 2, 6, 8), torch.zeros(1, 4, 2, 6, 8)
    >>> h, c, m = cell(x, zeros, zeros, zeros, tokens(zeros))
    >>> h.shape
    torch.Size([1, 4, 2, 6, 8])
    """

    def __init__(self, inputs: int, channels: int, kernel: tuple[int, int, int] = (2, 5, 5)):
        super().__init__()

        # Their biases must not start at zero: at the first step they are all that the norms see.
        def gates(names: tuple[str, ...], width: int) -> Gates:
            return Gates(names, width, channels, kernel, norm=_norm(len(names) * channels))

        self.from_input = gates(("i", "g", "r", "o", "i_m", "g_m", "f_m"), inputs)
        self.from_hidden = gates(("i", "g", "r", "o"), channels)
        self.from_memory = gates(("i_m", "f_m", "g_m", "m"), channels)
        self.from_cell = Gates(("o",), channels, channels, kernel)
        self.from_new_memory = Gates(("o",), channels, channels, kernel)
        self.norm = _norm(channels)
        self.output = nn.Conv3d(2 * channels, channels, 1)

    def forward(
        self, x: torch.Tensor, h: torch.Tensor, c: torch.Tensor, m: torch.Tensor, past: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Next h, c and m, each (batch, channel, window, height, width).

        Parameters
        ----------
        x : Tensor, (batch, inputs, window, height, width)
            The input.
        h, c, m : Tensor, (batch, channel, window, height, width)
            Hidden state, cell state and travelling memory of the step before.
        past : Tensor, (batch, token, channel)
            All cell states so far, `c` among them, as :func:`tokens`.
        """
        x_ = self.from_input.named(self.from_input(x))
        h_ = self.from_hidden.named(self.from_hidden(h))
        m_ = self.from_memory.named(self.from_memory(m))
        recalled = functional.scaled_dot_product_attention(
            tokens((x_["r"] + h_["r"]).sigmoid())[:, None], past[:, None], past[:, None], scale=1.0
        )
        recalled = recalled[:, 0].transpose(1, 2).unflatten(2, c.shape[2:])
        c = self.norm(c + recalled) + (x_["i"] + h_["i"]).sigmoid() * (x_["g"] + h_["g"]).tanh()
        m = (x_["f_m"] + m_["f_m"] + 1).sigmoid() * m_["m"].tanh()
        m = m + (x_["i_m"] + m_["i_m"]).sigmoid() * (x_["g_m"] + m_["g_m"]).tanh()
        o = (x_["o"] + h_["o"] + self.from_cell(c) + self.from_new_memory(m)).tanh()
        return o.sigmoid() * self.output(torch.cat([c, m], dim=1)).tanh(), c, m


def tokens(x_BCTHW: torch.Tensor) -> torch.Tensor:
    """Places of a window as a sequence, (batch, token, channel)."""
    return x_BCTHW.flatten(2).transpose(1, 2)


def _norm(channels: int) -> nn.GroupNorm:
    """Moments over everything but the batch, one gain and one shift for each channel."""
    return nn.GroupNorm(1, channels, eps=EPSILON)


@dataclass(frozen=True, kw_only=True)
class E3DLSTMConfig(Config):
    """Configuration of :class:`E3DLSTM`.

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
    kernel : (int, int, int)
        Sizes of the convolutions along window, height and width.
    window : int
        Number of frames that a cell sees at once.
    patch : int, optional
        Side of the square patches that become channels; if left out 4, 2 or 1, the largest that divides the grid.
    memory : {"paper", "official"}
        Hand the memory m on from layer to layer, or leave it at zero as the authors' code does.
    sampling : SamplingSchedule
        When training feeds the model true frames, and when its own predictions.

    Examples
    --------
    >>> E3DLSTMConfig(history=12, horizon=14, grid=(24, 48)).patch_size
    4
    """

    history: int
    horizon: int
    grid: tuple[int, int]
    input_channels: int = 1
    output_channels: int = 1
    channels: int = 64
    layers: int = 4
    kernel: tuple[int, int, int] = (2, 5, 5)
    window: int = 2
    patch: int | None = None
    memory: str = "paper"
    sampling: SamplingSchedule = SCHEDULED_SAMPLING

    @property
    def patch_size(self) -> int:
        """Side of the patches."""
        return self.patch or fitting_patch(self.grid)

    def validate(self) -> None:
        check_next_frame(self)
        check_positive("channels, layers, window, patch", self.channels, self.layers, self.window, self.patch_size)
        check_axes("kernel", self.kernel, (2, 5, 5))
        check_divisible(self.grid, self.patch_size, "patch", "leave patch= out")
        check_choice("memory", self.memory, ("paper", "official"))


class _State(NamedTuple):
    frames: tuple[torch.Tensor, ...]  # the last window but its newest
    hidden: tuple[torch.Tensor, ...]
    cell: tuple[torch.Tensor, ...]
    memory: torch.Tensor
    past: tuple[torch.Tensor, ...]


class E3DLSTM(NextFrameModel):
    """Eidetic 3-D LSTM: next-frame prediction from windows of frames, with attention to all past cell states.

    Training learns from every one-step prediction, with squared and absolute errors and scheduled sampling.

    Parameters
    ----------
    config : E3DLSTMConfig
        Sizes and options of the model.

    References
    ----------
    Wang et al. (2019), Eidetic 3D LSTM: a model for video prediction and beyond, ICLR.

    Examples
    --------
    >>> model = E3DLSTM(E3DLSTMConfig(history=3, horizon=2, grid=(8, 12), channels=8, layers=2))
    >>> model(torch.zeros(1, 3, 8, 12, 1)).shape
    torch.Size([1, 2, 8, 12, 1])
    """

    config: E3DLSTMConfig

    def __init__(self, config: E3DLSTMConfig):
        super().__init__(config)
        width, pixels = config.channels, config.patch_size**2 * config.input_channels
        self.cells = nn.ModuleList(
            EideticLSTMCell(width if layer else pixels, width, config.kernel) for layer in range(config.layers)
        )
        self.head = nn.Conv3d(width, pixels, (config.window, 1, 1))

    def begin(self, frames_BTCHW: torch.Tensor) -> _State:
        """All zeros, which the cells remember too."""
        config, frame = self.config, torch.zeros_like(frames_BTCHW[:, 0])
        zeros = frame.new_zeros(len(frame), config.channels, config.window, *frame.shape[-2:])
        layers = (zeros,) * config.layers
        past = (tokens(zeros),) * config.layers
        return _State((frame,) * (config.window - 1), layers, layers, zeros, past)

    def step(self, embedded: torch.Tensor, state: _State, number: int) -> tuple[torch.Tensor, _State]:
        """Next frame and state."""
        frames = (*state.frames, embedded)
        x, memory = torch.stack(frames, dim=2), state.memory
        hidden, cells, past = [], [], []
        for layer, cell in enumerate(self.cells):
            x, c, new_memory = cell(x, state.hidden[layer], state.cell[layer], memory, state.past[layer])
            memory = new_memory if self.config.memory == "paper" else memory
            hidden.append(x)
            cells.append(c)
            past.append(torch.cat([state.past[layer], tokens(c)], dim=1))
        return self.head(x)[:, :, 0], _State(frames[1:], tuple(hidden), tuple(cells), memory, tuple(past))

    def error(self, prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Mean of e^2 / 2 + abs(e)."""
        weight = torch.ones_like(target) if weight is None else weight.expand_as(target)
        error = torch.where(weight == 0, 0.0, prediction - target)
        return (weight * (0.5 * error.square() + error.abs())).sum() / weight.sum()


register(E3DLSTM, E3DLSTMConfig)
