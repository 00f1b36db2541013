"""The border between labels and arrays: `windows` on the way in, `label` on the way out."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from xforecast.cf import units
from xforecast.labels.conform import Conformed, match_climatology, stamps_like
from xforecast.labels.starts import Starts
from xforecast.spec import DataSpec, Variable
from xforecast.spec.timestep import cycle_phases

__all__ = ["label", "valid_times", "windows", "with_residual"]

OUTPUT_DIMS = ("init", "sample", "lead", "y", "x", "channel")


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
    chosen = rolled.isel(time=_as_slice(starts.positions - first)).rename(time="init")
    chosen = chosen.transpose("init", "history", "y", "x", "channel")
    if spec.calendar:
        chosen = xr.concat([chosen, _calendar(starts, spec, chosen)], dim="channel")
    if chosen.chunks is not None:
        chosen = chosen.chunk({"history": -1, "y": -1, "x": -1, "channel": -1})
    return chosen


def _as_slice(index: np.ndarray):
    """A slice where the index is evenly spaced, which keeps dask chunks apart."""
    steps = np.unique(np.diff(index))
    if index.size > 1 and steps.size == 1 and steps[0] > 0:
        return slice(int(index[0]), int(index[-1]) + 1, int(steps[0]))
    return index


def _calendar(starts: Starts, spec: DataSpec, like: xr.DataArray) -> xr.DataArray:
    """Sine and cosine of each cycle at each history step, spread over the cells."""
    offsets = np.arange(spec.history) - spec.history + 1
    stamps = starts.times[starts.positions[:, None] + offsets]
    phases = [cycle_phases(stamps, cycle) for cycle in spec.calendar]
    waves = np.stack([wave(phase) for phase in phases for wave in (np.sin, np.cos)], axis=-1).astype(np.float32)
    array = xr.DataArray(waves, dims=("init", "history", "channel"))
    if like.chunks is not None:
        array = array.chunk({"init": like.chunksizes["init"]})
    space = {"y": like.sizes["y"], "x": like.sizes["x"]}
    return array.expand_dims(space).transpose(*like.dims)


def valid_times(starts: Starts, spec: DataSpec, horizon: int) -> np.ndarray:
    """The date at which each lead of each start is valid, shape (init, lead)."""
    return np.stack([spec.step.shift(starts.init, lead, starts.times) for lead in range(1, horizon + 1)], axis=1)


def label(values: xr.DataArray, conformed: Conformed, spec: DataSpec) -> xr.Dataset:
    """A labelled forecast in the data's own names, units, order and coordinates.

    Parameters
    ----------
    values : xarray.DataArray
        What the network gave, without normalisation: dims (init, sample, lead, y, x, channel), channels
        in the order of the spec's targets.
    conformed : Conformed
        The input, with the way back.
    spec : DataSpec
        The contract.

    Returns
    -------
    xarray.Dataset
        Dims (init, sample, lead, y, x) under the data's own names for the spatial ones; ``init`` is a
        scalar coordinate when one start was asked for.
    """
    source, starts = conformed.source, conformed.starts
    values = values.transpose(*OUTPUT_DIMS).drop_vars(list(values.coords))
    valid = valid_times(starts, spec, values.sizes["lead"])
    fields = {}
    for channel, variable in enumerate(spec.target_variables):
        field = _restored(values.isel(channel=channel), variable, valid, conformed)
        fields[source.names[variable.name]] = field.assign_attrs(source.attrs[variable.name])
    forecast = xr.Dataset(fields).assign_coords(_time_coordinates(starts, spec, valid))
    if starts.scalar:
        forecast = forecast.isel(init=0)
    return _place(forecast, conformed)


def _restored(field: xr.DataArray, variable: Variable, valid: np.ndarray, conformed: Conformed) -> xr.DataArray:
    """In the data's quantity, units and orientation."""
    source = conformed.source
    anomaly = source.anomalies[variable.name]
    climatology = source.climatologies[variable.name]
    if climatology is not None:
        field = field + match_climatology(climatology, stamps_like(valid, ("init", "lead"), field))
    found = str(source.attrs[variable.name].get("units", variable.units))
    field = units.conversion(variable.units, found, difference=anomaly)(field)
    order = {"y": np.argsort(source.y_index), "x": np.argsort(source.x_index)}
    return field.isel({dim: index for dim, index in order.items() if (np.diff(index) != 1).any()}).astype(np.float32)


def _time_coordinates(starts: Starts, spec: DataSpec, valid: np.ndarray) -> dict[Hashable, tuple]:
    horizon = np.arange(1, valid.shape[1] + 1)
    if spec.step.monthly:
        lead = (horizon * spec.step.months, {"units": "months"})
    else:
        lead = ((horizon * spec.step.seconds).astype("timedelta64[s]").astype("timedelta64[ns]"), {})
    return {
        "init": (
            "init",
            starts.init,
            {
                "standard_name": "forecast_reference_time",
                "long_name": "Initialization",
                "description": "time stamp of the newest data that the model saw",
            },
        ),
        "lead": ("lead", lead[0], {"standard_name": "forecast_period", "long_name": "Lead", **lead[1]}),
        "valid_time": (("init", "lead"), valid, {"standard_name": "time", "long_name": "Valid time"}),
    }


def _place(forecast: xr.Dataset, conformed: Conformed) -> xr.Dataset:
    """With the data's own spatial dimensions, coordinates, bounds, grid mapping and attributes."""
    source = conformed.source
    forecast = forecast.rename({"y": source.y_dim, "x": source.x_dim})
    size = forecast.sizes["sample"]
    forecast = forecast.assign_coords(
        sample=(
            "sample",
            np.arange(size),
            {"standard_name": "realization", "long_name": "Sample", "units": "1"},
        )
    )
    kept = source.coords.drop_vars([name for name in forecast.coords if name in source.coords.variables])
    forecast = forecast.assign_coords(kept.coords).assign(kept.data_vars)
    for field in (forecast[source.names[name]] for name in spec_targets(forecast, conformed)):
        field.encoding = {"dtype": "float32", "_FillValue": np.float32(np.nan), "zlib": True, "complevel": 1}
    return forecast.assign_attrs({key: value for key, value in source.dataset_attrs.items() if key != "history"})


def spec_targets(forecast: xr.Dataset, conformed: Conformed) -> list[str]:
    """Spec names of the variables that the forecast holds."""
    return [name for name, own in conformed.source.names.items() if own in forecast.data_vars]


def with_residual(forecast: xr.Dataset, residual: xr.DataArray, starts: Starts) -> xr.Dataset:
    """A forecast that says how far its samples are from a constraint.

    Parameters
    ----------
    forecast : xarray.Dataset
        From `label`.
    residual : xarray.DataArray
        Dims (init, sample, guided): the norm of the residual without and with guidance.
    starts : Starts
        Of the forecast.

    Returns
    -------
    xarray.Dataset
        With the variable ``constraint_residual`` and the coordinate ``guided``, False and True.
    """
    values = residual.transpose("init", "sample", "guided")
    values = (values.isel(init=0) if starts.scalar else values).drop_vars(list(values.coords))
    attrs = {
        "long_name": "Distance from the constraint",
        "description": "norm of the constraint's residual in its own units, of the sample that the noise gives without "
        "guidance and with it",
    }
    guided = ("guided", np.array([False, True]), {"long_name": "Whether the constraint was applied"})
    return forecast.assign(constraint_residual=values.assign_attrs(attrs)).assign_coords(guided=guided)
