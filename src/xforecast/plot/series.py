"""Curves: an index running into its forecast plume, and skill by lead."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.find import find_axis
from xforecast.plot.style import CYCLE, FAINT, FORECAST, INK, OBSERVED, pyplot, units_words

__all__ = ["plume", "skill_by_lead"]


def plume(
    index: xr.DataArray,
    observed: xr.DataArray | None = None,
    *,
    error: xr.DataArray | None = None,
    threshold: float | None = None,
    months: int = 24,
    ax=None,
):
    """An observed index running into its forecast.

    Parameters
    ----------
    index : xarray.DataArray
        Dims (sample, lead), one start, with ``valid_time``; from `xforecast.skill.nino34`.
    observed : xarray.DataArray, optional
        The same index over time.
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
    if index["valid_time"].ndim != 1:
        raise InvalidOption("index", index.dims, "one start", "index.isel(init=0)")
    axis = pyplot().subplots(figsize=(8, 3.5), layout="constrained")[1] if ax is None else ax
    times = _dates(index["valid_time"].values)
    samples = index.transpose("sample", "lead").values if "sample" in index.dims else index.values[None]
    mean = samples.mean(axis=0)
    begin = _draw_observed(axis, observed, index, months)
    if begin is not None:
        times, samples, mean = (_joined(begin, values) for values in (times, samples, mean))
    if error is not None:
        reach = 1.645 * error.interp(lead=index["lead"], kwargs={"fill_value": "extrapolate"}).values
        reach = np.concatenate([[0.0], reach]) if begin is not None else reach
        axis.fill_between(
            times, mean - reach, mean + reach, color=FORECAST, alpha=0.12, lw=0, label="90 % of past errors"
        )
    axis.plot(times, samples.T, color=FORECAST, lw=0.7, alpha=0.5)
    axis.plot(times, mean, color=FORECAST, lw=2, label="forecast mean")
    axis.axhline(0, color=FAINT, lw=0.8)
    for level in () if threshold is None else (threshold, -threshold):
        axis.axhline(level, color=FAINT, lw=0.8, ls="--")
    axis.set_ylabel("Nino3.4 anomaly (°C)" if index.name in (None, "nino34") else units_words(index), color=INK)
    axis.legend(frameon=False, fontsize=9, loc="best")
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9, colors=INK)
    return axis


def _draw_observed(axis, observed: xr.DataArray | None, index: xr.DataArray, steps: int):
    """The newest observed values up to the start; the last point, or None."""
    if observed is None:
        return None
    dim = find_axis(observed, "time")
    known = observed.sel({dim: slice(None, index["init"].values[()])}).isel({dim: slice(-steps, None)})
    times = _dates(known[dim].values)
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


def skill_by_lead(
    scores: Mapping[str, xr.DataArray] | xr.Dataset, *, floor: float | None = 0.0, ax=None, title: str | None = None
):
    """Curves of a score by lead, one for each forecast system.

    Parameters
    ----------
    scores : mapping of str to xarray.DataArray, or xarray.Dataset
        Each with a ``lead`` dimension.
    floor : float, optional
        Draws a line there.
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    title : str, optional
        Above the axes.

    Returns
    -------
    matplotlib.axes.Axes

    Examples
    --------
    >>> import xarray as xr
    >>> score = xr.DataArray([0.9, 0.8], [("lead", [1, 2])], attrs={"long_name": "correlation", "units": "1"})
    >>> skill_by_lead({"persistence": score}).get_ylabel()
    'correlation'
    """
    axis = pyplot().subplots(figsize=(7, 4), layout="constrained")[1] if ax is None else ax
    curves = dict(scores.data_vars) if isinstance(scores, xr.Dataset) else dict(scores)
    for number, (name, score) in enumerate(curves.items()):
        style = {"lw": 2.2, "marker": "o", "ms": 4} if number == 0 else {"lw": 1.4}
        axis.plot(score["lead"].values, score.values, label=str(name), color=CYCLE[number % len(CYCLE)], **style)
    if floor is not None:
        axis.axhline(floor, color=FAINT, lw=0.8)
    first = next(iter(curves.values()))
    lead_units = first["lead"].attrs.get("units", "")
    axis.set_xlabel(f"Lead ({lead_units})" if lead_units else "Lead", color=INK)
    axis.set_ylabel(units_words(first), color=INK)
    axis.set_title(title or "", fontsize=11, color=INK)
    axis.legend(frameon=False, fontsize=9)
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9, colors=INK)
    return axis
