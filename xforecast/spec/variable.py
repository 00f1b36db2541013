"""A variable as a model sees it: its names, its units, and how its values become what the network sees."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from xforecast.errors import InvalidOption
from xforecast.spec.stored import build, decode, encode

__all__ = ["TRANSFORMS", "Climatology", "Transform", "Variable", "library_of"]


@dataclass(frozen=True)
class Transform:
    """A map of a skewed variable to one that is nearly symmetric, and back.

    Parameters
    ----------
    forward, inverse : callable
        Both take values, the transform's scale and the library of the values (numpy or torch). Values below the least
        that the transform can hold are raised to it.
    formula : str
        What people read in the printed spec, with a place for the scale.
    """

    forward: Callable[[Any, float, Any], Any]
    inverse: Callable[[Any, float, Any], Any]
    formula: str


TRANSFORMS = {
    "log1p": Transform(
        lambda values, scale, library: library.log1p(library.clip(values, 0, None) / scale),
        lambda values, scale, library: scale * library.expm1(library.clip(values, 0, None)),
        "log(1 + value / {scale:g})",
    ),
    "decibel": Transform(
        lambda values, scale, library: 10 * library.log10(library.clip(values, scale, None) / scale),
        lambda values, scale, library: library.where(values > 0, scale * 10 ** (values / 10), 0 * values),
        "10 log10(value / {scale:g}), 0 below",
    ),
}
"""Transforms by name. ``"log1p"``: log(1 + value / scale), negative values counting as 0, so that rates keep apart on
both sides of the scale. ``"decibel"``: 10 log10(value / scale), where all values up to the scale count as the
scale, and come back as 0."""


def library_of(values: Any) -> Any:
    """The module whose functions work on these values: numpy, or the library of a tensor."""
    name = type(values).__module__.partition(".")[0]
    return np if name in ("numpy", "builtins") else importlib.import_module(name)


@dataclass(frozen=True, eq=False, repr=False)
class Climatology:
    """The mean annual cycle that anomalies refer to.

    Parameters
    ----------
    base : tuple of str
        First and last year of the base period, such as ``("1951", "1980")``.
    values : numpy.ndarray
        Monthly means, January first, shape (12, y, x), in the variable's units; NaN where the
        training data had none.
    """

    base: tuple[str, str]
    values: np.ndarray

    def __post_init__(self):
        object.__setattr__(self, "base", tuple(str(year) for year in self.base))
        values = np.asarray(self.values, np.float32)
        if values.ndim != 3 or values.shape[0] != 12:
            raise InvalidOption(
                "Climatology.values", values.shape, "shape (12, y, x)", "xforecast.climatology.climatology(da).values"
            )
        object.__setattr__(self, "values", values)

    def to_dict(self) -> dict:
        """JSON-ready form."""
        return {"base": list(self.base), "values": encode(self.values)}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Climatology:
        """The inverse of `to_dict`."""
        return build(cls, stored, base=tuple(stored["base"]), values=decode(stored["values"]))

    def __repr__(self) -> str:
        return f"Climatology({self.base[0]}-{self.base[1]}, 12 months x {self.values.shape[1:]})"


@dataclass(frozen=True, eq=False, repr=False)
class Variable:
    """One variable as the model sees it.

    Parameters
    ----------
    name : str
        Short name, unique in the spec.
    units : str
        The model's units; data in any compatible unit are converted and converted back.
    standard_names : sequence of str
        CF standard names that identify it, the preferred one first.
    aliases : sequence of str
        Names that files commonly use, for data without a standard name.
    long_name : str
        What people call it.
    offset, scale : float
        Normalisation: the network sees ``(value - offset) / scale``, of the transformed value if there is a transform.
    transform : str, optional
        A name in `TRANSFORMS`, for a skewed variable such as rain rate.
    transform_scale : float
        The transform's scale, in ``units``.
    climatology : Climatology, optional
        When given, the network sees anomalies from it; absolute data have it removed on the way in
        and added on the way out.
    fill : float or "nearest" or None
        What stands for missing values: a number in the model's units (for a variable with a
        climatology, an anomaly), the nearest valid cell, or None to refuse missing values.
    valid_range : tuple of float, optional
        Physical limits of what the network sees, in ``units``; data beyond them are refused.
    statistics : tuple of float, optional
        Mean and standard deviation of the training data, in ``units``; data far from them warn.

    Examples
    --------
    >>> Variable("sst", "degC", ["sea_surface_temperature"], offset=20.0, scale=5.0)
    Variable(sst [degC], standard name sea_surface_temperature)
    >>> rain = Variable("rain", "mm/h", transform="log1p", transform_scale=0.5, scale=2.0)
    >>> rain
    Variable(rain [mm/h], log(1 + value / 0.5))
    >>> rain.to_physical(rain.to_network(np.array([0.0, 0.5, 20.0]))).round(6).tolist()
    [0.0, 0.5, 20.0]
    """

    name: str
    units: str
    standard_names: Sequence[str] = ()
    aliases: Sequence[str] = ()
    long_name: str = ""
    offset: float = 0.0
    scale: float = 1.0
    climatology: Climatology | None = None
    fill: float | str | None = None
    valid_range: tuple[float, float] | None = None
    statistics: tuple[float, float] | None = None
    transform: str | None = None
    transform_scale: float = 1.0

    def __post_init__(self):
        for sequence in ("standard_names", "aliases"):
            object.__setattr__(self, sequence, tuple(getattr(self, sequence)))
        for pair in ("valid_range", "statistics"):
            if getattr(self, pair) is not None:
                object.__setattr__(self, pair, tuple(float(value) for value in getattr(self, pair)))
        if not self.scale or not np.isfinite(self.scale):
            wanted = "a finite number other than 0"
            raise InvalidOption(f"scale of {self.name!r}", self.scale, wanted, "scale=1.0 leaves values as they are")
        if isinstance(self.fill, str) and self.fill != "nearest":
            wanted = "a number, 'nearest' or None"
            raise InvalidOption(f"fill of {self.name!r}", self.fill, wanted, "fill=None refuses missing values")
        self._check_transform()

    def _check_transform(self):
        if self.transform is None:
            return
        if self.transform not in TRANSFORMS:
            wanted = f"one of {', '.join(TRANSFORMS)}, or None"
            raise InvalidOption(f"transform of {self.name!r}", self.transform, wanted, "transform=None")
        if not (self.transform_scale > 0 and np.isfinite(self.transform_scale)):
            wanted = f"a positive number in {self.units}"
            raise InvalidOption(
                f"transform_scale of {self.name!r}", self.transform_scale, wanted, "transform_scale=1.0"
            )
        if self.climatology is not None:
            raise InvalidOption(
                f"transform of {self.name!r}", self.transform, "none for a variable with a climatology",
                "anomalies have either sign; leave one of the two out",
            )  # fmt: skip

    def to_network(self, values: Any) -> Any:
        """What the network sees in place of values in ``units``: transformed, then normalised.

        Parameters
        ----------
        values : numpy.ndarray or torch.Tensor
            Any shape; missing values stay missing.
        """
        if self.transform is not None:
            values = TRANSFORMS[self.transform].forward(values, self.transform_scale, library_of(values))
        return (values - self.offset) / self.scale

    def to_physical(self, values: Any) -> Any:
        """Values in ``units`` from what the network gave, the inverse of `to_network`; tensors keep their gradient."""
        values = values * self.scale + self.offset
        if self.transform is None:
            return values
        library = library_of(values)
        values = TRANSFORMS[self.transform].inverse(values, self.transform_scale, library)
        # Where a transform is steep, a small error of the network becomes an impossibly large value.
        return values if self.valid_range is None else library.clip(values, None, self.valid_range[1])

    @property
    def anomaly(self) -> bool:
        """Whether the network sees anomalies from a climatology."""
        return self.climatology is not None

    def to_dict(self) -> dict:
        """JSON-ready form."""
        stored = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        stored["climatology"] = self.climatology and self.climatology.to_dict()
        return {name: list(value) if isinstance(value, tuple) else value for name, value in stored.items()}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Variable:
        """The inverse of `to_dict`."""
        climatology = stored.get("climatology")
        return build(cls, stored, climatology=climatology and Climatology.from_dict(climatology))

    def __repr__(self) -> str:
        known_as = f", standard name {self.standard_names[0]}" if self.standard_names else ""
        anomaly = f", anomaly from {'-'.join(self.climatology.base)}" if self.climatology else ""
        formula = TRANSFORMS[self.transform].formula.format(scale=self.transform_scale) if self.transform else ""
        return f"Variable({self.name} [{self.units}]{known_as}{anomaly}{f', {formula}' if formula else ''})"
