"""Cutting arrays into parts that stay in the cache."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

CACHED = 1 << 16
"""Elements that are worked on at a time: a few arrays of so many, and masks, stay in the cache."""


def pieces(shape: tuple[int, ...], limit: int) -> Iterator[tuple[slice, ...]]:
    """Slices that cut an array of this shape into parts of at most `limit` elements, in order.

    Examples
    --------
    >>> list(pieces((2, 3), 3))
    [(slice(0, 1, None),), (slice(1, 2, None),)]
    """
    if not shape:
        yield ()
        return
    row = int(np.prod(shape[1:]))
    if row > limit:
        for i in range(shape[0]):
            for rest in pieces(shape[1:], limit):
                yield (slice(i, i + 1), *rest)
        return
    step = max(1, limit // max(row, 1))
    for start in range(0, shape[0], step):
        yield (slice(start, min(start + step, shape[0])),)
