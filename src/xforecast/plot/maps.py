"""Maps of a forecast at a few leads, with the observation above where there is one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.find import find_axis
from xforecast.plot.style import INK, colour_limits, date_words, is_monthly, pyplot, scale_of, units_words

__all__ = ["maps"]

WIDTH = 3.3
"""Of one map, in inches."""
FLAT = 0.4
"""Maps with a smaller ratio of height to width stand in two columns."""


def maps(
    forecast: xr.DataArray,
    leads: Sequence[Any] | None = None,
    *,
    observed: xr.DataArray | None = None,
    samples: int = 0,
    title: str | None = None,
    figure=None,
):
    """Maps of one forecast: a column for each lead; a row for the mean and for each sample asked for.

    Parameters
    ----------
    forecast : xarray.DataArray
        Dims (sample, lead, y, x) in any order, one start.
    leads : sequence, optional
        Leads to show; four of them by default, evenly spread.
    observed : xarray.DataArray, optional
        Dims (time, y, x); shown in a row of its own where it covers the valid times.
    samples : int, default 0
        Number of single samples to show below the mean.
    title : str, optional
        In place of the one made from the attributes.
    figure : matplotlib.figure.Figure or SubFigure, optional
        Where to draw.

    Returns
    -------
    matplotlib.figure.Figure

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
    if "lead" not in forecast.dims or forecast["valid_time"].ndim != 1:
        raise InvalidOption("forecast", forecast.dims, "one start with a lead dimension", "forecast.isel(init=0)")
    chosen = forecast["lead"].values if leads is None else np.asarray(leads)
    if leads is None and len(chosen) > 4:
        chosen = chosen[np.linspace(0, len(chosen) - 1, 4).round().astype(int)]
    shown = forecast.sel(lead=chosen)
    rows = _rows(shown, observed, samples)
    y, x = find_axis(forecast, "y"), find_axis(forecast, "x")
    shape = shown.sizes[y] / shown.sizes[x]
    panels = [(name, row.isel(lead=column), column) for name, row in rows.items() for column in range(len(chosen))]
    columns = 2 if len(rows) == 1 and shape < FLAT else len(chosen)
    lines = -(-len(panels) // columns)
    if figure is None:
        width = 2 * WIDTH if columns == 2 else WIDTH
        size = (width * columns + 0.6, (width * shape + 0.55) * lines + 0.9)
        figure = pyplot().figure(figsize=size, layout="constrained")
    axes = figure.subplots(lines, columns, squeeze=False, sharex=True, sharey=True)
    scale, monthly = scale_of(forecast), is_monthly(forecast)
    limits = colour_limits(scale, np.concatenate([row.values.ravel() for row in rows.values()]))
    for (name, field, column), axis in zip(panels, axes.flat, strict=False):
        image = _draw(axis, field, y, x, scale.colours, limits)
        if name == next(iter(rows)):
            valid = date_words(shown["valid_time"].isel(lead=column), monthly=monthly)
            axis.set_title(f"{valid}, {_lead_words(chosen[column], monthly)}", fontsize=10, color=INK)
        if column == 0 and len(rows) > 1:
            axis.set_ylabel(name, fontsize=10, color=INK)
    for axis in axes.flat[len(panels) :]:
        axis.set_visible(False)
    figure.colorbar(image, ax=axes, label=units_words(forecast), extend="both", aspect=25)
    start = date_words(forecast["init"], monthly=monthly) if "init" in forecast.coords else ""
    figure.suptitle(title or f"Forecast from data to {start}", fontsize=12, color=INK)
    return figure


def _rows(shown: xr.DataArray, observed: xr.DataArray | None, samples: int) -> dict[str, xr.DataArray]:
    rows = {}
    if observed is not None:
        time = find_axis(observed, "time")
        aligned = observed.reindex({time: shown["valid_time"].values}).rename({time: "lead"}).drop_vars("lead")
        rows["observed"] = aligned
    if "sample" not in shown.dims:
        return rows | {"forecast": shown}
    rows["mean" if shown.sizes["sample"] > 1 else "forecast"] = shown.mean("sample")
    for sample in range(min(samples, shown.sizes["sample"])):
        rows[f"sample {sample}"] = shown.isel(sample=sample)
    return rows


def _draw(axis, field: xr.DataArray, y, x, colours: str, limits: dict[str, float]):
    field = field.transpose(y, x)
    axis.set_facecolor("#d9d4cc")
    coordinates = [field[dim].values if dim in field.coords else np.arange(field.sizes[dim]) for dim in (x, y)]
    image = axis.pcolormesh(*coordinates, field.values, cmap=colours, shading="nearest", rasterized=True, **limits)
    axis.set_aspect("equal")
    axis.tick_params(labelsize=8, colors=INK)
    axis.locator_params(nbins=5)
    if "lat" in str(y).lower():
        axis.xaxis.set_major_formatter(lambda value, _: _longitude(value))
        axis.yaxis.set_major_formatter(
            lambda value, _: f"{abs(value):g}°{'N' if value > 0 else 'S' if value < 0 else ''}"
        )
    return image


def _longitude(value: float) -> str:
    east = (value + 180) % 360 - 180
    return f"{abs(east):g}°{'' if east in (0, -180) else 'E' if east > 0 else 'W'}"


def _lead_words(lead, monthly: bool) -> str:
    if monthly:
        return f"{int(lead)} month{'s' if int(lead) > 1 else ''} ahead"
    minutes = np.timedelta64(lead, "s").astype(int) / 60
    return f"+{minutes:g} min" if minutes < 180 else f"+{minutes / 60:g} h"
