"""Reductions that give the same for an array and for its chunks: sums that add up, and moments that merge."""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import partial, reduce
from typing import Any

import numpy as np
import xarray as xr

from xforecast.skill._pairs import exactly
from xforecast.skill._pieces import CACHED, pieces


def mean(
    *fields: xr.DataArray,
    dim: Sequence[Hashable],
    weights: xr.DataArray | None = None,
    of: Callable[..., np.ndarray] = np.positive,
) -> xr.DataArray:
    """Mean in float64 of a function of the fields, over what is not NaN; NaN where nothing is left."""
    fields = fields if weights is None else (*fields, weights)
    kernel = partial(_block_sums, of=of, weighted=weights is not None)
    sums = by_block(kernel, *fields, dim=dim, new={"sum": 2}).sum(dim)
    weight = sums.isel(sum=1)
    return sums.isel(sum=0) / weight.where(weight > 0)


def _block_sums(*arrays: Any, of: Callable[..., np.ndarray], weighted: bool) -> np.ndarray:
    """Sums of values and of weights: shape (2, *kept)."""
    *fields, kept = arrays
    shape = fields[0].shape
    sums = np.zeros((2, *shape[:kept]))
    axes = tuple(range(kept, len(shape)))
    for part in pieces(shape, CACHED):
        values = [field[part].astype(np.float64) for field in fields]
        weight = values.pop() if weighted else np.float64(1.0)
        value = of(*values)
        valid = ~(np.isnan(value) | np.isnan(weight))
        here = (slice(None), *part[:kept])
        sums[here] += np.where(valid, value * weight, 0.0).sum(axes), np.where(valid, weight, 0.0).sum(axes)
    return sums


def by_block(
    kernel: Callable[..., np.ndarray],
    *fields: xr.DataArray,
    dim: Sequence[Hashable],
    new: dict[str, int],
    dtype: Any = np.float64,
) -> xr.DataArray:
    """A kernel's result for every block of the dimensions `dim`.

    Parameters
    ----------
    kernel : callable
        ``kernel(*arrays, kept)`` of arrays of one shape, the first `kept` axes of which stay and the others
        are reduced; it returns an array of shape ``(*new, *kept)``.
    *fields : DataArray
        NumPy or dask, to be broadcast against each other; the coordinates that they share must be equal.
    dim : sequence of hashable
        Dimensions that the kernel reduces; one entry is left for each chunk, one in all for NumPy.
    new : dict
        Names and sizes of the dimensions that the kernel adds in front.
    dtype : dtype
        Type of the result.

    Returns
    -------
    DataArray
        With dimensions (*new, *kept, *dim).
    """
    fields = exactly(*fields)
    dims = list(dict.fromkeys(d for field in fields for d in field.dims))
    kept = [d for d in dims if d not in dim]
    order = kept + [d for d in dims if d in dim]
    own = [[d for d in order if d in field.dims] for field in fields]
    data = [field.transpose(*mine).data for field, mine in zip(fields, own, strict=True)]
    missing = [tuple(i for i, d in enumerate(order) if d not in mine) for mine in own]
    run = partial(_run, kernel=kernel, missing=missing, kept=len(kept), reduced=len(order) - len(kept))
    if any(field.chunks for field in fields):
        result = _lazily(run, data, own, [*new, *order], dict(new), [d for d in order if d in dim], dtype)
    else:
        result = run(*data)
    coords = {name: c for name, c in fields[0].coords.items() if set(c.dims) <= set(kept)}
    return xr.DataArray(result, dims=[*new, *order], coords=coords)


def _run(
    *arrays: np.ndarray,
    kernel: Callable[..., np.ndarray],
    missing: list[tuple[int, ...]],
    kept: int,
    reduced: int,
) -> np.ndarray:
    fields = np.broadcast_arrays(*(np.expand_dims(a, axes) for a, axes in zip(arrays, missing, strict=True)))
    result = kernel(*fields, kept)
    return result.reshape(*result.shape, *[1] * reduced)


def _lazily(
    run: Callable[..., np.ndarray],
    data: list[Any],
    own: list[list[Hashable]],
    out: list[Hashable],
    new: dict[str, int],
    reduced: list[Hashable],
    dtype: Any,
) -> Any:
    import dask.array as da

    arguments = [x for array, dims in zip(data, own, strict=True) for x in (da.asanyarray(array), tuple(dims))]
    return da.blockwise(
        run,
        tuple(out),
        *arguments,
        new_axes=new,
        adjust_chunks={d: (lambda size: 1) for d in reduced},
        dtype=dtype,
        meta=np.empty((0,) * len(out), dtype),
        align_arrays=True,
    )


