"""From labelled data to the arrays that a network takes: the history of every start."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xforecast.labels.cells import slice_like
from xforecast.labels.conformed import Conformed
from xforecast.labels.starts import Starts
from xforecast.spec import DataSpec, calendar_waves

__all__ = ["windows"]


def windows(conformed: Conformed, spec: DataSpec) -> xr.DataArray:
    """The history of every start, as the network's input before normalisation.

    Parameters
    ----------
    conformed : Conformed
        Data that fit the spec.
    spec : DataSpec
        Gives the length of the history and the calendar channels.

    Returns
    -------
    xarray.DataArray
        Dims (init, history, y, x, channel), float32, missing values kept; lazy where the data are,
        with space and history in one chunk. Channels are the variables, then the calendar cycles.
    """
    starts = conformed.starts
    first, last = starts.positions.min() - spec.history + 1, starts.positions.max()
    channels = (
        conformed.dataset.isel(time=slice(first, last + 1)).to_dataarray("channel").drop_vars(["channel", "time"])
    )
    channels = channels.transpose("time", "y", "x", "channel")
    if channels.chunks is not None:
        channels = channels.chunk({"y": -1, "x": -1, "channel": -1})
    rolled = channels.rolling(time=spec.history).construct(
        "history", sliding_window_view_kwargs={"automatic_rechunk": False}
    )
    chosen = rolled.isel(time=slice_like(starts.positions - first)).rename(time="init")
    chosen = chosen.transpose("init", "history", "y", "x", "channel")
    if spec.calendar:
        chosen = xr.concat([chosen, _calendar(starts, spec, chosen)], dim="channel")
    if chosen.chunks is not None:
        chosen = chosen.chunk({"history": -1, "y": -1, "x": -1, "channel": -1})
    return chosen


def _calendar(starts: Starts, spec: DataSpec, like: xr.DataArray) -> xr.DataArray:
    """The calendar channels at each history step, spread over the cells."""
    offsets = np.arange(spec.history) - spec.history + 1
    waves = calendar_waves(starts.times[starts.positions[:, None] + offsets], spec.calendar)
    array = xr.DataArray(waves, dims=("init", "history", "channel"))
    if like.chunks is not None:
        array = array.chunk({"init": like.chunksizes["init"]})
    space = {"y": like.sizes["y"], "x": like.sizes["x"]}
    return array.expand_dims(space).transpose(*like.dims)
