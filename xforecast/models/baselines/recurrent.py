"""What the recurrent baselines share: gates, patches, and the roll from one frame to the next.

Inside, tensors are (batch, time, channel, height, width).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from xforecast.errors import InvalidOption
from xforecast.models.contract import Abilities, Config, check_choice, check_shape, weighted_mse

__all__ = ["Gates", "NextFrameModel", "SamplingSchedule", "over_time", "patches", "unpatches"]

SCHEDULES = ("scheduled", "reverse", "teacher_forcing", "none")
"""Kinds of :class:`SamplingSchedule`."""


class Gates(nn.Module):
    """One convolution that feeds several gates, with "same" padding; an even kernel pads more at the end.

    Parameters
    ----------
    names : tuple of str
        The gates, in the order in which their kernels are stacked.
    inputs, channels : int
        Width of the input and of every gate.
    kernel : tuple of int
        Size along each axis, two or three.
    bias : bool
        Whether the convolution has biases.
    norm : Module, optional
        Applied to all gates at once.

    Examples
    --------
    >>> gates = Gates(("i", "f"), 3, 4, (5, 5))
    >>> stacked = gates(torch.zeros(1, 3, 8, 8))
    >>> {name: tuple(gate.shape) for name, gate in gates.named(stacked).items()}
    {'i': (1, 4, 8, 8), 'f': (1, 4, 8, 8)}
    >>> gates.kernels()["f"].shape
    torch.Size([4, 3, 5, 5])
    """

    def __init__(
        self,
        names: tuple[str, ...],
        inputs: int,
        channels: int,
        kernel: tuple[int, ...],
        *,
        bias: bool = True,
        norm: nn.Module | None = None,
    ):
        super().__init__()
        kind = nn.Conv2d if len(kernel) == 2 else nn.Conv3d
        padding = tuple((size - 1) // 2 for size in kernel)
        self.names = names
        self.convolution = kind(inputs, len(names) * channels, kernel, padding=padding, bias=bias)  # type: ignore[arg-type]
        self.rest = [side for size in reversed(kernel) for side in (0, (size - 1) % 2)]
        self.norm = nn.Identity() if norm is None else norm

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """All gates, stacked along the channels."""
        if any(self.rest):
            x = functional.pad(x, self.rest)
        return self.norm(self.convolution(x))

    def named(self, stacked: torch.Tensor, axis: int = 1) -> dict[str, torch.Tensor]:
        """The gates of a stack by name."""
        return dict(zip(self.names, stacked.chunk(len(self.names), dim=axis), strict=True))

    def kernels(self) -> dict[str, torch.Tensor]:
        """Kernel of each gate: views of the stack."""
        return self.named(self.convolution.weight, axis=0)

    def biases(self) -> dict[str, torch.Tensor]:
        """Bias of each gate: views of the stack; none without biases."""
        return {} if self.convolution.bias is None else self.named(self.convolution.bias, axis=0)


def over_time(module: Callable[[torch.Tensor], torch.Tensor], x_BTCHW: torch.Tensor) -> torch.Tensor:
    """Apply a module of single frames to all frames at once.

    Examples
    --------
    >>> over_time(nn.Conv2d(1, 2, 3), torch.zeros(4, 5, 1, 8, 8)).shape
    torch.Size([4, 5, 2, 6, 6])
    """
    return module(x_BTCHW.flatten(0, 1)).unflatten(0, x_BTCHW.shape[:2])


def patches(x_BTHWC: torch.Tensor, size: int) -> torch.Tensor:
    """Put square patches on the channels, ordered by row in the patch, column in the patch and channel.

    Examples
    --------
    >>> x = torch.randn(2, 3, 4, 6, 5)
    >>> patches(x, 2).shape, torch.equal(unpatches(patches(x, 2), 2), x)
    (torch.Size([2, 3, 20, 2, 3]), True)
    """
    x = x_BTHWC.unflatten(3, (-1, size)).unflatten(2, (-1, size))  # B T h p w q C
    return x.permute(0, 1, 3, 5, 6, 2, 4).flatten(2, 4)


def unpatches(x_BTCHW: torch.Tensor, size: int) -> torch.Tensor:
    """The inverse of :func:`patches`: (batch, time, height, width, channel)."""
    x = x_BTCHW.unflatten(2, (size, size, -1))  # B T p q C h w
    return x.permute(0, 1, 5, 2, 6, 3, 4).flatten(4, 5).flatten(2, 3)


# ------------------------------------------------------------------ which frames are true


@dataclass(frozen=True)
class SamplingSchedule(Config):
    """When a next-frame model is fed the true frame in training, and when its own prediction.

    At the time s of the training, from 0 to 1, and for every sample and step independently:

    - ``"scheduled"`` (Bengio et al. 2015): the history is true; a frame of the future is with probability
      max(0, 1 - s / end).
    - ``"reverse"`` (Wang et al. 2022, PredRNN-V2): a frame of the history but the first is true with probability 1/2
      before `start`, 1 - exp(-(s - start) / timescale) / 2 from there to `end`, and 1 after it; a frame of the future
      with 1/2, then a line from there to zero at `end`.
    - ``"teacher_forcing"``: as scheduled, but all future frames of a batch are true or none.
    - ``"none"``: the history is true and the future never.

    Parameters
    ----------
    kind : {"scheduled", "reverse", "teacher_forcing", "none"}
        Which of these schedules.
    start, end, timescale : float
        Shares of the training; the defaults are 25 000, 50 000 and 5 000 of the 80 000 steps of PredRNN.

    Examples
    --------
    >>> SamplingSchedule("scheduled").probabilities(0.3125)
    (1.0, 0.5)
    >>> SamplingSchedule("reverse").probabilities(0.0)
    (0.5, 0.5)
    """

    kind: str = "scheduled"
    start: float = 0.3125
    end: float = 0.625
    timescale: float = 0.0625

    def validate(self) -> None:
        check_choice("sampling.kind", self.kind, SCHEDULES)
        if not (0 <= self.start < self.end and self.timescale > 0):
            found, wanted = (self.start, self.end, self.timescale), "0 <= start < end, and a positive timescale"
            raise InvalidOption("sampling", found, wanted, "SamplingSchedule() has values that work")

    def probabilities(self, time: float) -> tuple[float, float]:
        """Probabilities that a frame of the history, and one of the future, is true.

        Parameters
        ----------
        time : float
            Share of the training that is done.
        """
        if self.kind == "none":
            return 1.0, 0.0
        if self.kind != "reverse":
            return 1.0, max(0.0, 1 - time / self.end)
        if time < self.start:
            return 0.5, 0.5
        if time >= self.end:
            return 1.0, 0.0
        since = time - self.start
        return 1 - 0.5 * math.exp(-since / self.timescale), 0.5 * (1 - since / (self.end - self.start))

    def draw(self, batch: int, history: int, horizon: int, time: float) -> torch.Tensor:
        """Whether each step is fed the truth, a boolean Tensor (batch, history + horizon - 1).

        The randomness is that of :func:`torch.manual_seed`.
        """
        past, future = self.probabilities(time)
        probability = torch.tensor([1.0, *[past] * (history - 1), *[future] * (horizon - 1)])
        if self.kind == "teacher_forcing":
            return (torch.rand(()) < probability).expand(batch, -1)
        return torch.rand(batch, len(probability)) < probability


SCHEDULED_SAMPLING = SamplingSchedule()


# ------------------------------------------------------------------ the roll


class NextFrameModel(nn.Module):
    """A recurrent model that predicts the next frame from this one, and so on into the future.

    A subclass gives `begin`, `embed` and `step`, and says in `error` and `penalty` what it learns from. All input
    channels are predicted; the first of them are the forecast. Training follows the `sampling` of the configuration
    and learns from every prediction, those of the history included, as the authors of these models do.

    Parameters
    ----------
    config : Config
        Configuration that has `history`, `horizon`, `grid`, `input_channels`, `output_channels`, `sampling` and
        `patch`.
    """

    abilities = Abilities(follows_training=True)

    def __init__(self, config: Any):
        super().__init__()
        self.config = config
        self.time = 0.0

    def at_step(self, step: int, total: int) -> None:
        """Take note of how far the training is: at optimiser step `step`, counted from 0, of `total`."""
        self.time = step / max(total, 1)

    # -------------------------------------------------------------- what a subclass gives

    def begin(self, frames_BTCHW: torch.Tensor) -> Any:
        """State before the first frame."""
        raise NotImplementedError

    def embed(self, frame_BCHW: torch.Tensor) -> torch.Tensor:
        """What needs no state; it is done for all frames of the history at once."""
        return frame_BCHW

    def step(self, embedded: torch.Tensor, state: Any, number: int) -> tuple[torch.Tensor, Any]:
        """Next frame, (batch, channel, height, width), and state, from the embedded frame of step `number`."""
        raise NotImplementedError

    def error(self, prediction: torch.Tensor, target: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Scalar error of all predictions, (batch, history + horizon - 1, height, width, channel)."""
        return weighted_mse(prediction, target, weight)

    def penalty(self, state: Any) -> torch.Tensor | float:
        """What training adds to the error, computed from the last state."""
        return 0.0

    # -------------------------------------------------------------- what all have in common

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Forecast (batch, horizon, height, width, channel) from (batch, history, height, width, channel)."""
        predictions, _ = self.roll(x)
        return predictions[:, -self.config.horizon :, ..., : self.config.output_channels]

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Error of every prediction in training; mean squared error of the forecast in evaluation.

        Parameters
        ----------
        x : Tensor, (batch, history, height, width, channel)
            The histories.
        y : Tensor, (batch, horizon, height, width, channel)
            The frames that followed the histories.
        weight : Tensor, optional
            Broadcasts against `y`; a cell's weight in the history is its mean over the future.
        """
        if not self.training:
            return weighted_mse(self(x), y, weight)
        frames, known, weight = joined_clip(x, y, weight)
        draw = self.config.sampling.draw(len(x), self.config.history, self.config.horizon, self.time)
        use = draw.to(x.device)[:, :, None, None, None] & known[:, :-1]
        predictions, state = self.roll(frames[:, :-1], use)
        weight = None if weight is None else weight[:, 1:]
        return self.error(predictions, frames[:, 1:], weight) + self.penalty(state)

    def roll(self, frames: torch.Tensor, use: torch.Tensor | None = None) -> tuple[torch.Tensor, Any]:
        """Predict one frame after another.

        Parameters
        ----------
        frames : Tensor, (batch, time, height, width, channel)
            True frames: the history, or with `use` all but the last of the clip.
        use : BoolTensor, (batch, history + horizon - 1, height, width, channel), optional
            Where each step is fed the true frame, in place of the last prediction; the history alone if left out.

        Returns
        -------
        Tensor, (batch, history + horizon - 1, height, width, channel)
            Prediction of every frame but the first.
        object
            State at the end.
        """
        config = self.config
        check_shape(frames[:, : config.history], (config.history, *config.grid, config.input_channels))
        true = patches(frames.nan_to_num() if use is not None else frames, config.patch_size)
        masks = None if use is None else patches(use, config.patch_size).unbind(1)
        given = 1 if use is not None and config.sampling.kind == "reverse" else config.history
        embedded = over_time(self.embed, true[:, :given]).unbind(1)
        state, prediction, predictions = self.begin(true), true[:, 0], []
        for number in range(config.history + config.horizon - 1):
            if number < given:
                now = embedded[number]
            elif masks is None:
                now = self.embed(prediction)
            else:
                now = self.embed(torch.where(masks[number], true[:, number], prediction))
            prediction, state = self.step(now, state, number)
            predictions.append(prediction)
        return unpatches(torch.stack(predictions, dim=1), config.patch_size), state


