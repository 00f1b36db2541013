"""The time axis, and which forecasts to make: the initial times that ``init`` selects, each with its history."""

from __future__ import annotations

import datetime
from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np
import xarray as xr

from xforecast.cf import axis_coordinate
from xforecast.labels.report import Report
from xforecast.spec import DataSpec, TimeStep, is_cftime, is_cftime_date, month_numbers, seconds_between

__all__ = ["Starts", "date_text", "select_starts", "sorted_times"]


@dataclass(frozen=True)
class Starts:
    """Initial times of forecasts.

    Parameters
    ----------
    times : numpy.ndarray
        The sorted time axis of the data.
    positions : numpy.ndarray
        Place on that axis of each initial time, the last history step.
    scalar : bool
        Whether one forecast was asked for, whose ``init`` is a scalar coordinate.
    """

    times: np.ndarray
    positions: np.ndarray
    scalar: bool

    @property
    def init(self) -> np.ndarray:
        """The initial times."""
        return self.times[self.positions]


def sorted_times(array: xr.DataArray, dim: Hashable, report: Report) -> tuple[np.ndarray, np.ndarray] | None:
    """Sorted stamps of the time axis and the order that sorts them, or None with the reasons in the report."""
    if array.sizes[dim] == 0:
        report.error("time", f"{dim}: no steps at all", "check the selection that was made before")
        return None
    stamps = axis_coordinate(array, dim, "time")
    values = np.arange(array.sizes[dim]) if stamps is None else stamps.values
    if not (values.dtype.kind == "M" or is_cftime_date(values[0])):
        remedy = (
            "give it units such as 'days since 1900-01-01', then xarray.decode_cf(ds)"
            if values.dtype.kind in "iuf"
            else f"ds.assign_coords({dim}=pandas.to_datetime(ds.{dim}))"
        )
        found = type(values[0]).__name__ if values.dtype == object else values.dtype
        report.error("time", f"{dim}: values of type {found}, wanted dates", remedy)
        return None
    if values.dtype.kind == "M" and np.isnat(values).any():
        report.error(
            "time",
            f"{dim}: {int(np.isnat(values).sum())} stamps are missing (NaT)",
            f"ds.sel({dim}=ds.{dim}.notnull())",
        )
        return None
    order = np.argsort(values, kind="stable")
    if (np.diff(order) < 0).any():
        report.repair("time", f"{dim}: sorted")
    return values[order], order


def select_starts(
    times: np.ndarray, spec: DataSpec, init: object, report: Report, *, dim: Hashable = "time"
) -> Starts | None:
    """The starts that ``init`` asks for, or None with the reasons in the report.

    Parameters
    ----------
    times : numpy.ndarray
        Sorted stamps, datetime64 or cftime.
    spec : DataSpec
        Gives the time step and the length of the history.
    init : None, date, slice, sequence of dates or "all"
        None is the newest start.
    report : Report
        Takes the findings.
    dim : str
        Name of the time axis, for the messages.
    """
    numbers = _regular(times, spec.step, dim, report)
    if numbers is None:
        return None
    if len(times) < spec.history:
        report.error(
            "time",
            f"too few steps: found {len(times)}, wanted at least {spec.history} of {spec.time_step}",
            "open a longer record",
        )
        return None
    chosen = _choose(times, spec, init, report)
    if chosen is None:
        return None
    positions, lenient = chosen
    early = positions < spec.history - 1
    if early.all() or (early.any() and not lenient):
        report.error(
            "time",
            f"too few steps before {_list(times[positions[early]])}: each start needs {spec.history} steps up to and "
            f"including it; the data begin {date_text(times[0])}",
            f"the first possible start is {date_text(times[spec.history - 1])}",
        )
        return None
    if early.any() and not (isinstance(init, str) and init == "all"):
        report.warn("time", f"left out {int(early.sum())} starts without {spec.history} steps of history")
    positions = positions[~early]
    broken = numbers[positions] - numbers[positions - spec.history + 1] != spec.history - 1
    if broken.any():
        report.error(
            "time",
            f"a gap in the history of {_list(times[positions[broken]])}: {_gaps(times, numbers, spec.step)}",
            "fill the missing steps yourself, or choose starts after the gap with init=",
        )
        return None
    return Starts(times, positions, scalar=_is_scalar(init))


# ------------------------------------------------------------------ the axis


def _regular(times: np.ndarray, step: TimeStep, dim: Hashable, report: Report) -> np.ndarray | None:
    """Step numbers of the stamps, or None when the axis does not have that step."""
    if len(times) > 1:
        found = _median_step(times, step)
        wanted = step.months if step.monthly else step.seconds
        if abs(found / wanted - 1) > 0.1:
            report.error(
                "time",
                f"time step of about {_step_name(found, step)}, wanted {step}",
                _step_remedy(found, step, dim),
            )
            return None
        if step.strays(times).any():
            strays = times[step.strays(times)]
            report.error(
                "time",
                f"{len(strays)} stamps off the regular axis, such as {_list(strays)}",
                "put the data on a regular time axis",
            )
            return None
    numbers = step.numbers(times)
    if (np.diff(numbers) == 0).any():
        twice = times[1:][np.diff(numbers) == 0]
        exact = len(np.unique(times)) == len(np.unique(numbers))
        remedy = f"ds.drop_duplicates({str(dim)!r})" if exact else _resampled(step, dim)
        report.error("time", f"several steps within the same {step}: {_list(twice)}", remedy)
        return None
    return numbers


