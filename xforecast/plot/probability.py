"""How good probabilities are: reliability, ranks of the observation, relative operating characteristic."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.plot.style import CYCLE, FAINT, FORECAST, INK, new_axes, tidy, unit_words

__all__ = ["rank_diagram", "reliability_diagram", "roc_curve"]

Diagrams = Mapping[str, xr.Dataset] | xr.Dataset


def reliability_diagram(diagrams: Diagrams, *, ax=None, title: str | None = None):
    """How often an event happened against the probability that it was given, with the number of cases above.

    Parameters
    ----------
    diagrams : xarray.Dataset or mapping of str to xarray.Dataset
        From `xforecast.skill.reliability`; a dimension ``threshold`` gives a curve each.
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
        The Dataset is not that of `xforecast.skill.reliability`, or has further dimensions.

    Examples
    --------
    >>> import xarray as xr
    >>> from xforecast import skill
    >>> probability, event = (xr.DataArray(x, dims="x") for x in ([0.1, 0.2, 0.9, 1.0], [0.0, 1.0, 1.0, 1.0]))
    >>> axis = reliability_diagram(skill.reliability(probability, event, bins=5))
    >>> axis.get_xlabel(), axis.get_ylabel()
    ('Forecast probability', 'Observed frequency')
    """
    curves = _curves(diagrams, "forecast_probability", ("observed_frequency", "mean_forecast", "cases"))
    axis = new_axes(ax, 5, 5.2)
    strip = axis.inset_axes((0.0, 1.05, 1.0, 0.16), sharex=axis)
    for number, (name, diagram) in enumerate(curves.items()):
        colour = CYCLE[number % len(CYCLE)]
        some = diagram["cases"].values > 0
        x, y = diagram["mean_forecast"].values[some], diagram["observed_frequency"].values[some]
        axis.plot(x, y, color=colour, lw=1.8, marker="o", ms=4.5, label=name, clip_on=False)
        happened = float((diagram["observed_frequency"] * diagram["cases"]).sum() / diagram["cases"].sum())
        axis.axhline(happened, color=colour, lw=0.9, ls=":", zorder=0)
        edges = np.linspace(0, 1, diagram["cases"].size + 1)
        strip.stairs(diagram["cases"].values, edges, color=colour, lw=1.3, fill=len(curves) == 1, alpha=0.8)
    axis.plot([0, 1], [0, 1], color=FAINT, lw=1, zorder=0, label="reliable")
    axis.plot([], [], color=FAINT, lw=0.9, ls=":", label="frequency over all cases")
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_xlabel("Forecast probability", color=INK)
    axis.set_ylabel("Observed frequency", color=INK)
    tidy(axis)
    strip.set_yscale("log")
    least = min(float(diagram["cases"].where(diagram["cases"] > 0).min()) for diagram in curves.values())
    strip.set_ylim(bottom=least / 4)
    strip.set_ylabel("cases", fontsize=9, color=INK)
    strip.tick_params(labelbottom=False, labelsize=8, colors=INK)
    strip.minorticks_off()
    tidy(strip, title=title, legend=False)
    return axis


def rank_diagram(counts: xr.DataArray, *, ax=None, title: str | None = None):
    """How often the observation has each rank among the samples, beside the flat histogram of a reliable ensemble.

    Parameters
    ----------
    counts : xarray.DataArray
        From `xforecast.skill.rank_histogram`.
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
        There is no dimension ``rank``, or others besides it.

    Examples
    --------
    >>> import xarray as xr
    >>> from xforecast import skill
    >>> forecast = xr.DataArray([[0.0, 2.0], [0.0, 1.0]], dims=("x", "sample"))
    >>> axis = rank_diagram(skill.rank_histogram(forecast, xr.DataArray([3.0, 0.5], dims="x")))
    >>> len(axis.patches)
    3
    """
    if not isinstance(counts, xr.DataArray) or counts.dims != ("rank",):
        found = f"dimensions {counts.dims}" if isinstance(counts, xr.DataArray) else type(counts).__name__
        raise InvalidOption(
            "counts",
            found,
            "the counts along rank that skill.rank_histogram gives",
            "xforecast.skill.rank_histogram(forecast, observed) gives them; with other dimensions, score over them too",
        )
    axis = new_axes(ax, 5, 3.5)
    share = counts.values / max(float(counts.sum()), 1e-300)
    ranks = np.arange(1, counts.size + 1)
    axis.bar(ranks, share, width=0.9, color=FORECAST, alpha=0.85)
    axis.axhline(1 / counts.size, color=INK, lw=1, ls="--", label="reliable ensemble")
    axis.set_xlabel("Rank of the observation among the samples", color=INK)
    axis.set_ylabel("Relative frequency", color=INK)
    axis.set_xlim(0.4, counts.size + 0.6)
    if counts.size <= 12:
        axis.set_xticks(ranks)
    # room for the legend above the bars
    axis.set_ylim(0, 1.22 * max(float(np.nanmax(share)), 1 / counts.size))
    tidy(axis, title=title)
    return axis


def roc_curve(curves: Diagrams, *, ax=None, title: str | None = None):
    """Detections against false detections, by the probability that warns, with the area under the curve.

    Parameters
    ----------
    curves : xarray.Dataset or mapping of str to xarray.Dataset
        From `xforecast.skill.roc`; a dimension ``threshold`` gives a curve each.
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
        The Dataset is not that of `xforecast.skill.roc`, or has further dimensions.

    Examples
    --------
    >>> import xarray as xr
    >>> from xforecast import skill
    >>> probability, event = (xr.DataArray(x, dims="x") for x in ([0.1, 0.6, 0.4, 0.9], [0.0, 0.0, 1.0, 1.0]))
    >>> roc_curve(skill.roc(probability, event)).get_legend().get_texts()[0].get_text()
    'area 0.75'
    """
    found = _curves(curves, "probability", ("pod", "pofd", "area"))
    axis = new_axes(ax, 4.8, 4.5)
    for number, (name, curve) in enumerate(found.items()):
        label = f"{name}, area {float(curve['area']):.2f}".removeprefix(", ")
        style = {"color": CYCLE[number % len(CYCLE)], "lw": 1.8, "marker": "o", "ms": 3.5, "clip_on": False}
        axis.plot(curve["pofd"], curve["pod"], label=label, **style)
    axis.plot([0, 1], [0, 1], color=FAINT, lw=1, zorder=0, label="no skill")
    axis.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    axis.set_xlabel("Probability of false detection", color=INK)
    axis.set_ylabel("Probability of detection", color=INK)
    tidy(axis, title=title)
    return axis


def _source(dim: str) -> str:
    """The function that gives what is drawn along a dimension."""
    return f"xforecast.skill.{'roc' if dim == 'probability' else 'reliability'}"


def _curves(diagrams: Diagrams, dim: str, wanted: tuple[str, ...]) -> dict[str, xr.Dataset]:
    """One Dataset a curve, by name; those of several thresholds apart."""
    named = {"": diagrams} if isinstance(diagrams, xr.Dataset) else diagrams
    if not isinstance(named, Mapping) or not named:
        raise InvalidOption(
            "diagrams",
            type(diagrams).__name__,
            f"a Dataset with {', '.join(wanted)}",
            f"{_source(dim)}(forecast, observed, threshold) gives one",
        )
    curves: dict[str, xr.Dataset] = {}
    for name, diagram in named.items():
        if not isinstance(diagram, xr.Dataset) or not set(diagram.data_vars) >= set(wanted):
            has = sorted(map(str, diagram.data_vars)) if isinstance(diagram, xr.Dataset) else type(diagram).__name__
            raise InvalidOption(
                "diagrams",
                has,
                f"a Dataset with {', '.join(wanted)}, as the function of skill gives",
                f"{_source(dim)}(forecast, observed, threshold) gives one",
            )
        if other := [d for d in diagram.dims if d not in (dim, "threshold")]:
            raise InvalidOption(f"{name} diagram".strip(), f"dimensions {other}", dim, "score with dim= over them too")
        if "threshold" not in diagram.dims:
            curves[str(name)] = diagram
            continue
        unit = unit_words(str(diagram["threshold"].attrs.get("units", "")))
        for place, value in enumerate(diagram["threshold"].values):
            words = f"{name}, ≥ {value:g} {unit}".removeprefix(", ").strip()
            curves[words] = diagram.isel(threshold=place)
    return curves
