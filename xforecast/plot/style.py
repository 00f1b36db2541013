"""What all pictures share: matplotlib on demand, colours by quantity, words from attributes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from fnmatch import fnmatchcase
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xforecast.cf import units
from xforecast.errors import require

__all__ = ["RULES", "Rule", "Scale", "colouring", "date_words", "in_scale", "pyplot", "scale_of", "tidy", "units_words"]

INK = "#1f2933"
OBSERVED = "#1f2933"
FORECAST = "#b8322a"
FAINT = "#9aa5b1"
MISSING = "#d9d4cc"
CYCLE = ("#b8322a", "#2b6cb0", "#2f855a", "#b7791f", "#6b46c1", "#4a5568")
BANDS = 14
"""Most bands of colour where a scale has no breaks of its own."""


def pyplot():
    """`matplotlib.pyplot`, or the pip line that installs it."""
    require("matplotlib", extra="plot", purpose="drawing")
    import matplotlib.pyplot as plt

    return plt


def new_axes(ax, width: float, height: float):
    """The axes given, or those of a new figure of this size in inches."""
    return pyplot().subplots(figsize=(width, height), layout="constrained")[1] if ax is None else ax


def tidy(axis, *, title: str | None = None, legend: bool = True) -> None:
    """The look of curves: no box, small labels, a quiet legend."""
    axis.spines[["top", "right"]].set_visible(False)
    axis.tick_params(labelsize=9, colors=INK)
    if title:
        axis.set_title(title, fontsize=11, color=INK)
    if legend and axis.get_legend_handles_labels()[1]:
        axis.legend(frameon=False, fontsize=9, labelcolor=INK)


# ------------------------------------------------------------------ colours


@dataclass(frozen=True)
class Scale:
    """Colours of a quantity.

    Parameters
    ----------
    colours : str or tuple of str
        A matplotlib colour map, or a colour for each band between the breaks and, if there is one more,
        for what lies beyond.
    breaks : tuple of float
        Ends of the bands; otherwise round numbers that hold the data.
    units : str, optional
        Unit of the breaks; fields are converted to it.
    limits : tuple of float, optional
        Ends of a scale without bands.
    symmetric : bool
        Whether the ends lie evenly about zero.
    under : str, optional
        Colour of what lies below the first break.
    """

    colours: str | tuple[str, ...]
    breaks: tuple[float, ...] = ()
    units: str | None = None
    limits: tuple[float, float] | None = None
    symmetric: bool = False
    under: str | None = None


class Rule(NamedTuple):
    """Which variables a scale is for: by standard name, else by their own name; * stands for anything."""

    scale: Scale
    standard_names: tuple[str, ...] = ()
    names: tuple[str, ...] = ()


# The breaks and colours in which SEVIR's authors and the nowcasting papers show VIL.
VIL_COLOURS = (
    "#4d4d4d", "#28be28", "#199619", "#0a690a", "#0a4b0a", "#f5f500", "#edac00", "#f06e00", "#a00000", "#e700ff",
)  # fmt: skip
VIL_CODES = (0.0, 16.0, 31.0, 59.0, 74.0, 100.0, 133.0, 160.0, 181.0, 219.0, 255.0)
VIL_MASSES = (0.0, 0.15, 0.26, 0.53, 0.78, 1.5, 3.5, 7.1, 12.0, 32.0, 80.0)
RAIN_COLOURS = (
    "#d6e9f5", "#a9cfe8", "#6aa9d6", "#3079bd", "#174a92", "#f7d948", "#f59b30", "#dc3d2d", "#931a6e", "#4b0f4d",
)  # fmt: skip
RAIN_RATES = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)

RULES = (
    Rule(Scale("RdBu_r", symmetric=True), ("*_anomaly",), ("ssta", "*anomaly")),
    Rule(Scale("RdYlBu_r"), ("sea_surface_temperature", "surface_temperature"), ("sst", "tos")),
    Rule(
        Scale(RAIN_COLOURS, RAIN_RATES, "mm h-1", under="#f7f7f5"),
        ("rainfall_rate", "rainfall_flux", "precipitation_flux", "lwe_precipitation_rate"),
        ("rain_rate", "precipitation_rate"),
    ),
    Rule(
        Scale("ChaseSpectral", tuple(np.arange(5.0, 66.0, 5.0)), "dBZ", under="#f7f7f5"),
        ("equivalent_reflectivity_factor",),
        ("dbz", "reflectivity"),
    ),
    Rule(Scale(VIL_COLOURS, VIL_CODES, "1"), names=("vil", "vil_code")),
    Rule(Scale(VIL_COLOURS, VIL_MASSES, "kg m-2"), names=("vil",)),
    Rule(Scale("PuBu", tuple(np.arange(11) / 10), "1"), ("probability*",), ("*probability",)),
    Rule(Scale("Greys"), ("*brightness_temperature",), ("ir069", "ir107")),
    Rule(Scale("gray", limits=(0.0, 1.0)), names=("frames", "vis")),
)
OTHERWISE = Scale("viridis")


def scale_of(array: xr.DataArray) -> Scale:
    """The scale of a variable: the first rule of which a name and the units fit.

    Examples
    --------
    >>> scale_of(xr.DataArray(0.0, name="vil", attrs={"units": "1"})).breaks[-1]
    255.0
    """
    standard_name, name = str(array.attrs.get("standard_name", "")), str(array.name or "").lower()
    for rule in RULES:
        known = [fnmatchcase(standard_name, pattern) for pattern in rule.standard_names]
        known += [fnmatchcase(name, pattern) for pattern in rule.names if not standard_name]
        if any(known) and _fits(array, rule.scale):
            return rule.scale
    return OTHERWISE


def _fits(array: xr.DataArray, scale: Scale) -> bool:
    found = array.attrs.get("units")
    return scale.units is None or found is None or units.compatible(str(found), scale.units)


def in_scale(array: xr.DataArray, scale: Scale) -> xr.DataArray:
    """The array in the units of its scale."""
    found = str(array.attrs.get("units", ""))
    if scale.units is None or not found or found == scale.units:
        return array
    return units.conversion(found, scale.units)(array).assign_attrs(array.attrs, units=scale.units)


def colouring(scale: Scale, values: np.ndarray) -> dict[str, Any]:
    """``cmap`` and ``norm`` for matplotlib."""
    from matplotlib.colors import BoundaryNorm, ListedColormap, Normalize

    if scale.limits is not None:
        return {"cmap": _colour_map(str(scale.colours)), "norm": Normalize(*scale.limits)}
    breaks = scale.breaks or _round_breaks(values, scale.symmetric)
    bands = len(breaks) - 1
    extend: Any = "both"
    if isinstance(scale.colours, tuple):
        extend = "max" if len(scale.colours) > bands else "neither"
    elif scale.breaks:
        extend = "max" if scale.under else "neither"
    size = bands + {"neither": 0, "max": 1, "both": 2}[extend]
    listed = isinstance(scale.colours, tuple)
    colours: Any = ListedColormap(scale.colours) if listed else _colour_map(str(scale.colours)).resampled(size)
    if scale.under:
        colours = colours.with_extremes(under=scale.under)
    return {"cmap": colours, "norm": BoundaryNorm(breaks, size, extend=extend)}


def _colour_map(name: str):
    """matplotlib's, or cmweather's where it is installed."""
    import matplotlib as mpl

    if name == "ChaseSpectral" and find_spec("cmweather") is None:
        name = "turbo"
    elif name == "ChaseSpectral":
        import cmweather  # noqa: F401 - registers its maps with matplotlib
    return mpl.colormaps[name]


def _round_breaks(values: np.ndarray, symmetric: bool) -> tuple[float, ...]:
    """Round numbers that hold 99 % of the values."""
    from matplotlib.ticker import MaxNLocator

    finite = values[np.isfinite(values)]
    low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
    if symmetric:
        high = max(abs(low), abs(high), 1e-6)
        low = -high
    elif high <= low:
        high = low + 1.0
    locator = MaxNLocator(BANDS, steps=[1, 2, 2.5, 5, 10], symmetric=symmetric)
    return tuple(np.round(locator.tick_values(float(low), float(high)), 10).tolist())


# ------------------------------------------------------------------ words


def units_words(array: xr.DataArray) -> str:
    """Name and unit for an axis or a colour bar, such as ``"Sea surface temperature (°C)"``."""
    name = array.attrs.get("long_name") or str(array.attrs.get("standard_name", array.name or "")).replace("_", " ")
    unit = unit_words(str(array.attrs.get("units", "")))
    name = str(name)[:1].upper() + str(name)[1:]
    return f"{name} ({unit})" if unit else name


def unit_words(unit: str) -> str:
    """A CF unit as people write it.

    Examples
    --------
    >>> unit_words("degC"), unit_words("mm h-1"), unit_words("kg m-2")
    ('°C', 'mm/h', 'kg/m²')
    """
    return {"degC": "°C", "celsius": "°C", "degree_Celsius": "°C", "1": "", "mm h-1": "mm/h", "mm/hr": "mm/h",
            "kg m-2": "kg/m²", "kg m-2 s-1": "kg/m²/s", "m s-1": "m/s"}.get(unit, unit)  # fmt: skip


def date_words(time: Any, *, monthly: bool) -> str:
    """``"Jun 2015"`` or ``"2015-06-01 12:30"``."""
    stamp = _stamp(time)
    if monthly:
        return f"{stamp.strftime('%b')} {stamp.year}"
    return stamp.strftime("%Y-%m-%d %H:%M:%S" if stamp.second else "%Y-%m-%d %H:%M")


def valid_words(time: Any, init: Any, *, monthly: bool) -> str:
    """The date of a lead, without the day where it is that of the start."""
    if monthly or init is None:
        return date_words(time, monthly=monthly)
    stamp, start = _stamp(time), _stamp(init)
    same = (stamp.year, stamp.month, stamp.day) == (start.year, start.month, start.day)
    return stamp.strftime("%H:%M" if same else "%d %b %H:%M")


def _stamp(time: Any) -> Any:
    stamp: Any = time.item() if isinstance(time, xr.DataArray) and time.dtype == object else np.asarray(time)[()]
    return stamp.astype("datetime64[s]").item() if isinstance(stamp, np.datetime64) else stamp


def is_monthly(lead: xr.DataArray) -> bool:
    """Whether leads count months, or dates are a month apart."""
    if is_dated(lead):
        step = (lead.values[-1] - lead.values[0]) / max(lead.size - 1, 1)
        return lead.size > 1 and step / (np.timedelta64(1, "D") if lead.dtype.kind == "M" else timedelta(1)) > 27
    return str(lead.attrs.get("units", "")).startswith("mon")


def is_dated(lead: xr.DataArray) -> bool:
    """Whether what stands for the leads are the dates of a record."""
    return lead.dtype.kind in "MO"


def lead_numbers(lead: xr.DataArray) -> tuple[np.ndarray, str]:
    """Leads as numbers for an axis, and their unit.

    Examples
    --------
    >>> lead_numbers(xr.DataArray(np.array([5, 10], "timedelta64[m]").astype("timedelta64[ns]"), dims="lead"))
    (array([ 5., 10.]), 'minutes')
    """
    if lead.dtype.kind != "m":
        return lead.values, str(lead.attrs.get("units", ""))
    minutes = lead.values / np.timedelta64(1, "m")
    longest = minutes.max() if minutes.size else 0.0
    for length, name in ((1440.0, "days"), (60.0, "hours")):
        if longest > 3 * length:
            return minutes / length, name
    return minutes, "minutes"


STEPS = ((86400, "d"), (3600, "h"), (60, "min"), (1, "s"))
"""Units of leads, the first of which a lead has three."""


def lead_words(lead: xr.DataArray) -> str:
    """``"3 months ahead"`` or ``"+30 min"``."""
    if is_dated(lead):
        return ""
    if lead.dtype.kind == "m":
        seconds = float(lead.values / np.timedelta64(1, "s"))
        size, unit = next((size, unit) for size, unit in STEPS if abs(seconds) >= size * 3 or size == 1)
        if not seconds:
            unit = "min"
        if unit == "h" and seconds % 3600:
            size, unit = 60, "min"
        return f"{seconds / size:+g} {unit}".replace("-", "\N{MINUS SIGN}")
    if is_monthly(lead):
        return f"{int(lead)} month{'' if int(lead) == 1 else 's'} ahead"
    return f"+{lead.item():g} {lead.attrs.get('units', '')}".strip()
