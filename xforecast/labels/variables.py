"""Which variables and dimensions of the data are the model's, and in which quantity and unit they are."""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Any

import xarray as xr

from xforecast.cf import Ambiguous, find_axis, find_variable, is_anomaly, units, wants_anomaly
from xforecast.errors import InvalidOption
from xforecast.labels.report import Report
from xforecast.spec import DataSpec, Variable

__all__ = ["OWN_NAMES", "PACKING", "Found", "Units", "as_dataset", "find_dimensions", "find_variables", "readable"]

OWN_NAMES = ("init", "sample", "lead", "valid_time")
"""What the forecast calls its own coordinates."""
PACKING = ("scale_factor", "add_offset", "_FillValue", "missing_value")
MARKS = {"time": "time", "y": "latitude", "x": "longitude"}
"""A standard name by which each axis is recognised, for the messages."""
CONVERTERS = {
    ("dBZ", "mm h-1"): "xforecast.datasets.rain_rate_from_reflectivity",
    ("mm h-1", "dBZ"): "xforecast.datasets.reflectivity_from_rain_rate",
    ("mm", "mm h-1"): "xforecast.datasets.rain_rate_from_amount",
}
"""Functions that turn one quantity into another, by the units that set the quantities apart."""


@dataclass(frozen=True)
class Units:
    """The unit of the data and that of the model.

    Parameters
    ----------
    own, wanted : str
        They convert to each other by a linear map.
    difference : bool
        Whether the values are differences, such as anomalies: one of 1 K is one of 1 degC.

    Examples
    --------
    >>> kelvin = Units("K", "degC")
    >>> kelvin.apply(283.15), kelvin.undo(10.0)
    (10.0, 283.15)
    """

    own: str
    wanted: str
    difference: bool = False

    @property
    def alike(self) -> bool:
        """Whether values stay as they are."""
        return units.conversion(self.own, self.wanted, difference=self.difference).is_identity

    def apply(self, values: Any) -> Any:
        """Values of the data in the model's unit."""
        return units.conversion(self.own, self.wanted, difference=self.difference)(values)

    def undo(self, values: Any) -> Any:
        """Values of the model in the data's unit."""
        return units.conversion(self.wanted, self.own, difference=self.difference)(values)


@dataclass
class Found:
    """One variable of the data, with what becomes known of it while it is checked.

    Parameters
    ----------
    name : str
        In the data.
    array : xarray.DataArray
        The variable.
    anomaly : bool
        Whether it came as an anomaly.
    units : Units
        Its unit and the model's.
    """

    name: Hashable
    array: xr.DataArray
    anomaly: bool
    units: Units


# ------------------------------------------------------------------ a Dataset that can be read


def as_dataset(data: xr.Dataset | xr.DataArray, spec: DataSpec | None = None) -> xr.Dataset:
    """A Dataset from either; an unnamed array is taken for the spec's first variable, or called ``"data"``."""
    if isinstance(data, xr.Dataset):
        return data
    if isinstance(data, xr.DataArray):
        if data.name in data.coords:
            raise InvalidOption("name of the data", data.name, "a name that no coordinate has", "da.rename('...')")
        unnamed = "data" if spec is None else spec.variables[0].name
        return data.to_dataset(name=data.name if data.name is not None else unnamed)
    is_path = isinstance(data, (str, os.PathLike))
    raise InvalidOption(
        "data",
        data if is_path else type(data).__name__,
        "an xarray Dataset or DataArray",
        f"xarray.open_dataset({os.fspath(data)!r})" if is_path else "xarray.DataArray(array, dims=..., coords=...)",
    )


def readable(ds: xr.Dataset, report: Report) -> xr.Dataset:
    """Values and dates where the file was opened undecoded, and attributes at the variable that they describe."""
    return _described_by_dataset(_decoded(ds, report), report)


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


# ------------------------------------------------------------------ variables


def find_variables(ds: xr.Dataset, spec: DataSpec, mapping: Mapping, report: Report) -> dict[str, Found]:
    """The variables that are there, by their names in the spec, with quantity and units; what is amiss is reported.

    Parameters
    ----------
    ds : xarray.Dataset
        The data.
    spec : DataSpec
        What is wanted.
    mapping : mapping
        Spec name to the name in the data, where the search by attributes would not find it.
    report : Report
        Takes the findings.
    """
    names = {wanted.name: _name_of(ds, wanted, mapping, report) for wanted in spec.variables}
    _check_mapping(mapping, spec, report)
    return {name: _checked(ds[own], own, spec[name], report) for name, own in names.items() if own is not None}


def _name_of(ds: xr.Dataset, wanted: Variable, mapping: Mapping, report: Report) -> Hashable | None:
    listing = ", ".join(_described(ds, name) for name in ds.data_vars) or "no data variable at all"
    example = f'pass variables={{"{wanted.name}": "<name in your data>"}}'
    if wanted.name in mapping:
        name = mapping[wanted.name]
        if not isinstance(name, Hashable) or name not in ds:
            report.error("variable", f"variables= names {name!r}, which is not in the data; found {listing}", example)
            return None
        return name
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
    return match


def _described(ds: xr.Dataset, name: Hashable) -> str:
    standard_name = ds[name].attrs.get("standard_name")
    return f"{name} ({standard_name})" if standard_name else f"{name}"


