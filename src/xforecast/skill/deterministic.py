"""Scores of a single forecast of a continuous quantity."""

from __future__ import annotations

from collections.abc import Hashable

import xarray as xr


def correlation(forecast: xr.DataArray, observed: xr.DataArray, *, dim: Hashable) -> xr.DataArray:
    """Pearson correlation over the pairs without NaN; NaN where fewer than two remain or nothing varies."""
    both = forecast.notnull() & observed.notnull()
    x, y = (field.where(both) for field in (forecast, observed))
    x, y = x - x.mean(dim), y - y.mean(dim)
    scale = ((x**2).sum(dim) * (y**2).sum(dim)) ** 0.5
    return (x * y).sum(dim, min_count=2) / scale.where(scale > 0)
