"""Counting events over thresholds, in one pass over the data."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import numpy as np

BLOCK = 1 << 15
"""Elements that are compared at a time: two blocks of float32 and their masks stay in the cache."""

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
        Of one shape. An event is a value at or above its threshold; pairs with a NaN are left out.
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
    if weights or forecast.size < SMALL * math.prod(cells):
        return _by_axes(forecast, observed, weights[0] if weights else None, kept, levels)
    counts = np.zeros((len(COUNTS), len(levels), *cells), np.int64)
    masks = np.empty((2, BLOCK), bool)
    for cell in np.ndindex(cells):
        _by_pieces(forecast[cell], observed[cell], levels, masks, counts[(..., *cell)])
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


def _by_pieces(
    forecast: np.ndarray,
    observed: np.ndarray,
    levels: list[tuple[Any, Any]],
    masks: np.ndarray,
    counts: np.ndarray,
) -> None:
    """Add the counts of one cell, a cache-sized piece at a time."""
    blocks = np.nditer(
        [forecast, observed], flags=["external_loop", "buffered", "zerosize_ok"], buffersize=BLOCK, order="K"
    )
    for x, y in blocks:
        x_top, y_top = greatest(x), greatest(y)
        if np.isnan(x_top) or np.isnan(y_top):
            valid = ~(np.isnan(x) | np.isnan(y))
            x, y = x[valid], y[valid]
            x_top, y_top = greatest(x), greatest(y)
        x_event, y_event = masks[:, : x.size]
        counts[3] += x.size
        for k, (x_level, y_level) in enumerate(levels):
            if x_top >= x_level:
                np.greater_equal(x, x_level, out=x_event)
                counts[1, k] += np.count_nonzero(x_event)
            if y_top >= y_level:
                np.greater_equal(y, y_level, out=y_event)
                counts[2, k] += np.count_nonzero(y_event)
            if x_top >= x_level and y_top >= y_level:
                np.logical_and(x_event, y_event, out=x_event)
                counts[0, k] += np.count_nonzero(x_event)


def greatest(values: np.ndarray) -> Any:
    """The greatest value, NaN where there is one."""
    return values.max() if values.size else -np.inf


def _by_axes(
    forecast: np.ndarray,
    observed: np.ndarray,
    weights: np.ndarray | None,
    kept: int,
    levels: list[tuple[Any, Any]],
) -> np.ndarray:
    """Counts for many small cells at once, or sums of weights."""
    axes = tuple(range(kept, forecast.ndim))
    valid = ~(np.isnan(forecast) | np.isnan(observed))
    if weights is not None:
        valid &= ~np.isnan(weights)

    def add(event: np.ndarray) -> Any:
        if weights is None:
            return event.sum(axes, dtype=np.int64)
        return np.sum(weights, axes, dtype=np.float64, where=event)

    counts = []
    for x_level, y_level in levels:
        x_event, y_event = (forecast >= x_level) & valid, (observed >= y_level) & valid
        counts.append([add(x_event & y_event), add(x_event), add(y_event), add(valid)])
    return np.moveaxis(np.array(counts), 0, 1)
