"""Skill of Nino3.4 forecasts by lead.

A monthly forecast has dimensions ``(init, [sample], lead)`` and, for fields, latitude and longitude.
``init`` is the stamp of the last month that the forecast knew, and month ``lead`` is valid at ``init +
lead`` months.
"""

from __future__ import annotations

from functools import partial
from typing import Literal

import numpy as np
import xarray as xr

from xforecast.cf import (
    coordinate,
    counts_months,
    dimension,
    find_coordinate,
    keywords,
    month_number,
    only_variable,
    target_months,
    with_index,
)
from xforecast.errors import InvalidOption
from xforecast.skill._lazy import as_one_task
from xforecast.skill._reduce import pearson
from xforecast.skill.ensemble import sample_mean
from xforecast.skill.indices import SST, nino34, season_initials, season_offsets
from xforecast.skill.times import pick, take_months

__all__ = ["nino34_correlation", "nino34_error", "nino34_mean", "nino34_weighted_mean"]

ABSOLUTE = 10.0
"""An index whose mean is further than this from zero is a temperature, not an anomaly: the sea there is near
27 degC (300 K), and its anomalies stay within 4 degrees."""

COMMENTS = {True: "mean over calendar seasons", "each": "by calendar season", False: "all starts together"}

SEASON_YEARS = 15
"""Years that each calendar season needs before it is correlated by itself unasked."""


def nino34_correlation(
    forecast: xr.Dataset | xr.DataArray,
    observed: xr.Dataset | xr.DataArray,
    window: int = 3,
    *,
    targets: slice | None = None,
    base: slice | None = None,
    seasons: bool | Literal["each"] | None = None,
    weighted: bool = True,
) -> xr.DataArray:
    r"""Correlation of the forecast with the observed 3-month-mean Nino3.4 index, by lead.

    The lead of a season counts months from the last input month (``init``) to the centre of the season, so
    that the season at lead 1 is the mean of the last observed month and forecast months 1 and 2. By
    calendar season, and then averaged over the twelve, this is the all-season skill of Ham et al. (2019):

    .. math:: C_l = \frac{1}{12} \sum_{m=1}^{12} \operatorname{corr}_y (F_{y,m,l}, O_{y,m})

    Parameters
    ----------
    forecast : Dataset or DataArray
        Sea surface temperature with dimensions (init, [sample], lead, latitude, longitude), or its Nino3.4
        index without the last two; `lead` in whole months. The mean over samples is taken first.
    observed : Dataset or DataArray
        The same quantity by month over time, field or index; months are matched whatever the day of their
        stamps.
    window : int
        Months in a season, odd; 1 compares values as they are.
    targets : slice, optional
        Period within which the centre of a season must lie, such as ``slice("1984", "2017")``.
    base : slice, optional
        Years of `observed` from which the monthly climatology is taken; all of them by default. Only
        temperatures need one: what has a mean further than 10 degrees from zero has the climatology of
        `observed` subtracted, and anomalies are left as they are, unless `base` is stated.
    seasons : bool or "each", optional
        True: correlate each calendar season by itself and average, as above. "each": do not average them, which
        gives a dimension `season`. False: all starts together, as Earthformer's evaluation does. By default
        True if each season has at least fifteen starts at every lead; state it where scores are compared or resampled.
    weighted : bool
        As in `nino34`, for fields.

    Returns
    -------
    DataArray
        Correlation (units "1") with integer coordinate `lead`, and any further dimension of the forecast. The
        coordinate `season` is DJF, JFM, ... for seasons of three months, by their centre from January on.
        NaN where fewer than two pairs remain or nothing varies. Lazy where the inputs are.

    Raises
    ------
    InvalidOption
        When the lead is not in months, the region is not covered, or only one of the two is an anomaly.

    References
    ----------
    Ham, Y.-G., Kim, J.-H. & Luo, J.-J. (2019). Deep learning for multi-year ENSO forecasts. Nature,
    573, 568-572.

    Examples
    --------
    >>> months = xr.date_range("1980-01", periods=60, freq="MS")
    >>> index = xr.DataArray(np.sin(np.arange(60.0) / 7), coords={"time": months})
    >>> lead = xr.DataArray([1, 2, 3], dims="lead", attrs={"units": "months"})
    >>> starts = index[:50].rename(time="init")
    >>> persistence = starts.expand_dims(lead=lead)
    >>> nino34_correlation(persistence, index).round(2).values
    array([0.99, 0.96])
    >>> nino34_correlation(persistence, index).lead.values
    array([1, 2])
    """
    indices = celsius_index(forecast, weighted), celsius_index(observed, weighted)
    return as_one_task(partial(_correlation, window=window, targets=targets, base=base, seasons=seasons), *indices)


