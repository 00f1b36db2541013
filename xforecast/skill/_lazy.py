"""Functions of many small steps on lazy arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import xarray as xr

T = TypeVar("T", xr.DataArray, xr.Dataset)


def as_one_task(function: Callable[..., T], *arrays: xr.DataArray | None) -> T:
    """``function(*arrays)``, computed only when the result is, if one of the arrays is lazy.

    For small arrays and functions of many small steps, which would make a graph of thousands of tasks: here
    it is one. Shape and labels of the result must depend on those of the arrays alone.
    """
    if not any(array is not None and array.chunks for array in arrays):
        return function(*arrays)
    from dask import delayed
    from dask.array import from_delayed

    zeros = (None if array is None else array.copy(data=np.zeros(array.shape)) for array in arrays)
    template = function(*zeros)
    result = delayed(function)(*arrays)

    def later(field: xr.DataArray, values: Any) -> xr.DataArray:
        return field.copy(data=from_delayed(values.data, field.shape, field.dtype))

    if isinstance(template, xr.DataArray):
        return later(template, result)
    return template.assign({name: later(field, result[name]) for name, field in template.items()})