def _median_step(times: np.ndarray, step: TimeStep) -> float:
    """In months for a monthly step (fractions for finer data), else in seconds."""
    seconds = float(np.median(seconds_between(times[1:], times[0]) - seconds_between(times[:-1], times[0])))
    if not step.monthly:
        return seconds
    months = float(np.median(np.diff(month_numbers(times))))
    return months if months >= 1 else seconds / (30.4 * 86400)


def _step_name(found: float, step: TimeStep) -> str:
    if step.monthly and found >= 1:
        return str(TimeStep(months=round(found)))
    seconds = found * 30.4 * 86400 if step.monthly else found
    if seconds > 27 * 86400:
        return str(TimeStep(months=round(seconds / (30.4 * 86400))))
    unit = 86400 if seconds >= 86400 else 1
    return str(TimeStep(seconds=max(1, round(seconds / unit) * unit)))


def _step_remedy(found: float, step: TimeStep, dim: Hashable) -> str:
    wanted = step.months if step.monthly else step.seconds
    if found > wanted:
        return "a record with a finer time step"
    return _resampled(step, dim)


def _resampled(step: TimeStep, dim: Hashable) -> str:
    rule = f"{step.months}MS" if step.monthly else f"{step.seconds}s"
    return f'ds.resample({dim}="{rule}").mean()'


def _gaps(times: np.ndarray, numbers: np.ndarray, step: TimeStep) -> str:
    after = np.flatnonzero(np.diff(numbers) > 1)
    shown = [f"{numbers[i + 1] - numbers[i] - 1} x {step} missing after {date_text(times[i])}" for i in after[:3]]
    return "; ".join(shown) + (" ..." if len(after) > 3 else "")


# ------------------------------------------------------------------ the choice


def _is_scalar(init: object) -> bool:
    return (
        init is None
        or (isinstance(init, str) and init != "all")
        or not isinstance(init, (str, slice, Iterable))
        or (isinstance(init, (np.ndarray, xr.DataArray)) and init.ndim == 0)
    )


def _choose(times: np.ndarray, spec: DataSpec, init: object, report: Report) -> tuple[np.ndarray, bool] | None:
    """Positions asked for, and whether those without enough history may be left out."""
    if init is None:
        return np.array([len(times) - 1]), False
    if isinstance(init, str) and init == "all":
        return np.arange(len(times)), True
    if isinstance(init, slice):
        positions = _within(times, init)
        if positions is None or not positions.size:
            report.error(
                "init",
                f"no start in {init.start} to {init.stop}; the data run from {date_text(times[0])} "
                f"to {date_text(times[-1])}",
                "choose dates inside the record",
            )
            return None
        return positions, True
    if isinstance(init, (np.ndarray, xr.DataArray)):
        init = np.asarray(init).ravel()
        items = list(init)
    else:
        items = [init] if _is_scalar(init) else list(init)  # type: ignore[call-overload]
    if not items:
        report.error("init", "an empty list of starts", 'a date, a slice, a list of dates or "all"')
        return None
    found = [_position(times, item, spec.step) for item in items]
    if missing := [str(item) for item, position in zip(items, found, strict=True) if position is None]:
        report.error(
            "init",
            f"not on the time axis: {', '.join(missing[:3])}; the data run from {date_text(times[0])} "
            f"to {date_text(times[-1])}",
            f"choose stamps of the data, such as {date_text(times[-1])}",
        )
        return None
    return np.array(found, int), False


def _axis(times: np.ndarray) -> xr.DataArray:
    return xr.DataArray(np.arange(len(times)), dims="time", coords={"time": times})


def _comparable(date, times: np.ndarray):
    """A date that the axis can look up: one of another calendar type goes as text."""
    if isinstance(date, np.datetime64) and is_cftime(times):
        return str(date.astype("datetime64[s]"))
    if isinstance(date, datetime.date) if is_cftime(times) else is_cftime_date(date):
        return date.isoformat()[:19]
    return date


def _within(times: np.ndarray, bounds: slice) -> np.ndarray | None:
    try:
        first, last = (_comparable(date, times) for date in (bounds.start, bounds.stop))
        return _axis(times).sel(time=slice(first, last, bounds.step)).values
    except (KeyError, ValueError, TypeError):
        return None


def _position(times: np.ndarray, item: object, step: TimeStep) -> int | None:
    """Place of one date: the stamp itself, the only stamp that a partial date such as "2015-06" covers,
    or, for monthly data, the stamp of the same month."""
    try:
        match = np.atleast_1d(_axis(times).sel(time=_comparable(item, times)).values)
    except (KeyError, ValueError, TypeError):
        match = np.array([], int)
    if match.size == 1:
        return int(match[0])
    month = _month_of(item)
    if step.monthly and month is not None:
        same = np.flatnonzero(month_numbers(times) == month)
        return int(same[0]) if same.size == 1 else None
    return None


def _month_of(item: object) -> int | None:
    if isinstance(item, datetime.date) or is_cftime_date(item):
        return int(month_numbers(np.array([item], object))[0])
    try:
        date = np.datetime64(str(item))
    except ValueError:
        return None
    if np.datetime_data(date.dtype)[0] == "Y":  # a year has twelve
        return None
    return int(date.astype("datetime64[M]").astype(np.int64)) + 12 * 1970


def date_text(time) -> str:
    """A time stamp of any calendar as text, with the time of day where it is not midnight."""
    text = str(np.datetime_as_string(time, unit="m")) if isinstance(time, np.datetime64) else time.isoformat()
    return text[:10] if text[10:] in ("", "T00:00", "T00:00:00") else text[:16]


def _list(times: np.ndarray) -> str:
    shown = ", ".join(date_text(time) for time in times[:3])
    return shown + (f" and {len(times) - 3} more" if len(times) > 3 else "")