def _correlation(
    forecast: xr.DataArray,
    observed: xr.DataArray,
    *,
    window: int,
    targets: slice | None,
    base: slice | None,
    seasons: bool | Literal["each"] | None,
) -> xr.DataArray:
    if seasons not in (True, False, None, "each"):
        raise InvalidOption(
            "seasons", seasons, 'True, False, "each" or None', "seasons=None chooses by the number of starts"
        )
    predicted, verified, target, full = _season_pairs(forecast, observed, window, targets, base)
    by_season = full if seasons is None else seasons
    if by_season:
        names = [season_initials(month, window) for month in range(12)]
        calendar = xr.DataArray(np.arange(12), dims="season")
        skill = pearson(predicted, verified.where(target % 12 == calendar), ["init"])
        skill = skill.assign_coords(season=names) if by_season == "each" else skill.mean("season")
    else:
        skill = pearson(predicted, verified, ["init"])
    skill.attrs = {
        "units": "1",
        "long_name": f"correlation of the {window}-month mean Nino3.4 index",
        "comment": COMMENTS[by_season],
    }
    return skill.rename("nino34_correlation")


def _season_pairs(
    forecast: xr.DataArray, observed: xr.DataArray, window: int, targets: slice | None, base: slice | None
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray, bool]:
    """Season means forecast and observed by (init, lead), their centre months, and whether every calendar season has
    enough starts to be scored by itself."""
    monthly, truth = anomalies(sample_mean(forecast), observed, base)
    predicted = season_means(monthly, truth, window)
    target = target_months(predicted)
    scored = _within(target, targets)
    months = target + xr.DataArray(list(season_offsets(window)), dims="month")
    verified = take_months(truth, months).mean("month", skipna=False).where(scored)
    full = bool(_starts_a_season(target, scored, truth) >= SEASON_YEARS)
    return predicted.drop_vars("init"), verified, target, full


def nino34_error(
    forecast: xr.Dataset | xr.DataArray,
    observed: xr.Dataset | xr.DataArray,
    window: int = 3,
    *,
    targets: slice | None = None,
    base: slice | None = None,
    weighted: bool = True,
) -> xr.DataArray:
    r"""Error of the 3-month-mean Nino3.4 index by lead, without the mean error of each calendar season.

    .. math:: e_l = \sqrt{\overline{(F - O - \overline{F - O}^{\,m})^2}}

    where the inner mean is over the starts whose season has the same centre month m. It is what is left after a
    correction of the mean, and serves to dress an outlook: see `enso_outlook`.

    Parameters
    ----------
    forecast, observed, window, targets, base, weighted
        As in `nino34_correlation`; the mean over samples is taken first.

    Returns
    -------
    DataArray
        Standard deviation of the errors in degC, with integer coordinate `lead`.

    Examples
    --------
    >>> months = xr.date_range("1980-01", periods=60, freq="MS")
    >>> index = xr.DataArray(np.sin(np.arange(60.0) / 7), coords={"time": months})
    >>> lead = xr.DataArray([1, 2, 3], dims="lead", attrs={"units": "months"})
    >>> persistence = index[:50].rename(time="init").expand_dims(lead=lead)
    >>> nino34_error(persistence, index).round(2).values
    array([0.1, 0.2])
    """
    error = partial(_error, window=window, targets=targets, base=base)
    return as_one_task(error, celsius_index(forecast, weighted), celsius_index(observed, weighted))


def _error(
    forecast: xr.DataArray, observed: xr.DataArray, *, window: int, targets: slice | None, base: slice | None
) -> xr.DataArray:
    predicted, verified, target, _ = _season_pairs(forecast, observed, window, targets, base)
    errors = (predicted - verified).where(target % 12 == xr.DataArray(np.arange(12), dims="season"))
    left = (errors - errors.mean("init")) ** 2
    spread = left.mean(["init", "season"]) ** 0.5
    spread.attrs = {"units": "degC", "long_name": f"error of the {window}-month mean Nino3.4 index, mean removed"}
    return spread.rename("nino34_error")


