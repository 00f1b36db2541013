"""ICAR-ENSO: monthly anomalies of 32 climate models, to learn the forecast of El Nino from.

The files hold windows of 36 months, a new one each model year, so that each month stands in three of them.
`icar_enso` takes the overlap out and gives the models' runs; `icar_enso_windows` the history and target
months that models are trained and scored on.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import xarray as xr

from xforecast.cf import open_data
from xforecast.errors import DataFileError, InvalidOption

__all__ = ["icar_enso", "icar_enso_windows", "window_indices"]

DATA_FILE, LABEL_FILE = "CMIP_train.nc", "CMIP_label.nc"
MONTHS, YEARS = 36, 3
CHUNK = 120
"""Months in a piece of a lazy run: 26 windows of it on the full grid take some 15 MB."""
WEST, EAST = 95.0, 330.0
LATITUDES, LONGITUDES = np.arange(-55.0, 61.0, 5.0), np.arange(0.0, 360.0, 5.0)
ATTRS = {
    "sst": {
        "standard_name": "sea_surface_temperature_anomaly",
        "long_name": "Sea surface temperature anomaly",
        "units": "degC",
    },
    "t300": {"long_name": "Temperature anomaly of the upper 300 m", "units": "degC"},
    "ua": {"long_name": "Eastward wind anomaly", "units": "m s-1"},
    "va": {"long_name": "Northward wind anomaly", "units": "m s-1"},
    "nino": {"long_name": "Nino3.4 index, mean of three months from this one on", "units": "degC"},
}
REFERENCES = {
    "Conventions": "CF-1.11",
    "title": "ICAR-ENSO",
    "source": "CMIP6 and CMIP5 runs, prepared by the Institute for Climate and Application Research (ICAR)",
    "references": "Tianchi AI Earth competition 2021, dataset 98942; Gao et al. 2022, NeurIPS 35",
    "licence": "terms of the Tianchi platform and of CMIP5 and CMIP6",
}


class Run(NamedTuple):
    """The windows of one model in the file."""

    name: str
    first: int
    years: int


def _runs() -> list[Run]:
    """15 models of CMIP6 with 151 windows each, then 17 of CMIP5 with 140."""
    runs, first = [], 0
    for generation, models, years in (("cmip6", 15, 151), ("cmip5", 17, 140)):
        for model in range(models):
            runs.append(Run(f"{generation}-{model:02d}", first, years))
            first += years
    return runs


RUNS = _runs()
SPLITS = {"train": RUNS[:-2], "val": RUNS[-2:-1], "test": RUNS[-1:], None: RUNS}


def icar_enso(
    folder: str | os.PathLike, split: str | None = None, *, variables: Sequence[str] = ("sst",)
) -> xr.Dataset:
    """The runs of the climate models in ICAR-ENSO, each month once.

    Parameters
    ----------
    folder : path
        Holds ``CMIP_train.nc`` and ``CMIP_label.nc``.
    split : {"train", "val", "test"}, optional
        The published splits: validation and test are the last two models of CMIP5, the rest is for
        training. All models by default.
    variables : sequence of {"sst", "t300", "ua", "va"}
        Which fields; the published models take ``sst`` alone.

    Returns
    -------
    xarray.Dataset
        The fields, dims (model, time, lat, lon), and the label ``nino`` (model, time), lazy: anomalies,
        ``sst`` in degC, on 5 degree nodes, 55S-60N, 95-330E. A CMIP6 run has 1836 months, one of CMIP5
        1704; the shorter end with missing values, and ``months`` (model) counts. The years of the dates
        are nominal.

    Raises
    ------
    DataFileError
        A file is missing, damaged or not of that layout.

    Notes
    -----
    In row k of a model, months 0 to 35 begin with January of its k-th year. Every third row and the rest
    of the last one give each month once.

    Examples
    --------
    >>> icar_enso("/no/such/folder")
    Traceback (most recent call last):
    xforecast.errors.DataFileError: /no/such/folder/CMIP_train.nc: no such file
      -> check the path
    """
    if split not in SPLITS:
        raise InvalidOption(
            "split", split, f"one of {[name for name in SPLITS if name]} or None", "split=None gives all models"
        )
    fields = _opened(Path(folder) / DATA_FILE, variables)
    labels = _opened(Path(folder) / LABEL_FILE, ["nino"])
    fields = _on_nodes(fields, Path(folder) / DATA_FILE)
    fields = fields.sel(lon=fields["lon"][(fields["lon"] >= WEST) & (fields["lon"] <= EAST)])
    ds = fields.merge(labels, join="override", compat="override")
    runs = SPLITS[split]
    unfolded = [_unfolded(ds.isel(year=slice(run.first, run.first + run.years))) for run in runs]
    ds = xr.concat([run.assign_coords(time=np.arange(run.sizes["time"])) for run in unfolded], "model", join="outer")
    for name in ds.data_vars:
        ds[name].attrs = dict(ATTRS[str(name)])
    dates = xr.date_range("0001-01-01", periods=ds.sizes["time"], freq="MS", calendar="noleap", use_cftime=True)
    ds = ds.assign_coords(
        model=("model", [run.name for run in runs], {"long_name": "Climate model"}),
        months=("model", [_length(run.years) for run in runs], {"long_name": "Months of the run", "units": "1"}),
        time=("time", dates, {"standard_name": "time", "axis": "T", "comment": "nominal years; the months are right"}),
    )
    order = ("model", "time", "lat", "lon")
    return ds.transpose(*order).assign_attrs(REFERENCES)


def _length(years: int) -> int:
    return 12 * (years + YEARS - 1)


def _opened(file: Path, names: Iterable[str]) -> xr.Dataset:
    ds = open_data(file, chunks={})
    rows = RUNS[-1].first + RUNS[-1].years
    names = list(names)
    if missing := [name for name in names if name not in ds.data_vars]:
        raise DataFileError(
            f"{file}: found variables {sorted(map(str, ds.data_vars))}, wanted also {missing}\n"
            "  -> is it the training file of the first round?"
        )
    found = {dim: ds.sizes.get(dim) for dim in ("year", "month")}
    if found != {"year": rows, "month": MONTHS}:
        raise DataFileError(
            f"{file}: found {dict(ds.sizes)}, wanted year {rows} and month {MONTHS}\n"
            "  -> is it the training file of the first round, and complete?"
        )
    return ds[names].drop_vars(["year", "month"], errors="ignore").chunk({"year": 151, "month": -1})


def _on_nodes(ds: xr.Dataset, file: Path) -> xr.Dataset:
    """With latitudes and longitudes in degrees; files without them have the nodes of the published grid."""
    for name, nodes, attrs in (
        ("lat", LATITUDES, {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}),
        ("lon", LONGITUDES, {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}),
    ):
        if name not in ds.dims:
            raise DataFileError(
                f"{file}: found dimensions {list(ds.dims)}, wanted {name}\n  -> is it the file as published?"
            )
        if name not in ds.coords:
            if ds.sizes[name] != nodes.size:
                raise DataFileError(
                    f"{file}: found {ds.sizes[name]} {name} without coordinates, wanted {nodes.size}\n"
                    "  -> is it the file as published?"
                )
            ds = ds.assign_coords({name: nodes})
        ds = ds.assign_coords({name: (name, ds[name].values.astype(float), attrs)})
    return ds


def _unfolded(rows: xr.Dataset) -> xr.Dataset:
    """The months of one model in a row, each once: (year, month, ...) to (time, ...)."""
    parts = [rows.isel(year=slice(None, None, YEARS)).stack(time=("year", "month"), create_index=False)]
    if rest := (rows.sizes["year"] - 1) % YEARS:
        parts.append(rows.isel(year=-1, month=slice(MONTHS - 12 * rest, None)).rename(month="time"))
    unfolded = xr.concat([part.transpose("time", ...) for part in parts], "time")
    return unfolded.chunk(time=CHUNK) if unfolded.chunks else unfolded


def window_indices(months: int, history: int = 12, horizon: int = 14, *, gap: int = 1, step: int = 1) -> np.ndarray:
    """Which months make up each window of a run.

    Parameters
    ----------
    months : int
        Length of the run.
    history, horizon : int
        Numbers of input and target months.
    gap : int
        Months from the start of one window to that of the next.
    step : int
        Months from one month of a window to the next.

    Returns
    -------
    numpy.ndarray
        Shape (window, history + horizon), int64; no rows where the run is too short.

    Examples
    --------
    >>> window_indices(6, history=2, horizon=2, gap=2)
    array([[0, 1, 2, 3],
           [2, 3, 4, 5]])
    """
    if min(history, horizon, gap, step) < 1:
        raise InvalidOption(
            "history, horizon, gap, step",
            (history, horizon, gap, step),
            "1 or more each",
            "history=12, horizon=14, gap=1, step=1, as published",
        )
    offsets = step * np.arange(history + horizon)
    starts = np.arange(0, max(months - offsets[-1], 0), gap)
    return starts[:, None] + offsets


def icar_enso_windows(ds: xr.Dataset, history: int = 12, horizon: int = 14, gap: int = 1) -> xr.Dataset:
    """The windows of history and target months that models are trained and scored on.

    Parameters
    ----------
    ds : xarray.Dataset
        From `icar_enso`.
    history, horizon : int
        Numbers of input and target months, as published 12 and 14.
    gap : int
        Months from one window to the next: 1 as trained, 10 in the original's smaller set.

    Returns
    -------
    xarray.Dataset
        Fields over (sequence, time, lat, lon), model by model, lazy. ``time`` counts months from the last of
        the history. ``nino`` (sequence, season) has the labels of the first ``horizon - 2`` target months,
        each the mean of three, to compare with the index of a forecast. Coordinates ``model`` and ``init``.

    Raises
    ------
    InvalidOption
        The window is longer than the runs, or has fewer than 3 target months.

    Examples
    --------
    >>> dates = xr.date_range("0001-01-01", periods=30, freq="MS", calendar="noleap", use_cftime=True)
    >>> ds = xr.Dataset(
    ...     {"sst": (("model", "time", "lat", "lon"), np.zeros((2, 30, 1, 1))),
    ...      "nino": (("model", "time"), np.zeros((2, 30)))},
    ...     {"model": ["a", "b"], "time": dates, "months": ("model", [30, 28])},
    ... )
    >>> windows = icar_enso_windows(ds)
    >>> windows.sst.shape, windows.nino.shape
    ((8, 26, 1, 1), (8, 12))
    """
    if horizon < 3:
        raise InvalidOption("horizon", horizon, "3 months or more, for a season", "horizon=14, as published")
    length = history + horizon
    parts = []
    for row, months in enumerate(ds["months"].values):
        run = ds.isel(model=row, time=slice(0, int(months)))
        starts = window_indices(int(months), history, horizon, gap=gap)[:, 0]
        if starts.size:
            parts.append(_windows_of(run, starts, history, length))
    if not parts:
        longest = int(ds["months"].max())
        raise InvalidOption(
            "history, horizon",
            (history, horizon),
            f"at most {longest} months together",
            "shorter windows, or longer runs",
        )
    windows = xr.concat(parts, "sequence", coords="different", compat="equals")
    windows = windows.assign_coords(
        time=("time", np.arange(1 - history, horizon + 1), {
            "standard_name": "forecast_period", "long_name": "Months from the last of the history", "units": "months"}),
        season=("season", np.arange(1, horizon - 1), {
            "long_name": "First month of the season, from the last of the history", "units": "months"}),
    )  # fmt: skip
    return windows.transpose("sequence", "time", "lat", "lon", "season", missing_dims="ignore")


def _windows_of(run: xr.Dataset, starts: np.ndarray, history: int, length: int) -> xr.Dataset:
    """All windows of one run, with the labels of their seasons."""
    gap = int(starts[1] - starts[0]) if starts.size > 1 else 1
    chosen = slice(int(starts[0]) + length - 1, int(starts[-1]) + length, gap)
    init = run["time"].values[starts + history - 1]
    rolled = {
        name: field.rolling(time=length).construct("step", sliding_window_view_kwargs={"automatic_rechunk": False})
        for name, field in run.data_vars.items()
    }
    windows = xr.Dataset(rolled).isel(time=chosen).drop_vars("time").rename(time="sequence")
    nino = windows["nino"].isel(step=slice(history, length - 2)).rename(step="season")
    windows = windows.drop_vars("nino").rename(step="time").assign(nino=nino).drop_vars("months")
    attrs = {"standard_name": "forecast_reference_time", "long_name": "Last month of the history"}
    model = np.full(starts.size, str(windows["model"].values)) if "model" in windows.coords else None
    windows = windows.drop_vars("model", errors="ignore").assign_coords(init=("sequence", init, attrs))
    return windows if model is None else windows.assign_coords(model=("sequence", model))
