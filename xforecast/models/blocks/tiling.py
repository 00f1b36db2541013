"""Fields larger than a model's window: cut into overlapping windows, and joined again without seams."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch

from xforecast.errors import InvalidOption

__all__ = ["Tiles", "tiled"]

OVERLAP = 4
"""Windows share at least one part in this many of their length with the next."""
MARGIN = 4
"""One part in this many of the overlap, at the edge of a window, has no weight, so that what an edge does to a network
does not reach the forecast."""

Grid = tuple[int, int]


@dataclass(frozen=True)
class Tiles:
    """Overlapping windows that cover a field, and the weights with which they are joined.

    Along each axis windows are evenly spread and overlap by a quarter or more. A window's weight rises smoothly
    from its inner edges; the weights of all windows sum to one everywhere.

    Parameters
    ----------
    field, window : (int, int)
        Height and width of the field and of the windows, which are no larger.
    factor : int
        Rows and columns of what is cut and joined for each row and column of `field`: that of the autoencoder, where
        the field is a latent and frames are cut.

    Examples
    --------
    >>> tiles = Tiles((20, 8), (8, 8))
    >>> tiles.corners
    [(0, 0), (6, 0), (12, 0)]
    >>> x = torch.rand(1, 2, 20, 8, 1)
    >>> torch.allclose(tiles.join(tiles.cut(x)), x)
    True
    """

    field: Grid
    window: Grid
    factor: int = 1

    def __post_init__(self):
        if any(size < least for size, least in zip(self.field, self.window, strict=True)):
            raise InvalidOption("field", self.field, f"at least the model's window {self.window}", "a larger field")

    @cached_property
    def corners(self) -> list[Grid]:
        """First row and column of each window."""
        rows, columns = self._along
        return [(self.factor * row, self.factor * column) for row in rows for column in columns]

    @cached_property
    def _along(self) -> list[list[int]]:
        return [_starts(size, width) for size, width in zip(self.field, self.window, strict=True)]

    def __len__(self) -> int:
        return len(self.corners)

    @cached_property
    def weights(self) -> list[torch.Tensor]:
        """Weight of every cell of each window, (height, width), float32."""
        rows, columns = (
            _weights([self.factor * start for start in starts], self.factor * size, self.factor * width)
            for starts, size, width in zip(self._along, self.field, self.window, strict=True)
        )
        return [torch.from_numpy(np.outer(row, column).astype(np.float32)) for row in rows for column in columns]

    def cut(self, x: torch.Tensor) -> list[torch.Tensor]:
        """The windows of a field (batch, time, height, width, channel); smaller ones at the end of a smaller field."""
        height, width = (self.factor * size for size in self.window)
        return [x[:, :, row : row + height, column : column + width] for row, column in self.corners]

    def join(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """The field of its windows, (batch, time, height, width, channel); differentiable."""
        first = parts[0]
        if len(self) == 1:
            return first
        rows, columns = (self.factor * size for size in self.field)
        joined = first.new_zeros(*first.shape[:2], rows, columns, *first.shape[4:])
        for (row, column), weight, part in zip(self.corners, self.weights, parts, strict=True):
            height, width = weight.shape
            weighted = weight.to(part.device, part.dtype)[..., None] * part
            joined[:, :, row : row + height, column : column + width] += weighted
        return joined


def tiled(run: Callable[[torch.Tensor], torch.Tensor], x: torch.Tensor, window: Grid) -> torch.Tensor:
    """What a model of one window makes of a larger field.

    Parameters
    ----------
    run : callable
        Function from fields (batch, time, height, width, channel) of the size of the window to a forecast of that size.
    x : Tensor, (batch, time, height, width, channel)
        The fields.
    window : (int, int)
        Height and width of the fields that the model takes.

    Returns
    -------
    Tensor, (batch, time, height, width, channel)

    Examples
    --------
    >>> tiled(lambda x: x[:, -1:], torch.ones(1, 3, 12, 20, 1), (8, 8)).shape
    torch.Size([1, 1, 12, 20, 1])
    """
    tiles = Tiles(tuple(x.shape[2:4]), window)  # type: ignore[arg-type]
    return tiles.join([run(part) for part in tiles.cut(x)])


# ------------------------------------------------------------------ along one axis


def _starts(size: int, width: int) -> list[int]:
    """First cells of evenly spread windows."""
    stride = width - width // OVERLAP
    count = -(-(size - width) // stride) + 1
    return [round(k * (size - width) / max(count - 1, 1)) for k in range(count)]


def _weights(starts: Sequence[int], size: int, width: int) -> list[np.ndarray]:
    """Weight of each cell of windows that begin there; they sum to one."""
    overlap = width // OVERLAP
    margin = overlap // MARGIN
    from_edge = np.arange(width) + 0.5
    rise = np.sin(np.pi / 2 * np.clip((from_edge - margin) / max(overlap - 2 * margin, 1), 0, 1)) ** 2
    total, found = np.zeros(size), []
    for start in starts:
        before = rise if start > 0 else 1.0
        after = rise[::-1] if start + width < size else 1.0
        found.append(before * after * np.ones(width))
        total[start : start + width] += found[-1]
    return [weight / total[start : start + width] for start, weight in zip(starts, found, strict=True)]
