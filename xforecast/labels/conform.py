"""A Dataset as the spec wants it, or every mismatch at once.

What is reversible (names, order, orientation, longitude convention, units, packing, anomalies from the
spec's own climatology) is repaired, and a `Source` remembers how to undo it. What is lossy is refused
with the name of the function that does it.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import xarray as xr

from xforecast.cf import (
    AXES,
    Ambiguous,
    axis_coordinate,
    find_axis,
    find_variable,
    is_anomaly,
    units,
    wants_anomaly,
)
from xforecast.errors import InvalidOption
from xforecast.labels.climatology import monthly_climatology
from xforecast.labels.report import Report
from xforecast.labels.starts import Starts, select_starts
from xforecast.spec import Climatology, DataSpec, Grid, Variable, node_spacing
from xforecast.spec.timestep import is_cftime, months_of

__all__ = ["Conformed", "Source", "as_dataset", "conform", "match_climatology", "stamps_like"]

PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value")
METRES = "m"
UNEVEN = 0.1
"""Share of the spacing by which one step of a window may differ from it."""
CONVERTERS = {
    ("dBZ", "mm h-1"): "xforecast.datasets.rain_rate_from_reflectivity",
    ("mm h-1", "dBZ"): "xforecast.datasets.reflectivity_from_rain_rate",
    ("mm", "mm h-1"): "xforecast.datasets.rain_rate_from_amount",
}
"""Functions that turn one quantity into another, by units that tell the quantities apart."""
FEW_YEARS = 20
"""A climatology of fewer warns."""
# What the forecast has coordinates of its own for.
OWN_NAMES = ("init", "sample", "lead", "valid_time")
OWN_STANDARD_NAMES = ("forecast_reference_time", "forecast_period", "realization", "time")


@dataclass(frozen=True)
class Source:
    """How the data looked when they came, so that a forecast can go back the same way.

    Parameters
    ----------
    names : mapping
        Spec name to the name in the data, for each variable.
    attrs : mapping
        Spec name to the variable's attributes.
    anomalies : mapping
        Spec name to whether the data were anomalies.
    climatologies : mapping
        Spec name to the climatology that was subtracted; None where there was nothing to subtract.
    y_dim, x_dim : str
        Names of the spatial dimensions.
    y_index, x_index : numpy.ndarray
        Position in the data of each of the model's rows and columns.
    coords : xarray.Dataset
        Every coordinate that does not vary in time, cut to the forecast's cells, in the data's order.
    extras : xarray.Dataset
        Bounds and grid mappings that the coordinates and variables refer to.
    dataset_attrs : mapping
        The Dataset's own attributes.
    """

    names: Mapping[str, Hashable]
    attrs: Mapping[str, dict[str, Any]]
    anomalies: Mapping[str, bool]
    climatologies: Mapping[str, Climatology | None]
    y_dim: Hashable
    x_dim: Hashable
    y_index: np.ndarray
    x_index: np.ndarray
    coords: xr.Dataset
    dataset_attrs: Mapping[str, Any]


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
    """

    dataset: xr.Dataset
    source: Source
    starts: Starts
    report: Report


@dataclass
class _Found:
    """What is known of one variable while it is being checked."""

    name: Hashable
    array: xr.DataArray
    anomaly: bool = False
    climatology: Climatology | None = None
    convert: units.Linear = field(default_factory=lambda: units.Linear(1.0, 0.0))


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
        raise InvalidOption("variables", variables, 'a mapping such as {"sst": "tos"}')
    report = Report(against)
    ds = _described_by_dataset(_decoded(as_dataset(ds, spec), report), report)
    found = {wanted.name: _variable(ds, wanted, variables or {}, report) for wanted in spec.variables}
    _unknown_mapping(variables or {}, spec, report)
    present = {name: entry for name, entry in found.items() if entry is not None}
    if not present:
        return report
    for name, entry in present.items():
        _numbers(entry, report)
        entry.anomaly = _quantity(entry, spec[name], report)
        entry.convert = _units(entry, spec[name], report)
    dims = _dimensions(present, report)
    if dims is None:
        return report
    _free_names(present, dims, report)
    reference = next(iter(present.values())).array
    cells = _cells(reference, dims, spec.grid, larger and spec.any_window, report)
    times = _times(reference, dims["time"], report)
    starts = None if times is None else select_starts(times[0], spec, init, report)
    if not report.ok or cells is None or times is None or starts is None:
        return report
    order = times[1]
    ready = {name: _prepare(entry, spec[name], dims, order, cells) for name, entry in present.items()}
    _subtract_climatologies(present, ready, spec, climatology, report)
    dataset = xr.Dataset({variable.name: ready[variable.name].astype(np.float32) for variable in spec.variables})
    return Conformed(dataset, _source(ds, present, dims, cells), starts, report)


