"""From what the network gave to a forecast in the data's own names, units, order and coordinates."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xforecast.labels.anomalies import Anomalies
from xforecast.labels.cells import Cells
from xforecast.labels.starts import Starts
from xforecast.labels.variables import PACKING, Found, Units
from xforecast.spec import DataSpec

__all__ = ["Source", "SourceVariable", "labelled", "source_of", "valid_times", "with_residual"]

OUTPUT_DIMS = ("init", "sample", "lead", "y", "x", "channel")
OWN_STANDARD_NAMES = ("forecast_reference_time", "forecast_period", "realization", "time")
"""Standard names of the forecast's own coordinates; those of the data are not carried over."""


@dataclass(frozen=True)
class SourceVariable:
    """One variable as the data have it.

    Parameters
    ----------
    name : str
        In the data.
    attrs : mapping
        Its attributes, without those of packing.
    anomaly : bool
        Whether it came as an anomaly.
    units : Units
        Its unit and the model's.
    anomalies : Anomalies
        What was subtracted.
    """

    name: Hashable
    attrs: Mapping[str, Any]
    anomaly: bool
    units: Units
    anomalies: Anomalies

    def restored(self, field: xr.DataArray, valid: np.ndarray) -> xr.DataArray:
        """A forecast of it, dims (init, lead, ...), in the data's quantity and unit; ``valid`` are its dates."""
        return self.units.undo(self.anomalies.undo(field, valid, ("init", "lead")))


@dataclass(frozen=True)
class Source:
    """How the data looked when they came, so that a forecast can go back the same way.

    Parameters
    ----------
    variables : mapping
        Spec name to the variable as the data have it.
    cells : Cells
        Where the model's cells are in the data.
    coords : xarray.Dataset
        Every coordinate that does not vary in time, with bounds and grid mappings, cut to the forecast's cells, in the
        data's order.
    dataset_attrs : mapping
        The Dataset's own attributes.
    """

    variables: Mapping[str, SourceVariable]
    cells: Cells
    coords: xr.Dataset
    dataset_attrs: Mapping[str, Any]

    @property
    def anomalies(self) -> dict[str, bool]:
        """Spec name to whether the data came as anomalies."""
        return {name: variable.anomaly for name, variable in self.variables.items()}


# ------------------------------------------------------------------ what to remember


def source_of(
    ds: xr.Dataset,
    found: Mapping[str, Found],
    anomalies: Mapping[str, Anomalies],
    cells: Cells,
    time_dim: Hashable,
) -> Source:
    """What of the data a forecast needs to look like them.

    Parameters
    ----------
    ds : xarray.Dataset
        The data.
    found, anomalies : mapping
        Their variables and what was subtracted from them, by their names in the spec.
    cells : Cells
        Where the model's cells are.
    time_dim : str
        The data's time dimension.
    """
    variables = {
        name: SourceVariable(entry.name, _kept_attrs(entry.array), entry.anomaly, entry.units, anomalies[name])
        for name, entry in found.items()
    }
    coords = _spatial_coordinates(ds, found, time_dim)
    cut = {dim: index for dim, index in cells.in_own_order.items() if dim in coords.dims}
    return Source(variables, cells, coords.isel(cut), dict(ds.attrs))


def _kept_attrs(array: xr.DataArray) -> dict[str, Any]:
    attrs = {key: value for key, value in array.attrs.items() if key not in (*PACKING, "actual_range", "valid_range")}
    if "grid_mapping" in array.encoding:
        attrs.setdefault("grid_mapping", array.encoding["grid_mapping"])
    return attrs


