"""Separate sequences as one record, on which forecasters are trained and started."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xforecast.cf import counts_months, find_dimension, has_dates, keywords
from xforecast.errors import InvalidOption

__all__ = ["as_record"]

SHORTEST_MONTH = np.timedelta64(27, "D")  # between any two days of neighbouring months that are a month apart
EPOCH = np.datetime64("2000-01-01", "ns")


def as_record(ds: xr.Dataset, sequence: str = "sequence", time: str | None = None) -> xr.Dataset:
    """Sequences one after the other on a single time axis, with a gap after each.

    No window of `xforecast.fit` and no start of a forecast reaches across a gap. The dates are nominal; step k of
    sequence n lies n (steps + 1) + k steps after the first of January 2000. Monthly sequences begin in the month of the
    first date, or in January where there are only numbers, each a whole number of years after the one before, in a
    calendar without leap days.

    Parameters
    ----------
    ds : xarray.Dataset
        With the two dimensions, such as from `nbody_mnist` or `sevir_sequences`.
    sequence : str
        The dimension of the sequences.
    time : str, optional
        The dimension of their steps; by default the one that is named or marked as leads or a time axis. The steps are
        regular timedeltas or dates, months (dates in every month, or a number in units of "months"), or, without such a
        coordinate, a minute apart.

    Returns
    -------
    xarray.Dataset
        Without ``sequence`` as a dimension; the number of the sequence is a coordinate along ``time``.

    Raises
    ------
    InvalidOption
        A dimension is missing, or the steps are not regular.

    Examples
    --------
    >>> ds = xr.Dataset({"rain": (("sequence", "time", "y", "x"), np.zeros((2, 3, 4, 4)))})
    >>> record = as_record(ds)
    >>> record.rain.sizes["time"], record.time.dt.minute.values.tolist()
    (6, [0, 1, 2, 4, 5, 6])
    """
    if time is None:
        time = find_dimension(ds, "lead") or find_dimension(ds, "time")
    for option, dim in (("sequence", sequence), ("time", time)):
        if dim not in ds.dims:
            remedy = (
                f"as_record(ds, {option}={str(next(iter(ds.dims), option))!r}), or whatever that dimension is called"
            )
            raise InvalidOption("ds", dict(ds.sizes), f"a dimension {dim or 'of time'!r}", remedy)
    count, length = ds.sizes[sequence], ds.sizes[time]
    stamps = _stamps(ds, time, count, length)
    varying = [name for name, array in ds.variables.items() if {sequence, time} & set(array.dims)]
    fields = {name: _joined(ds[name], sequence, time) for name in varying if {sequence, time} <= set(ds[name].dims)}
    kept = ds.drop_vars(varying)
    coordinate = ("time", stamps, {"standard_name": "time", "long_name": "nominal time"})
    numbers = ("time", np.repeat(np.arange(count), length), {"long_name": "number of the sequence"})
    return kept.assign(fields).assign_coords({"time": coordinate, sequence: numbers})


def _joined(array: xr.DataArray, sequence: str, time: str) -> xr.Variable:
    """Both dimensions as one, the sequence varying slowest."""
    values = array.variable.transpose(sequence, time, ...)
    shape = (values.shape[0] * values.shape[1], *values.shape[2:])
    return xr.Variable(("time", *values.dims[2:]), values.data.reshape(shape), array.attrs)


def _stamps(ds: xr.Dataset, time: str, count: int, length: int) -> np.ndarray:
    """Nominal dates of all steps of all sequences, as far apart as those of the sequences."""
    if not _monthly(ds, time):
        places = np.arange(count)[:, None] * (length + 1) + np.arange(length)
        return EPOCH + places.ravel() * _step(ds, time)
    first = ds[time].dt.month.item(0) - 1 if has_dates(ds[time]) else 0
    years = -(-(length + 1) // 12)  # every sequence begins in the same month
    places = first + 12 * years * np.arange(count)[:, None] + np.arange(length)
    count = 12 * (years * count + 1)
    months = xr.date_range("0001-01-01", periods=count, freq="MS", calendar="noleap", use_cftime=True)
    return months.values[places.ravel()]


def _monthly(ds: xr.Dataset, time: str) -> bool:
    if time not in ds.coords or ds.sizes[time] < 2:
        return False
    stamps = ds[time]
    if stamps.dtype.kind == "O" and not has_dates(stamps):
        raise InvalidOption(time, stamps.values[0], "dates, timedeltas or numbers", f"ds.drop_vars({time!r})")
    if not has_dates(stamps):
        if not counts_months(stamps):
            return False
        if (np.diff(stamps.values) != 1).any():
            remedy = f"ds.drop_vars({time!r}) if the steps are a minute apart, else fill the gaps"
            raise InvalidOption(time, f"months {stamps.values.tolist()}", "regular steps of one month", remedy)
        return True
    months = stamps.dt.year.values * 12 + stamps.dt.month.values
    apart = np.diff(stamps.values).astype("timedelta64[ns]")
    return bool((np.diff(months) == 1).all() and (apart >= SHORTEST_MONTH).all())


def _step(ds: xr.Dataset, time: str) -> np.timedelta64:
    if time not in ds.coords or ds.sizes[time] < 2 or ds[time].dtype.kind not in "mMO":
        return np.timedelta64(1, "m").astype("timedelta64[ns]")
    steps = np.unique(np.diff(ds[time].values).astype("timedelta64[ns]"))
    if len(steps) > 1:
        remedy = f"ds.isel({keywords({time: slice(0, 2)})}), or another part without gaps"
        raise InvalidOption(time, f"steps from {steps.min()} to {steps.max()}", "regular steps", remedy)
    return steps[0]