def as_dataset(data: xr.Dataset | xr.DataArray, spec: DataSpec) -> xr.Dataset:
    """A Dataset from either; an unnamed array is taken for the spec's only variable."""
    if isinstance(data, xr.Dataset):
        return data
    if isinstance(data, xr.DataArray):
        if data.name in data.coords:
            raise InvalidOption("name of the data", data.name, "a name that no coordinate has", "da.rename('...')")
        return data.to_dataset(name=data.name if data.name is not None else spec.variables[0].name)
    is_path = isinstance(data, (str, os.PathLike))
    raise InvalidOption(
        "data",
        data if is_path else type(data).__name__,
        "an xarray Dataset or DataArray",
        f"xarray.open_dataset({os.fspath(data)!r})" if is_path else "xarray.DataArray(array, dims=..., coords=...)",
    )


# ------------------------------------------------------------------ variables


def _decoded(ds: xr.Dataset, report: Report) -> xr.Dataset:
    """Packed integers and encoded times as values, when the file was opened undecoded."""
    packed = any(key in variable.attrs for variable in ds.variables.values() for key in PACKING)
    encoded = any(
        " since " in str(variable.attrs.get("units", "")) and variable.dtype.kind in "iuf"
        for variable in ds.variables.values()
    )
    if not (packed or encoded):
        return ds
    try:
        decoded = xr.decode_cf(ds)
    except (ValueError, TypeError, OverflowError) as error:
        reason = str(error).strip().splitlines()[0]
        report.error("encoding", f"cannot be decoded by their CF attributes: {reason}", "decode or correct them first")
        return ds
    report.repair("encoding", "decoded packed values or times by their CF attributes")
    return decoded


def _described_by_dataset(ds: xr.Dataset, report: Report) -> xr.Dataset:
    """Attributes of the only variable, when the file put them on the Dataset instead."""
    if len(ds.data_vars) != 1:
        return ds
    name = next(iter(ds.data_vars))
    astray = {key: ds.attrs[key] for key in ("standard_name", "units") if key in ds.attrs and key not in ds[name].attrs}
    if not astray:
        return ds
    report.repair("attributes", f"{name}: took {', '.join(astray)} from the Dataset's attributes")
    described = ds.assign({name: ds[name].assign_attrs(astray)})
    return described.drop_attrs(deep=False).assign_attrs(
        {key: value for key, value in ds.attrs.items() if key not in astray}
    )


def _variable(ds: xr.Dataset, wanted: Variable, mapping: Mapping, report: Report) -> _Found | None:
    listing = ", ".join(_described(ds, name) for name in ds.data_vars) or "no data variable at all"
    example = f'pass variables={{"{wanted.name}": "<name in your data>"}}'
    if wanted.name in mapping:
        name = mapping[wanted.name]
        if not isinstance(name, Hashable) or name not in ds:
            report.error("variable", f"variables= names {name!r}, which is not in the data; found {listing}", example)
            return None
        return _Found(name, ds[name])
    try:
        match = find_variable(ds, wanted)
    except Ambiguous as several:
        names = " and ".join(several.candidates)
        likely = wanted.name if wanted.name in several.candidates else several.candidates[0]
        report.error(
            "variable",
            f"several candidates for {wanted.name!r}: {names}",
            f'pass variables={{"{wanted.name}": "{likely}"}}',
        )
        return None
    if match is None:
        known_as = f"standard_name {wanted.standard_names[0]!r}" if wanted.standard_names else f"name {wanted.name!r}"
        report.error("variable", f"no variable with {known_as}; found {listing}", example)
        return None
    own = ds[match].attrs.get("standard_name")
    if own and wanted.standard_names and not {own, str(own).removesuffix("_anomaly")} & set(wanted.standard_names):
        report.warn("variable", f"{match}: taken by its name; its standard_name is {own!r}", example)
    return _Found(match, ds[match])


