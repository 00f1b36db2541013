"""From SEVIR's events to what models take: windows of frames, single events, coarser data."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xforecast.cf import dimension, find_dimension
from xforecast.datasets.sevir_catalogue import project
from xforecast.errors import InvalidOption

__all__ = ["downsample", "sevir_event", "sevir_sequences"]


def sevir_event(ds: xr.Dataset, event: str) -> xr.Dataset:
    """One event as data that a forecaster takes: dates on the time axis, the map in metres.

    Parameters
    ----------
    ds : xarray.Dataset
        From `sevir`, `sevir_lr` or `downsample`.
    event : str
        Its id.

    Returns
    -------
    xarray.Dataset
        Dims (time, y, x), lazy as ``ds`` is. Where the catalogue states the projection, ``y`` and ``x``
        are the coordinates on it; otherwise metres from the lower left corner.

    Raises
    ------
    InvalidOption
        There is no such event.

    Examples
    --------
    >>> offsets = np.arange(49) * np.timedelta64(5, "m")
    >>> valid = np.array(["2019-06-02T10", "2019-07-01T22"], "datetime64[ns]")[:, None] + offsets
    >>> ds = xr.Dataset(
    ...     {"vil": (("event", "time", "y", "x"), np.zeros((2, 49, 6, 6), np.uint8))},
    ...     coords={"event": ["R1", "R2"], "time": offsets, "valid_time": (("event", "time"), valid),
    ...             "x": 500.0 + 1000 * np.arange(6)},
    ... )
    >>> one = sevir_event(ds, "R1")
    >>> one.vil.dims, str(one.time.values[0])[:16]
    (('time', 'y', 'x'), '2019-06-02T10:00')
    """
    if event not in ds["event"].values:
        first = str(ds["event"].values[0])
        raise InvalidOption("event", event, f"one of the {ds.sizes['event']} events", f"sevir_event(ds, {first!r})")
    one = ds.sel(event=event)
    stamps = one["valid_time"].variable
    one = one.drop_vars(["valid_time", "event_time"], errors="ignore").assign_coords(time=("time", stamps.values, {
        "standard_name": "time", "axis": "T"}))  # fmt: skip
    origin = one["crs"].attrs if "crs" in one.coords else {}
    if {"lower_left_latitude", "lower_left_longitude"} <= set(one.coords) and "earth_radius" in origin:
        left, bottom = project(float(one["lower_left_longitude"]), float(one["lower_left_latitude"]), origin)
        for name in [name for name in one.coords if str(name).split("_")[0] in ("y", "x")]:
            axis = str(name)[0]
            shifted = one[name] + (bottom if axis == "y" else left)
            attrs = {"standard_name": f"projection_{axis}_coordinate", "units": "m", "axis": axis.upper()}
            one = one.assign_coords({name: shifted.assign_attrs(attrs)})
    return one


def sevir_sequences(ds: xr.Dataset, history: int = 13, horizon: int = 12, stride: int = 12) -> xr.Dataset:
    """The windows of history and target frames that models are trained and scored on.

    Parameters
    ----------
    ds : xarray.Dataset
        From `sevir`, `sevir_lr` or `downsample`.
    history, horizon : int
        Numbers of frames before and after the start: 13 and 12 for SEVIR, 7 and 6 for SEVIR-LR.
    stride : int
        Frames from one window of an event to the next: 12 for SEVIR, 6 for SEVIR-LR.

    Returns
    -------
    xarray.Dataset
        Dims (sequence, time, y, x), lazy; event by event, window by window. ``time`` counts from the last
        frame of the history, so that targets have a positive one; coordinates ``event``, ``init`` and
        ``first_frame`` over (sequence,).

    Raises
    ------
    InvalidOption
        The window is longer than the event.

    Examples
    --------
    >>> offsets = np.arange(49) * np.timedelta64(5, "m")
    >>> valid = np.array(["2019-06-02T10", "2019-07-01T22"], "datetime64[ns]")[:, None] + offsets
    >>> ds = xr.Dataset(
    ...     {"vil": (("event", "time", "y", "x"), np.zeros((2, 49, 6, 6), np.uint8))},
    ...     coords={"event": ["R1", "R2"], "time": offsets, "valid_time": (("event", "time"), valid),
    ...             "x": 500.0 + 1000 * np.arange(6)},
    ... )
    >>> windows = sevir_sequences(ds)
    >>> windows.sizes["sequence"], windows.first_frame.values
    (6, array([ 0, 12, 24,  0, 12, 24]))
    """
    length, frames = history + horizon, ds.sizes["time"]
    if min(history, horizon, stride) < 1 or length > frames:
        wanted = f"positive numbers, history and horizon together at most {frames} frames"
        remedy = "history=13, horizon=12, stride=12 for SEVIR; history=7, horizon=6, stride=6 for SEVIR-LR"
        raise InvalidOption("history, horizon, stride", (history, horizon, stride), wanted, remedy)
    starts = np.arange(0, frames - length + 1, stride)
    step = ds["time"].values[1] - ds["time"].values[0]
    parts = []
    for first in starts:
        part = ds.isel(time=slice(first, first + length))
        init = part["valid_time"].variable.isel(time=history - 1)
        since = part["time"].copy(data=step * np.arange(1 - history, horizon + 1))
        parts.append(part.assign_coords(init=init, time=since, first_frame=int(first)))
    windows = xr.concat(parts, dim="window", coords="different", compat="equals", data_vars="all")
    windows = windows.drop_vars("event_time", errors="ignore").stack(sequence=("event", "window"))
    windows = windows.reset_index("sequence").drop_vars("window")
    windows["time"].attrs = {"standard_name": "forecast_period", "long_name": "Time from the last frame of the history"}
    windows["init"].attrs = {"standard_name": "forecast_reference_time", "long_name": "Initialization"}
    return windows.transpose("sequence", "time", ...)


def downsample(ds: xr.Dataset, time: int = 2, space: int = 3, method: str = "max") -> xr.Dataset:
    """Fewer frames and larger cells: with the defaults, SEVIR-LR from SEVIR.

    Parameters
    ----------
    ds : xarray.Dataset
        From `sevir`, or any with a time axis and two axes of a map.
    time : int
        Every how many frames one is kept, the first among them.
    space : int
        Rows and columns that become one cell.
    method : {"max", "mean"}
        The largest of the cells, as SEVIR-LR was made, cells beyond the edge counting as 0; or their
        mean, cells that do not fill a block left out.

    Returns
    -------
    xarray.Dataset
        With coordinates of the new cells' centres; lazy, and integers stay integers under ``"max"``.

    Examples
    --------
    >>> offsets = np.arange(49) * np.timedelta64(5, "m")
    >>> valid = np.array(["2019-06-02T10", "2019-07-01T22"], "datetime64[ns]")[:, None] + offsets
    >>> ds = xr.Dataset(
    ...     {"vil": (("event", "time", "y", "x"), np.zeros((2, 49, 6, 6), np.uint8))},
    ...     coords={"event": ["R1", "R2"], "time": offsets, "valid_time": (("event", "time"), valid),
    ...             "x": 500.0 + 1000 * np.arange(6)},
    ... )
    >>> coarse = downsample(ds)
    >>> dict(coarse.vil.sizes), coarse.x.values
    ({'event': 2, 'time': 25, 'y': 2, 'x': 2}, array([1500., 4500.]))
    """
    if method not in ("max", "mean"):
        raise InvalidOption("method", method, "'max' or 'mean'", "method='max', as SEVIR-LR was made")
    if min(time, space) < 1:
        raise InvalidOption("time, space", (time, space), "1 or more", "time=1, space=1 change nothing")
    steps = _dims_of(ds, "lead") or _dims_of(ds, "time") or [dimension(ds, "time")]
    ds = ds.isel(dict.fromkeys(steps, slice(None, None, time)))
    # Images of several resolutions have axes of their own, such as y_192: see `sevir`.
    own = [dim for dim in ds.dims if str(dim).startswith(("y_", "x_"))]
    for name in dict.fromkeys(
        own + [dim for kind in ("y", "x") for dim in _dims_of(ds, kind) or [dimension(ds, kind)]]
    ):
        centres = ds[name] if name in ds.coords else None
        short = -ds.sizes[name] % space
        if short and method == "max":
            ds = ds.drop_vars(name, errors="ignore").pad({name: (0, short)}, constant_values=0)
            padded = {key: field for key, field in ds.data_vars.items() if field.chunks and name in field.dims}
            ds = ds.assign({key: field.chunk({name: -1}) for key, field in padded.items()})
        coarse = ds.drop_vars(name, errors="ignore").coarsen({name: space}, boundary="trim")
        ds = coarse.max() if method == "max" else coarse.mean()
        if centres is not None and centres.size > 1:
            step = float(centres[1] - centres[0])
            new = float(centres[0]) + step * ((space - 1) / 2 + space * np.arange(ds.sizes[name]))
            ds = ds.assign_coords({name: (name, new, centres.attrs)})
    return ds


def _dims_of(ds: xr.Dataset, kind: str) -> list:
    """The dimensions of this kind, which may be others from variable to variable."""
    found = (find_dimension(array, kind) for array in ds.data_vars.values())
    return list(dict.fromkeys(dim for dim in found if dim is not None))
