"""The outlook of El Nino, neutral conditions and La Nina that a forecast of Nino3.4 gives."""

from __future__ import annotations

from functools import partial

import numpy as np
import xarray as xr
from scipy.special import ndtr, ndtri

from xforecast.cf import coordinate, find_coordinate, find_dimension, target_months
from xforecast.errors import InvalidOption
from xforecast.skill._lazy import as_one_task
from xforecast.skill.enso import anomalies, by_month, celsius_index, is_temperature, season_means
from xforecast.skill.indices import season_initials, season_offsets

__all__ = ["enso_outlook"]


def enso_outlook(
    nino34_forecast: xr.Dataset | xr.DataArray,
    error: xr.DataArray | float | None = None,
    threshold: float = 0.5,
    *,
    observed: xr.Dataset | xr.DataArray | None = None,
    window: int = 3,
    interval: tuple[float, float] = (0.1, 0.9),
) -> xr.Dataset:
    r"""Outlook of El Nino, neutral conditions and La Nina by season.

    With `error`, each of the M samples :math:`x_s` is dressed with a Gaussian kernel of the variance that
    the samples lack, so that all together have the error that past forecasts had:

    .. math:: P(\text{El Nino}) = \frac1M \sum_s \Phi\!\left(\frac{x_s - \theta}{\sigma}\right),
              \qquad \sigma^2 = \max(e^2 - s^2, 0)

    with error e, sample variance :math:`s^2` and threshold :math:`\theta`. Without it, probabilities are
    the fractions of samples.

    Parameters
    ----------
    nino34_forecast : Dataset or DataArray
        Nino3.4 anomaly by ([init], [sample], lead) in months, or SST fields.
    error : DataArray or float, optional
        Root-mean-square error of past forecasts, by the `lead` of the season, in the units of the index.
    threshold : float
        El Nino at or above it, La Nina at or below its negative.
    observed : Dataset or DataArray, optional
        Monthly record over time. It gives the season at lead 1 its last observed month, and temperatures
        the climatology that makes them anomalies.
    window : int
        Months in a season, odd.
    interval : tuple of float
        Quantiles of the range; (0, 1) gives the least and the greatest sample.

    Returns
    -------
    Dataset
        `mean`, `lower`, `upper`, `el_nino`, `neutral`, `la_nina` by `lead` (and `init`, if it is a
        dimension of the forecast), with a coordinate `season` such as "JJA 2022" or "DJF 2022/23".

    Raises
    ------
    InvalidOption
        When temperatures come without a record, or `error` lacks a lead.

    References
    ----------
    Roulston, M. S. & Smith, L. A. (2003). Combining dynamical and statistical ensembles. Tellus A, 55, 16-30.

    Examples
    --------
    >>> lead = xr.DataArray([1, 2, 3], dims="lead", attrs={"units": "months"})
    >>> anomaly = xr.DataArray([[1.0, 1.2, 1.4], [0.2, 0.4, 0.3]], dims=("sample", "lead"),
    ...                        coords={"lead": lead, "init": np.datetime64("2023-04-01")})
    >>> outlook = enso_outlook(anomaly)
    >>> outlook.season.item(), outlook.el_nino.item()
    ('MJJ 2023', 0.5)
    >>> enso_outlook(anomaly, error=1.0).el_nino.round(2).item()
    0.61
    """
    outlook = partial(_outlook, threshold=threshold, window=window, interval=interval)
    forecast, record = (None if data is None else celsius_index(data, True) for data in (nino34_forecast, observed))
    return as_one_task(outlook, forecast, record, error if error is None else xr.DataArray(error))


