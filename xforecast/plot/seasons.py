"""Skill by calendar season and lead, as a heat map."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xforecast.cf import find_dimension
from xforecast.errors import InvalidOption
from xforecast.plot.style import FAINT, INK, lead_numbers, new_axes, units_words

__all__ = ["season_by_lead"]

BREAKS = tuple(np.arange(11) / 10)
USEFUL = 0.5


def season_by_lead(skill: xr.DataArray, *, contour: float | None = USEFUL, ax=None, title: str | None = None):
    """Heat map of a correlation: target seasons down, leads across. It shows the spring predictability barrier.

    Parameters
    ----------
    skill : xarray.DataArray
        Dims (season, lead): `xforecast.skill.nino34_correlation` with ``seasons="each"``.
    contour : float, optional
        Draws the line at this value; 0.5, the usual mark of useful skill, by default.
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
        The dimensions are others.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> skill = xr.DataArray(
    ...     np.linspace(0.9, 0.1, 8).reshape(4, 2), dims=("season", "lead"),
    ...     coords={"season": ["DJF", "MAM", "JJA", "SON"], "lead": ("lead", [1, 2], {"units": "months"})},
    ... )
    >>> axis = season_by_lead(skill)
    >>> [label.get_text() for label in axis.get_yticklabels()]
    ['DJF', 'MAM', 'JJA', 'SON']
    """
    if isinstance(skill, xr.DataArray) and (lead := find_dimension(skill, "lead")) not in (None, "lead"):
        skill = skill.rename({lead: "lead"})
    if not isinstance(skill, xr.DataArray) or set(skill.dims) != {"season", "lead"}:
        found = f"dimensions {skill.dims}" if isinstance(skill, xr.DataArray) else type(skill).__name__
        remedy = 'skill.nino34_correlation(forecast, observed, seasons="each") has them'
        raise InvalidOption("skill", found, "an array with dimensions season and lead", remedy)
    import matplotlib as mpl
    from matplotlib.colors import BoundaryNorm

    axis = new_axes(ax, 7, 4.2)
    values = skill.transpose("season", "lead").values
    x, units = lead_numbers(skill["lead"])
    y = np.arange(values.shape[0])
    colours = mpl.colormaps["YlOrRd"].resampled(len(BREAKS) - 1).with_extremes(under="#dbe3ec", bad="#ffffff")
    norm = BoundaryNorm(BREAKS, len(BREAKS) - 1)
    image = axis.pcolormesh(x, y, values, cmap=colours, norm=norm, shading="nearest", edgecolors="white", lw=0.5)
    if contour is not None and min(values.shape) > 1 and np.nanmin(values) < contour < np.nanmax(values):
        lines = axis.contour(x, y, values, levels=[contour], colors=INK, linewidths=1.4)
        axis.clabel(lines, fmt=f"{contour:g}", fontsize=8)
    labels = skill["season"].values if "season" in skill.coords else y + 1
    axis.set_yticks(y, [str(label) for label in labels])
    axis.invert_yaxis()
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.tick_params(labelsize=9, colors=INK, length=2)
    axis.spines[:].set_color(FAINT)
    axis.set_xlabel(f"Lead ({units})" if units else "Lead", color=INK)
    axis.set_ylabel("Target season", color=INK)
    bar = axis.figure.colorbar(image, ax=axis, extend="min", ticks=BREAKS[::2], pad=0.02)
    bar.set_label(units_words(skill), color=INK, fontsize=9)
    bar.ax.tick_params(labelsize=8, colors=INK, length=2)
    if title:
        axis.set_title(title, fontsize=11, color=INK)
    return axis
