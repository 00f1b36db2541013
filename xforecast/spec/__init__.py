"""The contract between data and a model: variables, grid, time step, history and horizon, normalisation."""

from xforecast.spec.dataspec import DataSpec
from xforecast.spec.grid import GRID_KINDS, Grid, node_spacing
from xforecast.spec.normalisation import normalise, restore
from xforecast.spec.timestep import (
    TimeStep,
    calendar_waves,
    is_cftime,
    is_cftime_date,
    month_numbers,
    months_of,
    seconds_between,
)
from xforecast.spec.variable import TRANSFORMS, Climatology, Transform, Variable

__all__ = [
    "GRID_KINDS",
    "TRANSFORMS",
    "Climatology",
    "DataSpec",
    "Grid",
    "TimeStep",
    "Transform",
    "Variable",
    "calendar_waves",
    "is_cftime",
    "is_cftime_date",
    "month_numbers",
    "months_of",
    "node_spacing",
    "normalise",
    "restore",
    "seconds_between",
]