def nino34_mean(correlation: xr.DataArray) -> xr.DataArray:
    r"""C-Nino3.4-M: the mean of the correlations over leads, :math:`\frac1L \sum_l c_l`.

    Parameters
    ----------
    correlation : DataArray
        Nino3.4 correlation by `lead`, as `nino34_correlation` gives it.

    References
    ----------
    Gao, Z. et al. (2022). Earthformer: exploring space-time transformers for Earth system
    forecasting. NeurIPS 35.

    Examples
    --------
    >>> nino34_mean(xr.DataArray([0.9, 0.7], dims="lead")).item()
    0.8
    """
    mean = correlation.mean(dimension(correlation, "lead"))
    mean.attrs = {"units": "1", "long_name": "C-Nino3.4-M: mean over leads of the Nino3.4 correlation"}
    return mean.rename("nino34_mean")


def nino34_weighted_mean(correlation: xr.DataArray) -> xr.DataArray:
    r"""C-Nino3.4-WM: the mean over leads of correlations weighted towards long leads.

    .. math:: \frac1L \sum_{l=1}^{L} a_l \ln(l)\, c_l, \qquad
              a = (\underbrace{1.5}_{4}, \underbrace{2}_{7}, \underbrace{3}_{7}, 4, \dots)

    where l counts the leads from 1, so that the first has no weight; the weights do not sum to L, so a
    perfect forecast of 12 leads scores 3.41.

    Parameters
    ----------
    correlation : DataArray
        Nino3.4 correlation by `lead`.

    References
    ----------
    Gao, Z. et al. (2022). Earthformer: exploring space-time transformers for Earth system
    forecasting. NeurIPS 35.

    Examples
    --------
    >>> nino34_weighted_mean(xr.DataArray(np.ones(12), dims="lead")).round(2).item()
    3.41
    """
    lead = dimension(correlation, "lead")
    weights = xr.DataArray(lead_weights(correlation.sizes[lead]), dims=lead)
    mean = (correlation.drop_vars(lead, errors="ignore") * weights).mean(lead)
    mean.attrs = {
        "units": "1",
        "long_name": "C-Nino3.4-WM: weighted mean over leads of the Nino3.4 correlation",
    }
    return mean.rename("nino34_weighted_mean")


def lead_weights(leads: int) -> np.ndarray:
    """Earthformer's weights a_l ln(l) of the leads l = 1, 2, ..."""
    lead = np.arange(1, leads + 1)
    return np.select([lead <= 4, lead <= 11, lead <= 18], [1.5, 2.0, 3.0], 4.0) * np.log(lead)


def celsius_index(data: xr.Dataset | xr.DataArray, weighted: bool) -> xr.DataArray:
    """The index itself, or that of a field, in degrees Celsius where it is a temperature."""
    array = only_variable(data, *SST)
    places = (find_coordinate(array, kind) for kind in ("latitude", "longitude"))
    is_field = any(name is not None and array[name].ndim for name in places)
    index = nino34(array, weighted=weighted) if is_field else array.astype(np.float64)
    return index - xr.where(index.mean() > 200.0, 273.15, 0.0)


def by_month(forecast: xr.DataArray) -> xr.DataArray:
    """The forecast with dimensions named `init` and `lead`, and integer months in the latter."""
    init = coordinate(forecast, "init")
    if init not in forecast.dims:
        forecast = forecast.expand_dims(init)
    lead = dimension(forecast, "lead")
    if lead not in forecast.coords:
        remedy = f".assign_coords({{{lead!r}: ({lead!r}, [1, 2, ...])}}), the months from the last input month"
        raise InvalidOption(str(lead), "no numbers of months", "whole months", remedy)
    names = {old: new for old, new in ((init, "init"), (lead, "lead")) if old != new}
    monthly = forecast.rename(names).reset_coords(drop=True)
    return monthly.assign_coords(lead=_whole_months(monthly["lead"]))


def _whole_months(lead: xr.DataArray) -> xr.DataArray:
    values = lead.values
    units = lead.attrs.get("units")
    if values.dtype.kind not in "iuf" or not (units is None or counts_months(lead)):
        raise InvalidOption(
            str(lead.name),
            f"dtype {values.dtype}, units {units!r}",
            "whole months",
            "give it integers and units 'months'",
        )
    if not (values == np.round(values)).all():
        raise InvalidOption(
            str(lead.name),
            values.tolist(),
            "whole months",
            f"forecast.assign_coords({keywords({lead.name: np.round(values).astype(int).tolist()})})",
        )
    return lead.copy(data=values.astype(np.int64)).assign_attrs(units="months")


