"""What a picture takes from labelled data: one variable, one start, its axes, and the observations beside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from xforecast.cf import find_coordinate, find_dimension, find_valid_time, has_dates, keywords, named_like, with_index
from xforecast.errors import InvalidOption
from xforecast.skill import match_times

__all__ = ["beside", "choose_leads", "one_field", "one_start"]


def one_field(data: xr.DataArray | xr.Dataset, variable: str | None = None, what: str = "forecast") -> xr.DataArray:
    """The variable to draw, with its grid mapping as a coordinate."""
    if isinstance(data, xr.DataArray):
        if variable is not None and variable != data.name:
            wanted = f"none: {what} is one variable already, {data.name!r}"
            raise InvalidOption("variable", variable, wanted, "leave variable= out, or pass the Dataset")
        return data
    if not isinstance(data, xr.Dataset):
        remedy = "xarray.DataArray(array, dims=..., coords=...)"
        raise InvalidOption(what, type(data).__name__, "an xarray.DataArray or Dataset", remedy)
    drawable = [str(name) for name, field in data.data_vars.items() if field.ndim >= 3]  # not bounds
    if variable is None and len(drawable) == 1:
        variable = drawable[0]
    if variable is None or variable not in data.data_vars:
        found = variable if variable is not None else f"{len(drawable)} variables"
        remedy = "pass data over time, or lead, and the rows and columns of a map"
        if drawable:
            remedy = f'variable="{drawable[0]}"'
        raise InvalidOption("variable", found, f"one of {drawable}", remedy)
    field = data[variable]
    mapping = field.attrs.get("grid_mapping", field.encoding.get("grid_mapping"))
    return field.assign_coords({mapping: data[mapping]}) if mapping in data.data_vars else field


def one_start(forecast: xr.DataArray) -> xr.DataArray:
    """The forecast from one start, dims (sample, lead, y, x), the first two under these names.

    A record over time is taken too: its dates stand for the leads.
    """
    lead, init = find_dimension(forecast, "lead"), find_dimension(forecast, "init")
    if lead is None:
        forecast = with_index(forecast, "time")
        lead = find_dimension(forecast, "time")
    if lead is None:
        raise InvalidOption(
            "forecast",
            f"dimensions {forecast.dims}",
            "a lead dimension",
            f".rename({keywords({next(iter(forecast.dims), 'step'): 'lead'})}), or draw a record over time",
        )
    start = find_coordinate(forecast, "init")
    if init is not None and init != lead:
        if forecast.sizes[init] != 1:
            raise InvalidOption(
                "forecast", f"{forecast.sizes[init]} starts", "one", f"forecast.isel({keywords({init: 0})})"
            )
        forecast = forecast.isel({init: 0})
    names = {lead: "lead"}
    others = {"sample": find_dimension(forecast, "sample"), "valid_time": find_valid_time(forecast), "init": start}
    for new, old in others.items():
        if old is not None and old not in names and (old == new or new not in (*forecast.coords, *forecast.dims)):
            names[old] = new
    forecast = forecast.rename({old: new for old, new in names.items() if old != new})
    if "lead" not in forecast.coords:
        forecast = forecast.assign_coords(lead=np.arange(1, forecast.sizes["lead"] + 1))
    if has_dates(forecast["lead"]) and "valid_time" not in forecast.coords:
        forecast = forecast.assign_coords(valid_time=("lead", forecast["lead"].values))
    return forecast


def space(field: xr.DataArray, what: str = "forecast") -> tuple[Any, Any]:
    """Names of the two dimensions of a map, with no others left but sample and lead."""
    y, x = find_dimension(field, "y"), find_dimension(field, "x")
    other = [dim for dim in field.dims if dim not in (y, x, "sample", "lead")]
    if y is None or x is None:
        missing = [axis for axis, dim in (("y", y), ("x", x)) if dim is None]
        names = dict(zip(other[-len(missing) :], missing, strict=False))
        remedy = "draw fields, not an index or a mean over a region"
        if len(names) == len(missing):
            remedy = f".rename({keywords(names)})"
        raise InvalidOption(what, f"dimensions {field.dims}", "two of a map, such as lat and lon", remedy)
    if other:
        raise InvalidOption(
            what, f"dimensions {field.dims}", "a map by lead", f".isel({keywords(dict.fromkeys(other, 0))})"
        )
    return y, x


def choose_leads(forecast: xr.DataArray, leads: Sequence[Any] | None, most: int) -> xr.DataArray:
    """The leads to draw: those asked for, or at most so many, evenly spread."""
    known = forecast["lead"]
    if leads is None:
        places = np.linspace(0, known.size - 1, min(most, known.size)).round().astype(int)
        return forecast.isel(lead=np.unique(places))
    read = {"m": pd.to_timedelta, "M": pd.to_datetime}.get(known.dtype.kind, np.asarray)
    wanted = np.atleast_1d(np.asarray(read(list(leads))))
    missing = [str(lead) for lead in wanted if lead not in known.values]
    if missing or not wanted.size:
        listing = known.to_index().astype(str).tolist() if known.dtype.kind in "mM" else known.values.tolist()
        raise InvalidOption("leads", missing, f"some of {listing}", f"leads={listing[:1]}, or leave leads= out")
    return forecast.sel(lead=wanted)


def beside(forecast: xr.DataArray, observed: xr.DataArray | xr.Dataset | None, samples: int) -> dict[str, xr.DataArray]:
    """What stands side by side, by title: observed, where there is any, the mean, and single samples."""
    rows: dict[str, xr.DataArray] = {}
    if samples < 0:
        raise InvalidOption("samples", samples, "0 or more", "samples=0 draws the mean alone")
    if observed is not None:
        alike = isinstance(observed, xr.Dataset) and forecast.name in observed.data_vars
        name = str(forecast.name) if alike else None
        truth = named_like(with_index(with_index(one_field(observed, name, "observed"), "y"), "x"), forecast)
        truth = truth.sortby([dim for dim in space(forecast) if dim in truth.coords])
        truth = match_times(forecast, truth).compute()
        if bool(truth.notnull().any()):
            rows["observed"] = truth
    forecast = forecast.compute()
    if "sample" not in forecast.dims or forecast.sizes["sample"] == 1:
        return rows | {"forecast": forecast.squeeze("sample") if "sample" in forecast.dims else forecast}
    rows["mean"] = forecast.mean("sample", keep_attrs=True)
    for place in range(min(samples, forecast.sizes["sample"])):
        rows[f"sample {place}"] = forecast.isel(sample=place)
    return rows
