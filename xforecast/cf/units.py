"""Linear conversion between CF units, through the registry of cf-xarray (pint).

Files spell units in many ways, and some common spellings mean something else to a unit parser
(``C`` is the coulomb); the table `ALIASES` holds those few.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

__all__ = ["Linear", "compatible", "conversion", "known"]

ALIASES = {
    # temperature
    "c": "degC",
    "°c": "degC",
    "degc": "degC",
    "deg c": "degC",
    "deg_c": "degC",
    "degree c": "degC",
    "degree_c": "degC",
    "degrees c": "degC",
    "degrees_c": "degC",
    "celsius": "degC",
    "degree celsius": "degC",
    "degree_celsius": "degC",
    "degrees celsius": "degC",
    "degrees_celsius": "degC",
    "k": "kelvin",
    "kelvin": "kelvin",
    "deg k": "kelvin",
    "degrees_k": "kelvin",
    "degk": "kelvin",
    "f": "degF",
    "degf": "degF",
    # reflectivity, which no linear map connects with anything else
    "dbz": "dBZ",
    "db z": "dBZ",
    # rain rate; one kilogram of water on a square metre is one millimetre
    "mm/h": "mm hour-1",
    "mm/hr": "mm hour-1",
    "mm h-1": "mm hour-1",
    "mm hr-1": "mm hour-1",
    "mm/hour": "mm hour-1",
    "mm/day": "mm day-1",
    "mm/d": "mm day-1",
    "mm/s": "mm s-1",
    "kg m-2 s-1": "mm s-1",
    "kg/m2/s": "mm s-1",
    "kg m**-2 s**-1": "mm s-1",
    "kg m^-2 s^-1": "mm s-1",
    "kg/(m^2 s)": "mm s-1",
    "kg m-2": "mm",
    "kg/m2": "mm",
    # numbers without a unit
    "": "1",
    "1": "1",
    "-": "1",
    "none": "1",
    "unitless": "1",
    "dimensionless": "1",
}


class Linear(NamedTuple):
    """``converted = value * scale + offset``.

    Examples
    --------
    >>> conversion("K", "degC").inverse()
    Linear(scale=1.0, offset=273.15)
    """

    scale: float
    offset: float

    @property
    def is_identity(self) -> bool:
        """Whether nothing changes."""
        return self.scale == 1.0 and self.offset == 0.0

    def __call__(self, values):
        """Apply to anything that multiplies and adds, lazily where that is lazy."""
        return values if self.is_identity else values * self.scale + self.offset

    def inverse(self) -> Linear:
        """The map back."""
        return Linear(1.0 / self.scale, -self.offset / self.scale + 0.0)


def _canonical(units: str) -> str:
    spelled = " ".join(units.split())
    return ALIASES.get(spelled.lower(), spelled)


@lru_cache(maxsize=256)
def _parse(units: str):
    from cf_xarray.units import units as registry

    return registry.Unit(_canonical(units))


def known(units: str) -> bool:
    """Whether the unit can be parsed.

    Examples
    --------
    >>> known("degrees C"), known("furlongs per moon")
    (True, False)
    """
    try:
        _parse(units)
    except Exception:  # pint and its parsers raise a dozen unrelated types
        return False
    return True


def compatible(found: str, wanted: str) -> bool:
    """Whether values in one unit can be converted to the other by a linear map.

    Examples
    --------
    >>> compatible("K", "degC"), compatible("kg m-2 s-1", "mm/h"), compatible("m", "degC")
    (True, True, False)
    """
    if _canonical(found) == _canonical(wanted):
        return True
    if not (known(found) and known(wanted) and _parse(found).is_compatible_with(_parse(wanted))):
        return False
    origin, one, two = _converted(found, wanted)
    return abs(two - 2 * one + origin) <= 1e-9 * max(abs(origin), abs(one), abs(two))  # not for decibels


def _converted(found: str, wanted: str) -> tuple[float, float, float]:
    """The values 0, 1 and 2 in the other unit."""
    from cf_xarray.units import units as registry

    origin, one, two = (
        float(registry.Quantity(value, _parse(found)).to(_parse(wanted)).magnitude) for value in (0.0, 1.0, 2.0)
    )
    return origin, one, two


@lru_cache(maxsize=256)
def conversion(found: str, wanted: str, *, difference: bool = False) -> Linear:
    """The linear map from one unit to another.

    Parameters
    ----------
    found, wanted : str
        Units, in any usual spelling; they must be `compatible`.
    difference : bool, default False
        Convert differences (anomalies, errors): a difference of 1 K is one of 1 degC.

    Returns
    -------
    Linear
        Call it on values: numpy, dask or xarray.

    Examples
    --------
    >>> conversion("degC", "K")(20.0)
    293.15
    >>> conversion("degC", "K", difference=True)(20.0)
    20.0
    """
    if _canonical(found) == _canonical(wanted):
        return Linear(1.0, 0.0)
    origin, one, _ = _converted(found, wanted)
    # Rounding keeps 274.15 - 273.15 at exactly 1.
    scale = float(f"{one - origin:.12g}")
    return Linear(scale, 0.0 if difference else origin)