def _described(ds: xr.Dataset, name: Hashable) -> str:
    standard_name = ds[name].attrs.get("standard_name")
    return f"{name} ({standard_name})" if standard_name else f"{name}"


def _unknown_mapping(mapping: Mapping, spec: DataSpec, report: Report) -> None:
    names = [variable.name for variable in spec.variables]
    for key in mapping:
        if key not in names:
            report.error(
                "variable",
                f"variables= has the key {key!r}, which the model does not take",
                f"use the keys {', '.join(map(repr, names))}",
            )


def _dimensions(found: dict[str, _Found], report: Report) -> dict[str, Hashable] | None:
    """Names of the time, y and x dimensions, the same for all variables; extra ones of length 1 squeezed."""
    located: dict[str, dict[str, Hashable]] = {}
    for entry in found.values():
        axes: dict[str, Hashable] = {}
        for axis in ("time", "y", "x"):
            try:
                dim = find_axis(entry.array, axis)
            except Ambiguous as several:
                report.error(
                    axis,
                    f"{entry.name}: several candidates for the {axis} axis: {several.candidates}",
                    "set the attribute axis='T', 'Y' or 'X' on the right coordinate",
                )
                return None
            if dim is None:
                report.error(
                    axis,
                    f"{entry.name}: no {axis} axis among dimensions {entry.array.dims}",
                    f"give its coordinate the standard_name {AXES[axis].standard_names[0]!r}"
                    + (" and dates, for example with xarray.decode_cf" if axis == "time" else ""),
                )
            else:
                axes[axis] = dim
        if len(axes) < 3:
            return None
        extra = [dim for dim in entry.array.dims if dim not in axes.values()]
        if long := [dim for dim in extra if entry.array.sizes[dim] > 1]:
            sizes = ", ".join(f"{dim} ({entry.array.sizes[dim]})" for dim in long)
            report.error(
                "dimensions",
                f"{entry.name}: unexpected dimensions {sizes}",
                f"choose one, for example ds.isel({long[0]}=0)",
            )
        elif extra:
            report.repair("dimensions", f"{entry.name}: left out {extra} of length 1")
            entry.array = entry.array.squeeze(extra)
        located[str(entry.name)] = axes
    first = next(iter(located.values()))
    if any(axes != first for axes in located.values()):
        report.error("dimensions", f"the variables lie on different axes: {located}", "put them on one grid first")
        return None
    return first


def _numbers(entry: _Found, report: Report) -> None:
    if entry.array.dtype.kind not in "iuf":
        report.error("values", f"{entry.name}: values of type {entry.array.dtype}, wanted real numbers", "convert them")


def _free_names(found: Mapping[str, _Found], dims: Mapping[str, Hashable], report: Report) -> None:
    """The forecast's own names must not be those of the data's variables and rows and columns."""
    for name in (*(entry.name for entry in found.values()), dims["y"], dims["x"]):
        if name in OWN_NAMES:
            text = f"{name}: found this name in the data, wanted it for the forecast"
            report.error("dimensions", text, f'ds.rename({name}="another name")')


def _quantity(entry: _Found, wanted: Variable, report: Report) -> bool:
    """Whether the data are anomalies."""
    anomaly = is_anomaly(entry.array, str(entry.name))
    if anomaly and not (wanted.anomaly or wants_anomaly(wanted)):
        report.error(
            "quantity",
            f"{entry.name}: found an anomaly, wanted {wanted.name} itself",
            "add the climatology that was subtracted",
        )
    if wants_anomaly(wanted) and not anomaly:
        report.error(
            "quantity",
            f"{entry.name}: does not call itself an anomaly, wanted the anomaly {wanted.name}",
            "xforecast.climatology.anomaly(ds), or, if it is one, say so in its attribute long_name",
        )
    return anomaly


