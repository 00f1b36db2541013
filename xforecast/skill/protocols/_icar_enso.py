"""Earthformer's scores on ICAR-ENSO."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xforecast.cf import dimension, find_dimension, keywords
from xforecast.errors import InvalidOption
from xforecast.skill._reduce import total
from xforecast.skill.ensemble import sample_mean
from xforecast.skill.enso import lead_weights
from xforecast.skill.indices import nino34

SST_MIN, SST_MAX = -16.549121856689453, 10.198975563049316
"""Extremes of the CMIP5 and CMIP6 anomalies (degC), by which the papers normalise to 0..1."""

GRID = {"lat": np.arange(-55.0, 61.0, 5.0), "lon": np.arange(95.0, 331.0, 5.0)}


def icar_enso(
    forecast: xr.DataArray | np.ndarray,
    observed: xr.DataArray | np.ndarray,
    nino34_observed: xr.DataArray | np.ndarray | None = None,
    *,
    normalised: bool = True,
) -> xr.Dataset:
    r"""C-Nino3.4-M, C-Nino3.4-WM, Nino3.4 RMSE, and MSE and MAE of SST, as in Earthformer's evaluation.

    The index is the unweighted mean of cells over 5S-5N, 190-240E, averaged over windows of three forecast
    months (the first window holds months 1 to 3, so T months give L = T - 2 values). With centred forecasts
    p and targets t over the N sequences,

    .. math:: c_l = \frac{\sum p\,t}{\sqrt{\sum p^2 \sum t^2} + 10^{-6}}, \qquad
              M = \frac1L \sum_l c_l, \qquad WM = \frac1L \sum_l a_l \ln(l)\, c_l

    and the RMSE is the mean over l of the root-mean-square error over sequences. MSE and MAE are those of
    SST normalised to 0..1.

    Parameters
    ----------
    forecast, observed : DataArray or ndarray
        SST anomaly. An array has the papers' layout (N, T, 24, 48) or (N, T, 24, 48, 1), on the 5-degree
        grid 55S-60N, 95-330E. A DataArray has latitude, longitude and lead (or time) dimensions, and
        sequences along the remaining one; the mean over samples is taken first.
    nino34_observed : DataArray or ndarray, optional
        Target index (N, L) in degC, as the data set's labels hold it; by default that of `observed`.
    normalised : bool
        Values are (SST - min) / (max - min), as the models see them; False for degC.

    Returns
    -------
    Dataset
        `correlation` by `lead` (1 to L, counting windows), and the scalars `nino34_mean`,
        `nino34_weighted_mean`, `nino34_rmse` (degC), `mse` and `mae`.

    References
    ----------
    Gao, Z. et al. (2022). Earthformer: exploring space-time transformers for Earth system forecasting. NeurIPS
    35, section 4.3.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> sst = rng.random((10, 14, 24, 48, 1))
    >>> scores = icar_enso(sst, sst)
    >>> scores.nino34_mean.round(3).item(), scores.mse.item()
    (1.0, 0.0)
    """
    predicted, truth = (_labelled(data) for data in (forecast, observed))
    if not normalised:
        predicted, truth = ((x - SST_MIN) / (SST_MAX - SST_MIN) for x in (predicted, truth))
    error = predicted - truth
    p = _index(predicted)
    t = _index(truth) if nino34_observed is None else _target(nino34_observed, p)
    centred_p, centred_t = p - p.mean("sequence"), t - t.mean("sequence")
    scale = ((centred_p**2).sum("sequence") * (centred_t**2).sum("sequence")) ** 0.5
    correlation = (centred_p * centred_t).sum("sequence") / (scale + 1e-6)
    scores = {
        "correlation": (correlation, "1", "correlation of the 3-month mean Nino3.4 index"),
        "nino34_mean": (correlation.mean(), "1", "C-Nino3.4-M"),
        "nino34_weighted_mean": ((correlation * lead_weights(p.sizes["lead"])).mean(), "1", "C-Nino3.4-WM"),
        "nino34_rmse": (
            (((p - t) ** 2).mean("sequence") ** 0.5).mean(),
            "degC",
            "Nino3.4 RMSE, mean over leads",
        ),
        "mse": ((error**2).mean(), "1", "mean squared error of normalised SST"),
        "mae": (abs(error).mean(), "1", "mean absolute error of normalised SST"),
    }
    result = xr.Dataset({name: score for name, (score, _, _) in scores.items()})
    for name, (_, units, long_name) in scores.items():
        result[name].attrs = {"units": units, "long_name": long_name}
    return result.assign_coords(lead=np.arange(1, p.sizes["lead"] + 1))


def _labelled(data: xr.DataArray | np.ndarray) -> xr.DataArray:
    """Float64 SST with dimensions `sequence` and `lead` beside latitude and longitude."""
    if not isinstance(data, xr.DataArray):
        return _on_grid(data)
    data = sample_mean(data)
    lead = find_dimension(data, "lead") or dimension(data, "time")
    lat, lon = (dimension(data, kind) for kind in ("latitude", "longitude"))
    sequence = [d for d in data.dims if d not in (lead, lat, lon)]
    if len(sequence) != 1:
        names = keywords(dict.fromkeys(sequence[1:], 0))
        remedy = f".isel({names})" if sequence else ".expand_dims('sequence')"
        raise InvalidOption("dimensions", data.dims, "lead, latitude, longitude and one for the sequences", remedy)
    values = data.transpose(*sequence, lead, lat, lon).astype(np.float64).data
    coords = {"lat": data[lat].values, "lon": data[lon].values}
    return xr.DataArray(values, coords=coords, dims=("sequence", "lead", "lat", "lon"))


def _on_grid(data: np.ndarray) -> xr.DataArray:
    """The papers' array with the coordinates of their grid."""
    array = np.asarray(data, np.float64)
    if array.ndim == 5 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 4 or array.shape[2:] != (24, 48):
        raise InvalidOption("shape", np.shape(data), "(N, T, 24, 48) or (N, T, 24, 48, 1)", "label other layouts")
    return xr.DataArray(array, coords=GRID, dims=("sequence", "lead", "lat", "lon"))


def _index(sst: xr.DataArray) -> xr.DataArray:
    """Mean index of three consecutive months, in degC."""
    index = nino34(sst * (SST_MAX - SST_MIN) + SST_MIN, weighted=False)
    windows = index.sizes["lead"] - 2
    return total(index.isel(lead=slice(j, windows + j)) for j in range(3)) / 3


def _target(nino34_observed: xr.DataArray | np.ndarray, index: xr.DataArray) -> xr.DataArray:
    values = nino34_observed.data if isinstance(nino34_observed, xr.DataArray) else np.asarray(nino34_observed)
    wanted = (index.sizes["sequence"], index.sizes["lead"])
    if values.shape != wanted:
        raise InvalidOption(
            "nino34_observed",
            f"shape {values.shape}",
            f"{wanted}: sequences by windows",
            "leave it out, and the index is that of observed",
        )
    return xr.DataArray(values.astype(np.float64), dims=("sequence", "lead"))
