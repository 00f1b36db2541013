"""An index running into its forecast plume."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xforecast.cf import dimension, find_dimension, keywords, with_index
from xforecast.errors import InvalidOption
from xforecast.plot.fields import one_start
from xforecast.plot.style import FAINT, FORECAST, INK, OBSERVED, new_axes, tidy, units_words
from xforecast.skill import celsius_index, is_temperature

__all__ = ["plume"]


def plume(
    index: xr.DataArray | xr.Dataset,
    observed: xr.DataArray | xr.Dataset | None = None,
    *,
    error: xr.DataArray | None = None,
    threshold: float | None = None,
    months: int = 24,
    ax=None,
):
    """An observed index running into its forecast.

    Parameters
    ----------
    index : xarray.DataArray or Dataset
        Dims (sample, lead), one start, with ``valid_time``: an index, such as `xforecast.skill.nino34` gives, or sea
        surface temperature, of which it is taken.
    observed : xarray.DataArray or Dataset, optional
        The same over time. Temperatures have its mean annual cycle subtracted, and so need it.
    error : xarray.DataArray, optional
        Typical error of past forecasts by lead; draws a band of 90 %.
    threshold : float, optional
        Draws lines at plus and minus this value, such as 0.5 degC for El Niño and La Niña.
    months : int, default 24
        Steps of the observed index to show.
    ax : matplotlib.axes.Axes, optional
        Where to draw.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> fc = xr.DataArray(
    ...     np.zeros((2, 3)), dims=("sample", "lead"),
    ...     coords={"lead": ("lead", [1, 2, 3], {"units": "months"}), "init": np.datetime64("2020-01-01"),
    ...             "valid_time": ("lead", xr.date_range("2020-02", periods=3, freq="MS"))},
    ... )
    >>> plume(fc, threshold=0.5).get_ylabel()
    'Nino3.4 anomaly (°C)'
    """
    index, observed = _anomalies(index, observed)
    axis = new_axes(ax, 8, 3.5)
    times = _dates(index["valid_time"].values)
    samples = index.transpose("sample", "lead").values if "sample" in index.dims else index.values[None]
    mean = samples.mean(axis=0)
    begin = _draw_observed(axis, observed, index, months)
    if begin is not None:
        times, samples, mean = (_joined(begin, values) for values in (times, samples, mean))
    if error is not None:
        lead = find_dimension(error, "lead")
        error = error if lead in (None, "lead") else error.rename({lead: "lead"})
        reach = 1.645 * error.interp(lead=index["lead"], kwargs={"fill_value": "extrapolate"}).values
        reach = np.concatenate([[0.0], reach]) if begin is not None else reach
        axis.fill_between(
            times, mean - reach, mean + reach, color=FORECAST, alpha=0.12, lw=0, label="90 % of past errors"
        )
    if len(samples) > 1:
        labels = ["samples"] + [None] * (len(samples) - 1)
        axis.plot(times, samples.T, color=FORECAST, lw=0.7, alpha=0.5, label=labels)
    axis.plot(times, mean, color=FORECAST, lw=2, label="forecast mean")
    axis.axhline(0, color=FAINT, lw=0.8)
    for level in () if threshold is None else (threshold, -threshold):
        axis.axhline(level, color=FAINT, lw=0.8, ls="--")
    axis.set_ylabel("Nino3.4 anomaly (°C)" if index.name in (None, "nino34") else units_words(index), color=INK)
    tidy(axis)
    return axis


def _anomalies(index, observed) -> tuple[xr.DataArray, xr.DataArray | None]:
    """One start of the index and its record, temperatures less the mean annual cycle of the record."""
    index = one_start(celsius_index(index, True)).transpose(..., "lead").compute()
    if other := [dim for dim in index.dims if dim not in ("sample", "lead")]:
        remedy = f"index.isel({keywords(dict.fromkeys(other, 0))})"
        raise InvalidOption("index", f"dimensions {index.dims}", "sample and lead", remedy)
    if "valid_time" not in index.coords:
        wanted, remedy = "the date of each lead", 'index.assign_coords(valid_time=("lead", dates))'
        raise InvalidOption("index", sorted(map(str, index.coords)), wanted, remedy)
    record = None if observed is None else _over_time(celsius_index(observed, True)).compute()
    if not is_temperature(index):
        return index, record
    if record is None:
        raise InvalidOption("index", "temperatures", "anomalies", "pass observed=, a record, for its annual cycle")
    cycle = record.groupby("time.month").mean()
    return _less(index, cycle, "valid_time"), _less(record, cycle, "time")


def _over_time(record: xr.DataArray) -> xr.DataArray:
    """The record with its time axis under the name `time`."""
    record = with_index(record, "time")
    time = dimension(record, "time")
    return record.reset_coords(drop=True).rename({} if time == "time" else {time: "time"})


def _less(values: xr.DataArray, cycle: xr.DataArray, time: str) -> xr.DataArray:
    return values - cycle.sel(month=values[time].dt.month).drop_vars("month")


def _draw_observed(axis, observed: xr.DataArray | None, index: xr.DataArray, steps: int):
    """The newest observed values up to the start; the last point, or None."""
    if observed is None:
        return None
    start = index["init"].values[()] if "init" in index.coords else None
    before = observed["time"] < index["valid_time"][0] if start is None else observed["time"] <= start
    known = observed.isel(time=np.flatnonzero(before)[-steps:])
    times = _dates(known["time"].values)
    axis.plot(times, known.values, color=OBSERVED, lw=2, label="observed")
    return (times[-1], float(known.values[-1])) if known.size else None


def _joined(begin, values: np.ndarray) -> np.ndarray:
    """With the last observed point in front, so that the plume starts from it."""
    time, value = begin
    if values.dtype.kind in "MO":
        return np.concatenate([[time], values])
    head = np.full((*values.shape[:-1], 1), value)
    return np.concatenate([head, values], axis=-1)


def _dates(times: np.ndarray) -> np.ndarray:
    """Stamps that matplotlib draws: cftime dates by their year, month and day."""
    if times.dtype != object:
        return times
    return np.array([f"{t.year:04d}-{t.month:02d}-{min(t.day, 28):02d}" for t in times], "datetime64[D]")
