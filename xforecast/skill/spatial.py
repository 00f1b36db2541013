"""Scores of maps that forgive small displacements."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter, uniform_filter

from xforecast.cf import dimension
from xforecast.errors import InvalidOption
from xforecast.skill._counts import comparable
from xforecast.skill._pairs import Dims, Samples, dims_of, exactly, score, single

__all__ = ["fss", "ssim"]

SSIM_SIGMA, SSIM_RADIUS = 1.5, 5
"""The Gaussian window of Wang et al.: its standard deviation, and where it is cut off, in cells."""


@score
def fss(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    threshold: float | Sequence[float],
    window: int | Sequence[int],
    *,
    dim: Dims = None,
    weights: xr.DataArray | None = None,
    samples: Samples = "mean",
) -> xr.DataArray:
    r"""Fractions skill score: events compared as fractions of a neighbourhood.

    .. math:: \mathrm{FSS} = 1 - \frac{\sum (p_f - p_o)^2}{\sum p_f^2 + \sum p_o^2}

    where :math:`p` is the fraction of the cells of the square about a cell that reach the threshold.
    Outside the map there are no events, nor where either value is NaN.

    Parameters
    ----------
    forecast, observed : DataArray or Dataset
        Maps of the same quantity, paired as for `mse`.
    threshold : float or sequence of float
        An event is a value at or above it. A list gives the result a dimension `threshold`.
    window : int or sequence of int
        Side of the neighbourhood in cells; 1 compares cell by cell. A list gives a dimension `window`.
    dim : str or iterable, optional
        Dimensions to sum over besides the two of the map, all by default; ``()`` for none.
    weights : DataArray, optional
        Weights of the maps, on any dimensions but those of the map.
    samples : {"mean", "each"}
        As for `csi`.

    Returns
    -------
    DataArray or Dataset
        Between 0 and 1 (units "1"); NaN where there is no event.

    References
    ----------
    Roberts, N. M. & Lean, H. W. (2008). Scale-selective verification of rainfall accumulations from high-resolution
    forecasts of convective events. Monthly Weather Review, 136, 78-97.

    Examples
    --------
    >>> forecast, observed = xr.DataArray(np.zeros((2, 9, 9)), dims=("field", "y", "x"))
    >>> forecast[4, 4] = observed[4, 5] = 1.0
    >>> fss(forecast, observed, 1.0, [1, 3, 5]).round(2).values
    array([0.  , 0.67, 0.8 ])
    """
    forecast, comment = single(forecast, dim, samples)
    space = [dimension(forecast, kind) for kind in ("y", "x")]
    levels, sides = np.atleast_1d(np.asarray(threshold, float)), np.atleast_1d(window)
    if (sides < 1).any() or sides.dtype.kind not in "iu":
        raise InvalidOption("window", window, "a positive number of cells, or a list of them", "window=[1, 5, 9]")
    if forecast.chunks:
        forecast, observed = (field.chunk(dict.fromkeys(space, -1)) for field in (forecast, observed))
    sums = xr.apply_ufunc(
        partial(_fraction_sums, levels=levels, sides=sides),
        forecast,
        observed,
        input_core_dims=[space, [d for d in space if d in observed.dims]],
        output_core_dims=[["part", "threshold", "window"]],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[np.float64],
        dask_gufunc_kwargs={"output_sizes": {"part": 2, "threshold": levels.size, "window": sides.size}},
    )
    dims = [d for d in dims_of(forecast, dim) if d not in space]
    if weights is not None:
        sums, weights = exactly(sums, weights)
        sums = sums * weights
    sums = sums.sum(dims).assign_coords(threshold=levels, window=sides)
    sums = sums.isel({name: 0 for name, given in (("threshold", threshold), ("window", window)) if np.ndim(given) == 0})
    error, reference = (sums.isel(part=k) for k in range(2))
    return (1.0 - error / reference.where(reference > 0)).assign_attrs(comment=comment)


def _fraction_sums(forecast: np.ndarray, observed: np.ndarray, *, levels: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Sums over one map of (p_f - p_o)^2 and of p_f^2 + p_o^2: shape (2, thresholds, windows)."""
    valid = ~(np.isnan(forecast) | np.isnan(observed))
    sums = np.empty((2, levels.size, sides.size))
    for i, level in enumerate(levels):
        events = [
            ((field >= comparable(level, field.dtype)) & valid).astype(np.float64) for field in (forecast, observed)
        ]
        for j, side in enumerate(sides):
            f, o = (uniform_filter(event, int(side), mode="constant") for event in events)
            sums[:, i, j] = ((f - o) ** 2).sum(), (f**2 + o**2).sum()
    return sums


