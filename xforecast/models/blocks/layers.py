"""Building blocks without geometry: norms, feed-forward, position embeddings, the attention product, initialisation."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from xforecast.models.contract import Config, check_choice

__all__ = [
    "ACTIVATIONS",
    "INITIALISERS",
    "NORMS",
    "POSITIONS",
    "FeedForward",
    "Initialisation",
    "PositionEmbedding",
    "RMSNorm",
    "Recomputing",
    "attend",
    "linear",
    "recompute",
    "recomputing_layers",
]

ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "leaky_relu": partial(nn.LeakyReLU, 0.1),
    "identity": nn.Identity,
    "elu": nn.ELU,
    "gelu": nn.GELU,
    "relu": nn.ReLU,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "softplus": nn.Softplus,
    "softsign": nn.Softsign,
    "silu": nn.SiLU,
}
"""Activation functions by name; ``leaky_relu`` has slope 0.1, ``gelu`` is the exact form."""

INITIALISERS: dict[str, Callable[[torch.Tensor], object]] = {
    "fan_in": partial(nn.init.kaiming_normal_, nonlinearity="linear"),
    "fan_out": partial(nn.init.kaiming_normal_, a=0.1, mode="fan_out", nonlinearity="leaky_relu"),
    "zeros": nn.init.zeros_,
}
"""Schemes for the weights of linear layers and convolutions: normal with variance 1 / fan_in; normal scaled by fan_out
for a leaky ReLU; zeros."""

LARGEST = 2**16 - 1
"""Largest batch, and number of heads, that the fused attention kernels of CUDA take in one call."""

POSITIONS = ("time+height+width", "time+space")
"""Kinds of :class:`PositionEmbedding`."""


@dataclass(frozen=True)
class Initialisation(Config):
    """Schemes of :data:`INITIALISERS` for each kind of linear layer.

    Parameters
    ----------
    attention : str
        Queries, keys and values.
    attention_output : str
        The projection after attention.
    feed_forward, feed_forward_output : str
        The expanding and the contracting layer.
    resample : str
        Patch merging and the model's last projection.

    Examples
    --------
    >>> Initialisation(attention_output="zeros").attention
    'fan_in'
    """

    attention: str = "fan_in"
    attention_output: str = "fan_in"
    feed_forward: str = "fan_in"
    feed_forward_output: str = "fan_in"
    resample: str = "fan_in"

    def validate(self) -> None:
        for name, value in self.to_dict().items():
            check_choice(f"initialisation.{name}", value, INITIALISERS)


def linear(inputs: int, outputs: int, *, bias: bool = True, scheme: str = "fan_in") -> nn.Linear:
    """Linear layer with weights of a scheme in :data:`INITIALISERS` and zero bias.

    Examples
    --------
    >>> linear(3, 2, scheme="zeros")(torch.ones(1, 3)).tolist()
    [[0.0, 0.0]]
    """
    layer = nn.Linear(inputs, outputs, bias=bias)
    INITIALISERS[scheme](layer.weight)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer


class RMSNorm(nn.Module):
    """Scale by the root mean square, ``scale * x / (rms(x) + epsilon)`` (Zhang and Sennrich 2019).

    Unlike :class:`torch.nn.RMSNorm`, epsilon is added to the root.

    Parameters
    ----------
    channels : int
        Length of the last axis.
    epsilon : float
        Number that keeps the root from being zero.
    offset : bool
        Add a learned offset.
    fraction : float, optional
        Take the root mean square over this leading fraction of the channels only.

    Examples
    --------
    >>> RMSNorm(2, epsilon=0.0)(torch.tensor([3.0, 4.0])).square().mean().item()
    1.0
    """

    def __init__(self, channels: int, epsilon: float = 1e-5, *, offset: bool = False, fraction: float | None = None):
        super().__init__()
        self.epsilon = epsilon
        self.measured = channels if fraction is None else int(channels * fraction)
        self.scale = nn.Parameter(torch.ones(channels))
        self.offset = nn.Parameter(torch.zeros(channels)) if offset else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Normalise the last axis of `x`."""
        root = x[..., : self.measured].norm(dim=-1, keepdim=True) / math.sqrt(self.measured)
        x = self.scale * x / (root + self.epsilon)
        return x if self.offset is None else x + self.offset