def _outlook(
    forecast: xr.DataArray,
    observed: xr.DataArray | None,
    error: xr.DataArray | None,
    *,
    threshold: float,
    window: int,
    interval: tuple[float, float],
) -> xr.Dataset:
    single = coordinate(forecast, "init") not in forecast.dims
    sample = find_dimension(forecast, "sample")
    if sample != "sample":
        forecast = forecast.expand_dims("sample") if sample is None else forecast.rename({sample: "sample"})
    if observed is not None:
        monthly, truth = anomalies(forecast, observed, None)
    elif is_temperature(forecast):
        raise InvalidOption("nino34_forecast", "temperatures", "anomalies", "pass observed=, a record over time")
    else:
        monthly, truth = by_month(forecast), None
    seasons = season_means(monthly, truth, window)
    outlook = _categories(seasons, error, threshold, interval)
    labels = _season_labels(target_months(seasons), window)
    outlook = outlook.assign_coords(season=(("init", "lead"), labels))
    outlook.attrs["comment"] = (
        f"El Nino at or above {threshold:g}, La Nina at or below {-threshold:g}, in {window}-month means; "
        + ("fractions of samples" if error is None else "samples dressed with the error of past forecasts")
    )
    return outlook.isel(init=0) if single else outlook


def _kernel(seasons: xr.DataArray, error: xr.DataArray) -> xr.DataArray:
    """Standard deviation of the kernel that brings the spread of the samples up to the error."""
    if (lead := find_coordinate(error, "lead")) in error.coords:
        error = error if lead == "lead" else error.rename({lead: "lead"})
        missing = sorted(set(seasons["lead"].values.tolist()) - set(error["lead"].values.tolist()))
        if missing:
            raise InvalidOption(
                "error",
                f"none for leads {missing}",
                "one for the lead of every season",
                "nino34_error(past_forecasts, observed) gives one for each; or error=1.0, a number for all leads",
            )
        error = error.sel(lead=seasons["lead"])
    several = seasons.sizes["sample"] > 1
    variance = seasons.var("sample", ddof=1, skipna=False) if several else xr.zeros_like(seasons[0])
    return (error**2 - variance).clip(min=0.0) ** 0.5


def _categories(
    seasons: xr.DataArray, error: xr.DataArray | None, threshold: float, interval: tuple[float, float]
) -> xr.Dataset:
    """Mean, range and probabilities of samples, each the centre of a kernel if there is an error."""
    kernel = xr.DataArray(0.0) if error is None else _kernel(seasons, error)
    quantiles = [0.5] if error is None else (np.arange(99) + 0.5) / 99  # that stand for a kernel

    def beyond(distance: xr.DataArray) -> xr.DataArray:
        sharp = xr.where(distance >= 0, 1.0, 0.0)
        smooth = xr.apply_ufunc(ndtr, distance / xr.where(kernel > 0, kernel, 1.0))
        return xr.where(kernel > 0, smooth, sharp).where(seasons.notnull()).mean("sample", skipna=False)

    dressed = seasons + kernel * xr.DataArray(ndtri(quantiles), dims="kernel")
    bounds = dressed.quantile(list(interval), ["sample", "kernel"], method="hazen", skipna=False)
    el_nino, la_nina = beyond(seasons - threshold), beyond(-threshold - seasons)
    units = seasons.attrs.get("units", "degC")
    fields = {
        "mean": (seasons.mean("sample", skipna=False), "mean of the samples", units),
        "lower": (bounds.isel(quantile=0, drop=True), f"quantile {interval[0]:g}", units),
        "upper": (bounds.isel(quantile=1, drop=True), f"quantile {interval[1]:g}", units),
        "el_nino": (el_nino, "probability of El Nino", "1"),
        "neutral": (1.0 - el_nino - la_nina, "probability of neutral conditions", "1"),
        "la_nina": (la_nina, "probability of La Nina", "1"),
    }
    outlook = xr.Dataset({name: field for name, (field, _, _) in fields.items()})
    for name, (_, long_name, units) in fields.items():
        outlook[name].attrs = {"long_name": long_name, "units": units}
    return outlook


def _season_labels(months: xr.DataArray, window: int) -> np.ndarray:
    """Labels such as "JJA 2022", or "DJF 2022/23" for a season over the turn of the year."""

    def label(centre: int) -> str:
        span = [centre + j for j in season_offsets(window)]
        first, last = (1970 + m // 12 for m in (span[0], span[-1]))
        year = f"{first}" if first == last else f"{first}/{last % 100:02d}"
        return f"{season_initials(centre, window)} {year}"

    return np.vectorize(label, otypes=[object])(months.transpose("init", "lead").values).astype(str)