def _spatial_coordinates(ds: xr.Dataset, found: Mapping[str, Found], time_dim: Hashable) -> xr.Dataset:
    """Coordinates that do not vary in time, with their bounds and the grid mappings."""
    reference = next(iter(found.values())).array
    related = _related(ds, found, time_dim)
    kept = {
        name: coord.variable
        for name, coord in reference.coords.items()
        if time_dim not in coord.dims and coord.attrs.get("standard_name") not in OWN_STANDARD_NAMES
    }
    others = ds[related].drop_vars([name for name in ds[related].coords if name not in related])
    # A dimension of length 1 that was taken out of the variables is a scalar now, and so in all that comes along.
    scalars = [dim for dim in others.dims if dim in kept and kept[dim].ndim == 0]
    return others.squeeze(scalars).assign_coords(kept)


def _related(ds: xr.Dataset, found: Mapping[str, Found], time_dim: Hashable) -> list[Hashable]:
    """Names of the bounds of the spatial coordinates, and of the grid mappings."""
    names: list[Hashable] = []
    for coord in ds.coords.values():
        names.append(coord.attrs.get("bounds", coord.encoding.get("bounds")))
    for entry in found.values():
        mapping = entry.array.attrs.get("grid_mapping", entry.array.encoding.get("grid_mapping"))
        names += [word.rstrip(":") for word in str(mapping or "").split()]
    kept = dict.fromkeys(name for name in names if name in ds.variables)
    return [name for name in kept if time_dim not in ds[name].dims]


# ------------------------------------------------------------------ labels


def valid_times(starts: Starts, spec: DataSpec, horizon: int) -> np.ndarray:
    """The date at which each lead of each start is valid, shape (init, lead)."""
    return np.stack([spec.step.shift(starts.init, lead, starts.times) for lead in range(1, horizon + 1)], axis=1)


def labelled(values: xr.DataArray, source: Source, starts: Starts, spec: DataSpec) -> xr.Dataset:
    """A forecast in the data's own names, units, order and coordinates.

    Parameters
    ----------
    values : xarray.DataArray
        What the network gave, without normalisation: dims (init, sample, lead, y, x, channel), channels
        in the order of the spec's targets.
    source : Source
        How the data looked.
    starts : Starts
        Of the forecasts.
    spec : DataSpec
        The contract.

    Returns
    -------
    xarray.Dataset
        Dims (init, sample, lead, y, x) under the data's own names for the spatial ones; ``init`` is a
        scalar coordinate when one start was asked for.
    """
    values = values.transpose(*OUTPUT_DIMS).drop_vars(list(values.coords))
    valid = valid_times(starts, spec, values.sizes["lead"])
    fields = {}
    for channel, name in enumerate(spec.targets):
        own = source.variables[name]
        field = source.cells.undo(own.restored(values.isel(channel=channel), valid)).astype(np.float32)
        fields[own.name] = field.assign_attrs(own.attrs)
    forecast = xr.Dataset(fields).assign_coords(_time_coordinates(starts, spec, valid))
    if starts.scalar:
        forecast = forecast.isel(init=0)
    forecast = forecast.assign_coords(sample=_samples(forecast.sizes["sample"]))
    forecast = _at_its_place(forecast, source)
    for own_name in fields:
        forecast[own_name].encoding = {
            "dtype": "float32", "_FillValue": np.float32(np.nan), "zlib": True, "complevel": 1,
        }  # fmt: skip
    return forecast.assign_attrs({key: value for key, value in source.dataset_attrs.items() if key != "history"})


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


def _samples(count: int) -> tuple:
    return "sample", np.arange(count), {"standard_name": "realization", "long_name": "Sample", "units": "1"}


def _at_its_place(forecast: xr.Dataset, source: Source) -> xr.Dataset:
    """The forecast with the data's own spatial coordinates, bounds and grid mapping."""
    kept = source.coords.drop_vars([name for name in forecast.coords if name in source.coords.variables])
    return forecast.assign_coords(kept.coords).assign(kept.data_vars)


def with_residual(forecast: xr.Dataset, residual: xr.DataArray, starts: Starts) -> xr.Dataset:
    """A forecast that says how far its samples are from a constraint.

    Parameters
    ----------
    forecast : xarray.Dataset
        From `labelled`.
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
