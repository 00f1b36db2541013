"""Weights into modules, strictly."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import nn

from xforecast.errors import CheckpointError

__all__ = ["load_strictly"]

SHOWN = 6


def load_strictly(model: nn.Module, state: Mapping[str, torch.Tensor], *, source: str) -> None:
    """Copy weights into a model whose names and shapes are exactly those, or say what differs.

    Parameters
    ----------
    model : torch.nn.Module
        Filled in place.
    state : mapping of str to Tensor
        Weights by name.
    source : str
        Where they come from, for the message.

    Raises
    ------
    CheckpointError
        With every missing, unexpected and misshapen entry.

    Examples
    --------
    >>> layer = nn.Linear(2, 1)
    >>> load_strictly(layer, {"weight": torch.zeros(1, 2), "bias": torch.ones(1)}, source="here")
    >>> layer(torch.zeros(2)).item()
    1.0
    """
    wanted = model.state_dict()
    misshapen = [
        f"{name} {tuple(state[name].shape)}, wanted {tuple(wanted[name].shape)}"
        for name in wanted
        if name in state and state[name].shape != wanted[name].shape
    ]
    problems = {
        "missing": [name for name in wanted if name not in state],
        "unexpected": [name for name in state if name not in wanted],
        "misshapen": misshapen,
    }
    lines = [f"  {kind:<10} {_some(names)}" for kind, names in problems.items() if names]
    if lines:
        raise CheckpointError(
            f"the weights of {source} do not fit {type(model).__name__}\n"
            + "\n".join(lines)
            + "\n  -> use the configuration that the weights were trained with"
        )
    model.load_state_dict(dict(state))


def _some(names: list[str]) -> str:
    rest = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + rest