def joined_clip(
    x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
    """History and future as one clip, where it is known, and its weight.

    Channels of the history that are no target are unknown in the future and have no weight there.

    Examples
    --------
    >>> x, y = torch.zeros(1, 3, 1, 1, 2), torch.ones(1, 2, 1, 1, 1)
    >>> frames, known, weight = joined_clip(x, y, None)
    >>> frames.shape, known[0, :, 0, 0, 1].tolist(), weight[0, :, 0, 0, 0].tolist()
    (torch.Size([1, 5, 1, 1, 2]), [True, True, True, False, False], [1.0, 1.0, 1.0, 1.0, 1.0])
    """
    history, others = x.shape[1], x.shape[-1] - y.shape[-1]
    frames = torch.cat([x, functional.pad(y, (0, others))], dim=1)
    known = torch.cat([torch.ones_like(x, dtype=torch.bool), functional.pad(y.isfinite(), (0, others))], dim=1)
    if weight is None and not others:
        return frames, known, None
    weight = torch.ones_like(y) if weight is None else weight.to(y.dtype).expand_as(y)
    cell = weight.mean(dim=1, keepdim=True)
    cell = torch.cat([cell, cell.amax(dim=-1, keepdim=True).expand(*cell.shape[:-1], others)], dim=-1)
    past = cell.expand(-1, history, -1, -1, -1)
    return frames, known, torch.cat([past, functional.pad(weight, (0, others))], dim=1)
