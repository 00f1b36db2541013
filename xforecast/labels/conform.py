"""A Dataset as the spec wants it, or every mismatch at once.

What is reversible (names, order, orientation, longitude convention, units, packing, anomalies from the
spec's own climatology) is repaired, and a `Source` remembers how to undo it. What is lossy is refused
with the name of the function that does it.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.labels.anomalies import find_anomalies
from xforecast.labels.cells import Cells, find_cells, slice_like
from xforecast.labels.conformed import Conformed
from xforecast.labels.report import Report
from xforecast.labels.starts import select_starts, sorted_times
from xforecast.labels.variables import Found, as_dataset, find_dimensions, find_variables, readable
from xforecast.labels.way_back import source_of
from xforecast.spec import DataSpec, Variable

__all__ = ["conform", "conform_record"]


def conform(
    ds: xr.Dataset | xr.DataArray,
    spec: DataSpec,
    *,
    init: object = None,
    variables: Mapping[str, Hashable] | None = None,
    climatology: tuple[str, str] | None = None,
    against: str = "the spec",
    larger: bool = False,
) -> Conformed | Report:
    """Make data fit a spec.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        CF-compliant data with a time and two spatial dimensions, in any order and orientation.
    spec : DataSpec
        What is wanted.
    init : optional
        Which forecasts to make; see `xforecast.forecast`.
    variables : mapping, optional
        Spec name to the name in the data, where the search by CF attributes would not find it.
    climatology : tuple of str, optional
        Base period of a climatology of the data's own in place of the spec's; computed at once.
    against : str
        What to call the spec in messages.
    larger : bool
        Take more cells than the spec's grid has, where that is any window.

    Returns
    -------
    Conformed or Report
        The data with the way back, or, when they do not fit, the report that says why.
    """
    if not isinstance(variables or {}, Mapping):
        example = f'variables={{"{spec.variables[0].name}": "<name in your data>"}}'
        raise InvalidOption("variables", variables, 'a mapping such as {"sst": "tos"}', example)
    report = Report(against)
    ds = readable(as_dataset(ds, spec), report)
    found = find_variables(ds, spec, variables or {}, report)
    if not found:
        return report
    dims = find_dimensions(found, report)
    if dims is None:
        return report
    first = next(iter(found.values())).array
    cells = find_cells(first, dims, spec.grid, larger and spec.any_window, report)
    steps = sorted_times(first, dims["time"], report)
    starts = None if steps is None else select_starts(steps[0], spec, init, report, dim=dims["time"])
    if not report.ok or cells is None or steps is None or starts is None:
        return report
    fields = {
        variable.name: _laid_out(found[variable.name], variable, dims["time"], steps, cells)
        for variable in spec.variables
    }
    anomalies = find_anomalies(found, fields, spec, climatology, report)
    ready = {name: anomalies[name].apply(field, steps[0]).astype(np.float32) for name, field in fields.items()}
    return Conformed(xr.Dataset(ready), source_of(ds, found, anomalies, cells, dims["time"]), starts, report, spec)


def conform_record(
    ds: xr.Dataset | xr.DataArray,
    spec: DataSpec,
    *,
    variables: Mapping[str, Hashable] | None = None,
    against: str = "the spec",
) -> Conformed | Report:
    """Make every step of a record fit a spec, whatever its length and its gaps; the options are those of `conform`."""
    return conform(ds, spec.replace(history=1, horizon=1), init="all", variables=variables, against=against)


def _laid_out(
    entry: Found, wanted: Variable, time_dim: Hashable, steps: tuple[np.ndarray, np.ndarray], cells: Cells
) -> xr.DataArray:
    """The variable as (time, y, x) in the model's order and unit, lazily."""
    times, order = steps
    array = xr.DataArray(entry.array.variable).isel({time_dim: slice_like(order)}).rename({time_dim: "time"})
    array = cells.apply(array)
    array = entry.units.apply(array.astype(np.result_type(array.dtype, np.float32)))
    return array.assign_coords(time=times).assign_attrs(units=wanted.units).rename(wanted.name)
