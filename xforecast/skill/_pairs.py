"""How every score takes its forecast and observations.

`score` makes a function of two matching arrays take Datasets and NumPy arrays too, put observations on the
valid times, refuse what does not match, and describe its result.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from functools import wraps
from typing import Any, Literal, TypeVar, cast

import numpy as np
import xarray as xr

from xforecast.cf import (
    axis_coordinate,
    compatible,
    conversion,
    find_coordinate,
    find_dimension,
    is_anomaly,
    keywords,
    known,
    named_like,
    only_variable,
)
from xforecast.errors import InvalidOption
from xforecast.skill._facts import SCORES, describe
from xforecast.skill.ensemble import sample_mean
from xforecast.skill.times import match_times

F = TypeVar("F", bound=Callable[..., Any])

Dims = str | Iterable[Hashable] | None
"""Dimensions to reduce: one, several, or None for all."""

Samples = Literal["mean", "each"]


def score(function: F) -> F:
    """Let a function of two matching DataArrays take whatever a user has, and describe what it gives."""

    @wraps(function)
    def wrapper(forecast: Any, observed: Any, *args: Any, **options: Any) -> Any:
        if isinstance(forecast, xr.Dataset) and isinstance(observed, xr.Dataset):
            return _each_variable(wrapper, forecast, observed, *args, **options)
        if isinstance(forecast, xr.Dataset):
            forecast = _like(forecast, observed)
        elif isinstance(observed, xr.Dataset):
            observed = _like(observed, forecast)
        forecast, observed = pair(forecast, observed)
        result = function(forecast, observed, *args, **options)
        if function.__name__ in SCORES:
            result = describe(result, function.__name__, forecast.attrs.get("units"), result.attrs.get("comment", ""))
        return result

    return cast(F, wrapper)


def _each_variable(
    function: Callable[..., Any], forecast: xr.Dataset, observed: xr.Dataset, *args: Any, **options: Any
) -> xr.Dataset:
    """The scores of the variables that both have; scores of several parts gain a dimension `variable`."""
    names = [name for name in forecast.data_vars if name in observed.data_vars]
    if not names:
        raise InvalidOption(
            "variables",
            f"{sorted(map(str, forecast.data_vars))} forecast, {sorted(map(str, observed.data_vars))} observed",
            "one at least in both",
            "rename them alike, or pass the variables themselves",
        )
    results = {name: function(forecast[name], observed[name], *args, **options) for name in names}
    if all(isinstance(result, xr.DataArray) for result in results.values()):
        return xr.Dataset(results)
    return xr.concat(list(results.values()), xr.DataArray(names, dims="variable", name="variable"))


def _like(data: xr.Dataset, array: Any) -> xr.DataArray:
    """The variable of a Dataset that has the name of an array, or is alone."""
    name = array.name if isinstance(array, xr.DataArray) else None
    return data[name] if name in data.data_vars else only_variable(data)


def pair(forecast: Any, observed: Any) -> tuple[xr.DataArray, xr.DataArray]:
    """Forecast and observations as DataArrays of which every shared coordinate is the same."""
    forecast, observed = _labelled(forecast, observed), _labelled(observed, forecast)
    if _needs_times(forecast, observed):
        observed = match_times(forecast, named_like(observed, forecast))
    if not set(observed.dims) <= set(forecast.dims):
        observed = named_like(observed, forecast, ("init", "lead", "time", "y", "x"))
    _no_more_dims(forecast, observed)
    _same_units(forecast, observed)
    _same_places(forecast, observed)
    forecast, observed = exactly(forecast, observed.reset_coords(drop=True))
    return forecast, observed


def _same_places(forecast: xr.DataArray, observed: xr.DataArray) -> None:
    """Refuse other rows or columns where coordinates beside the dimensions show them; xarray compares none of these."""
    for kind in ("y", "x"):
        dim = find_dimension(forecast, kind)
        if dim is None or dim not in observed.dims or (dim in forecast.coords and dim in observed.coords):
            continue
        mine, its = (axis_coordinate(array, dim, kind) for array in (forecast, observed))
        if mine is not None and its is not None and not np.array_equal(mine, its):
            raise _differing([str(dim)])


def _needs_times(forecast: xr.DataArray, observed: xr.DataArray) -> bool:
    """Whether observations lie over time and the forecast over leads."""
    time = find_dimension(observed, "time")
    if time is None or find_dimension(observed, "lead") is not None:
        return False
    if time not in forecast.dims:
        return find_coordinate(forecast, "lead") is not None
    return find_dimension(forecast, "lead") is not None and find_coordinate(forecast, "init") == time


def _no_more_dims(forecast: xr.DataArray, observed: xr.DataArray) -> None:
    """Refuse observations with dimensions that the forecast lacks."""
    extra = [dim for dim in observed.dims if dim not in forecast.dims]
    if not extra:
        return
    if find_coordinate(forecast, "lead") is not None and find_dimension(observed, "lead") is None:
        remedy = f"if {extra[0]!r} is their time axis, give it its dates: observed.assign_coords({extra[0]}=dates)"
    else:
        remedy = f"observed.mean({extra}), or observed.isel({keywords(dict.fromkeys(extra, 0))})"
    raise InvalidOption("observed", f"dimensions {observed.dims}", f"those of the forecast, {forecast.dims}", remedy)


def _same_units(forecast: xr.DataArray, observed: xr.DataArray) -> None:
    """Refuse kelvin beside degrees Celsius, and the like; mm/h and mm h-1 are names of the same."""
    found = [str(array.attrs["units"]) for array in (forecast, observed) if "units" in array.attrs]
    if len(found) < 2 or found[0] == found[1]:
        return
    if all(known(text) for text in found):
        if compatible(found[0], found[1]) and conversion(found[0], found[1]).is_identity:
            return
        remedy = "compare variables of the same quantity"
        if compatible(found[0], found[1]):
            ending = ", difference=True" if is_anomaly(observed, str(observed.name)) else ""
            convert = f"xforecast.cf.conversion({found[1]!r}, {found[0]!r}{ending})"
            remedy = f"{convert}(observed).assign_attrs(units={found[0]!r})"
        raise InvalidOption("units", f"{found[0]} and {found[1]}", "the same for both", remedy)


def _labelled(data: Any, other: Any) -> xr.DataArray:
    if isinstance(data, xr.DataArray):
        return data
    array = np.asarray(data) if isinstance(data, list | tuple | int | float) else data
    if isinstance(other, xr.DataArray) and array.shape == other.shape:
        return xr.DataArray(array, dims=other.dims)
    return xr.DataArray(array)


def exactly(*arrays: xr.DataArray) -> tuple[xr.DataArray, ...]:
    """The arrays, if the coordinates that they share are equal."""
    try:
        return xr.align(*arrays, join="exact", copy=False)
    except ValueError as error:
        differing = [
            str(dim)
            for dim in arrays[0].dims
            if any(dim in a.dims and not a[dim].equals(arrays[0][dim]) for a in arrays[1:])
        ]
        raise _differing(differing) from error


def _differing(dims: list[str]) -> InvalidOption:
    return InvalidOption(
        "coordinates",
        f"values or sizes of {', '.join(dims)} that differ",
        "the same in forecast, observed and weights",
        "select or regrid one to the other; mind the order of latitudes, and longitudes from 0 or from -180",
    )


def dims_of(array: xr.DataArray, dim: Dims) -> list[Hashable]:
    """The dimensions to reduce."""
    if dim is None:
        return list(array.dims)
    dims: list[Hashable] = [dim] if isinstance(dim, str) else list(dim)
    missing = [d for d in dims if d not in array.dims]
    if missing:
        raise InvalidOption(
            "dim", missing, f"some of {array.dims}", f"dim={[d for d in dims if d in array.dims] or list(array.dims)}"
        )
    return dims


def single(forecast: xr.DataArray, dim: Dims, samples: Samples) -> tuple[xr.DataArray, str]:
    """What is scored of an ensemble, and words for it: its mean, or each sample."""
    if samples not in ("mean", "each"):
        raise InvalidOption("samples", samples, '"mean" or "each"', 'samples="mean" scores the mean of the samples')
    sample = find_dimension(forecast, "sample")
    if sample is None or (forecast.sizes[sample] == 1 and samples == "mean"):
        return (forecast if sample is None else forecast.isel({sample: 0}, drop=True)), ""
    named = dim is not None and sample in ([dim] if isinstance(dim, str) else list(dim))
    if samples == "each" or named:
        return forecast, "of each sample"
    return sample_mean(forecast), "of the sample mean"
