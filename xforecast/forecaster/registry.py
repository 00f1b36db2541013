"""Forecasters by name: those in the package, those published by others, and any saved folder.

`forecast`, `check` and `regrid` here are the functions behind the accessor and the command line.
"""

from __future__ import annotations

import os
from collections.abc import Hashable, Mapping
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr

from xforecast._doors import FORECAST, door
from xforecast.cf import Ambiguous, find_variable
from xforecast.errors import CheckpointError, InvalidOption, UnknownForecaster, did_you_mean
from xforecast.forecaster import plugins
from xforecast.forecaster.fetch import fetched_folder, file_name, is_fetched
from xforecast.forecaster.folder import CONFIG_FILE
from xforecast.forecaster.forecaster import Forecaster
from xforecast.forecaster.published import PUBLISHED
from xforecast.labels import Report, to_grid
from xforecast.spec import DataSpec, Grid

__all__ = ["IN_PACKAGE", "check", "forecast", "in_package", "load", "regrid"]

Data = TypeVar("Data", xr.DataArray, xr.Dataset)

IN_PACKAGE = {
    # name -> whether a Dataset that fits it gets it without naming it
    "earthformer-enso": True,
    "earthformer-enso-1981": False,
    "prediff-radar": True,
    "earthformer-radar": False,
}


# ------------------------------------------------------------------ the functions behind the doors


@door(FORECAST)
def forecast(
    ds: xr.Dataset | xr.DataArray,
    model: str | os.PathLike | Forecaster | None = None,
    *,
    init: object = None,
    samples: int | None = None,
    horizon: int | None = None,
    seed: int = 0,
    constraint: Any = None,
    sampler: str | None = None,
    steps: int | None = None,
    strength: float | None = None,
    eta: float | None = None,
    guidance: str | None = None,
    through_denoiser: bool | None = None,
    sampling: Mapping[str, Any] | None = None,
    variables: Mapping[str, Hashable] | None = None,
    base_period: tuple[str, str] | None = None,
    climatology: tuple[str, str] | None = None,
    device: str = "auto",
    precision: str = "auto",
    batch_size: int | str = "auto",
    progress: bool | None = None,
) -> xr.Dataset:
    """Forecast from a Dataset.

    Parameters
    ----------
    {options}

    Returns
    -------
    xarray.Dataset
        The input's variables and units, dims (init, sample, lead, y, x) with the input's own spatial
        dimensions, ``valid_time``, CF attributes and provenance.

    Raises
    ------
    SpecMismatch
        The data do not fit; the message lists every mismatch with its remedy.
    UnknownForecaster
        No forecaster of that name, or several or none fit.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xforecast as xf
    >>> time = xr.date_range("2020-01", periods=12, freq="MS")
    >>> lat, lon = np.arange(-30, 31, 5), np.arange(20, 301, 5)
    >>> sst = xr.DataArray(
    ...     np.full((12, 13, 57), 0.5), [("time", time), ("lat", lat), ("lon", lon)], name="sst",
    ...     attrs={"standard_name": "sea_surface_temperature_anomaly", "units": "K"},
    ... )
    >>> fc = xf.forecast(sst, "earthformer-enso", horizon=3)
    >>> fc.sst.sizes["lead"], fc.sst.attrs["units"]
    (3, 'K')
    """
    chosen = _choose(ds, model, init=init, variables=variables, base_period=base_period, climatology=climatology)
    return chosen.forecast(
        ds, init=init, samples=samples, horizon=horizon, seed=seed, constraint=constraint,
        sampler=sampler, steps=steps, strength=strength, eta=eta, guidance=guidance,
        through_denoiser=through_denoiser, sampling=sampling, variables=variables, base_period=base_period,
        climatology=climatology, device=device, precision=precision, batch_size=batch_size, progress=progress,
    )  # fmt: skip


@door(FORECAST)
def check(
    ds: xr.Dataset | xr.DataArray,
    model: str | os.PathLike | Forecaster | None = None,
    *,
    init: object = None,
    variables: Mapping[str, Hashable] | None = None,
    base_period: tuple[str, str] | None = None,
    climatology: tuple[str, str] | None = None,
) -> Report:
    """Compare data with what a forecaster expects, without forecasting; of lazy data the newest history is computed.

    Parameters
    ----------
    {options}

    Returns
    -------
    Report
        Prints problems with their remedies, warnings and repairs; true when the data can be forecast.

    Raises
    ------
    UnknownForecaster
        No forecaster of that name; or, where none is named, several forecasters or none that the data are for.

    Examples
    --------
    >>> import xarray as xr, xforecast as xf
    >>> report = xf.check(xr.Dataset(), "earthformer-enso")
    >>> bool(report)
    False
    """
    selection: dict[str, Any] = {
        "init": init, "variables": variables, "base_period": base_period, "climatology": climatology,
    }  # fmt: skip
    return _choose(ds, model, **selection).check(ds, **selection)