@score
def ssim(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    data_range: float = 1.0,
    *,
    dim: Dims = None,
    samples: Samples = "mean",
) -> xr.DataArray:
    r"""Structural similarity of maps.

    .. math:: \mathrm{SSIM} = \frac{(2 \mu_f \mu_o + c_1)(2 \sigma_{fo} + c_2)}
              {(\mu_f^2 + \mu_o^2 + c_1)(\sigma_f^2 + \sigma_o^2 + c_2)}

    with means, variances and covariance under a Gaussian window of 11 x 11 cells, :math:`c_1 = (0.01 R)^2` and
    :math:`c_2 = (0.03 R)^2` for data of range R, averaged over all cells. Beyond its edges the map is mirrored, as in
    the evaluation of the papers.

    Parameters
    ----------
    forecast, observed : DataArray or Dataset
        Maps of the same quantity, paired as for `mse`, of 11 x 11 cells at least.
    data_range : float
        Greatest less least possible value, in the units of the data.
    dim : str or iterable, optional
        Dimensions to average over besides the two of the map, all by default; ``()`` for none.
    samples : {"mean", "each"}
        As for `csi`.

    Returns
    -------
    DataArray or Dataset
        From -1 to 1 (units "1"); 1 for a perfect forecast, NaN for maps with missing values.

    References
    ----------
    Wang, Z., Bovik, A. C., Sheikh, H. R. & Simoncelli, E. P. (2004). Image quality assessment: from error visibility
    to structural similarity. IEEE Transactions on Image Processing, 13, 600-612.

    Examples
    --------
    >>> y, x = np.mgrid[:32, :32]
    >>> disc = xr.DataArray(np.hypot(y - 16, x - 16) < 8, dims=("y", "x")).astype(float)
    >>> ssim(disc, disc).item(), ssim(disc.roll(x=2), disc).round(2).item()
    (1.0, 0.65)
    """
    if not data_range > 0:
        raise InvalidOption("data_range", data_range, "a number above 0", "data_range=255.0 for codes of 0 to 255")
    forecast, comment = single(forecast, dim, samples)
    space = [dimension(forecast, kind) for kind in ("y", "x")]
    if min(forecast.sizes[d] for d in space) <= 2 * SSIM_RADIUS:
        found = {d: forecast.sizes[d] for d in space}
        raise InvalidOption(
            "forecast",
            f"maps of {found}",
            f"at least {2 * SSIM_RADIUS + 1} cells each way",
            "open a larger region; for small maps take rmse or correlation",
        )
    if forecast.chunks:
        forecast, observed = (field.chunk(dict.fromkeys(space, -1)) for field in (forecast, observed))
    maps = xr.apply_ufunc(
        partial(_similarity, data_range=data_range),
        forecast,
        observed,
        input_core_dims=[space, [d for d in space if d in observed.dims]],
        vectorize=True,
        dask="parallelized",
        output_dtypes=[np.float64],
    )
    return maps.mean([d for d in dims_of(forecast, dim) if d not in space], skipna=False).assign_attrs(comment=comment)


def _similarity(forecast: np.ndarray, observed: np.ndarray, *, data_range: float) -> float:
    """Mean structural similarity of one pair of maps."""

    def smooth(field: np.ndarray) -> np.ndarray:
        return gaussian_filter(field, SSIM_SIGMA, radius=SSIM_RADIUS, mode="mirror")

    f, o = forecast.astype(np.float64), observed.astype(np.float64)
    mean_f, mean_o = smooth(f), smooth(o)
    covariance = smooth(f * o) - mean_f * mean_o
    variances = smooth(f * f) - mean_f**2 + smooth(o * o) - mean_o**2
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    luminance = (2 * mean_f * mean_o + c1) / (mean_f**2 + mean_o**2 + c1)
    return float((luminance * (2 * covariance + c2) / (variances + c2)).mean())
