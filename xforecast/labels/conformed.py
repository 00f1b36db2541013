"""Data that fit a spec, with the way back to how they looked."""

from __future__ import annotations

from dataclasses import dataclass

import xarray as xr

from xforecast.labels.report import Report
from xforecast.labels.starts import Starts
from xforecast.labels.way_back import Source, labelled, with_residual
from xforecast.spec import DataSpec

__all__ = ["Conformed", "label"]


@dataclass(frozen=True)
class Conformed:
    """Data that fit a spec: dims (time, y, x), the spec's names and units, missing values kept.

    Parameters
    ----------
    dataset : xarray.Dataset
        The variables; for a variable with a climatology, anomalies.
    source : Source
        The way back.
    starts : Starts
        The forecasts to make.
    report : Report
        Repairs and warnings met on the way.
    spec : DataSpec
        What they fit.
    """

    dataset: xr.Dataset
    source: Source
    starts: Starts
    report: Report
    spec: DataSpec

    def label(self, values: xr.DataArray, residual: xr.DataArray | None = None) -> xr.Dataset:
        """A labelled forecast in the data's own names, units, order and coordinates.

        Parameters
        ----------
        values : xarray.DataArray
            What the network gave, without normalisation: dims (init, sample, lead, y, x, channel), channels in the
            order of the spec's targets.
        residual : xarray.DataArray, optional
            How far each sample is from a constraint: dims (init, sample, guided).

        Returns
        -------
        xarray.Dataset
            Dims (init, sample, lead, y, x) under the data's own names for the spatial ones; ``init`` is a scalar
            coordinate when one start was asked for.
        """
        forecast = labelled(values, self.source, self.starts, self.spec)
        return forecast if residual is None else with_residual(forecast, residual, self.starts)


def label(values: xr.DataArray, conformed: Conformed, spec: DataSpec) -> xr.Dataset:
    """A labelled forecast as of `Conformed.label`, for values of another spec of the same variables."""
    return labelled(values, conformed.source, conformed.starts, spec)
