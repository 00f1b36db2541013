"""Counting events over thresholds, in one pass over the data."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from xforecast.skill._pieces import CACHED, pieces

SMALL = 2048
"""Cells of fewer elements than this are counted all at once, others one by one."""

COUNTS = ("hits", "forecast_events", "observed_events", "pairs")


def event_counts(
    forecast: np.ndarray,
    observed: np.ndarray,
    *rest: Any,
    forecast_thresholds: Iterable[float],
    observed_thresholds: Iterable[float],
) -> np.ndarray:
    """Hits, forecast events, observed events and pairs at pairs of thresholds.

    Parameters
    ----------
    forecast, observed : ndarray
        Arrays of one shape. An event is a value at or above its threshold; pairs with a NaN are left out.
    *rest
        Weights of that shape (optional), and the number of leading axes that are kept.
    forecast_thresholds, observed_thresholds : sequence of float
        As many of the one as of the other.

    Returns
    -------
    ndarray
        Shape (4, thresholds, *kept): int64, or float64 sums of weights.
    """
    *weights, kept = rest
    levels = [
        (comparable(f, forecast.dtype), comparable(o, observed.dtype))
        for f, o in zip(forecast_thresholds, observed_thresholds, strict=True)
    ]
    cells = forecast.shape[:kept]
    fields = [forecast, observed, *weights]
    if forecast.size < SMALL * math.prod(cells):
        return _by_axes(fields, kept, levels)
    counts = np.zeros((len(COUNTS), len(levels), *cells), np.float64 if weights else np.int64)
    masks = np.empty((2, CACHED), bool)
    for cell in np.ndindex(cells):
        _by_pieces([field[cell] for field in fields], levels, masks, counts[(..., *cell)])
    return counts


def comparable(threshold: float, dtype: np.dtype) -> Any:
    """The threshold in the type of the data, so that comparing converts nothing.

    Examples
    --------
    >>> comparable(16.5, np.dtype("uint8"))
    17
    """
    if dtype.kind in "iu" and math.isfinite(threshold):
        return math.ceil(threshold)
    return dtype.type(threshold) if dtype.kind == "f" else threshold


def _by_pieces(fields: list[np.ndarray], levels: list[tuple[Any, Any]], masks: np.ndarray, counts: np.ndarray) -> None:
    """Add the counts of one cell, a cache-sized piece at a time."""
    blocks = np.nditer(fields, flags=["external_loop", "buffered", "zerosize_ok"], buffersize=CACHED, order="K")
    for piece in blocks:
        tops = [_greatest(values) for values in piece]
        if np.isnan(tops).any():
            valid = ~np.logical_or.reduce([np.isnan(values) for values in piece])
            piece = tuple(values[valid] for values in piece)
            tops = [_greatest(values) for values in piece]
        _add_piece(piece, tops, levels, masks[:, : piece[0].size], counts)


def _add_piece(
    piece: Sequence[np.ndarray],
    tops: list[Any],
    levels: list[tuple[Any, Any]],
    masks: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Add the counts of values without NaN; a level above them all costs nothing."""
    x, y, *weights = piece
    x_event, y_event = masks
    size = weights[0].sum() if weights else x.size

    def add(event: np.ndarray) -> Any:
        return np.dot(weights[0], event) if weights else np.count_nonzero(event)

    for k, (x_level, y_level) in enumerate(levels):
        x_some, y_some = tops[0] >= x_level, tops[1] >= y_level
        if x_some:
            np.greater_equal(x, x_level, out=x_event)
            counts[1, k] += add(x_event)
        if y_some:
            np.greater_equal(y, y_level, out=y_event)
            counts[2, k] += add(y_event)
        if x_some and y_some:
            np.logical_and(x_event, y_event, out=x_event)
            counts[0, k] += add(x_event)
    counts[3] += size


def _greatest(values: np.ndarray) -> Any:
    """The greatest value, NaN where there is one."""
    return values.max() if values.size else -np.inf


def _by_axes(fields: list[np.ndarray], kept: int, levels: list[tuple[Any, Any]]) -> np.ndarray:
    """Counts of many small cells at once, or sums of weights."""
    shape, weighted = fields[0].shape, len(fields) > 2
    counts = np.zeros((len(COUNTS), len(levels), *shape[:kept]), np.float64 if weighted else np.int64)
    axes = tuple(range(kept, len(shape)))
    for part in pieces(shape, CACHED):
        x, y, *weights = (np.ascontiguousarray(field[part]) for field in fields)
        valid = ~(np.isnan(x) | np.isnan(y))
        if weighted:
            valid &= ~np.isnan(weights[0])

        def add(event: np.ndarray, weights: list[np.ndarray] = weights) -> Any:
            if weights:
                return np.sum(weights[0], axes, dtype=np.float64, where=event)
            return event.sum(axes, dtype=np.int64)

        here: Any = part[:kept]
        for k, (x_level, y_level) in enumerate(levels):
            x_event, y_event = (x >= x_level) & valid, (y >= y_level) & valid
            for count, event in enumerate((x_event & y_event, x_event, y_event, valid)):
                counts[(count, k, *here)] += add(event)
    return counts