def _units(entry: _Found, wanted: Variable, report: Report) -> units.Linear:
    unchanged = units.Linear(1.0, 0.0)
    attr = entry.array.attrs.get("units")
    correct = f"ds[{str(entry.name)!r}].attrs['units'] = {wanted.units!r} if that is what they are"
    if attr is None and units.compatible(wanted.units, "1"):
        attr = "1"
    if attr is None:
        report.error("units", f"{entry.name}: no units, wanted {wanted.units!r} or convertible", correct)
        return unchanged
    attr = str(attr)
    if not units.compatible(attr, wanted.units):
        converter = _converter(attr, wanted)
        if not converter and not units.known(attr):
            unknown = f"{entry.name}: unknown unit {attr!r}, wanted {wanted.units!r} or convertible"
            report.error("units", unknown, correct)
            return unchanged
        report.error(
            "units",
            f"{entry.name}: {attr!r} cannot be converted to {wanted.units!r}",
            converter or "convert the data, or name another variable with variables=",
        )
        return unchanged
    convert = units.conversion(attr, wanted.units, difference=entry.anomaly)
    if not convert.is_identity:
        report.repair("units", f"{entry.name}: {attr} to {wanted.units}")
    return convert


def _converter(found: str, wanted: Variable) -> str:
    """What to do about units between which there is a function and no linear conversion."""
    for (source, target), function in CONVERTERS.items():
        if units.compatible(found, source) and units.compatible(wanted.units, target):
            return f"{function}(...) makes {wanted.units} of it"
    return ""


# ------------------------------------------------------------------ cells


def _cells(array: xr.DataArray, dims: Mapping[str, Hashable], grid: Grid, larger: bool, report: Report):
    """Positions in the data of the model's rows and columns, or None."""
    y = _positions(array, dims["y"], "y", grid, larger, report)
    x = _positions(array, dims["x"], "x", grid, larger, report)
    if y is None or x is None:
        return None
    for axis, index in (("y", y), ("x", x)):
        size = array.sizes[dims[axis]]
        if len(index) < size:
            report.repair("grid", f"{dims[axis]}: cropped from {size} to the model's {len(index)} cells")
    return y, x


def _positions(
    array: xr.DataArray, dim: Hashable, axis: str, grid: Grid, larger: bool, report: Report
) -> np.ndarray | None:
    size = array.sizes[dim]
    wanted_size = grid.shape[0 if axis == "y" else 1]
    if grid.kind == "pixel":
        return _same_size(np.arange(size), dim, wanted_size, larger, report)
    coordinate = axis_coordinate(array, dim, axis)
    if coordinate is None or coordinate.dtype.kind not in "iuf":
        what = ("latitudes" if axis == "y" else "longitudes") if grid.kind == "latlon" else "distances on the map"
        report.error("grid", f"{dim}: no coordinate of numbers, wanted {what}", f"ds.assign_coords({dim}=...)")
        return None
    values = _on_map(coordinate, grid, report)
    if values is None or not _distinct(values, dim, report):
        return None
    if grid.spacing is None:
        return _same_size(np.argsort(values), dim, wanted_size, larger, report)
    nodes = grid.y if axis == "y" else grid.x
    spacing = grid.spacing[0 if axis == "y" else 1]
    cyclic = grid.kind == "latlon" and axis == "x"
    if not _right_spacing(values, dim, spacing, grid, cyclic, report):
        return None
    if nodes is None:
        return _window(values, dim, spacing, wanted_size, cyclic, larger, report)
    return _nearest(values, np.asarray(nodes), dim, spacing * max(grid.tolerance, 1e-3), cyclic, report)


