"""Maps of a forecast by lead, side by side with what was observed, still or moving."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
import xarray as xr

from xforecast.cf import keywords, kinds_of, with_index
from xforecast.errors import InvalidOption, require
from xforecast.plot.coast import coastlines as draw_coastlines
from xforecast.plot.fields import beside, choose_leads, one_field, one_start, space
from xforecast.plot.style import (
    INK,
    MISSING,
    colouring,
    date_words,
    in_scale,
    is_dated,
    is_monthly,
    lead_numbers,
    lead_words,
    pyplot,
    scale_of,
    units_words,
    valid_words,
)

__all__ = ["animate", "maps"]

WIDTH, WIDEST, BESIDE = 3.3, 10.5, 1.7
"""Widths in inches: of one map, of a figure at most, and of the labels and the colour bar in it."""
FLAT = 0.4
"""Maps with a smaller ratio of height to width stand in two columns."""


class _Maps:
    """The fields of a figure, by title, in the units of their colours."""

    def __init__(self, forecast, leads, observed, samples: int, variable: str | None, most: int):
        field = one_start(one_field(forecast, variable))
        field = with_index(with_index(field, "y"), "x")
        self.y, self.x = space(field)
        field = field.sortby([dim for dim in (self.y, self.x) if dim in field.coords])
        shown = choose_leads(field, leads, most)
        self.scale, self.monthly = scale_of(shown), is_monthly(field["lead"])
        rows = beside(shown, observed, samples)
        if "observed" in rows and set(rows["observed"].dims) != {"lead", self.y, self.x}:
            found = ["time" if dim == "lead" else str(dim) for dim in rows["observed"].dims]
            other = {dim: 0 for dim in rows["observed"].dims if dim not in ("lead", self.y, self.x)}
            remedy = (
                f"observed.isel({keywords(other)})"
                if other
                else "observed over the same map, such as the record itself"
            )
            raise InvalidOption("observed", found, f"time, {self.y}, {self.x}", remedy)
        self.rows = {name: in_scale(row.assign_attrs(shown.attrs), self.scale) for name, row in rows.items()}
        self.leads, self.valid = shown["lead"], shown.coords.get("valid_time")
        if is_dated(self.leads):
            self.valid = self.leads
        self.init = shown["init"] if "init" in shown.coords else None
        self.label = units_words(next(iter(self.rows.values())))
        self.shape = _extent(shown, self.y) / _extent(shown, self.x)
        self.colours = colouring(self.scale, np.concatenate([row.values.ravel() for row in self.rows.values()]))

    def when(self, column: int) -> tuple[str, str]:
        """Lead and date of a column."""
        date = "" if self.valid is None else valid_words(self.valid[column], self.init, monthly=self.monthly)
        return lead_words(self.leads[column]), date

    def title(self) -> str:
        if is_dated(self.leads):
            return self.label.split(" (")[0]
        name = self.label.split(" (")[0]
        if self.init is None:
            return f"{name}: forecast"
        start = date_words(self.init, monthly=self.monthly)
        ahead = (lead_numbers(self.leads)[0] > 0).all()
        return f"{name}: forecast from data to {start}" if ahead else f"{name}: before and after {start}"

    def draw(self, axis, name: str, column: int, coast: bool):
        """One map."""
        field = self.rows[name].isel(lead=column).transpose(self.y, self.x)
        axis.set_facecolor(MISSING)
        along = [field[d].values if d in field.coords else np.arange(field.sizes[d]) for d in (self.x, self.y)]
        across, upwards = (_even_edges(points) for points in along)
        if across and upwards:  # many times as fast
            image = axis.imshow(
                field.values, extent=(*across, *upwards), origin="lower", interpolation="nearest", **self.colours
            )
        else:
            image = axis.pcolormesh(*along, field.values, shading="nearest", rasterized=True, **self.colours)
        axis.set_aspect("equal")
        axis.tick_params(labelsize=8, colors=INK, length=2)
        axis.locator_params(nbins=4 if len(self.rows) * self.leads.size < 4 else 3)
        for axis_of, dim in ((axis.xaxis, self.x), (axis.yaxis, self.y)):
            _label_ticks(axis_of, field, dim)
        if field.coords.get(self.y, field).attrs.get("long_name") == "Row" and not axis.yaxis_inverted():
            axis.invert_yaxis()  # those of a picture count from the top
        if coast:
            draw_coastlines(axis, field, self.y, self.x)
        return image

    def colour_bar(self, figure, axes, image) -> None:
        from matplotlib.colors import BoundaryNorm

        height = figure.bbox.height / pyplot().rcParams["figure.dpi"] * 0.75
        bar = figure.colorbar(image, ax=axes, aspect=max(height / 0.16, 8.0), pad=0.02, spacing="uniform")
        bar.set_label(fill(self.label, max(int(height / 0.08), 16)), color=INK, fontsize=9)
        bar.ax.tick_params(labelsize=8, colors=INK, length=2)
        norm = self.colours["norm"]
        if isinstance(norm, BoundaryNorm):
            breaks = norm.boundaries
            every = max(1, int(np.ceil(len(breaks) / max(height / 0.22, 2))))
            first = (len(breaks) // 2) % every if self.scale.symmetric else 0
            bar.set_ticks(breaks[first::every])
            bar.minorticks_off()
            bar.ax.yaxis.set_major_formatter(lambda value, _: f"{value:g}".replace("-", "\N{MINUS SIGN}"))


def maps(
    forecast: xr.DataArray | xr.Dataset,
    leads: Sequence[Any] | None = None,
    *,
    observed: xr.DataArray | xr.Dataset | None = None,
    samples: int = 0,
    variable: str | None = None,
    title: str | None = None,
    coastlines: bool = True,
    figure=None,
):
    """Maps of one forecast: a column for each lead; rows for the observation, the mean and single samples.

    Parameters
    ----------
    forecast : xarray.DataArray or Dataset
        Dims (sample, lead, y, x) in any order, one start. Or a record, dims (time, y, x).
    leads : sequence, optional
        Leads (of a record dates) to show, such as ``[1, 6]`` or ``["30min", "1h"]``; four of them by default, evenly
        spread.
    observed : xarray.DataArray or Dataset, optional
        Dims (time, y, x); shown in a row of its own where it has any of the valid times.
    samples : int, default 0
        Number of single samples to show below the mean.
    variable : str, optional
        Which, of a Dataset with several.
    title : str, optional
        In place of the one made from the attributes.
    coastlines : bool, default True
        Draw them where cartopy is installed with Natural Earth's shapes. Nothing is fetched:
        the command ``cartopy_feature_download physical`` does so once.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    InvalidOption
        No lead dimension, several starts or variables, a lead or variable that is not there.
    MissingExtra
        matplotlib is not installed.

    Notes
    -----
    Colours follow the standard name, else the name, and the units: SEVIR's for vertically integrated liquid (codes 0
    to 255, or kg m-2), a scale of rain in mm/h, reflectivity, probability, temperature, and one about zero for
    anomalies.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> valid = xr.date_range("2020-02", periods=3, freq="MS")
    >>> fc = xr.DataArray(
    ...     np.zeros((2, 3, 4, 5)), dims=("sample", "lead", "lat", "lon"), name="sst",
    ...     coords={"lead": ("lead", [1, 2, 3], {"units": "months"}), "valid_time": ("lead", valid),
    ...             "init": np.datetime64("2020-01-01"), "lat": np.arange(4), "lon": np.arange(5)},
    ... )
    >>> len(maps(fc, leads=[1, 3]).axes)
    3
    """
    drawn = _Maps(forecast, leads, observed, samples, variable, most=4)
    count, shape = drawn.leads.size, drawn.shape
    panels = [(name, column) for name in drawn.rows for column in range(count)]
    columns = min(2, count) if len(drawn.rows) == 1 and shape < FLAT else count
    lines = -(-len(panels) // columns)
    if figure is None:
        figure = _figure(columns, lines, shape, heading=0.8)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    for (name, column), axis in zip(panels, axes.flat, strict=False):
        image = drawn.draw(axis, name, column, coastlines)
        if name == next(iter(drawn.rows)):
            lead, date = drawn.when(column)
            apart = ", " if len(drawn.rows) == 1 and drawn.monthly else "\n"
            words = apart.join(word for word in ((date, lead) if apart == ", " else (lead, date)) if word)
            axis.set_title(words, fontsize=9.5, color=INK)
        if column == 0 and len(drawn.rows) > 1:
            flat = {"rotation": 0, "ha": "right", "va": "center"} if shape < FLAT else {}
            axis.set_ylabel(name, fontsize=9.5, color=INK, **flat)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    drawn.colour_bar(figure, axes, image)
    figure.suptitle(title or drawn.title(), fontsize=12, color=INK)
    return figure


def animate(
    forecast: xr.DataArray | xr.Dataset,
    file: str | os.PathLike | None = None,
    *,
    leads: Sequence[Any] | None = None,
    observed: xr.DataArray | xr.Dataset | None = None,
    samples: int = 0,
    variable: str | None = None,
    title: str | None = None,
    coastlines: bool = True,
    frames_per_second: int = 4,
):
    """One forecast in motion: observation, mean and single samples side by side, a frame for each lead.

    Parameters
    ----------
    forecast, observed, samples, variable, title, coastlines
        As for `maps`.
    file : path, optional
        A ``.gif`` to write.
    leads : sequence, optional
        Leads to show; all of them by default.
    frames_per_second : int, default 4
        How fast.

    Returns
    -------
    matplotlib.animation.FuncAnimation
        A notebook shows its ``.to_jshtml()``.

    Examples
    --------
    >>> import numpy as np, os, tempfile, xarray as xr
    >>> fc = xr.DataArray(
    ...     np.zeros((2, 3, 4, 5)), dims=("sample", "lead", "y", "x"), name="rain_rate", attrs={"units": "mm h-1"},
    ...     coords={"lead": np.array([5, 10, 15], "timedelta64[m]").astype("timedelta64[ns]")},
    ... )
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     moving = animate(fc, f"{folder}/rain.gif", samples=1)
    ...     os.listdir(folder)
    ['rain.gif']
    """
    if file is not None and Path(file).suffix.lower() != ".gif":
        remedy = "animate(...).save(...) writes other formats"
        raise InvalidOption("file", str(file), "a name that ends in .gif", remedy)
    if not frames_per_second > 0:
        raise InvalidOption("frames_per_second", frames_per_second, "more than 0", "frames_per_second=4")
    require("matplotlib", extra="plot", purpose="drawing")
    from matplotlib.animation import FuncAnimation, PillowWriter

    drawn = _Maps(forecast, leads, observed, samples, variable, most=10**6)
    count = len(drawn.rows)
    columns = count if drawn.shape >= FLAT else min(count, 2)
    lines = -(-count // columns)
    figure = _figure(columns, lines, drawn.shape, heading=0.9)
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    images = []
    for name, axis in zip(drawn.rows, axes.flat, strict=False):
        images.append(drawn.draw(axis, name, 0, coastlines))
        axis.set_title(name, fontsize=10, color=INK)
    for axis in axes.flat[count:]:
        axis.set_visible(False)
    drawn.colour_bar(figure, axes, images[0])
    heading = figure.suptitle("", fontsize=12, color=INK)

    def show(frame: int):
        for image, row in zip(images, drawn.rows.values(), strict=True):
            image.set_array(row.isel(lead=frame).transpose(drawn.y, drawn.x).values)
        lead, date = drawn.when(frame)
        heading.set_text(f"{title or drawn.title()}\n{', '.join(word for word in (date, lead) if word)}")
        return [*images, heading]

    show(0)
    figure.canvas.draw()
    figure.set_layout_engine("none")  # else every frame is laid out anew
    moving = FuncAnimation(figure, show, frames=drawn.leads.size, interval=1000 / frames_per_second)
    if file is not None:
        moving.save(str(file), writer=PillowWriter(fps=frames_per_second), dpi=100)
        pyplot().close(figure)
    return moving


def _figure(columns: int, lines: int, shape: float, heading: float):
    """A figure that holds so many maps, their labels and a colour bar without gaps."""
    width = min((2 if columns <= 2 and shape < FLAT else 1) * WIDTH, (WIDEST - BESIDE) / columns)
    size = (width * columns + BESIDE, (width * shape + 0.12) * lines + 0.25 + heading)
    return pyplot().figure(figsize=size, layout="compressed")


def _even_edges(points: np.ndarray) -> tuple[float, float] | None:
    """Ends of the cells about evenly spaced points, or None."""
    steps = np.diff(points.astype(float))
    if not steps.size or not np.allclose(steps, steps.mean(), rtol=1e-3) or steps.mean() <= 0:
        return None
    half = float(steps.mean()) / 2
    return float(points[0]) - half, float(points[-1]) + half


def _extent(field: xr.DataArray, dim: str) -> float:
    """Length of the map along a dimension, in the units of its coordinate or in cells."""
    size = field.sizes[dim]
    if dim not in field.coords or size < 2:
        return float(size)
    return abs(float(field[dim][-1] - field[dim][0])) * size / (size - 1)


def _label_ticks(axis, field: xr.DataArray, dim: str) -> None:
    """Degrees with their hemisphere, kilometres, or nothing where there are no coordinates."""
    if dim not in field.coords:
        axis.set_ticks([])
        return
    unit, kinds = str(field[dim].attrs.get("units", "")), kinds_of(field, dim)
    if {"latitude", "longitude"} & kinds:
        axis.set_major_formatter(_north if "latitude" in kinds else _east)
    elif unit.startswith("degree"):
        axis.set_major_formatter(lambda value, _: f"{value:g}°".replace("-", "\N{MINUS SIGN}"))
    elif unit in ("m", "km"):
        length = 1000.0 if unit == "m" else 1.0
        axis.set_major_formatter(lambda value, _: f"{value / length:g} km".replace("-", "\N{MINUS SIGN}"))
    else:
        axis.set_ticks([])


def _north(value: float, _: Any = None) -> str:
    return f"{abs(value):g}°{'N' if value > 0 else 'S' if value < 0 else ''}"


def _east(value: float, _: Any = None) -> str:
    east = (value + 180) % 360 - 180
    return f"{abs(east):g}°{'' if east in (0, -180) else 'E' if east > 0 else 'W'}"
