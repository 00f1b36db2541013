"""Cuboids of space-time (Earthformer, sec. 3.1): cut a grid, put it together again, and score pairs of tokens.

Axes in names of tensors: B batch, T H W grid, C channels, N cuboids, L tokens of a cuboid.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from xforecast.models.blocks.patterns import LOCAL, Cuboid, Strategies, Triple
from xforecast.models.blocks.resample import crop_grid, merged_grid, pad_grid

__all__ = ["Partition", "RelativePositionBias", "ScoreBias", "allowed_pairs", "relative_position_index"]


@dataclass(frozen=True)
class Partition:
    """A grid cut into cuboids: pad, roll, cut, and all of it undone (Earthformer, sec. 3.1).

    Parameters
    ----------
    grid : (int, int, int)
        Time, height and width.
    size : (int, int, int)
        Tokens of a cuboid along each axis.
    counts : (int, int, int)
        Number of cuboids along each axis; together they cover the grid, and what they exceed it by is padding.
    strategy : three of ``"local"`` and ``"dilated"``
        Along each axis, whether a cuboid takes neighbouring tokens or tokens at equal distances.
    shift : (int, int, int)
        Tokens by which the grid is rolled along each axis before it is cut.
    padding : str
        A kind in :data:`~xforecast.models.blocks.resample.PADDINGS`.
    pad_front : bool
        Pad time before the first frame.

    Examples
    --------
    >>> partition = Partition.of(Cuboid((1, 2, 2)), (1, 4, 4))
    >>> x = torch.arange(16.0).reshape(1, 1, 4, 4, 1)
    >>> partition.decompose(x)[0, :, :, 0].int().tolist()
    [[0, 1, 4, 5], [2, 3, 6, 7], [8, 9, 12, 13], [10, 11, 14, 15]]
    >>> torch.equal(partition.reassemble(partition.decompose(x)), x)
    True
    """

    grid: Triple
    size: Triple
    counts: Triple
    strategy: Strategies = LOCAL
    shift: Triple = (0, 0, 0)
    padding: str = "ignore"
    pad_front: bool = False

    @classmethod
    def of(cls, cuboid: Cuboid, grid: Triple, padding: str = "ignore") -> Partition:
        """Partition of `grid` into the cuboids that fit it."""
        fitted = cuboid.fitted(grid)
        counts = merged_grid(grid, fitted.size)
        return cls(grid, fitted.size, counts, fitted.strategy, fitted.shift, padding)

    @property
    def padded(self) -> Triple:
        """The grid with padding."""
        t, h, w = (count * size for count, size in zip(self.counts, self.size, strict=True))
        return t, h, w

    @property
    def missing(self) -> Triple:
        """Places by which each axis is padded."""
        t, h, w = (padded - extent for padded, extent in zip(self.padded, self.grid, strict=True))
        return t, h, w

    def decompose(self, x_BTHWC: torch.Tensor) -> torch.Tensor:
        """Tokens by cuboid, (batch, cuboids, tokens, channel)."""
        x = pad_grid(x_BTHWC, self.missing, self.padding, front=self.pad_front)
        return self._cut(self._roll(x, -1))

    def reassemble(self, x_BNLC: torch.Tensor) -> torch.Tensor:
        """The grid from tokens by cuboid, (batch, time, height, width, channel)."""
        return crop_grid(self._roll(self._join(x_BNLC), 1), self.grid, self.padding)

    def _roll(self, x_BTHWC: torch.Tensor, sign: int) -> torch.Tensor:
        if not any(self.shift):
            return x_BTHWC
        return x_BTHWC.roll(tuple(sign * shift for shift in self.shift), dims=(1, 2, 3))

    def _split(self) -> tuple[list[int], list[int]]:
        """Lengths of the six axes that the padded grid is split into, and their order: cuboids first, then tokens."""
        lengths: list[int] = []
        cuboids, tokens = [], []
        for axis, (count, size, strategy) in enumerate(zip(self.counts, self.size, self.strategy, strict=True)):
            local = strategy == "local"
            lengths += (count, size) if local else (size, count)
            cuboids.append(2 * axis + (not local))
            tokens.append(2 * axis + local)
        return lengths, cuboids + tokens

    def _cut(self, x_BTHWC: torch.Tensor) -> torch.Tensor:
        lengths, order = self._split()
        x = x_BTHWC.reshape(x_BTHWC.shape[0], *lengths, x_BTHWC.shape[-1])
        return x.permute(0, *(1 + axis for axis in order), 7).flatten(4, 6).flatten(1, 3)

    def _join(self, x_BNLC: torch.Tensor) -> torch.Tensor:
        _, order = self._split()
        x = x_BNLC.unflatten(2, self.size).unflatten(1, self.counts)
        x = x.permute(0, *(1 + order.index(axis) for axis in range(6)), 7)
        return x.reshape(x_BNLC.shape[0], *self.padded, x_BNLC.shape[-1])

    def by_cuboid(self, values_THW: torch.Tensor) -> torch.Tensor:
        """Values on the padded grid by cuboid, (cuboids, tokens)."""
        return self._cut(values_THW[None, ..., None])[0, :, :, 0]

    def order(self) -> torch.Tensor:
        """Index of every token on the flat padded grid, (cuboids, tokens), before rolling."""
        places = torch.arange(math.prod(self.padded), device="cpu")
        return self.by_cuboid(places.reshape(self.padded))

    def numbers(self) -> torch.Tensor:
        """Number of the cuboid that each place of the grid belongs to, (time, height, width); for pictures.

        Examples
        --------
        >>> Partition.of(Cuboid((1, 1, 2), shift=(0, 0, 1)), (1, 1, 5)).numbers().tolist()
        [[[2, 0, 0, 1, 1]]]
        """
        cuboids, tokens = math.prod(self.counts), math.prod(self.size)
        number = torch.arange(cuboids, device="cpu")[None, :, None, None].expand(1, cuboids, tokens, 1)
        return crop_grid(self._roll(self._join(number), 1), self.grid, "zeros")[0, ..., 0]

    def regions(self) -> torch.Tensor:
        """Label of every token, (cuboids, tokens): what only the roll made neighbours has different labels."""
        label = torch.zeros((), dtype=torch.long, device="cpu")
        for length, size, shift in zip(self.padded, self.size, self.shift, strict=True):
            place = torch.arange(length, device="cpu")
            region = (place >= length - size).long() + (place >= length - shift) if shift else 0 * place
            label = 3 * label[..., None] + region
        return self.by_cuboid(label)

    def real(self) -> torch.Tensor:
        """Whether every token is data and not padding, on the rolled padded grid, (time, height, width)."""
        ones = torch.ones(1, *self.grid, 1, dtype=torch.bool, device="cpu")
        return self._roll(pad_grid(ones, self.missing, "zeros", front=self.pad_front), -1)[0, ..., 0]


def allowed_pairs(queries: Partition, keys: Partition) -> torch.Tensor | None:
    """Which query may attend to which key of its cuboid.

    Both must lie in the same region, and with padding "ignore" both must be data.

    Parameters
    ----------
    queries, keys : Partition
        Two partitions with the same number of cuboids.

    Returns
    -------
    BoolTensor, (cuboids, 1, queries, keys), or None if all may

    Examples
    --------
    >>> partition = Partition.of(Cuboid((1, 1, 2)), (1, 1, 3))
    >>> allowed_pairs(partition, partition)[:, 0].tolist()
    [[[True, True], [True, True]], [[True, False], [False, False]]]
    """
    allowed = queries.regions()[:, :, None] == keys.regions()[:, None, :]
    if queries.padding == "ignore":
        real = queries.by_cuboid(queries.real())[:, :, None] & keys.by_cuboid(keys.real())[:, None, :]
        allowed = allowed & real
    return None if allowed.all() else allowed[:, None]


def relative_position_index(extent: Triple, queries: Triple, keys: Triple) -> torch.Tensor:
    """Row of the bias table for every pair of a query and a key.

    Parameters
    ----------
    extent : (int, int, int)
        The largest cuboid that the table has offsets for.
    queries, keys : (int, int, int)
        Cuboids of queries and keys, not larger than `extent`; tokens are numbered row by row.

    Returns
    -------
    LongTensor, (queries, keys)

    Examples
    --------
    >>> relative_position_index((3, 1, 1), (3, 1, 1), (3, 1, 1)).tolist()
    [[2, 1, 0], [3, 2, 1], [4, 3, 2]]
    """

    def places(size: Triple) -> torch.Tensor:
        return torch.cartesian_prod(*(torch.arange(n, device="cpu") for n in size)).reshape(-1, 3)

    offset = places(queries)[:, None] - places(keys)[None] + torch.tensor(extent, device="cpu") - 1
    _, rows, columns = (2 * n - 1 for n in extent)
    return (offset[..., 0] * rows + offset[..., 1]) * columns + offset[..., 2]


class RelativePositionBias(nn.Module):
    """Learned scores by head and by offset between query and key (Shaw et al. 2018; Liu et al. 2021).

    Parameters
    ----------
    extent : (int, int, int)
        The largest cuboid that the table has offsets for.
    index : LongTensor, (queries, keys)
        What :func:`relative_position_index` gave.
    heads : int
        Number of attention heads.

    Examples
    --------
    >>> index = relative_position_index((1, 1, 4), (1, 1, 4), (1, 1, 4))
    >>> RelativePositionBias((1, 1, 4), index, heads=2)().shape
    torch.Size([1, 2, 4, 4])
    """

    index: torch.Tensor

    def __init__(self, extent: Triple, index: torch.Tensor, heads: int):
        super().__init__()
        rows = math.prod(2 * n - 1 for n in extent)
        self.table = nn.Parameter(0.02 * torch.randn(rows, heads))
        self.register_buffer("index", index, persistent=False)

    def forward(self) -> torch.Tensor:
        """Bias of the scores, (1, heads, queries, keys)."""
        return self.table[self.index].movedim(-1, 0)[None]


class ScoreBias(nn.Module):
    """What is added to the scores of cuboid attention: relative position, and minus infinity where it is not allowed.

    Parameters
    ----------
    relative : RelativePositionBias, optional
        Learned scores by offset.
    allowed : Tensor, optional
        What :func:`allowed_pairs` gave.
    has_globals : bool
        Keys include global vectors, so that every query has something to attend to.

    Examples
    --------
    >>> partition = Partition.of(Cuboid((1, 1, 2)), (1, 1, 3))
    >>> ScoreBias(None, allowed_pairs(partition, partition), has_globals=True)()[1, 0].tolist()
    [[True, False], [False, False]]
    """

    allowed: torch.Tensor | None
    lonely: torch.Tensor | None

    def __init__(self, relative: RelativePositionBias | None, allowed: torch.Tensor | None, *, has_globals: bool):
        super().__init__()
        lonely = None
        if allowed is not None and not has_globals:
            lonely = ~allowed.any(dim=-1)[:, 0, :, None]
            allowed = allowed | lonely[:, None]
            lonely = lonely if lonely.any() else None
        self.relative = relative
        self.register_buffer("allowed", allowed, persistent=False)
        self.register_buffer("lonely", lonely, persistent=False)

    def forward(self, global_keys: int = 0) -> torch.Tensor | None:
        """Bias for :func:`~xforecast.models.blocks.layers.attend`, with room for keys that are always allowed."""
        if self.relative is None:
            return None if self.allowed is None else functional.pad(self.allowed, (0, global_keys), value=True)
        bias = self.relative()
        if self.allowed is not None:
            bias = bias.masked_fill(~self.allowed, float("-inf"))
        return functional.pad(bias, (0, global_keys))

    def silence(self, x_BNLC: torch.Tensor) -> torch.Tensor:
        """Zero for the queries that have nothing to attend to."""
        return x_BNLC if self.lonely is None else x_BNLC.masked_fill(self.lonely, 0.0)