def _distinct(values: np.ndarray, dim: Hashable, report: Report) -> bool:
    """Whether every cell has a place of its own."""
    if np.isnan(values).any():
        report.error("grid", f"{dim}: {np.isnan(values).sum()} missing values", f"ds.assign_coords({dim}=...)")
        return False
    places, counts = np.unique(values, return_counts=True)
    if (twice := places[counts > 1]).size:
        found = ", ".join(f"{value:g}" for value in twice[:3])
        report.error(
            "grid", f"{dim}: {found} more than once", f"choose one of them, as ds.drop_duplicates({dim!r}) does"
        )
        return False
    return True


def _same_size(index: np.ndarray, dim: Hashable, wanted: int, larger: bool, report: Report) -> np.ndarray | None:
    if len(index) == wanted or (larger and len(index) > wanted):
        return index
    if len(index) > wanted:
        found, remedy = f"{len(index)} cells", f"ds.isel({dim}=slice({wanted})) or another window"
    else:
        found, remedy = f"{len(index)} cells, smaller than the model's window", "open a larger window of the data"
    report.error("grid", f"{dim}: {found}, wanted {f'at least {wanted}' if larger else wanted}", remedy)
    return None


def _window(values: np.ndarray, dim: Hashable, spacing: float, wanted: int, cyclic: bool, larger: bool, report: Report):
    """Any evenly spaced window, in ascending order."""
    unwrapped = np.unwrap(values, period=360) if cyclic else values
    index = np.argsort(unwrapped)
    steps = np.diff(unwrapped[index])
    if (np.abs(steps / spacing - 1) > UNEVEN).any():
        found = f"spacing from {steps.min():g} to {steps.max():g}"
        report.error("grid", f"{dim}: {found}, wanted {spacing:g} throughout", "choose an even window, or regrid")
        return None
    return _same_size(index, dim, wanted, larger, report)


def _on_map(coordinate: xr.DataArray, grid: Grid, report: Report) -> np.ndarray | None:
    """Values of a coordinate in degrees or metres, as the grid has them."""
    values = coordinate.values.astype(float)
    standard_name = str(coordinate.attrs.get("standard_name", ""))
    if grid.kind == "projected":
        unit = str(coordinate.attrs.get("units", METRES))
        if units.compatible(unit, METRES):
            return units.conversion(unit, METRES)(values)
        wanted = "a length on a map projection"
    else:
        unit = str(coordinate.attrs.get("units", "degrees"))
        if "deg" in unit.lower() and not standard_name.startswith(("grid_", "projection_")):
            return values
        wanted = "geographic latitude or longitude in degrees"
    found = " ".join(filter(None, [standard_name, f"in {unit!r}"]))
    report.error("grid", f"{coordinate.name}: found {found}, wanted {wanted}", "choose or compute such a coordinate")
    return None


def _right_spacing(values, dim, wanted: float, grid: Grid, cyclic: bool, report: Report) -> bool:
    if values.size < 2:
        return True
    # The jump where a -180..180 axis is written as 0..360 is no spacing; the median passes over it.
    found = node_spacing(np.sort(values % 360 if cyclic else values))
    if abs(found / wanted - 1) <= grid.tolerance:
        return True
    unit = "degrees" if grid.kind == "latlon" else "m"
    remedy = _regrid(report) if grid.kind == "latlon" else _other_pixels(grid.pixels_across(found, wanted))
    report.error("grid", f"{dim}: spacing {found:g} {unit}, wanted {wanted:g}", remedy)
    return False


def _other_pixels(factor: int) -> str:
    """How to come to pixels that are larger by a factor, 1 if there is none."""
    if factor > 1:
        return f"xforecast.datasets.average_pixels(ds[variable], {factor})"
    return "put the data onto such a map with a package for map projections"


def _nearest(values, nodes, dim, tolerance: float, cyclic: bool, report: Report) -> np.ndarray | None:
    distance = np.abs(values[None, :] - nodes[:, None])
    if cyclic:
        distance = distance % 360
        distance = np.minimum(distance, 360 - distance)
    index = distance.argmin(axis=1)
    missing = nodes[distance.min(axis=1) > tolerance]
    if not missing.size:
        return index
    covers = f"{values.min():g} to {values.max():g}"
    if missing.size == nodes.size:
        shifted = f"cells at {', '.join(f'{value:g}' for value in values[:3])} ..."
        report.error(
            "grid",
            f"{dim}: none of the model's cells; found {shifted}, wanted {nodes.min():g} to {nodes.max():g}",
            _regrid(report),
        )
    else:
        report.error(
            "grid",
            f"{dim}: found {covers}, wanted {nodes.min():g} to {nodes.max():g}; "
            f"missing {', '.join(f'{value:g}' for value in missing[:6])}{' ...' if missing.size > 6 else ''}",
            "open the whole region, or " + _regrid(report),
        )
    return None


