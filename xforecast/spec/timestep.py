"""Steps of a time axis: fixed durations and calendar months, for numpy and cftime stamps alike."""

from __future__ import annotations

import datetime
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from xforecast.errors import InvalidOption

__all__ = [
    "TimeStep",
    "calendar_waves",
    "cycle_phases",
    "is_cftime",
    "is_cftime_date",
    "month_numbers",
    "months_of",
    "seconds_between",
]

SECONDS = {
    "second": 1,
    "sec": 1,
    "s": 1,
    "minute": 60,
    "min": 60,
    "hour": 3600,
    "hr": 3600,
    "h": 3600,
    "day": 86400,
    "d": 86400,
    "week": 604800,
}
MONTHS = {"month": 1, "year": 12, "yr": 12}
JITTER = 0.1
"""Share of a fixed step by which a stamp may stray from the regular axis."""


@dataclass(frozen=True)
class TimeStep:
    """A fixed duration in seconds, or a number of calendar months.

    Examples
    --------
    >>> TimeStep.parse("5 min"), str(TimeStep.parse("month"))
    (TimeStep(months=0, seconds=300), '1 month')
    >>> import numpy as np
    >>> times = np.array(["2000-11-16", "2000-12-16", "2001-01-16"], "datetime64[ns]")
    >>> TimeStep(months=1).numbers(times)
    array([24010, 24011, 24012])
    """

    months: int = 0
    seconds: int = 0

    def __post_init__(self):
        if (self.months > 0) == (self.seconds > 0):
            wanted = "a positive number of months or of seconds"
            raise InvalidOption("time step", self, wanted, "TimeStep(months=1) or TimeStep(seconds=300)")

    @classmethod
    def parse(cls, text: str | TimeStep) -> TimeStep:
        """From words such as ``"1 month"``, ``"5 minutes"``, ``"6 h"``."""
        if isinstance(text, TimeStep):
            return text
        match = re.fullmatch(r"\s*(\d*)\s*([A-Za-z]+)\s*", str(text))
        if match:
            count, unit = int(match[1] or 1), match[2].lower()
            for candidate in (unit, unit.removesuffix("s")):
                if candidate in MONTHS:
                    return cls(months=count * MONTHS[candidate])
                if candidate in SECONDS:
                    return cls(seconds=count * SECONDS[candidate])
        wanted = "a number and a unit, such as '1 month' or '5 minutes'"
        raise InvalidOption("time step", text, wanted, f"units are {', '.join([*SECONDS, *MONTHS])}")

    @classmethod
    def of(cls, times: np.ndarray) -> TimeStep:
        """The usual distance of sorted stamps: months, where most neighbours lie in different ones, else seconds.

        Examples
        --------
        >>> TimeStep.of(np.array(["2000-01-31", "2000-02-29", "2000-03-31"], "datetime64[s]"))
        TimeStep(months=1, seconds=0)
        """
        months = np.median(np.diff(month_numbers(times)))
        if months >= 1:
            return cls(months=int(months))
        return cls(seconds=max(1, round(float(np.median(np.diff(seconds_between(times, times[0])))))))

    @property
    def monthly(self) -> bool:
        """Whether it counts calendar months."""
        return self.months > 0

    def __str__(self) -> str:
        if self.monthly:
            return _plural(self.months, "month")
        for unit in ("day", "hour", "minute"):
            if self.seconds % SECONDS[unit] == 0:
                return _plural(self.seconds // SECONDS[unit], unit)
        return _plural(self.seconds, "second")

    # -------------------------------------------------------------- arithmetic on stamps

    def numbers(self, times: np.ndarray) -> np.ndarray:
        """The place of each stamp on the regular axis, as integers; neighbours differ by 1.

        Fixed steps are counted from the last stamp. A stamp that strays by more than a tenth of a
        step from the axis has no place on it; `strays` says which those are.
        """
        if self.monthly:
            return month_numbers(times) // self.months
        return np.rint(self._from_last(times)).astype(np.int64)

    def strays(self, times: np.ndarray) -> np.ndarray:
        """Which stamps do not lie on the regular axis through the last one."""
        if self.monthly:
            return (month_numbers(times) - month_numbers(times[-1:])) % self.months != 0
        steps = self._from_last(times)
        return np.abs(steps - np.rint(steps)) > JITTER

    def shift(self, times: np.ndarray, steps: int, axis: np.ndarray | None = None) -> np.ndarray:
        """The stamps moved by a number of steps.

        Months keep the day of the month where the month has it; where all stamps of ``axis`` (of
        ``times``, if not given) are on the last day of their month, they stay on the last day.
        """
        if not self.monthly:
            return times + _duration(times, self.seconds * steps)
        return _shift_months(times, self.months * steps, _at_month_ends(times if axis is None else axis))

    def _from_last(self, times: np.ndarray) -> np.ndarray:
        return seconds_between(times, times[-1]) / self.seconds


def _plural(count: int, unit: str) -> str:
    return f"{count} {unit}" if count == 1 else f"{count} {unit}s"


# ------------------------------------------------------------------ stamps, numpy and cftime


def is_cftime(times: np.ndarray) -> bool:
    """Whether the stamps are cftime objects rather than datetime64."""
    return times.dtype == object


def is_cftime_date(value: object) -> bool:
    """Whether one value is a cftime date."""
    import cftime

    return isinstance(value, cftime.datetime)


def seconds_between(times: np.ndarray, origin) -> np.ndarray:
    """Seconds from ``origin`` to each stamp, float64."""
    difference = times - origin
    if is_cftime(times):
        return np.array([delta.total_seconds() for delta in difference], float)
    return difference / np.timedelta64(1, "s")


def month_numbers(times: np.ndarray) -> np.ndarray:
    """``12 * year + month - 1`` of each stamp."""
    if is_cftime(times):
        return np.array([12 * time.year + time.month - 1 for time in times.ravel()], np.int64).reshape(times.shape)
    return times.astype("datetime64[M]").astype(np.int64) + 12 * 1970


def months_of(times: np.ndarray) -> np.ndarray:
    """The calendar month of each stamp, January is 0."""
    return month_numbers(times) % 12


def cycle_phases(times: np.ndarray, cycle: str) -> np.ndarray:
    """Phase of each stamp in the year or the day, in radians, shape of ``times``.

    The annual phase advances by a twelfth of a turn from month to month and is the same within one,
    so that monthly stamps have the same phase whichever day of the month they carry.
    """
    if cycle == "annual":
        return 2 * np.pi * months_of(times) / 12
    if is_cftime(times):
        seconds = np.array([time.hour * 3600 + time.minute * 60 + time.second for time in times.ravel()], float)
        return 2 * np.pi * seconds.reshape(times.shape) / 86400
    seconds = (times - times.astype("datetime64[D]")) / np.timedelta64(1, "s")
    return 2 * np.pi * seconds / 86400


def calendar_waves(times: np.ndarray, cycles: Sequence[str]) -> np.ndarray:
    """Sine and cosine of each cycle at each stamp, the calendar channels of a network's input.

    Parameters
    ----------
    times : numpy.ndarray
        Stamps, datetime64 or cftime, of any shape.
    cycles : sequence of {"annual", "diurnal"}
        In the order of the channels.

    Returns
    -------
    numpy.ndarray
        Shape (*times.shape, channel), two channels for each cycle, float32.

    Examples
    --------
    >>> calendar_waves(np.array(["2000-01", "2000-04"], "datetime64[M]"), ["annual"]).round(3).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    phases = [cycle_phases(times, cycle) for cycle in cycles]
    waves = [wave(phase) for phase in phases for wave in (np.sin, np.cos)]
    return np.stack(waves, axis=-1).astype(np.float32) if waves else np.empty((*times.shape, 0), np.float32)


def _duration(times: np.ndarray, seconds: int):
    if is_cftime(times):
        return datetime.timedelta(seconds=seconds)
    return np.timedelta64(seconds, "s")


def _at_month_ends(times: np.ndarray) -> bool:
    """Whether all stamps are on the last day of their month."""
    if is_cftime(times):
        return all(time.day == time.daysinmonth for time in times.ravel())
    month = times.astype("datetime64[M]")
    day = (times.astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)
    return bool(np.all(day == _length(month) - 1))


def _shift_months(times: np.ndarray, months: int, at_end: bool) -> np.ndarray:
    if is_cftime(times):
        return np.array([_shift_cftime(time, months, at_end) for time in times.ravel()], object).reshape(times.shape)
    month = times.astype("datetime64[M]")
    within = times - month.astype(times.dtype)
    day = within.astype("timedelta64[D]").astype(np.int64)
    target = month + np.timedelta64(months, "M")
    last_day = _length(target) - 1
    new_day = last_day if at_end else np.minimum(day, last_day)
    return target.astype(times.dtype) + (within + (new_day - day) * np.timedelta64(1, "D"))


def _length(month: np.ndarray) -> np.ndarray:
    return ((month + np.timedelta64(1, "M")).astype("datetime64[D]") - month.astype("datetime64[D]")).astype(np.int64)


def _shift_cftime(time, months: int, at_end: bool):
    total = 12 * time.year + time.month - 1 + months
    first = time.replace(year=total // 12, month=total % 12 + 1, day=1)
    return first.replace(day=first.daysinmonth if at_end else min(time.day, first.daysinmonth))