def _check_mapping(mapping: Mapping, spec: DataSpec, report: Report) -> None:
    names = [variable.name for variable in spec.variables]
    for key in mapping:
        if key not in names:
            report.error(
                "variable",
                f"variables= has the key {key!r}, which the model does not take",
                f"use the keys {', '.join(map(repr, names))}",
            )


def _checked(array: xr.DataArray, name: Hashable, wanted: Variable, report: Report) -> Found:
    """A variable with its quantity and its unit."""
    if array.dtype.kind not in "iuf":
        found = f"{name}: values of type {array.dtype}, wanted real numbers"
        report.error("values", found, f"ds[{str(name)!r}] = ds[{str(name)!r}].astype(float)")
    anomaly = _quantity(array, name, wanted, report)
    return Found(name, array, anomaly, _units(array, name, wanted, anomaly, report))


def _quantity(array: xr.DataArray, name: Hashable, wanted: Variable, report: Report) -> bool:
    """Whether the data are anomalies."""
    anomaly = is_anomaly(array, str(name))
    if anomaly and not (wanted.anomaly or wants_anomaly(wanted)):
        report.error(
            "quantity",
            f"{name}: found an anomaly, wanted {wanted.name} itself",
            "add the climatology that was subtracted",
        )
    if wants_anomaly(wanted) and not anomaly:
        report.error(
            "quantity",
            f"{name}: does not call itself an anomaly, wanted the anomaly {wanted.name}",
            "xforecast.climatology.anomaly(ds), or, if it is one, say so in its attribute long_name",
        )
    return anomaly


def _units(array: xr.DataArray, name: Hashable, wanted: Variable, anomaly: bool, report: Report) -> Units:
    unchanged = Units(wanted.units, wanted.units)
    attr = array.attrs.get("units")
    correct = f"ds[{str(name)!r}].attrs['units'] = {wanted.units!r} if that is what they are"
    if attr is None and units.compatible(wanted.units, "1"):
        attr = "1"
    if attr is None:
        report.error("units", f"{name}: no units, wanted {wanted.units!r} or convertible", correct)
        return unchanged
    own = str(attr)
    if not units.compatible(own, wanted.units):
        converter = _converter(own, wanted)
        if not converter and not units.known(own):
            report.error("units", f"{name}: unknown unit {own!r}, wanted {wanted.units!r} or convertible", correct)
            return unchanged
        report.error(
            "units",
            f"{name}: {own!r} cannot be converted to {wanted.units!r}",
            converter or "convert the data, or name another variable with variables=",
        )
        return unchanged
    found = Units(own, wanted.units, difference=anomaly)
    if not found.alike:
        report.repair("units", f"{name}: {own} to {wanted.units}")
    return found


def _converter(found: str, wanted: Variable) -> str:
    """What to do about units between which there is a function and no linear conversion."""
    for (source, target), function in CONVERTERS.items():
        if units.compatible(found, source) and units.compatible(wanted.units, target):
            return f"{function}(...) makes {wanted.units} of it"
    return ""


# ------------------------------------------------------------------ dimensions


def find_dimensions(found: Mapping[str, Found], report: Report) -> dict[str, Hashable] | None:
    """Names of the time, y and x dimensions, the same for all variables, or None with the reasons in the report.

    Other dimensions of length 1 are taken out of the arrays in ``found``.
    """
    located: dict[str, dict[str, Hashable]] = {}
    for entry in found.values():
        axes = _axes(entry, report)
        if axes is None:
            return None
        entry.array = _without_others(entry, axes, report)
        located[str(entry.name)] = axes
    first = next(iter(located.values()))
    if any(axes != first for axes in located.values()):
        report.error("dimensions", f"the variables lie on different axes: {located}", "put them on one grid first")
        return None
    _check_free_names(found, first, report)
    return first


def _axes(entry: Found, report: Report) -> dict[str, Hashable] | None:
    axes: dict[str, Hashable] = {}
    for axis, standard_name in MARKS.items():
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
                f"give its coordinate the standard_name {standard_name!r}"
                + (" and dates, for example with xarray.decode_cf" if axis == "time" else ""),
            )
        else:
            axes[axis] = dim
    return axes if len(axes) == len(MARKS) else None


def _without_others(entry: Found, axes: Mapping[str, Hashable], report: Report) -> xr.DataArray:
    """The array without dimensions of length 1 that are none of the axes; longer ones are an error."""
    others = [dim for dim in entry.array.dims if dim not in axes.values()]
    if long := [dim for dim in others if entry.array.sizes[dim] > 1]:
        sizes = ", ".join(f"{dim} ({entry.array.sizes[dim]})" for dim in long)
        report.error(
            "dimensions",
            f"{entry.name}: unexpected dimensions {sizes}",
            f"choose one, for example ds.isel({long[0]}=0)",
        )
        return entry.array
    if others:
        report.repair("dimensions", f"{entry.name}: left out {others} of length 1")
    return entry.array.squeeze(others)


def _check_free_names(found: Mapping[str, Found], dims: Mapping[str, Hashable], report: Report) -> None:
    """The data's variables, rows and columns must not have the names of the forecast's own coordinates."""
    for name in (*(entry.name for entry in found.values()), dims["y"], dims["x"]):
        if name in OWN_NAMES:
            text = f"{name}: found this name in the data, wanted it for the forecast"
            report.error("dimensions", text, f'ds.rename({name}="another name")')