def pearson(
    x: xr.DataArray, y: xr.DataArray, dim: Sequence[Hashable], weights: xr.DataArray | None = None
) -> xr.DataArray:
    """Pearson correlation over the pairs without NaN; NaN where fewer than two are left or one is constant."""
    return normalised(*moments(x, y, dim, weights))


def normalised(xx: xr.DataArray, yy: xr.DataArray, xy: xr.DataArray) -> xr.DataArray:
    """Product moment over the root of the squares', at most 1; NaN where a square is 0."""
    return (xy / (xx**0.5 * yy**0.5).where((xx > 0) & (yy > 0))).clip(-1.0, 1.0)


def total(terms: Iterable[xr.DataArray]) -> xr.DataArray:
    """The sum of arrays."""
    return reduce(operator.add, terms)


def moments(
    x: xr.DataArray, y: xr.DataArray, dim: Sequence[Hashable], weights: xr.DataArray | None
) -> tuple[xr.DataArray, xr.DataArray, xr.DataArray]:
    """Weighted sums of squares of x and y about their means and of their product, over pairs without NaN.

    Every block is centred on its own mean before blocks are merged, so that no digits are lost to a large
    mean.
    """
    fields = (x, y) if weights is None else (x, y, weights)
    block = by_block(_block_moments, *fields, dim=dim, new={"moment": 6})
    # Variables, not arrays: they have the same labels, and comparing these would take most of the time.
    weight, x_mean, y_mean, xx, yy, xy = (block.variable.isel(moment=k) for k in range(6))
    count = weight.sum(dim)
    count = count.where(count > 0)

    def about_all(block_mean: xr.Variable, squares: xr.Variable) -> tuple[xr.Variable, xr.Variable]:
        mean_of_all = (weight * block_mean).sum(dim) / count
        shift = block_mean - mean_of_all
        squares = (squares + weight * shift**2).sum(dim)
        rounding = count * (16 * np.finfo(np.float64).eps * mean_of_all) ** 2  # what rounding leaves of a constant
        return shift, squares.where(squares > rounding, 0.0).where(count.notnull())

    x_shift, xx = about_all(x_mean, xx)
    y_shift, yy = about_all(y_mean, yy)
    xy = (xy + weight * x_shift * y_shift).sum(dim)
    labels = block.isel(dict.fromkeys(("moment", *dim), 0), drop=True)
    return labels.copy(data=xx.data), labels.copy(data=yy.data), labels.copy(data=xy.data)


def _block_moments(x: np.ndarray, y: np.ndarray, *rest: Any) -> np.ndarray:
    """Weight, means and centred products of one block, merged from pieces: shape (6, *kept)."""
    *weights, kept = rest
    moments = np.zeros((6, *x.shape[:kept]))
    for part in pieces(x.shape, CACHED):
        here = (slice(None), *part[:kept])
        weight = weights[0][part] if weights else np.float64(1.0)
        _merge(moments[here], _piece_moments(x[part], y[part], weight, kept))
    return moments


def _piece_moments(x: np.ndarray, y: np.ndarray, weight: np.ndarray | np.float64, kept: int) -> np.ndarray:
    axes = tuple(range(kept, x.ndim))
    x, y = x.astype(np.float64), y.astype(np.float64)
    valid = ~(np.isnan(x) | np.isnan(y) | np.isnan(weight))
    w, x, y = (np.where(valid, values, 0.0) for values in (weight, x, y))
    total = w.sum(axes, keepdims=True)
    safe = np.where(total > 0, total, 1.0)
    x_mean, y_mean = ((w * values).sum(axes, keepdims=True) / safe for values in (x, y))
    x -= x_mean
    y -= y_mean
    products = [(w * a * b).sum(axes) for a, b in ((x, x), (y, y), (x, y))]
    return np.stack([np.squeeze(part, axes) for part in (total, x_mean, y_mean)] + products)


def _merge(moments: np.ndarray, more: np.ndarray) -> None:
    """Add the moments of further pairs to those that there are, in place (Chan, Golub & LeVeque, 1983)."""
    total = moments[0] + more[0]
    share = more[0] / np.where(total > 0, total, 1.0)
    x_shift, y_shift = more[1] - moments[1], more[2] - moments[2]
    lever = moments[0] * share
    moments[3:] += more[3:] + lever * np.stack([x_shift**2, y_shift**2, x_shift * y_shift])
    moments[1] += share * x_shift
    moments[2] += share * y_shift
    moments[0] = total
