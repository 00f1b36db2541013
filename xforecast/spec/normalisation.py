"""Values in the spec's units become what the network sees, and what the network gives becomes values again."""

from __future__ import annotations

import numpy as np

from xforecast.errors import InvalidOption
from xforecast.spec.dataspec import DataSpec
from xforecast.spec.variable import Variable

__all__ = ["normalise", "restore"]


def normalise(x: np.ndarray, spec: DataSpec) -> np.ndarray:
    """What the network sees: missing values filled, variables transformed and normalised.

    Parameters
    ----------
    x : numpy.ndarray
        Shape (..., y, x, channel), the spec's variables in their units, then calendar channels, which stay as they are.
    spec : DataSpec
        Has the rule of each variable.

    Returns
    -------
    numpy.ndarray
        A new one of the same shape, float32.

    Raises
    ------
    InvalidOption
        Missing values of a variable that has no rule for them.

    Examples
    --------
    >>> from xforecast.spec import Grid
    >>> sst = Variable("sst", "degC", offset=20.0, scale=5.0, fill=20.0)
    >>> spec = DataSpec([sst], Grid("pixel", (1, 2)), "1 month", history=1, horizon=1)
    >>> x = np.array([25.0, np.nan]).reshape(1, 1, 1, 2, 1)
    >>> normalise(x, spec).ravel().tolist(), restore(normalise(x, spec)[:, None], x, spec).ravel().tolist()
    ([1.0, 0.0], [25.0, nan])
    """
    out = np.array(x, dtype=np.float32, order="C")
    for channel, variable in enumerate(spec.variables):
        values = out[..., channel]
        _fill(values, variable)
        if spec.mask is not None and isinstance(variable.fill, float | int):
            values[..., ~spec.mask] = variable.fill
        values[...] = variable.to_network(values)
    return out


def restore(network_out: np.ndarray, x: np.ndarray, spec: DataSpec) -> np.ndarray:
    """The inverse of `normalise` for the targets: values in the spec's units, with missing values put back.

    Parameters
    ----------
    network_out : numpy.ndarray
        What the network gave, shape (init, sample, lead, y, x, target).
    x : numpy.ndarray
        The histories before `normalise`, shape (init, history, y, x, channel).
    spec : DataSpec
        Has the rule of each variable.

    Returns
    -------
    numpy.ndarray
        A new one of the shape of ``network_out``, float32; NaN where the history of that variable never has a value,
        and where the training data had none.
    """
    out = np.array(network_out, np.float32)
    names = [variable.name for variable in spec.variables]
    for channel, variable in enumerate(spec.target_variables):
        values = out[..., channel]
        values[...] = variable.to_physical(values)
        absent = np.isnan(x[..., names.index(variable.name)]).all(axis=1)
        if spec.mask is not None:
            absent |= ~spec.mask
        values[np.broadcast_to(absent[:, None, None], values.shape)] = np.nan
    return out


def _fill(values: np.ndarray, variable: Variable) -> None:
    """Fill missing values in place, by the variable's rule."""
    missing = np.isnan(values)
    if not missing.any():
        return
    if variable.fill is None:
        found = f"{missing.mean():.1%} missing"
        raise InvalidOption(f"values of {variable.name!r}", found, "no missing values", "fill them first")
    if variable.fill != "nearest":
        values[missing] = variable.fill
        return
    shape = (-1, *values.shape[-2:])
    for field, holes in zip(values.reshape(shape), missing.reshape(shape), strict=True):
        if holes.all():
            field[...] = variable.to_physical(np.zeros(()))
        elif holes.any():
            field[...] = _nearest_valid(field, holes)


def _nearest_valid(field: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """Each hole takes the value of the nearest cell that has one."""
    from scipy.ndimage import distance_transform_edt  # importing the package must stay light

    rows, columns = distance_transform_edt(holes, return_distances=False, return_indices=True)
    return field[rows, columns]