def anomalies(forecast: xr.DataArray, observed: xr.DataArray, base: slice | None) -> tuple[xr.DataArray, xr.DataArray]:
    """Anomalies of a forecast index, with dimensions `init` and `lead`, and of the record, with `time`."""
    monthly = by_month(forecast)
    observed = with_index(observed, "time")
    time = dimension(observed, "time")
    truth = observed.reset_coords(drop=True).rename({time: "time"} if time != "time" else {})
    truth_is_temperature, forecast_is_temperature = is_temperature(truth), is_temperature(monthly)
    if forecast_is_temperature and not truth_is_temperature:
        raise InvalidOption(
            "forecast",
            "temperatures, against observed anomalies",
            "the same quantity in both",
            "subtract a climatology",
        )
    month = xr.DataArray(month_number(truth["time"]), dims="time")
    calendar = xr.DataArray(np.arange(12), dims="month")
    climatology = truth.where(_within(month, base) & (month % 12 == calendar)).mean("time")
    if base is None and not truth_is_temperature:
        return monthly, truth
    if forecast_is_temperature == truth_is_temperature:
        monthly = monthly - pick(climatology, "month", target_months(monthly) % 12)
    return monthly, truth - pick(climatology, "month", month % 12)


def is_temperature(index: xr.DataArray) -> bool:
    """Whether an index is that of temperatures, and not of anomalies."""
    return bool(abs(index.mean()) > ABSOLUTE)


def season_means(monthly: xr.DataArray, truth: xr.DataArray | None, window: int) -> xr.DataArray:
    """Mean over the months of each season, with observed months up to `init` where the forecast has none."""
    leads = _season_leads(monthly["lead"], window, observed=truth is not None)
    known = monthly["lead"].values.tolist()
    if truth is not None:
        past = xr.DataArray([k for k in range(1 - window, 1) if k not in known], dims="lead")
        start = xr.DataArray(month_number(monthly["init"]), dims="init")
        months = take_months(truth, start + past)
        monthly = xr.concat([months, monthly.drop_vars("lead")], "lead").assign_coords(init=monthly["init"])
        known = past.values.tolist() + known
    place = [[known.index(k + j) for j in season_offsets(window)] for k in leads.values.tolist()]
    seasons = monthly.drop_vars("lead", errors="ignore").isel(lead=xr.DataArray(place, dims=("lead", "month")))
    return seasons.mean("month", skipna=False).assign_coords(lead=leads).transpose("init", ..., "lead")


def _season_leads(lead: xr.DataArray, window: int, *, observed: bool) -> xr.DataArray:
    """Leads of the seasons of which every month is forecast or, up to `init`, observed."""
    known = set(lead.values.tolist())
    if observed:
        known |= set(range(1 - window, 1))
    centre = [k for k in range(1, max(known) + 1) if known.issuperset(k + j for j in season_offsets(window))]
    if not centre:
        raise InvalidOption("lead", sorted(known), f"{window} consecutive months", "forecast further, or use window=1")
    attrs = {
        "standard_name": "forecast_period",
        "long_name": "months from the last input month to the centre of the season",
        "units": "months",
    }
    return xr.DataArray(centre, coords={"lead": centre}, dims="lead", name="lead", attrs=attrs)


def _within(month: xr.DataArray, period: slice | None) -> xr.DataArray:
    """Which months lie in the period, both ends included."""
    if period is None:
        return xr.ones_like(month, bool)
    first, last = (None if end is None else np.datetime64(str(end)) for end in (period.start, period.stop))
    inside = xr.ones_like(month, bool)
    if first is not None:
        inside &= month >= first.astype("datetime64[M]").astype(int)
    if last is not None:
        year_only = np.datetime_data(last.dtype)[0] == "Y"
        inside &= month <= last.astype("datetime64[M]").astype(int) + (11 if year_only else 0)
    return inside


def _starts_a_season(target: xr.DataArray, scored: xr.DataArray, truth: xr.DataArray) -> int:
    """The least number of verified starts that any calendar season has at any lead."""
    verified = scored & np.isin(target, month_number(truth["time"]))
    calendar = xr.DataArray(np.arange(12), dims="season")
    return int((verified & (target % 12 == calendar)).sum("init").min())
