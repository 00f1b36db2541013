"""Arrays and dataclasses as JSON, and back."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from xforecast.errors import CheckpointError

__all__ = ["build", "decode", "encode"]

T = TypeVar("T")


def encode(array: np.ndarray | None) -> dict | None:
    """An array of bool or of numbers as JSON-ready text; numbers are rounded to float32.

    Examples
    --------
    >>> stored = encode(np.array([[True, False]]))
    >>> stored["shape"], stored["dtype"], decode(stored)
    ([1, 2], 'bool', array([[ True, False]]))
    """
    if array is None:
        return None
    raw = np.packbits(array) if array.dtype == bool else array.astype("<f4")
    return {
        "shape": list(array.shape),
        "dtype": "bool" if array.dtype == bool else "float32",
        "base64": base64.b64encode(raw.tobytes()).decode("ascii"),
    }


def decode(stored: Mapping[str, Any] | None) -> np.ndarray | None:
    """The inverse of `encode`; the array is read-only."""
    if stored is None:
        return None
    raw = base64.b64decode(stored["base64"])
    shape = tuple(stored["shape"])
    if stored["dtype"] == "bool":
        size = int(np.prod(shape))
        array = np.unpackbits(np.frombuffer(raw, np.uint8), count=size).astype(bool).reshape(shape)
    else:
        array = np.frombuffer(raw, "<f4").astype(np.float32).reshape(shape)
    array.flags.writeable = False
    return array


def build(cls: type[T], stored: Mapping[str, Any], **converted: Any) -> T:
    """An instance of a dataclass from stored fields, strictly: an unknown field is an error.

    Parameters
    ----------
    cls : type
        A dataclass.
    stored : mapping
        Its fields as they were stored.
    **converted
        Fields that JSON cannot hold as they are, already converted.

    Raises
    ------
    CheckpointError
        A stored field that this version does not know.
    """
    names = {entry.name for entry in fields(cls)}  # type: ignore[arg-type]
    if unknown := sorted(set(stored) - names):
        raise CheckpointError(
            f"{cls.__name__}: found unknown fields {unknown}, wanted some of {sorted(names)}\n"
            "  -> the file was written by a newer version; upgrade xforecast"
        )
    return cls(**{**stored, **converted})
