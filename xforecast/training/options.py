"""How a training runs: its length, optimiser, schedule and stopping rule."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models import Config, contract

__all__ = ["TrainingOptions", "decay_groups", "learning_rate_factor"]


@dataclass(frozen=True)
class TrainingOptions(Config):
    """Options of one training.

    Parameters
    ----------
    epochs : int
        Passes over the training data.
    steps : int, optional
        Optimiser steps in place of epochs.
    batch_size : int
        Windows in one forward pass of each process.
    accumulate : int
        Forward passes in one optimiser step.
    learning_rate, weight_decay : float
        Of AdamW.
    warmup : float
        Share of the steps in which the learning rate rises linearly.
    final_learning_rate : float
        Share of the learning rate that is left at the end of the cosine.
    gradient_clip : float
        Largest norm of the gradient.
    patience : int, optional
        Stop after this many validations without improvement; never by default.
    average : float, optional
        Decay of an exponential moving average of the weights, which then are the result.
    precision : {"float32", "bfloat16"}
        Of the forward pass.
    activation_checkpointing : bool
        Keep the inputs of attention and feed-forward layers only and compute the rest again for the gradient: the same
        numbers in less memory and more time. For models with such layers.
    devices : int
        Processes that train together, each on a GPU or on the CPU; an optimiser step takes
        ``batch_size x accumulate x devices`` windows.
    strategy : str
        How, by its name in Lightning: ``"auto"``, ``"ddp"``, ``"ddp_spawn"``, ``"ddp_notebook"`` ...
    seed : int
        Of initial weights and of the order of the data.

    Examples
    --------
    >>> TrainingOptions(epochs=5).learning_rate
    0.001
    """

    epochs: int = 50
    steps: int | None = None
    batch_size: int = 32
    accumulate: int = 1
    learning_rate: float = 1e-3
    weight_decay: float = 1e-5
    warmup: float = 0.2
    final_learning_rate: float = 1e-3
    gradient_clip: float = 1.0
    patience: int | None = None
    average: float | None = None
    precision: str = "float32"
    activation_checkpointing: bool = False
    devices: int = 1
    strategy: str = "auto"
    seed: int = 0

    def validate(self) -> None:
        """Refuse values that cannot work."""
        contract.check_positive("epochs, batch_size, accumulate", self.epochs, self.batch_size, self.accumulate)
        contract.check_positive("devices", self.devices)
        contract.check_choice("precision", self.precision, ("float32", "bfloat16"))
        for option in ("steps", "patience"):
            if getattr(self, option) is not None:
                contract.check_positive(option, getattr(self, option))
        if not self.learning_rate > 0:
            raise InvalidOption("learning_rate", self.learning_rate, "a positive number", "learning_rate=1e-3")
        if not self.weight_decay >= 0:
            raise InvalidOption("weight_decay", self.weight_decay, "0 or more", "weight_decay=1e-5")
        if not self.gradient_clip > 0:
            raise InvalidOption("gradient_clip", self.gradient_clip, "a positive number", "gradient_clip=1.0")
        if not 0 <= self.warmup < 1:
            raise InvalidOption("warmup", self.warmup, "a share of the steps, from 0 to below 1", "warmup=0.2")
        if self.average is not None and not (isinstance(self.average, float) and 0 < self.average < 1):
            raise InvalidOption("average", self.average, "a decay between 0 and 1", "average=0.999")


def learning_rate_factor(step: int, total: int, warmup: float, final: float, first: float = 0.0) -> float:
    """Factor on the learning rate: a linear rise, then a cosine (Earthformer, Appendix B).

    Parameters
    ----------
    step, total : int
        Optimiser step from 0, and their number.
    warmup : float
        Share of the steps spent rising.
    final : float
        Factor at the end.
    first : float
        Factor at step 0.

    Examples
    --------
    >>> [round(learning_rate_factor(step, 10, 0.2, 0.0), 3) for step in (0, 1, 2, 6, 10)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    rising = round(warmup * total)
    if step < rising:
        return first + (1 - first) * step / rising
    share = min(1.0, (step - rising) / max(total - rising, 1))
    return final + (1 - final) * 0.5 * (1 + math.cos(math.pi * share))


def decay_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Parameters with and without weight decay: biases, tables of biases and layer norms have none."""
    in_norms = {
        f"{prefix}.{name}" if prefix else name
        for prefix, module in model.named_modules()
        if isinstance(module, nn.LayerNorm)
        for name, _ in module.named_parameters(recurse=False)
    }
    groups: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            groups[name not in in_norms and "bias" not in name].append(parameter)
    return [
        {"params": groups[True], "weight_decay": weight_decay},
        {"params": groups[False], "weight_decay": 0.0},
    ]