def _regrid(report: Report) -> str:
    return f"xforecast.regrid(ds, like={report.against!r})"


# ------------------------------------------------------------------ time


def _times(array: xr.DataArray, dim: Hashable, report: Report) -> tuple[np.ndarray, np.ndarray] | None:
    """Sorted stamps and the order that sorts them, or None."""
    if array.sizes[dim] == 0:
        report.error("time", f"{dim}: no steps at all", "check the selection that was made before")
        return None
    stamps = axis_coordinate(array, dim, "time")
    values = np.arange(array.sizes[dim]) if stamps is None else stamps.values
    if not (values.dtype.kind == "M" or (is_cftime(values) and hasattr(values[0], "calendar"))):
        remedy = (
            "give it units such as 'days since 1900-01-01', then xarray.decode_cf(ds)"
            if values.dtype.kind in "iuf"
            else f"ds.assign_coords({dim}=pandas.to_datetime(ds.{dim}))"
        )
        found = type(values[0]).__name__ if values.dtype == object else values.dtype
        report.error("time", f"{dim}: values of type {found}, wanted dates", remedy)
        return None
    if values.dtype.kind == "M" and np.isnat(values).any():
        report.error(
            "time",
            f"{dim}: {int(np.isnat(values).sum())} stamps are missing (NaT)",
            f"ds.sel({dim}=ds.{dim}.notnull())",
        )
        return None
    order = np.argsort(values, kind="stable")
    if (np.diff(order) < 0).any():
        report.repair("time", f"{dim}: sorted")
    return values[order], order


# ------------------------------------------------------------------ the data themselves, lazily


def _prepare(entry: _Found, wanted: Variable, dims: Mapping[str, Hashable], order, cells) -> xr.DataArray:
    y, x = cells
    array = entry.array.transpose(dims["time"], dims["y"], dims["x"])
    stamps = axis_coordinate(array, dims["time"], "time")
    assert stamps is not None
    times = stamps.values[order]
    array = array.isel({dims["time"]: _slice_like(order), dims["y"]: _slice_like(y), dims["x"]: _slice_like(x)})
    array = xr.DataArray(array.variable, dims=None).rename({dims["time"]: "time", dims["y"]: "y", dims["x"]: "x"})
    array = entry.convert(array.astype(np.result_type(array.dtype, np.float32)))
    return array.assign_coords(time=times).assign_attrs(units=wanted.units).rename(wanted.name)


def _subtract_climatologies(found: Mapping[str, _Found], ready: dict, spec: DataSpec, base, report: Report) -> None:
    """Absolute values become anomalies, from the spec's climatology or from one of the data's own."""
    absolute = [name for name, entry in found.items() if spec[name].climatology is not None and not entry.anomaly]
    if base is not None and not absolute:
        raise InvalidOption("climatology", base, "None: nothing here is absolute and wanted as an anomaly")
    for name in absolute:
        array = ready[name]
        cycle = spec[name].climatology if base is None else _own_climatology(array, base, report)
        assert cycle is not None
        stamps = stamps_like(array["time"].values, ("time",), array)
        ready[name] = (array - match_climatology(cycle, stamps)).assign_attrs(array.attrs)
        found[name].climatology = cycle