NORMS: dict[str, Callable[[int], nn.Module]] = {
    "layer_norm": nn.LayerNorm,
    "rms_norm": RMSNorm,
    "none": lambda channels: nn.Identity(),
}
"""Normalisations of the last axis by name."""


class FeedForward(nn.Module):
    """Two linear layers on every token, with the residual inside: ``x + contract(act(expand(norm(x))))``.

    With `gated`, the hidden layer is ``act(gate(y)) * expand(y)`` (Shazeer 2020).

    Parameters
    ----------
    channels : int
        Width of the tokens.
    hidden : int, optional
        Width of the hidden layer; four times `channels` if left out.
    activation : str
        A name in :data:`ACTIVATIONS`.
    gated : bool
        Whether the hidden layer has a gate.
    norm : str
        A name in :data:`NORMS`.
    norm_first : bool
        Normalise the input (the default), or the result with the residual.
    dropout : float
        Share that is dropped in training, of the hidden layer and of the output.
    initialisation : Initialisation
        Schemes of the linear layers.

    Examples
    --------
    >>> FeedForward(8)(torch.zeros(1, 3, 8)).shape
    torch.Size([1, 3, 8])
    """

    def __init__(
        self,
        channels: int,
        hidden: int | None = None,
        *,
        activation: str = "gelu",
        gated: bool = False,
        norm: str = "layer_norm",
        norm_first: bool = True,
        dropout: float = 0.0,
        initialisation: Initialisation = Initialisation(),
    ):
        super().__init__()
        hidden = hidden or 4 * channels
        self.norm_first = norm_first
        self.norm = NORMS[norm](channels)
        self.expand = linear(channels, hidden, scheme=initialisation.feed_forward)
        self.gate = linear(channels, hidden, scheme=initialisation.feed_forward) if gated else None
        self.contract = linear(hidden, channels, scheme=initialisation.feed_forward_output)
        self.activation = ACTIVATIONS[activation]()
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Apply to the last axis of `x`, (..., channels)."""
        y = self.norm(x) if self.norm_first else x
        hidden = self.expand(y)
        hidden = self.activation(hidden) if self.gate is None else self.activation(self.gate(y)) * hidden
        x = x + self.dropout(self.contract(self.dropout(hidden)))
        return x if self.norm_first else self.norm(x)


class PositionEmbedding(nn.Module):
    """Add a learned vector for every position.

    Parameters
    ----------
    channels : int
        Width of the tokens.
    grid : (int, int, int)
        Time, height and width; a smaller input takes the first positions.
    kind : {"time+height+width", "time+space"}
        One table for each axis, or one for time and one for all places.
    spread : float
        Standard deviation of the initial values.

    Examples
    --------
    >>> PositionEmbedding(8, (2, 3, 4))(torch.zeros(1, 2, 3, 4, 8)).shape
    torch.Size([1, 2, 3, 4, 8])
    """

    time: nn.Parameter
    height: nn.Parameter
    width: nn.Parameter
    space: nn.Parameter

    def __init__(
        self, channels: int, grid: tuple[int, int, int], kind: str = "time+height+width", spread: float = 0.02
    ):
        super().__init__()
        check_choice("position embedding", kind, POSITIONS)
        frames, height, width = grid
        rows = {"time": frames, "height": height, "width": width}
        if kind == "time+space":
            rows = {"time": frames, "space": height * width}
        for name, count in rows.items():
            self.register_parameter(name, nn.Parameter(spread * torch.randn(count, channels)))
        self.grid, self.kind = grid, kind

    def forward(self, x_BTHWC: torch.Tensor) -> torch.Tensor:
        """Embedded `x`, (batch, time, height, width, channel)."""
        t, h, w = x_BTHWC.shape[1:4]
        x = x_BTHWC + self.time[:t, None, None]
        if self.kind == "time+space":
            return x + self.space.unflatten(0, self.grid[1:])[:h, :w]
        return x + self.height[:h, None] + self.width[:w]


def attend(
    q_BNLAD: torch.Tensor,
    k_BNMAD: torch.Tensor,
    v_BNMAE: torch.Tensor,
    bias: torch.Tensor | None = None,
    *,
    scale: float | None = None,
    dropout: float = 0.0,
) -> torch.Tensor:
    """Multi-head attention within each of N groups of tokens.

    Axes: B batch, N groups (cuboids), L queries, M keys, A heads, D and E widths of a head.

    Parameters
    ----------
    q_BNLAD, k_BNMAD, v_BNMAE : Tensor
        Queries, keys and values.
    bias : Tensor, (1 or N, 1 or A, L, M), optional
        Added to the scores, or a boolean mask that is true where attention is allowed.
    scale : float, optional
        Factor of the scores; ``1 / sqrt(D)`` if left out.
    dropout : float
        Share of attention weights that is dropped.

    Returns
    -------
    Tensor, (B, N, L, A * E)

    Examples
    --------
    >>> x = torch.randn(2, 5, 4, 2, 8)
    >>> attend(x, x, x).shape
    torch.Size([2, 5, 4, 16])
    """
    groups, heads = q_BNLAD.shape[1], q_BNLAD.shape[3]
    q, k, v = (t.transpose(2, 3) for t in (q_BNLAD, k_BNMAD, v_BNMAE))
    # A bias common to all groups lets them join the batch; a bias for each group makes them join the heads. Either way
    # it broadcasts and is never copied over the batch.
    if bias is not None and bias.shape[0] > 1:
        q, k, v = (t.flatten(1, 2) for t in (q, k, v))
        bias = bias.expand(groups, heads, -1, -1).flatten(0, 1)[None]
        restore = (1, (groups, heads))
    else:
        restore = (0, (q.shape[0], groups))
        q, k, v = (t.flatten(0, 1) for t in (q, k, v))
    if bias is not None and bias.is_floating_point():
        bias = bias.to(q.dtype)
    out = _in_pieces(q, k, v, bias, restore[0], dropout, scale)
    return out.unflatten(*restore).transpose(2, 3).flatten(-2)


def _in_pieces(
    q: torch.Tensor,
    k: torch.Tensor,
    v: torch.Tensor,
    bias: torch.Tensor | None,
    axis: int,
    dropout: float,
    scale: float | None,
) -> torch.Tensor:
    """Attention of (batch, heads, tokens, width), with no more than :data:`LARGEST` entries along `axis` at a time."""
    shared = bias is None or bias.shape[axis] == 1
    biases = itertools.repeat(bias) if shared else bias.split(LARGEST, axis)  # type: ignore[union-attr]
    pieces = [
        functional.scaled_dot_product_attention(*part, attn_mask=part_bias, dropout_p=dropout, scale=scale)
        for part, part_bias in zip(
            zip(q.split(LARGEST, axis), k.split(LARGEST, axis), v.split(LARGEST, axis), strict=True),
            biases,
            strict=False,
        )
    ]
    return pieces[0] if len(pieces) == 1 else torch.cat(pieces, dim=axis)


class Recomputing(nn.Module):
    """A layer that can forget its activations in training and compute them again for the gradient, to save memory.

    Attributes
    ----------
    checkpoint : {"none", "feed_forward", "all"}
        Which of its parts do so; may be changed at any time, and changes no number.
    """

    checkpoint: str = "none"


def recomputing_layers(model: nn.Module) -> list[Recomputing]:
    """The layers of a model that can compute their activations again for the gradient.

    Examples
    --------
    >>> recomputing_layers(nn.Sequential(nn.Linear(1, 1), Recomputing()))
    [Recomputing()]
    """
    return [module for module in model.modules() if isinstance(module, Recomputing)]


def recompute(module: nn.Module, *inputs: torch.Tensor | None, when: bool) -> torch.Tensor:
    """Call `module`; in training and if `when`, forget its activations and compute them again for the gradient.

    Examples
    --------
    >>> recompute(nn.Linear(2, 3), torch.zeros(1, 2), when=True).shape
    torch.Size([1, 3])
    """
    if when and module.training and torch.is_grad_enabled():
        return checkpoint(module, *inputs, use_reentrant=False)
    return module(*inputs)
