"""The contract between data and a model: variables, grid, time step, history and horizon."""

from xforecast.spec.dataspec import TRANSFORMS, Climatology, DataSpec, Grid, Transform, Variable, node_spacing
from xforecast.spec.timestep import TimeStep

__all__ = ["TRANSFORMS", "Climatology", "DataSpec", "Grid", "TimeStep", "Transform", "Variable", "node_spacing"]
