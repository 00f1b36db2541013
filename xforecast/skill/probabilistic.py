"""Scores of ensembles and of probabilities.

The samples are the dimension with the standard name ``realization`` (else `sample`, `realization`,
`member`, `number` or `ensemble`). Pairs in which the observation or any sample is NaN are left out.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from functools import partial
from typing import Any

import numpy as np
import xarray as xr

from xforecast.cf import dimension, find_dimension
from xforecast.errors import InvalidOption
from xforecast.skill._counts import COUNTS, event_counts
from xforecast.skill._pairs import Dims, dims_of, score
from xforecast.skill._pieces import pieces
from xforecast.skill._reduce import by_block, mean
from xforecast.skill.ensemble import ensemble_variance, exceedance_probability, in_one_chunk, sample_mean

__all__ = ["brier", "crps", "rank_histogram", "reliability", "roc", "spread_skill"]

PIXELS = 1 << 13
"""Pixels of which the samples are sorted at a time."""


@score
def crps(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    fair: bool = True,
) -> xr.DataArray:
    r"""Continuous ranked probability score of an ensemble.

    .. math:: \mathrm{CRPS} = \frac1M \sum_s |x_s - y| - \frac{1}{2 M (M - 1)} \sum_{s, s'} |x_s - x_{s'}|

    is the fair score, the expectation of which does not depend on the number of samples M; the plain one has
    :math:`2 M^2` below and is that of the empirical distribution. Both are the absolute error if M is 1.

    Parameters
    ----------
    forecast, observed : DataArray or Dataset
        The same quantity, the forecast with a dimension of samples.
    dim : str or iterable, optional
        Dimensions to average over besides the samples, all by default; ``()`` for none.
    weights : DataArray, optional
        Weights of the pairs, on any of the dimensions.
    fair : bool
        The fair score, or the plain one.

    Returns
    -------
    DataArray or Dataset
        float64, in the units of the quantity.

    References
    ----------
    Ferro, C. A. T. (2014). Fair scores for ensemble forecasts. Quarterly Journal of the Royal Meteorological
    Society, 140, 1917-1923.

    Examples
    --------
    >>> forecast, observed = xr.DataArray([0.0, 2.0, 5.0], dims="sample"), xr.DataArray(1.0)
    >>> crps(forecast, observed).round(3).item(), crps(forecast, observed, fair=False).round(3).item()
    (0.333, 0.889)
    """
    if find_dimension(forecast, "sample") is None:
        forecast = forecast.expand_dims("sample")
    forecast, sample = in_one_chunk(forecast)
    values = xr.apply_ufunc(
        partial(_crps, fair=fair),
        forecast,
        observed,
        input_core_dims=[[sample], []],
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    kind = "fair" if fair else "of the empirical distribution"
    comment = f"{kind}, {forecast.sizes[sample]} samples"
    return mean(values, dim=_dims(forecast, dim), weights=weights).assign_attrs(comment=comment)


def _dims(forecast: xr.DataArray, dim: Dims) -> list[Hashable]:
    """The dimensions to reduce besides that of the samples."""
    sample = find_dimension(forecast, "sample")
    return [d for d in dims_of(forecast, dim) if d != sample]


def _crps(samples: np.ndarray, observed: np.ndarray, *, fair: bool) -> np.ndarray:
    """CRPS of samples (..., M) of observations (...), a piece at a time."""
    shape, size = samples.shape[:-1], samples.shape[-1]
    observed = np.broadcast_to(observed, shape)
    # sorted, the sum of |x_s - x_s'| over all pairs is that of 2 (2 s - M - 1) x_s
    ranks = 2.0 * np.arange(1, size + 1) - size - 1
    pairs = size * (size - 1) if fair else size * size
    ranks /= max(pairs, 1)
    dtype = np.result_type(samples.dtype, observed.dtype, np.float32)
    result = np.empty(shape)
    for part in pieces(shape, PIXELS):
        x, y = np.array(samples[part], dtype, order="C"), observed[part]
        error = np.abs(x - y[..., None]).mean(-1, dtype=np.float64)
        x.sort(axis=-1)
        result[part] = error - x @ ranks
    return result


@score
def brier(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: float | Sequence[float] | None = None,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    fair: bool = False,
) -> xr.DataArray:
    r"""Brier score of the probability that a threshold is reached.

    .. math:: \mathrm{BS} = \overline{(p - e)^2}

    with the probability p and the event e, 0 or 1. The fair score takes :math:`p (1 - p) / (M - 1)` from
    it, so that its expectation does not depend on the number of samples M.

    Parameters
    ----------
    forecast, observed : DataArray or Dataset
        Samples and observations of a quantity; or without `threshold`, probabilities and events (0 or 1).
    threshold : float or sequence of float, optional
        An event is a value at or above it. A list gives the result a dimension `threshold`.
    dim, weights
        As for `crps`.
    fair : bool
        Correct for the number of samples.

    Returns
    -------
    DataArray or Dataset
        Between 0 and 1 (units "1").

    References
    ----------
    Ferro, C. A. T. (2014). Fair scores for ensemble forecasts. Quarterly Journal of the Royal Meteorological
    Society, 140, 1917-1923.

    Examples
    --------
    >>> forecast = xr.DataArray([0.0, 2.0, 5.0, 6.0], dims="sample")
    >>> brier(forecast, xr.DataArray(4.0), 3.0).item()
    0.25
    >>> brier(forecast, xr.DataArray(4.0), [3.0, 6.0], fair=True).round(3).values
    array([0.167, 0.   ])
    """
    probability, event = _probability_and_event(forecast, observed, threshold)
    values = (probability - event) ** 2
    comment = ""
    if fair:
        size = forecast.sizes[dimension(forecast, "sample")]
        values = values - probability * (1 - probability) / max(size - 1, 1)
        comment = f"fair, {size} samples"
    return mean(values, dim=_dims(forecast, dim), weights=weights).assign_attrs(comment=comment)


def _probability_and_event(
    forecast: xr.DataArray, observed: xr.DataArray, threshold: float | Sequence[float] | None
) -> tuple[xr.DataArray, xr.DataArray]:
    """Probabilities of reaching the threshold, and whether it was: 0, 1 or NaN."""
    ensemble = find_dimension(forecast, "sample") is not None
    if threshold is None:
        if ensemble:
            raise InvalidOption(
                "threshold",
                threshold,
                "a threshold, for a forecast of samples",
                "threshold=1.0, say, in the units of the data",
            )
        return forecast.astype(np.float64), observed.astype(np.float64)
    if not ensemble:
        raise InvalidOption(
            "forecast",
            f"dimensions {forecast.dims}",
            "samples, from which the probability of reaching a threshold is counted",
            "leave the threshold out if these are probabilities, and give observed events as 0 and 1",
        )
    probability = exceedance_probability(forecast, threshold)
    return probability, (observed >= probability["threshold"]).where(observed.notnull())


@score
def rank_histogram(
    forecast: xr.DataArray, observed: xr.DataArray, *, dim: Dims = None, weights: xr.DataArray | None = None
) -> xr.DataArray:
    """How often the observation has each rank among the samples: flat if it is one of them.

    An observation equal to some samples, as no rain often is, counts for all the ranks that it could have,
    in equal parts.

    Parameters
    ----------
    forecast, observed, dim, weights
        As for `crps`.

    Returns
    -------
    DataArray or Dataset
        Counts (or sums of weights) along `rank`, 1 to M + 1: 1 where the observation lies below all M
        samples.

    References
    ----------
    Hamill, T. M. (2001). Interpretation of rank histograms for verifying ensemble forecasts. Monthly Weather
    Review, 129, 550-560.

    Examples
    --------
    >>> forecast = xr.DataArray([[0.0, 2.0], [0.0, 0.0]], dims=("x", "sample"))
    >>> rank_histogram(forecast, xr.DataArray([3.0, 0.0], dims="x")).round(3).values
    array([0.333, 0.333, 1.333])
    """
    sample = dimension(forecast, "sample")
    size = forecast.sizes[sample]
    valid = observed.notnull() & forecast.notnull().all(sample)
    below = (forecast < observed).sum(sample).where(valid)
    equal = (forecast == observed).sum(sample)
    fields = (below, equal) if weights is None else (below, equal, weights)
    dims = _dims(forecast, dim)
    counts = by_block(partial(_ranks, size=size), *fields, dim=dims, new={"rank": size + 1}).sum(dims)
    rank = xr.DataArray(np.arange(1, size + 2), dims="rank", attrs={"long_name": "rank of the observation"})
    counts = counts.assign_coords(rank=rank).transpose(..., "rank").rename("rank_histogram")
    counts.attrs = {"long_name": "number of observations", "units": "1"}
    return counts


def _ranks(below: np.ndarray, equal: np.ndarray, *rest: Any, size: int) -> np.ndarray:
    """Counts by rank, (size + 1, *kept), of observations above `below` samples and level with `equal`."""
    *weights, kept = rest
    valid = ~np.isnan(below)
    share = (weights[0] if weights else np.ones_like(below))[valid] / (equal[valid] + 1)
    first = below[valid].astype(np.int64)
    steps = _histogram(first, valid, share, kept, size + 2)
    steps -= _histogram(first + equal[valid] + 1, valid, share, kept, size + 2)
    return np.cumsum(steps, 0)[:-1]


def _histogram(place: np.ndarray, valid: np.ndarray, weight: np.ndarray | None, kept: int, size: int) -> np.ndarray:
    """Sums of weights by place, (size, *kept); `place` and `weight` are those of the valid elements in turn."""
    cells = valid.shape[:kept]
    number = int(np.prod(cells))
    cell = np.arange(number).reshape(*cells, *[1] * (valid.ndim - kept))
    flat = np.broadcast_to(cell, valid.shape)[valid] * size + place
    return np.bincount(flat, weight, number * size).reshape(number, size).T.reshape(size, *cells)


@score
def spread_skill(
    forecast: xr.DataArray, observed: xr.DataArray, *, dim: Dims = None, weights: xr.DataArray | None = None
) -> xr.Dataset:
    r"""Spread of the samples beside the error of their mean: equal where the ensemble is reliable.

    .. math:: \mathrm{spread} = \sqrt{\frac{M + 1}{M}\; \overline{s^2}}, \qquad
              \mathrm{rmse} = \sqrt{\overline{(\bar x - y)^2}}

    with the unbiased variance :math:`s^2` of the M samples.

    Parameters
    ----------
    forecast, observed, dim, weights
        As for `crps`.

    Returns
    -------
    Dataset
        `spread`, `rmse`, and `ratio`, the one over the other: below 1 where the ensemble is too sure. The
        spread of a single sample is NaN.

    References
    ----------
    Fortin, V. et al. (2014). Why should ensemble spread match the RMSE of the ensemble mean? Journal of
    Hydrometeorology, 15, 1708-1713.

    Examples
    --------
    >>> forecast = xr.DataArray([[0.0, 2.0], [1.0, 3.0]], dims=("x", "sample"))
    >>> spread_skill(forecast, xr.DataArray([2.0, 4.0], dims="x")).round(3).spread.item()
    1.732
    """
    sample = dimension(forecast, "sample")
    size = forecast.sizes[sample]
    dims = _dims(forecast, dim)
    error = sample_mean(forecast) - observed
    variance = ensemble_variance(forecast).where(error.notnull())
    spread = (mean(variance, dim=dims, weights=weights) * (size + 1) / size) ** 0.5
    rmse = mean(error**2, dim=dims, weights=weights) ** 0.5
    result = xr.Dataset({"spread": spread, "rmse": rmse, "ratio": spread / rmse.where(rmse > 0)})
    units = {"units": forecast.attrs["units"]} if "units" in forecast.attrs else {}
    result["spread"].attrs = {"long_name": "spread of the samples", **units}
    result["rmse"].attrs = {"long_name": "root-mean-square error of the sample mean", **units}
    result["ratio"].attrs = {"long_name": "spread over error", "units": "1"}
    return result


@score
def reliability(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: float | Sequence[float] | None = None,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    bins: int = 10,
) -> xr.Dataset:
    """How often an event happened when it was given a probability: the reliability diagram.

    Parameters
    ----------
    forecast, observed, threshold
        As for `brier`.
    dim, weights
        As for `crps`.
    bins : int
        Number of equal bins of probability; each holds its lower edge, the last 1 too.

    Returns
    -------
    Dataset
        By `forecast_probability`, the middle of a bin: `observed_frequency` and `mean_forecast`, NaN in
        empty bins, and `cases`, their number (or sum of weights).

    References
    ----------
    Wilks, D. S. (2019). Statistical methods in the atmospheric sciences, 4th edition, section 9.4.4. Elsevier.

    Examples
    --------
    >>> probability, event = (xr.DataArray(x, dims="x") for x in ([0.1, 0.2, 0.9, 1.0], [0.0, 1.0, 1.0, 1.0]))
    >>> reliability(probability, event, bins=2).observed_frequency.values
    array([0.5, 1. ])
    """
    probability, event = _probability_and_event(forecast, observed, threshold)
    fields = (probability, event) if weights is None else (probability, event, weights)
    dims = _dims(forecast, dim)
    if bins < 1:
        raise InvalidOption("bins", bins, "1 or more", "bins=10")
    new = {"sum": 3, "forecast_probability": bins}
    sums = by_block(partial(_bins, bins=bins), *fields, dim=dims, new=new).sum(dims)
    middle = (np.arange(bins) + 0.5) / bins
    sums = sums.assign_coords(forecast_probability=middle).transpose(..., "forecast_probability")
    cases, forecasts, events = (sums.isel(sum=k) for k in range(3))
    some = cases.where(cases > 0)
    diagram = xr.Dataset({"observed_frequency": events / some, "mean_forecast": forecasts / some, "cases": cases})
    diagram["forecast_probability"].attrs = {"long_name": "forecast probability", "units": "1"}
    diagram["observed_frequency"].attrs = {"long_name": "observed relative frequency", "units": "1"}
    diagram["mean_forecast"].attrs = {"long_name": "mean forecast probability in the bin", "units": "1"}
    diagram["cases"].attrs = {"long_name": "number of forecasts", "units": "1"}
    return diagram


def _bins(probability: np.ndarray, event: np.ndarray, *rest: Any, bins: int) -> np.ndarray:
    """Cases, sum of probabilities and number of events by bin of probability: (3, bins, *kept)."""
    *weights, kept = rest
    valid = ~(np.isnan(probability) | np.isnan(event))
    p, e = probability[valid], event[valid]
    weight = weights[0][valid] if weights else np.ones_like(p)
    place = (p * bins + 1e-9).astype(np.int64).clip(0, bins - 1)  # 0.3 belongs to the bin that it begins
    return np.stack([_histogram(place, valid, w, kept, bins) for w in (weight, weight * p, weight * e)])


@score
def roc(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: float | Sequence[float] | None = None,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    levels: Sequence[float] | None = None,
) -> xr.Dataset:
    """Relative operating characteristic: detections against false detections, by the probability that warns.

    Parameters
    ----------
    forecast, observed, threshold
        As for `brier`.
    dim, weights
        As for `crps`.
    levels : sequence of float, optional
        Probabilities at or above which a warning is given; by default all that M samples can give, or
        tenths. The curve is closed at both ends.

    Returns
    -------
    Dataset
        By `probability`: `pod`, the part of the events that was warned of, and `pofd`, the part of the
        non-events; and `area` under the curve, 0.5 without skill and 1 at best. NaN where events or
        non-events are missing.

    References
    ----------
    Mason, I. (1982). A model for assessment of weather forecasts. Australian Meteorological Magazine, 30, 291-303.

    Examples
    --------
    >>> probability, event = (xr.DataArray(x, dims="x") for x in ([0.1, 0.6, 0.4, 0.9], [0.0, 0.0, 1.0, 1.0]))
    >>> roc(probability, event).area.item()
    0.75
    """
    probability, event = _probability_and_event(forecast, observed, threshold)
    steps = 10 if threshold is None else forecast.sizes[dimension(forecast, "sample")]
    closed = np.unique([0.0, *(np.arange(steps + 1) / steps if levels is None else levels), np.inf])
    fields = (probability, event) if weights is None else (probability, event, weights)
    dims = _dims(forecast, dim)
    kernel = partial(event_counts, forecast_thresholds=closed, observed_thresholds=np.full(closed.size, 0.5))
    counts = by_block(kernel, *fields, dim=dims, new={"count": len(COUNTS), "probability": closed.size}).sum(dims)
    counts = counts.assign_coords(probability=closed).transpose(..., "probability")
    hits, warnings, events, pairs = (counts.isel(count=k) for k in range(len(COUNTS)))
    quiet = pairs - events
    pod, pofd = hits / events.where(events > 0), (warnings - hits) / quiet.where(quiet > 0)
    width, height = -pofd.diff("probability"), pod.rolling(probability=2).mean()
    area = (width * height).sum("probability", skipna=False)
    curve = xr.Dataset({"pod": pod, "pofd": pofd, "area": area})
    curve["probability"].attrs = {"long_name": "least probability that warns", "units": "1"}
    curve["pod"].attrs = {"long_name": "probability of detection", "units": "1"}
    curve["pofd"].attrs = {"long_name": "probability of false detection", "units": "1"}
    curve["area"].attrs = {"long_name": "area under the relative operating characteristic", "units": "1"}
    return curve
