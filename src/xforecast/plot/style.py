"""What all pictures share: matplotlib on demand, colours by quantity, words from attributes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xforecast.errors import require

__all__ = ["Scale", "date_words", "pyplot", "scale_of", "units_words"]

INK = "#1f2933"
OBSERVED = "#1f2933"
FORECAST = "#b8322a"
FAINT = "#9aa5b1"
CYCLE = ("#b8322a", "#2b6cb0", "#2f855a", "#b7791f", "#6b46c1", "#4a5568")


def pyplot():
    """`matplotlib.pyplot`, or the pip line that installs it."""
    require("matplotlib", extra="plot", purpose="drawing")
    import matplotlib.pyplot as plt

    return plt


@dataclass(frozen=True)
class Scale:
    """Colours of a quantity.

    Parameters
    ----------
    colours : str
        A matplotlib colour map.
    limits : tuple of float, optional
        Fixed ends; otherwise from the data.
    symmetric : bool
        Whether the ends lie evenly about zero.
    """

    colours: str
    limits: tuple[float, float] | None = None
    symmetric: bool = False


SCALES = {
    "anomaly": Scale("RdBu_r", symmetric=True),
    "sea_surface_temperature": Scale("RdYlBu_r"),
}


def scale_of(array: xr.DataArray) -> Scale:
    """The scale of a variable, by its standard name."""
    name = str(array.attrs.get("standard_name", ""))
    if name.endswith("_anomaly"):
        return SCALES["anomaly"]
    return SCALES.get(name, Scale("viridis"))


def colour_limits(scale: Scale, values: np.ndarray) -> dict[str, float]:
    """Ends of the colour bar: round numbers that hold 99 % of the values."""
    if scale.limits is not None:
        return {"vmin": scale.limits[0], "vmax": scale.limits[1]}
    finite = values[np.isfinite(values)]
    if not finite.size:
        return {"vmin": 0.0, "vmax": 1.0}
    if scale.symmetric:
        reach = max(_round_up(float(np.percentile(np.abs(finite), 99.5))), 0.5)
        return {"vmin": -reach, "vmax": reach}
    low, high = np.percentile(finite, [0.5, 99.5])
    return {"vmin": float(low), "vmax": float(high) if high > low else float(low) + 1.0}


def _round_up(value: float) -> float:
    return float(np.ceil(value * 2) / 2)


def units_words(array: xr.DataArray) -> str:
    """Name and unit for an axis or a colour bar, such as ``"Sea surface temperature (degC)"``."""
    name = array.attrs.get("long_name") or str(array.attrs.get("standard_name", array.name or "")).replace("_", " ")
    units = {"degC": "°C", "celsius": "°C", "1": ""}.get(array.attrs.get("units", ""), array.attrs.get("units", ""))
    return f"{name} ({units})" if units else str(name)


def date_words(time: Any, *, monthly: bool) -> str:
    """``"Jun 2015"`` or ``"2015-06-01 12:30"``."""
    stamp: Any = time.item() if isinstance(time, xr.DataArray) and time.dtype == object else np.asarray(time)[()]
    if isinstance(stamp, np.datetime64):
        stamp = stamp.astype("datetime64[s]").item()
    if monthly:
        return f"{stamp.strftime('%b')} {stamp.year}"
    return stamp.strftime("%Y-%m-%d %H:%M")


def is_monthly(array: xr.DataArray | xr.Dataset) -> bool:
    """Whether the leads of a forecast count months."""
    return str(array["lead"].attrs.get("units", "")).startswith("month")
