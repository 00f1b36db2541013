"""Scores as curves: by lead, and by threshold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from xforecast.cf import find_dimension
from xforecast.errors import InvalidOption
from xforecast.plot.style import CYCLE, FAINT, INK, lead_numbers, new_axes, tidy, unit_words, units_words
from xforecast.skill import SCORES

__all__ = ["skill_by_lead", "skill_by_threshold"]

INTERVAL = {"estimate", "lower", "upper"}
Scores = Mapping[str, xr.DataArray | xr.Dataset] | xr.Dataset | xr.DataArray


class Curve(NamedTuple):
    """A score along one dimension, with the ends of its interval if it has one."""

    score: xr.DataArray
    lower: xr.DataArray | None = None
    upper: xr.DataArray | None = None


def skill_by_lead(scores: Scores, *, floor: float | None = 0.0, ax=None, title: str | None = None):
    """Curves of a score by lead, one for each forecast system, with their intervals.

    Parameters
    ----------
    scores : mapping of str to xarray.DataArray or Dataset
        A score with a ``lead`` dimension for each system; or the Dataset of `xforecast.skill.bootstrap`, which is drawn
        with its interval. A Dataset of scores, and a single score, are taken too.
    floor : float, optional
        Draws a line there.
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    title : str, optional
        Above the axes.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidOption
        A score has no lead dimension, or others besides it.

    Examples
    --------
    >>> import xarray as xr
    >>> score = xr.DataArray([0.9, 0.8], [("lead", [1, 2])], attrs={"long_name": "correlation", "units": "1"})
    >>> skill_by_lead({"persistence": score}).get_ylabel()
    'Correlation'
    """
    curves = _curves(scores, "lead")
    axis, units = new_axes(ax, 7, 4), ""
    for number, (name, curve) in enumerate(curves.items()):
        x, unit = lead_numbers(curve.score["lead"])
        units = units or unit
        _draw(axis, x, curve, name, number)
    if floor is not None:
        axis.axhline(floor, color=FAINT, lw=0.8, zorder=0)
    axis.set_xlabel(f"Lead ({units})" if units else "Lead", color=INK)
    if x.dtype.kind in "iu":
        axis.xaxis.get_major_locator().set_params(integer=True)
    _finish(axis, curves, title)
    return axis


def skill_by_threshold(scores: Scores, *, ax=None, title: str | None = None):
    """Curves of a score by threshold, such as the critical success index, one for each forecast system.

    Parameters
    ----------
    scores : mapping of str to xarray.DataArray or Dataset
        As for `skill_by_lead`, with a ``threshold`` dimension in place of the lead. Thresholds stand at even distances,
        as they are mostly spread over orders of magnitude.
    ax : matplotlib.axes.Axes, optional
        Where to draw.
    title : str, optional
        Above the axes.

    Returns
    -------
    matplotlib.axes.Axes

    Raises
    ------
    InvalidOption
        A score has no threshold dimension, or others besides it, or two differ in their thresholds.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from xforecast import skill
    >>> rain = xr.DataArray(np.arange(12.0).reshape(3, 4), dims=("y", "x"), attrs={"units": "mm h-1"})
    >>> axis = skill_by_threshold({"shifted": skill.csi(rain + 1, rain, [1, 5, 10])})
    >>> axis.get_xlabel(), axis.get_ylabel()
    ('Threshold (mm/h)', 'Critical success index')
    """
    curves = _curves(scores, "threshold")
    first = next(iter(curves.values())).score["threshold"]
    axis = new_axes(ax, 6, 4)
    for number, (name, curve) in enumerate(curves.items()):
        if not np.array_equal(curve.score["threshold"], first):
            found = f"{name}: {curve.score['threshold'].values}"
            remedy = "score both at the same thresholds, or draw them one by one"
            raise InvalidOption("scores", found, f"thresholds {first.values}", remedy)
        _draw(axis, np.arange(first.size), curve, name, number)
    axis.set_xticks(np.arange(first.size), [f"{value:g}" for value in first.values])
    unit = unit_words(str(first.attrs.get("units", "")))
    axis.set_xlabel(f"Threshold ({unit})" if unit else "Threshold", color=INK)
    _finish(axis, curves, title)
    return axis


def _curves(scores: Any, dim: str) -> dict[str, Curve]:
    """What to draw, by name."""
    if isinstance(scores, xr.DataArray):
        scores = {str(scores.name or ""): scores}
    elif isinstance(scores, xr.Dataset):
        scores = {"": scores} if set(scores.data_vars) >= INTERVAL else dict(scores.data_vars)
    if not isinstance(scores, Mapping) or not scores:
        found = f"an empty {type(scores).__name__}" if isinstance(scores, Mapping) else type(scores).__name__
        raise InvalidOption("scores", found, "scores by name", "{'persistence': skill.csi(...)}")
    return {str(name): _curve(str(name), score, dim) for name, score in scores.items()}


def _curve(name: str, score: Any, dim: str) -> Curve:
    if not isinstance(score, xr.Dataset | xr.DataArray):
        remedy = "xarray.DataArray(array, dims=...), or the result of a function of xforecast.skill"
        raise InvalidOption(f"scores[{name!r}]", type(score).__name__, "a labelled score", remedy)
    if dim == "lead" and (lead := find_dimension(score, "lead")) not in (None, "lead"):
        score = score.rename({lead: "lead"})
    if isinstance(score, xr.Dataset):
        if not set(score.data_vars) >= INTERVAL:
            found = sorted(map(str, score.data_vars))
            remedy = f"scores[{name!r}][variable], or all of it as scores="
            raise InvalidOption(f"scores[{name!r}]", found, f"{sorted(INTERVAL)}, as skill.bootstrap gives", remedy)
        curve = Curve(score["estimate"], score["lower"], score["upper"])
    else:
        curve = Curve(score)
    if curve.score.dims != (dim,):
        other = [str(d) for d in curve.score.dims if d != dim]
        remedy = f"score with dim={other}" if dim in curve.score.dims else f"score a forecast that has a {dim}"
        raise InvalidOption(f"scores[{name!r}]", f"dimensions {curve.score.dims}", f"{dim} alone", remedy)
    return curve


def _draw(axis, x: np.ndarray, curve: Curve, name: str, number: int) -> None:
    colour = CYCLE[number % len(CYCLE)]
    style = {"lw": 2.2, "marker": "o", "ms": 4} if number == 0 else {"lw": 1.5, "marker": "o", "ms": 2.5}
    if curve.lower is not None and curve.upper is not None:
        axis.fill_between(x, curve.lower.values, curve.upper.values, color=colour, alpha=0.15, lw=0)
    axis.plot(x, curve.score.values, label=name, color=colour, zorder=3 if number == 0 else 2, **style)


def _finish(axis, curves: dict[str, Curve], title: str | None) -> None:
    score = next(iter(curves.values())).score
    axis.set_ylabel(units_words(score), color=INK)
    facts = SCORES.get(str(score.name))
    if facts is not None and facts.range[0] == 0.0:
        axis.set_ylim(bottom=0.0)
    interval = next((curve.lower for curve in curves.values() if curve.lower is not None), None)
    if interval is not None and (words := str(interval.attrs.get("long_name", ""))).startswith("lower end of the "):
        axis.fill_between([], [], [], color=FAINT, alpha=0.4, lw=0, label=words.removeprefix("lower end of the "))
    tidy(axis, title=title, legend=list(curves) != [""])