def _own_climatology(array: xr.DataArray, base: tuple[str, str], report: Report) -> Climatology:
    if not isinstance(base, tuple | list) or len(base) != 2:
        raise InvalidOption("climatology", base, "first and last year of a base period, such as ('1991', '2020')")
    first, last = (str(year) for year in base)
    years = np.unique(array["time"].sel(time=slice(first, last)).dt.year)
    wanted = int(last[:4]) - int(first[:4]) + 1 if first[:4].isdigit() and last[:4].isdigit() else FEW_YEARS
    if years.size < wanted or years.size < FEW_YEARS:
        report.warn("climatology", f"the base period {first}-{last} has {years.size} years in the data")
    cycle = monthly_climatology(array, (first, last)).transpose("month", "y", "x").compute()
    return Climatology((first, last), cycle.values)


def _slice_like(index: np.ndarray):
    """A slice where the index is one, so that nothing is copied and dask chunks stay whole."""
    if index.size == 0:
        return index
    steps = np.diff(index)
    if index.size > 1 and (steps == 1).all():
        return slice(int(index[0]), int(index[-1]) + 1)
    if index.size > 1 and (steps == -1).all():
        return slice(int(index[0]), None if index[-1] == 0 else int(index[-1]) - 1, -1)
    return index


def match_climatology(climatology: Climatology, times: xr.DataArray) -> xr.DataArray:
    """The climatology for each stamp: the dims of ``times``, then (y, x); lazy where ``times`` is."""
    monthly = climatology.values
    return xr.apply_ufunc(
        lambda stamps: monthly[months_of(stamps)],
        times,
        output_core_dims=[["y", "x"]],
        dask="parallelized",
        output_dtypes=[monthly.dtype],
        dask_gufunc_kwargs={"output_sizes": {"y": monthly.shape[1], "x": monthly.shape[2]}},
    )


def stamps_like(times: np.ndarray, dims: tuple[str, ...], like: xr.DataArray) -> xr.DataArray:
    """Stamps as an array that is chunked like ``like`` along the dimensions they share."""
    stamps = xr.DataArray(times, dims=dims)
    if like.chunks is None:
        return stamps
    return stamps.chunk({dim: like.chunksizes[dim] for dim in dims})


# ------------------------------------------------------------------ the way back


def _source(ds: xr.Dataset, found: Mapping[str, _Found], dims: Mapping[str, Hashable], cells) -> Source:
    reference = next(iter(found.values()))
    cut = {dims["y"]: np.sort(cells[0]), dims["x"]: np.sort(cells[1])}
    related = _related(ds, found, dims["time"])
    coords = (
        ds[related]
        .drop_vars([name for name in ds[related].coords if name not in related])
        .assign_coords(
            {
                name: coord.variable
                for name, coord in reference.array.coords.items()
                if dims["time"] not in coord.dims and coord.attrs.get("standard_name") not in OWN_STANDARD_NAMES
            }
        )
    )
    return Source(
        names={name: entry.name for name, entry in found.items()},
        attrs={name: _kept_attrs(entry.array) for name, entry in found.items()},
        anomalies={name: entry.anomaly for name, entry in found.items()},
        climatologies={name: entry.climatology for name, entry in found.items()},
        y_dim=dims["y"],
        x_dim=dims["x"],
        y_index=cells[0],
        x_index=cells[1],
        coords=coords.isel({dim: index for dim, index in cut.items() if dim in coords.dims}),
        dataset_attrs=dict(ds.attrs),
    )


def _kept_attrs(array: xr.DataArray) -> dict[str, Any]:
    attrs = {key: value for key, value in array.attrs.items() if key not in (*PACKING, "actual_range", "valid_range")}
    if "grid_mapping" in array.encoding:
        attrs.setdefault("grid_mapping", array.encoding["grid_mapping"])
    return attrs


def _related(ds: xr.Dataset, found: Mapping[str, _Found], time_dim: Hashable) -> list[Hashable]:
    """Bounds of the spatial coordinates, and grid mappings."""
    names: list[Hashable] = []
    for coord in ds.coords.values():
        names.append(coord.attrs.get("bounds", coord.encoding.get("bounds")))
    for entry in found.values():
        mapping = entry.array.attrs.get("grid_mapping", entry.array.encoding.get("grid_mapping"))
        names += [word.rstrip(":") for word in str(mapping or "").split()]
    kept = dict.fromkeys(name for name in names if name in ds.variables)
    return [name for name in kept if time_dim not in ds[name].dims]
