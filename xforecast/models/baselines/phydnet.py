"""PhyDNet: a branch that moves like a partial differential equation beside one that learns the rest."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.baselines.convlstm import ConvLSTMCell
from xforecast.models.baselines.recurrent import NextFrameModel, SamplingSchedule
from xforecast.models.baselines.sizes import check_divisible, check_next_frame, halvings
from xforecast.models.blocks import ACTIVATIONS
from xforecast.models.catalogue import register
from xforecast.models.contract import Config, check_choice, check_positive, weighted_mse

__all__ = ["PhyCell", "PhyDNet", "PhyDNetConfig", "kernel_moments", "moment_loss"]

GROUPS = 16
"""Groups of the group norms in encoders and decoders."""

TEACHER_FORCING = SamplingSchedule("teacher_forcing", start=0.0, end=1 / 6)


# ------------------------------------------------------------------ kernels as derivatives


def moment_matrix(size: int) -> torch.Tensor:
    """Matrix A with ``A w A^T`` the moments of a kernel w: ``A[i, u] = (u - c)^i / i!``, c the centre; float64."""
    offset = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    return torch.stack([offset**order / math.factorial(order) for order in range(size)])


def kernel_moments(kernels: torch.Tensor) -> torch.Tensor:
    """Moments of convolution kernels, ``sum over u, v of (u-c)^i (v-c)^j w[u, v] / (i! j!)``.

    A kernel whose only moment is that of i and j approximates the derivative i times along y and j times along x
    (Long et al. 2018, PDE-Net: learning PDEs from data, ICML).

    Parameters
    ----------
    kernels : Tensor, (..., size, size)
        The kernels.

    Returns
    -------
    Tensor, (..., size, size), float64

    Examples
    --------
    >>> slope = torch.tensor([[0.0, 0.0, 0.0], [-0.5, 0.0, 0.5], [0.0, 0.0, 0.0]])
    >>> kernel_moments(slope)[0].tolist()
    [0.0, 1.0, 0.0]
    """
    matrix = moment_matrix(kernels.shape[-1]).to(kernels.device)
    return matrix @ kernels.double() @ matrix.T


def moment_loss(kernels: torch.Tensor) -> torch.Tensor:
    """How far filter n is from the derivative of orders (n div size, n mod size).

    Parameters
    ----------
    kernels : Tensor, (filter, channel, size, size)
        Weight of the convolution.

    Returns
    -------
    Tensor
        Mean squared error of the moments, summed over the channels.
    """
    filters, channels, size, _ = kernels.shape
    wanted = torch.eye(size**2, dtype=torch.float64, device=kernels.device)[:filters].reshape(filters, 1, size, size)
    return channels * (kernel_moments(kernels) - wanted).square().mean().to(kernels.dtype)


class PhyCell(nn.Module):
    """One step of a partial differential equation with learnt coefficients, corrected by an observation.

    With ``*`` a convolution, the state h, the observation p and n a group norm::

        prediction   d = h + c_1x1 * n(w * h)
        gain         K = sigmoid(W_K * [p, h])
        correction   h' = d + K (p - d)

    Parameters
    ----------
    channels : int
        Width of h and p.
    filters : int
        Number of derivatives w; a multiple of `kernel`, which is the number of groups too.
    kernel : int
        Size of w.

    Examples
    --------
    >>> cell, h = PhyCell(6, 14), torch.zeros(1, 6, 9, 8)
    >>> cell(h, h).shape
    torch.Size([1, 6, 9, 8])
    """

    def __init__(self, channels: int, filters: int = 49, kernel: int = 7):
        super().__init__()
        self.derivatives = nn.Conv2d(channels, filters, kernel, padding="same")
        self.norm = nn.GroupNorm(kernel, filters)
        self.combine = nn.Conv2d(filters, channels, 1)
        self.gain = nn.Conv2d(2 * channels, channels, 3, padding=1)

    def forward(self, p: torch.Tensor, h: torch.Tensor, *, correct: bool = True) -> torch.Tensor:
        """Next state from the observation and the last state; without `correct` the prediction alone."""
        ahead = h + self.combine(self.norm(self.derivatives(h)))
        if not correct:
            return ahead
        return ahead + self.gain(torch.cat([p, h], dim=1)).sigmoid() * (p - ahead)


# ------------------------------------------------------------------ the network


@dataclass(frozen=True, kw_only=True)
class PhyDNetConfig(Config):
    """Configuration of :class:`PhyDNet`.

    Parameters
    ----------
    history, horizon : int
        Number of time steps that go in and that come out.
    grid : (int, int)
        Height and width of the data.
    input_channels, output_channels : int
        The first input channels are those of the forecast.
    channels : int
        Width of encoder and decoder, a multiple of 16; the latent space has twice as many.
    strides : (int, int, int), optional
        Strides of the encoder's convolutions; 2, 1, 2 where the grid allows it if left out.
    filters, kernel : int
        Number and odd size of the filters in the physical cell.
    hidden : tuple of int
        Width of the layers of the ConvLSTM branch; one for the latent space comes last.
    activation : {"identity", "sigmoid"}
        Last function of the frames that are forecast; sigmoid only for data from 0 to 1.
    free_run : bool
        Let the physical cell run without correction on the model's own frames.
    moment_weight : float
        Weight of the moment loss.
    sampling : SamplingSchedule
        When training feeds the model true frames, and when its own predictions.

    Examples
    --------
    >>> PhyDNetConfig(history=12, horizon=14, grid=(24, 48)).steps
    (2, 1, 2)
    """

    history: int
    horizon: int
    grid: tuple[int, int]
    input_channels: int = 1
    output_channels: int = 1
    channels: int = 32
    strides: tuple[int, int, int] | None = None
    filters: int = 49
    kernel: int = 7
    hidden: tuple[int, ...] = (128, 128)
    activation: str = "identity"
    free_run: bool = False
    moment_weight: float = 1.0
    sampling: SamplingSchedule = TEACHER_FORCING

    patch_size = 1

    @property
    def steps(self) -> tuple[int, int, int]:
        """Strides of the encoder."""
        if self.strides is not None:
            return self.strides
        first, last = halvings(self.grid, 2)
        return first, 1, last

    def validate(self) -> None:
        check_next_frame(self)
        check_choice("activation", self.activation, ("identity", "sigmoid"))
        check_positive("channels, filters, kernel, hidden", self.channels, self.filters, self.kernel, self.hidden)
        if self.channels % GROUPS:
            wanted = f"a multiple of {GROUPS}, the groups of the norms"
            raise InvalidOption("channels", self.channels, wanted, f"channels={-(-self.channels // GROUPS) * GROUPS}")
        if self.kernel % 2 == 0 or self.filters % self.kernel or self.filters > self.kernel**2:
            raise InvalidOption(
                "filters, kernel",
                (self.filters, self.kernel),
                "an odd kernel, and as many filters as a multiple of it up to its square",
                "filters=49, kernel=7",
            )
        if len(self.steps) != 3:
            raise InvalidOption("strides", self.strides, "3 integers", "leave strides= out")
        check_positive("strides", self.steps)
        reason = f"strides {self.steps}"
        check_divisible(self.grid, math.prod(self.steps), reason, "leave strides= out")
        if not self.moment_weight >= 0:
            raise InvalidOption("moment_weight", self.moment_weight, "0 or more", "moment_weight=1.0")


class _State(NamedTuple):
    physics: torch.Tensor
    residual: tuple[tuple[torch.Tensor, torch.Tensor], ...]


class PhyDNet(NextFrameModel):
    """Next-frame prediction in a latent space with two branches, a physical cell and a stack of ConvLSTM cells.

    Both read the encoded frame, and their sum is decoded. While forecasting, the physical cell is corrected by the
    encoding of the model's own frames, as in the authors' code; `free_run` leaves that out. Training adds up the mean
    squared errors of all steps and the moment loss, and feeds true frames to a share of the batches that falls
    linearly to zero in the first sixth of the training (from 1 by 0.003 an epoch, of 2001, in the original).

    Parameters
    ----------
    config : PhyDNetConfig
        Sizes and options of the model.

    References
    ----------
    Le Guen and Thome (2020), Disentangling physical dynamics from unknown factors for unsupervised video prediction,
    CVPR.

    Examples
    --------
    >>> model = PhyDNet(PhyDNetConfig(history=3, horizon=2, grid=(8, 12), channels=16, hidden=(8,)))
    >>> model(torch.zeros(1, 3, 8, 12, 1)).shape
    torch.Size([1, 2, 8, 12, 1])
    """

    config: PhyDNetConfig

    def __init__(self, config: PhyDNetConfig):
        super().__init__(config)
        width, latent, frames, steps = config.channels, 2 * config.channels, config.input_channels, config.steps
        self.encoder = nn.Sequential(
            _down(frames, width, steps[0]), _down(width, width, steps[1]), _down(width, latent, steps[2])
        )
        self.encode_physics = nn.Sequential(_down(latent, latent, 1), _down(latent, latent, 1))
        self.encode_residual = nn.Sequential(_down(latent, latent, 1), _down(latent, latent, 1))
        self.physics = PhyCell(latent, config.filters, config.kernel)
        widths = (latent, *config.hidden, latent)
        self.residual = nn.ModuleList(ConvLSTMCell(*pair) for pair in itertools.pairwise(widths))
        self.decode_physics = nn.Sequential(_up(latent, latent, 1), _up(latent, latent, 1))
        self.decode_residual = nn.Sequential(_up(latent, latent, 1), _up(latent, latent, 1))
        self.decoder = nn.Sequential(
            _up(latent, width, steps[2]), _up(width, width, steps[1]), _transposed(width, frames, steps[0])
        )
        self.activation = ACTIVATIONS[config.activation]()

    def begin(self, frames_BTCHW: torch.Tensor) -> _State:
        """All zeros."""
        down = math.prod(self.config.steps)
        height, width = (side // down for side in self.config.grid)
        zeros = frames_BTCHW.new_zeros(len(frames_BTCHW), 2 * self.config.channels, height, width)
        return _State(zeros, tuple(cell.begin(zeros) for cell in self.residual))  # type: ignore[operator]

    def embed(self, frame_BCHW: torch.Tensor) -> torch.Tensor:
        """What the two branches see of a frame, on the channels."""
        encoded = self.encoder(frame_BCHW)
        return torch.cat([self.encode_physics(encoded), self.encode_residual(encoded)], dim=1)

    def step(self, embedded: torch.Tensor, state: _State, number: int) -> tuple[torch.Tensor, _State]:
        """Next frame and state."""
        seen, rest = embedded.chunk(2, dim=1)
        correct = not (self.config.free_run and number >= self.config.history)
        physics, residual = self.physics(seen, state.physics, correct=correct), []
        for cell, last in zip(self.residual, state.residual, strict=True):
            now = cell(cell.from_input(rest), last)  # type: ignore[operator]
            rest = now[0]
            residual.append(now)
        state = _State(physics, tuple(residual))
        return self.frame(self.decode_physics(physics) + self.decode_residual(rest)), state

    def frame(self, latent: torch.Tensor) -> torch.Tensor:
        """Frame of a point in the latent space: of one branch's decoding, or of the sum of both."""
        return self.activation(self.decoder(latent))

    def error(self, prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Mean squared error, added up over the steps."""
        return prediction.shape[1] * weighted_mse(prediction, target, weight)

    def penalty(self, state: _State) -> torch.Tensor:
        """The moment loss, which makes filters derivatives."""
        return self.config.moment_weight * moment_loss(self.physics.derivatives.weight)


register(PhyDNet, PhyDNetConfig)


def _down(inputs: int, channels: int, stride: int) -> nn.Sequential:
    convolution = nn.Conv2d(inputs, channels, 3, stride, padding=1)
    return nn.Sequential(convolution, nn.GroupNorm(GROUPS, channels), nn.LeakyReLU(0.2))


def _up(inputs: int, channels: int, stride: int) -> nn.Sequential:
    return nn.Sequential(_transposed(inputs, channels, stride), nn.GroupNorm(GROUPS, channels), nn.LeakyReLU(0.2))


def _transposed(inputs: int, channels: int, stride: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(inputs, channels, 3, stride, padding=1, output_padding=stride - 1)
