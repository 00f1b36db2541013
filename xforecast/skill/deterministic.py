"""Scores of a forecast of a continuous quantity by a single value: errors and correlations.

An ensemble is scored by the mean of its samples, or with ``samples="each"`` (or its dimension named in
`dim`) sample by sample. Pairs in which either value is NaN are left out; `valid_pairs` counts those that
remain.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import xarray as xr

from xforecast.cf import degrees, keywords, target_months
from xforecast.errors import InvalidOption
from xforecast.skill._pairs import Dims, Samples, dims_of, exactly, score, single
from xforecast.skill._reduce import mean, normalised, pearson
from xforecast.skill.times import pick

__all__ = [
    "anomaly_correlation",
    "area_weights",
    "bias",
    "correlation",
    "mae",
    "mse",
    "rmse",
    "valid_pairs",
]


def area_weights(field: xr.DataArray | xr.Dataset) -> xr.DataArray:
    r"""Weights of grid cells by area on a regular grid, :math:`\cos\varphi` of the latitude.

    Parameters
    ----------
    field : DataArray or Dataset
        With a latitude coordinate, in degrees.

    Returns
    -------
    DataArray
        On the dimensions of the latitude, for ``weights=`` of any score.

    Examples
    --------
    >>> field = xr.DataArray(np.zeros((3, 2)), coords={"lat": [-60.0, 0.0, 60.0]}, dims=("lat", "lon"))
    >>> area_weights(field).values.round(3)
    array([0.5, 1. , 0.5])
    """
    latitude = degrees(field, "latitude")
    weights = xr.DataArray(np.cos(np.deg2rad(latitude.astype(np.float64)))).clip(min=0.0)
    weights.attrs = {"long_name": "cosine of latitude", "units": "1"}
    return weights.rename("area_weights")


@score
def mse(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
) -> xr.DataArray:
    r"""Mean squared error, :math:`\overline{(f - o)^2}`.

    Parameters
    ----------
    forecast, observed : DataArray or Dataset
        The same quantity. Observations over `time` are put on the valid times of a forecast first, as
        `match_times` does. Of Datasets, the variables that both have. NumPy arrays of one shape are taken too.
    dim : str or iterable, optional
        Dimensions to average over, all by default.
    weights : DataArray, optional
        Weights of the pairs, on any of the dimensions: see `area_weights`.
    samples : {"mean", "each"}
        Score the mean of the samples, or each of them.

    Returns
    -------
    DataArray or Dataset
        float64, in the square of the units; NaN where no pair is left. Lazy where the inputs are.

    Examples
    --------
    >>> mse(xr.DataArray([1.0, 2.0, 5.0], dims="x"), xr.DataArray([1.0, 4.0, np.nan], dims="x")).item()
    2.0
    """
    return _mean(_squared_error, forecast, observed, dim, weights, samples)


@score
def rmse(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
) -> xr.DataArray:
    r"""Root-mean-square error, :math:`\sqrt{\overline{(f - o)^2}}`: the root of the mean over all of `dim`.

    Parameters and result are those of `mse`, in the units of the quantity.

    Examples
    --------
    >>> rmse(xr.DataArray([3.0, 0.0], dims="x"), xr.DataArray([0.0, 4.0], dims="x")).round(3).item()
    3.536
    """
    return _mean(_squared_error, forecast, observed, dim, weights, samples) ** 0.5


@score
def mae(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
) -> xr.DataArray:
    r"""Mean absolute error, :math:`\overline{|f - o|}`.

    Parameters and result are those of `mse`, in the units of the quantity.

    Examples
    --------
    >>> mae(xr.DataArray([3.0, 0.0], dims="x"), xr.DataArray([0.0, 4.0], dims="x")).item()
    3.5
    """
    return _mean(_absolute_error, forecast, observed, dim, weights, samples)


@score
def bias(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
) -> xr.DataArray:
    r"""Mean error, :math:`\overline{f - o}`: positive where the forecast is too high.

    Parameters and result are those of `mse`, in the units of the quantity. For the ratio of event
    frequencies see `frequency_bias`.

    Examples
    --------
    >>> bias(xr.DataArray([3.0, 0.0], dims="x"), xr.DataArray([0.0, 4.0], dims="x")).item()
    -0.5
    """
    return _mean(np.subtract, forecast, observed, dim, weights, samples)


def _squared_error(forecast: np.ndarray, observed: np.ndarray) -> np.ndarray:
    return (forecast - observed) ** 2


def _absolute_error(forecast: np.ndarray, observed: np.ndarray) -> np.ndarray:
    return np.abs(forecast - observed)


def _mean(
    error: Callable[[np.ndarray, np.ndarray], np.ndarray],
    forecast: xr.DataArray,
    observed: xr.DataArray,
    dim: Dims,
    weights: xr.DataArray | None,
    samples: Samples,
) -> xr.DataArray:
    """Mean of a function of forecast and observation."""
    forecast, comment = single(forecast, dim, samples)
    dims = dims_of(forecast, dim)
    return mean(forecast, observed, dim=dims, weights=weights, of=error).assign_attrs(comment=comment)


@score
def valid_pairs(
    forecast: xr.DataArray, observed: xr.DataArray, *, dim: Dims = None, samples: Samples = "mean"
) -> xr.DataArray:
    """Number of pairs without NaN: those that a score with the same arguments rests on.

    Examples
    --------
    >>> valid_pairs(xr.DataArray([1.0, 2.0, 5.0], dims="x"), xr.DataArray([1.0, np.nan, 2.0], dims="x")).item()
    2
    """
    forecast, _ = single(forecast, dim, samples)
    count = (forecast.notnull() & observed.notnull()).sum(dims_of(forecast, dim))
    count.attrs = {"long_name": "number of valid pairs", "units": "1"}
    return count.rename("valid_pairs")


@score
def correlation(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
) -> xr.DataArray:
    r"""Pearson correlation over the pairs without NaN.

    .. math:: r = \frac{\overline{(f - \bar f)(o - \bar o)}}
                       {\sqrt{\overline{(f - \bar f)^2}\;\overline{(o - \bar o)^2}}}

    Parameters are those of `mse`.

    Returns
    -------
    DataArray or Dataset
        Between -1 and 1 (units "1"); NaN where fewer than two pairs are left or one of the two does not
        vary.

    Examples
    --------
    >>> correlation(xr.DataArray([1.0, 2.0, 3.0], dims="x"), xr.DataArray([2.0, 4.0, 7.0], dims="x")).round(3).item()
    0.993
    """
    forecast, comment = single(forecast, dim, samples)
    return pearson(forecast, observed, dims_of(forecast, dim), weights).assign_attrs(comment=comment)


@score
def anomaly_correlation(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    climatology: xr.DataArray,
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
    centred: bool = False,
) -> xr.DataArray:
    r"""Anomaly correlation coefficient.

    .. math:: \frac{\overline{f'o'}}{\sqrt{\overline{f'^2}\;\overline{o'^2}}}, \qquad f' = f - c, \quad o' = o - c

    Parameters
    ----------
    forecast, observed : DataArray
        As for `mse`.
    climatology : DataArray
        On any dimensions of the forecast, or by `month` (1 to 12), which is then that of the valid time.
    dim, weights, samples
        As for `mse`; a map's coefficient takes the horizontal dimensions and `area_weights`.
    centred : bool
        Subtract the mean of the anomalies over `dim` too.

    References
    ----------
    World Meteorological Organization (2019). Manual on the Global Data-processing and Forecasting System, WMO-No.
    485, appendix 2.2.34.

    Examples
    --------
    >>> f, o, c = (xr.DataArray(x, dims="x") for x in ([2.0, 3.0, 5.0], [2.0, 3.0, 4.0], [1.0, 3.0, 3.0]))
    >>> anomaly_correlation(f, o, c).round(3).item()
    0.949
    """
    forecast, comment = single(forecast, dim, samples)
    if "month" in climatology.dims:
        climatology = pick(climatology.sel(month=np.arange(1, 13)), "month", target_months(forecast) % 12)
    unknown = [d for d in climatology.dims if d not in forecast.dims]
    if unknown:
        raise InvalidOption(
            "climatology",
            f"dimensions {unknown}",
            f"month, or some of {forecast.dims}",
            f"climatology.isel({keywords(dict.fromkeys(unknown, 0))}), or climatology.mean({unknown})",
        )
    forecast, observed, climatology = exactly(forecast, observed, climatology.reset_coords(drop=True))
    dims = dims_of(forecast, dim)
    f, o = forecast - climatology, observed - climatology
    if centred:
        return pearson(f, o, dims, weights).assign_attrs(comment=comment)
    both = f.notnull() & o.notnull()
    f, o = f.where(both), o.where(both)
    products = (mean(a, b, dim=dims, weights=weights, of=np.multiply) for a, b in ((f, f), (o, o), (f, o)))
    return normalised(*products).assign_attrs(comment=comment)