def regrid(
    ds: Data,
    like: str | os.PathLike | Forecaster | DataSpec | Grid,
    *,
    method: str = "auto",
    min_coverage: float = 0.5,
) -> Data:
    """Data on a forecaster's latitudes and longitudes.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        With one-dimensional latitude and longitude, in any order and longitude convention.
    like : str, path, Forecaster, DataSpec or Grid
        Whose grid.
    method : {"auto", "conservative", "linear", "nearest"}
        ``"auto"`` averages areas (conservative) from a finer grid, takes the cells as they are where
        they are the grid's own, and interpolates linearly otherwise; beside a missing value (land)
        linear interpolation gives a missing value.
    min_coverage : float, default 0.5
        For area averages, the share of a cell that must have values.

    Returns
    -------
    xarray.Dataset or xarray.DataArray
        On the grid's cells, with the data's own dimension names; lazy where the data are.

    Raises
    ------
    SpecMismatch
        The data do not cover the grid.
    InvalidOption
        The grid is not one of latitudes and longitudes, or the data have none.
    MissingExtra
        xarray-regrid is not installed.

    Examples
    --------
    >>> import numpy as np, xarray as xr, xforecast as xf
    >>> lat, lon = np.arange(-10.0, 10.5, 1), np.arange(180.0, 211, 1)
    >>> fine = xr.DataArray(np.ones((21, 31)), [("lat", lat), ("lon", lon)])
    >>> xf.regrid(fine, xf.Grid.latlon([-5, 0, 5], [190, 195, 200])).shape
    (3, 3)
    """
    if isinstance(like, DataSpec):
        grid = like.grid
    else:
        grid = like if isinstance(like, Grid) else (like if isinstance(like, Forecaster) else load(like)).spec.grid
    return to_grid(ds, grid, method=method, min_coverage=min_coverage)


def _choose(ds, model: Any, **selection: Any) -> Forecaster:
    if isinstance(model, Forecaster):
        return model
    if model is not None:
        return load(model)
    reports = {name: load(name).check(ds, **selection) for name, automatic in IN_PACKAGE.items() if automatic}
    fitting = [name for name, report in reports.items() if report.ok]
    if len(fitting) == 1:
        return load(fitting[0])
    if fitting:
        raise UnknownForecaster(
            f"the data fit several forecasters: {', '.join(fitting)}\n  -> name one with model={fitting[0]!r}"
        )
    near = [name for name in reports if _has_variables(ds, load(name), selection)]
    if len(near) == 1:
        return load(near[0])  # which says what is wrong
    details = "\n".join(repr(report) for report in reports.values())
    raise UnknownForecaster(
        f"the data fit no forecaster in the package\n{details}\n  -> name one with model=, or train one with "
        "xforecast.fit(ds)"
    )


def _has_variables(ds, forecaster: Forecaster, options: Mapping[str, Any]) -> bool:
    """Whether the data have what a forecaster takes, whatever else does not fit."""
    named = options.get("variables") or {}
    fields = ds if isinstance(ds, xr.Dataset) else ds.to_dataset(name=ds.name or "field")
    try:
        return all(
            variable.name in named or find_variable(fields, variable) is not None
            for variable in forecaster.spec.variables
        )
    except Ambiguous:
        return True


# ------------------------------------------------------------------ by name


def load(name: str | os.PathLike) -> Forecaster:
    """A forecaster by name or from a folder.

    Parameters
    ----------
    name : str or path
        A name of `list_models`, or a folder written by `Forecaster.save`.

    Returns
    -------
    Forecaster

    Raises
    ------
    UnknownForecaster
        There is none.
    CheckpointError
        Its files are damaged, or a published checkpoint has not been fetched.

    Examples
    --------
    >>> import xforecast as xf
    >>> xf.load("earthformer-enso").spec.history
    12
    """
    folder = _folder(name)
    if isinstance(folder, Forecaster):
        return folder
    return _load_once(str(folder), (folder / CONFIG_FILE).stat().st_mtime_ns)


@lru_cache(maxsize=8)
def _load_once(folder: str, changed: int) -> Forecaster:
    return Forecaster.load(folder)


def in_package(name: str) -> Path:
    """The folder of a forecaster of the package."""
    return Path(str(files("xforecast"))) / "weights" / name


def _folder(name: str | os.PathLike) -> Path | Forecaster:
    if not isinstance(name, (str, os.PathLike)):
        raise InvalidOption("model", type(name).__name__, "a name, a folder or a Forecaster", "xforecast.list_models()")
    text = os.fspath(name)
    if text in IN_PACKAGE:
        folder = in_package(text)
        if (folder / CONFIG_FILE).exists():
            return folder
        raise CheckpointError(f"{text!r} belongs to the package, but {folder} is missing\n  -> install xforecast anew")
    if text in PUBLISHED:
        if is_fetched(text):
            return fetched_folder(text)
        names = " and ".join(file_name(place) for place in PUBLISHED[text].files.values())
        raise CheckpointError(
            f"{text!r} is published by others and not on this machine\n"
            f"  -> xforecast models fetch {text}   (or --from FILE, if you have {names})"
        )
    folder = Path(text).expanduser()
    if (folder / CONFIG_FILE).exists():
        return folder
    if text in plugins.offered():
        return plugins.find(text)
    known = [*IN_PACKAGE, *PUBLISHED, *plugins.offered()]
    raise UnknownForecaster(
        f"found {text!r}, wanted a folder with a {CONFIG_FILE} or one of {', '.join(known)}\n"
        f"  -> {did_you_mean(text, known, 'xforecast.list_models()')}"
    )
