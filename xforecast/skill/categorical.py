"""Scores of forecast events: values at or above a threshold.

All thresholds are counted in one pass over the data, and counts are summed over `dim` before any ratio is
taken. A list of thresholds gives the result a dimension `threshold`, a number a scalar coordinate. Where a
score would divide by nothing, for lack of events, it is NaN. Pairs in which either value is NaN are left
out.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr

from xforecast.cf import dimension
from xforecast.errors import InvalidOption
from xforecast.skill._counts import COUNTS, event_counts
from xforecast.skill._pairs import Dims, Samples, dims_of, score, single
from xforecast.skill._reduce import by_block

__all__ = [
    "contingency",
    "csi",
    "csi_mean",
    "far",
    "frequency_bias",
    "heidke",
    "max_pool",
    "pod",
    "success_ratio",
]

Thresholds = float | Sequence[float] | np.ndarray | xr.DataArray


def max_pool(field: xr.DataArray, size: int) -> xr.DataArray:
    """Greatest value in each of the squares of `size` x `size` cells that tile the map.

    Parameters
    ----------
    field : DataArray
        With two horizontal dimensions, found by their attributes or names.
    size : int
        Cells along a side. Rows and columns that fill no square are left out; a square with a NaN is NaN.

    Examples
    --------
    >>> field = xr.DataArray(np.arange(16.0).reshape(4, 4), dims=("y", "x"))
    >>> max_pool(field, 2).values
    array([[ 5.,  7.],
           [13., 15.]])
    """
    if size == 1:
        return field
    if size < 1:
        raise InvalidOption("pool", size, "a positive number of cells", "pool=1 compares cell by cell")
    for kind in ("y", "x"):  # one after the other is several times as fast as both at once
        squares = field.coarsen({dimension(field, kind): size}, boundary="trim")
        field = squares.reduce(np.max)  # which keeps NaN, as .max() does not
    return field


@score
def contingency(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: Thresholds,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
    pool: int = 1,
) -> xr.Dataset:
    """Contingency table of events: how often they were forecast, observed, both or neither.

    Parameters
    ----------
    forecast, observed : DataArray or Dataset
        The same quantity, paired as for `mse`.
    threshold : float or sequence of float
        An event is a value at or above it. It is compared in the precision of the data.
    dim : str or iterable, optional
        Dimensions to count over, all by default.
    weights : DataArray, optional
        Weights of the pairs, on any of the dimensions (after pooling).
    samples : {"mean", "each"}
        Events of the sample mean, or of each sample. For events of any sample pass
        ``forecast.max("sample")``.
    pool : int
        Compare the greatest values in squares of so many cells: see `max_pool`.

    Returns
    -------
    Dataset
        `hits`, `misses`, `false_alarms` and `correct_negatives`: integers, or sums of weights.

    Examples
    --------
    >>> forecast, observed = (xr.DataArray(x, dims="x") for x in ([5.0, 0.0, 7.0, 1.0], [6.0, 8.0, 2.0, 0.0]))
    >>> table = contingency(forecast, observed, [1.0, 5.0])
    >>> table.hits.values, table.misses.values, table.false_alarms.values, table.correct_negatives.values
    (array([2, 1]), array([1, 1]), array([1, 1]), array([0, 1]))
    """
    forecast, comment = single(forecast, dim, samples)
    forecast, observed = (max_pool(field, pool) for field in (forecast, observed))
    levels = np.atleast_1d(np.asarray(threshold, np.float64))
    if levels.ndim != 1 or not levels.size or np.isnan(levels).any():
        raise InvalidOption(
            "threshold",
            threshold,
            "a number or a list of numbers",
            "threshold=[16, 74, 133], say, in the units of the data",
        )
    dims = dims_of(forecast, dim)
    fields = (forecast, observed) if weights is None else (forecast, observed, weights)
    kernel = partial(event_counts, forecast_thresholds=levels, observed_thresholds=levels)
    counts = by_block(
        kernel,
        *fields,
        dim=dims,
        new={"count": len(COUNTS), "threshold": levels.size},
        dtype=np.int64 if weights is None else np.float64,
    ).sum(dims)
    units = forecast.attrs.get("units")
    attrs = {"long_name": "threshold"} | ({"units": units} if units else {})
    counts = counts.assign_coords(threshold=("threshold", levels, attrs))
    if np.ndim(threshold) == 0:
        counts = counts.isel(threshold=0)
    hits, forecast_events, observed_events, pairs = (counts.isel(count=k) for k in range(len(COUNTS)))
    table = xr.Dataset(
        {
            "hits": hits,
            "misses": observed_events - hits,
            "false_alarms": forecast_events - hits,
            "correct_negatives": pairs - observed_events - forecast_events + hits,
        }
    )
    for name, field in table.items():
        field.attrs = {"long_name": f"number of {str(name).replace('_', ' ')}", "units": "1"}
    return table.assign_attrs({"comment": comment} if comment else {})


def _ratio(numerator: xr.DataArray, denominator: xr.DataArray, table: xr.Dataset) -> xr.DataArray:
    ratio = numerator / denominator.where(denominator > 0)
    return ratio.assign_attrs(table.attrs)


@score
def csi(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: Thresholds,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
    pool: int = 1,
) -> xr.DataArray:
    r"""Critical success index (threat score): hits over hits, misses and false alarms.

    .. math:: \mathrm{CSI} = \frac{H}{H + M + F}

    Parameters are those of `contingency`. For the six thresholds of SEVIR with the papers' handling of no
    events see `protocols.sevir`.

    Returns
    -------
    DataArray or Dataset
        Between 0 and 1 (units "1"), with a dimension `threshold` for a list; NaN where there is no event.

    References
    ----------
    Wilks, D. S. (2019). Statistical methods in the atmospheric sciences, 4th edition, section 9.2. Elsevier.

    Examples
    --------
    >>> forecast, observed = (xr.DataArray(x, dims="x") for x in ([5.0, 0.0, 7.0, 1.0], [6.0, 8.0, 2.0, 0.0]))
    >>> csi(forecast, observed, [1.0, 5.0]).values.round(3)
    array([0.5  , 0.333])
    """
    table = contingency(forecast, observed, threshold, dim=dim, weights=weights, samples=samples, pool=pool)
    return _ratio(table.hits, table.hits + table.misses + table.false_alarms, table)


@score
def csi_mean(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: Thresholds,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
    pool: int = 1,
) -> xr.DataArray:
    r"""Mean of the critical success index over the thresholds at which there are events (CSI-M).

    Parameters are those of `contingency`, results those of ``csi(...).mean("threshold")``.

    Examples
    --------
    >>> forecast, observed = (xr.DataArray(x, dims="x") for x in ([5.0, 0.0, 7.0, 1.0], [6.0, 8.0, 2.0, 0.0]))
    >>> csi_mean(forecast, observed, [1.0, 5.0]).round(3).item()
    0.417
    """
    table = contingency(forecast, observed, threshold, dim=dim, weights=weights, samples=samples, pool=pool)
    scores = _ratio(table.hits, table.hits + table.misses + table.false_alarms, table)
    return scores.mean("threshold", keep_attrs=True) if "threshold" in scores.dims else scores


@score
def pod(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: Thresholds,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
    pool: int = 1,
) -> xr.DataArray:
    r"""Probability of detection (hit rate): the part of the observed events that was forecast.

    .. math:: \mathrm{POD} = \frac{H}{H + M}

    Parameters and result are those of `csi`; NaN where no event was observed.

    Examples
    --------
    >>> forecast, observed = (xr.DataArray(x, dims="x") for x in ([5.0, 0.0, 7.0, 1.0], [6.0, 8.0, 2.0, 0.0]))
    >>> pod(forecast, observed, 1.0).round(3).item()
    0.667
    """
    table = contingency(forecast, observed, threshold, dim=dim, weights=weights, samples=samples, pool=pool)
    return _ratio(table.hits, table.hits + table.misses, table)


@score
def far(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: Thresholds,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
    pool: int = 1,
) -> xr.DataArray:
    r"""False alarm ratio: the part of the forecast events that was not observed.

    .. math:: \mathrm{FAR} = \frac{F}{H + F}

    Parameters and result are those of `csi`; NaN where no event was forecast.

    Examples
    --------
    >>> forecast, observed = (xr.DataArray(x, dims="x") for x in ([5.0, 0.0, 7.0, 1.0], [6.0, 8.0, 2.0, 0.0]))
    >>> far(forecast, observed, 5.0).item()
    0.5
    """
    table = contingency(forecast, observed, threshold, dim=dim, weights=weights, samples=samples, pool=pool)
    return _ratio(table.false_alarms, table.hits + table.false_alarms, table)


@score
def success_ratio(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: Thresholds,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
    pool: int = 1,
) -> xr.DataArray:
    r"""Success ratio: the part of the forecast events that was observed, 1 - FAR.

    .. math:: \mathrm{SR} = \frac{H}{H + F}

    Parameters and result are those of `csi`; NaN where no event was forecast.

    Examples
    --------
    >>> forecast, observed = (xr.DataArray(x, dims="x") for x in ([5.0, 0.0, 7.0, 1.0], [6.0, 8.0, 2.0, 0.0]))
    >>> success_ratio(forecast, observed, 1.0).round(3).item()
    0.667
    """
    table = contingency(forecast, observed, threshold, dim=dim, weights=weights, samples=samples, pool=pool)
    return _ratio(table.hits, table.hits + table.false_alarms, table)


@score
def frequency_bias(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: Thresholds,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
    pool: int = 1,
) -> xr.DataArray:
    r"""Frequency bias: how many events were forecast for each that was observed.

    .. math:: B = \frac{H + F}{H + M}

    Parameters and result are those of `csi`, from 0 upwards; NaN where no event was observed.

    Examples
    --------
    >>> forecast, observed = (xr.DataArray(x, dims="x") for x in ([5.0, 0.0, 7.0, 1.0], [6.0, 8.0, 2.0, 0.0]))
    >>> frequency_bias(forecast, observed, 1.0).item()
    1.0
    """
    table = contingency(forecast, observed, threshold, dim=dim, weights=weights, samples=samples, pool=pool)
    return _ratio(table.hits + table.false_alarms, table.hits + table.misses, table)


@score
def heidke(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: Thresholds,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
    pool: int = 1,
) -> xr.DataArray:
    r"""Heidke skill score: the share of right forecasts beyond those right by chance.

    .. math:: \mathrm{HSS} = \frac{2 (H C - F M)}{(H + M)(M + C) + (H + F)(F + C)}

    with correct negatives C. Parameters and result are those of `csi`; NaN where events or non-events make
    up all of both.

    Examples
    --------
    >>> forecast, observed = (xr.DataArray(x, dims="x") for x in ([5.0, 0.0, 7.0, 1.0], [6.0, 8.0, 2.0, 0.0]))
    >>> heidke(forecast, observed, 5.0).item()
    0.0
    """
    table = contingency(forecast, observed, threshold, dim=dim, weights=weights, samples=samples, pool=pool)
    table = table.astype(np.float64)  # products of counts pass the range of integers
    hits, misses, false, negatives = (table[name] for name in table)
    chance = (hits + misses) * (misses + negatives) + (hits + false) * (false + negatives)
    return _ratio(2 * (hits * negatives - false * misses), chance, table)
