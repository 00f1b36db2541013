"""What an ensemble says: mean, spread, quantiles, probabilities, and a mean with the intensities of its samples.

The samples are the dimension with the standard name ``realization`` (else `sample`, `realization`,
`member`, `number` or `ensemble`). Where any sample is NaN, so is the result. Of a Dataset, every variable is taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import xarray as xr

from xforecast.cf import dimension, find_dimension
from xforecast.errors import InvalidOption

__all__ = [
    "ensemble_mean",
    "ensemble_quantiles",
    "ensemble_spread",
    "exceedance_probability",
    "probability_matched_mean",
]

F = TypeVar("F", bound=Callable[..., Any])


def _each_variable(function: F) -> F:
    """Let a function of an array take a Dataset too, one variable after the other."""

    @wraps(function)
    def wrapper(forecast: xr.DataArray | xr.Dataset, *args: Any, **options: Any) -> xr.DataArray | xr.Dataset:
        if isinstance(forecast, xr.DataArray):
            return function(forecast, *args, **options)
        results = {name: function(field, *args, **options) for name, field in forecast.items()}
        return xr.Dataset(results, attrs=forecast.attrs)

    return cast(F, wrapper)


def sample_mean(forecast: xr.DataArray) -> xr.DataArray:
    """The forecast itself, or the mean over its samples if it has them."""
    sample = find_dimension(forecast, "sample")
    return forecast if sample is None else forecast.mean(sample, skipna=False, dtype=np.float64)


def in_one_chunk(forecast: xr.DataArray) -> tuple[xr.DataArray, Any]:
    """The forecast with all samples in one chunk, and the name of their dimension."""
    sample = dimension(forecast, "sample")
    return (forecast.chunk({sample: -1}) if forecast.chunks else forecast), sample


@_each_variable
def ensemble_mean(forecast: xr.DataArray) -> xr.DataArray:
    """Mean over the samples, in float64.

    Examples
    --------
    >>> ensemble_mean(xr.DataArray([[1.0, 2.0], [3.0, 4.0]], dims=("sample", "x"))).values
    array([2., 3.])
    """
    dimension(forecast, "sample")
    return _named(sample_mean(forecast), forecast, "mean", "mean")


@_each_variable
def ensemble_spread(forecast: xr.DataArray) -> xr.DataArray:
    r"""Standard deviation of the samples, :math:`\sqrt{\frac{1}{M-1} \sum_s (x_s - \bar x)^2}`.

    NaN for a single sample.

    Examples
    --------
    >>> ensemble_spread(xr.DataArray([[1.0, 2.0], [3.0, 4.0]], dims=("sample", "x"))).round(3).values
    array([1.414, 1.414])
    """
    return _named(ensemble_variance(forecast) ** 0.5, forecast, "standard deviation", "standard_deviation")


def ensemble_variance(forecast: xr.DataArray) -> xr.DataArray:
    """Unbiased variance of the samples; NaN for a single one."""
    sample = dimension(forecast, "sample")
    if forecast.sizes[sample] < 2:
        return forecast.isel({sample: 0}, drop=True).astype(np.float64) * np.nan
    return forecast.astype(np.float64).var(sample, ddof=1, skipna=False)


@_each_variable
def ensemble_quantiles(forecast: xr.DataArray, q: float | Sequence[float]) -> xr.DataArray:
    """Quantiles of the samples, with a dimension `quantile` for a list of them.

    Examples
    --------
    >>> ensemble_quantiles(xr.DataArray([1.0, 2.0, 4.0], dims="sample"), [0.0, 0.5]).values
    array([1., 2.])
    """
    forecast, sample = in_one_chunk(forecast)
    if not np.all((np.asarray(q, float) >= 0) & (np.asarray(q, float) <= 1)):
        raise InvalidOption("q", q, "numbers from 0 to 1", "q=[0.1, 0.5, 0.9] for 10, 50 and 90 %")
    quantiles = forecast.astype(np.float64).quantile(q, sample, skipna=False)
    return _named(quantiles, forecast, "quantile")


def _named(result: xr.DataArray, forecast: xr.DataArray, statistic: str, method: str = "") -> xr.DataArray:
    """The attributes of the forecast, with what was done to it in `long_name` and the cell methods."""
    result.attrs = {**forecast.attrs, "long_name": f"ensemble {statistic} of {label_of(forecast)}"}
    if method:
        earlier = forecast.attrs.get("cell_methods", "")
        result.attrs["cell_methods"] = f"{earlier} realization: {method}".strip()
    return result.rename(forecast.name)


def label_of(forecast: xr.DataArray) -> str:
    """Words for the quantity."""
    attrs = forecast.attrs
    return str(attrs.get("long_name") or attrs.get("standard_name") or forecast.name or "the forecast")


@_each_variable
def exceedance_probability(forecast: xr.DataArray, threshold: float | Sequence[float]) -> xr.DataArray:
    r"""Fraction of the samples at or above a threshold.

    .. math:: P(x \ge \tau) = \frac1M \sum_s [x_s \ge \tau]

    Parameters
    ----------
    forecast : DataArray
        With a dimension of samples.
    threshold : float or sequence of float
        A list gives the result a dimension `threshold`.

    Returns
    -------
    DataArray
        Between 0 and 1 (units "1"), NaN where any sample is.

    Examples
    --------
    >>> exceedance_probability(xr.DataArray([0.0, 2.0, 4.0, 9.0], dims="sample"), [0.0, 3.0]).values
    array([1. , 0.5])
    """
    sample = dimension(forecast, "sample")
    valid = forecast.notnull().all(sample)

    def probability(level: float) -> xr.DataArray:
        return (forecast >= level).mean(sample).where(valid).assign_coords(threshold=float(level))

    if np.ndim(threshold) == 0:
        result = probability(float(np.asarray(threshold)))
    else:
        result = xr.concat([probability(level) for level in np.asarray(threshold)], "threshold")
    result.attrs = {"long_name": f"probability of exceedance of {label_of(forecast)}", "units": "1"}
    if "units" in forecast.attrs:
        result["threshold"].attrs["units"] = forecast.attrs["units"]
    return result.rename("exceedance_probability")


@_each_variable
def probability_matched_mean(forecast: xr.DataArray) -> xr.DataArray:
    """Ensemble mean with the intensities of the samples: where it rains as the mean has it, how much as they do.

    The values of all samples of a map are sorted together, and of every M the median is kept; they replace
    the values of the ensemble mean in order of rank. The mean alone smooths maxima away.

    Parameters
    ----------
    forecast : DataArray
        With samples and two horizontal dimensions, found by their attributes or names.

    Returns
    -------
    DataArray
        Without the samples. Cells in which any sample is NaN are NaN and take no part.

    References
    ----------
    Ebert, E. E. (2001). Ability of a poor man's ensemble to predict the probability and distribution of
    precipitation. Monthly Weather Review, 129, 2461-2480.

    Examples
    --------
    >>> samples = xr.DataArray([[[0.0, 8.0, 0.0]], [[0.0, 2.0, 6.0]], [[0.0, 7.0, 0.0]]], dims=("sample", "y", "x"))
    >>> ensemble_mean(samples).values.round(1), probability_matched_mean(samples).values
    (array([[0. , 5.7, 2. ]]), array([[0., 7., 0.]]))
    """
    forecast, sample = in_one_chunk(forecast)
    space = [dimension(forecast, kind) for kind in ("y", "x")]
    if forecast.chunks:
        forecast = forecast.chunk(dict.fromkeys(space, -1))
    matched = xr.apply_ufunc(
        _match,
        forecast.transpose(..., sample, *space),
        input_core_dims=[[sample, *space]],
        output_core_dims=[space],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    order = [dim for dim in forecast.dims if dim != sample]
    return _named(matched.transpose(*order), forecast, "probability-matched mean")


def _match(samples: np.ndarray) -> np.ndarray:
    """Probability-matched mean of samples (M, y, x)."""
    mean = samples.mean(0, dtype=np.float64)
    valid = ~np.isnan(mean)
    size = len(samples)
    pooled = np.sort(samples[:, valid], axis=None)[size // 2 :: size]
    ranks = np.argsort(mean[valid], kind="stable")
    values = np.empty(len(ranks))
    values[ranks] = pooled
    result = np.full(mean.shape, np.nan)
    result[valid] = values
    return result
