"""Forecasters by name: those in the package, those published by others, and any saved folder.

`forecast`, `check` and `regrid` here are the functions behind the accessor and the command line.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import shutil
import tempfile
import urllib.error
import urllib.request
import warnings
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
import torch
import xarray as xr

from xforecast.cf import Ambiguous, find_variable
from xforecast.errors import CheckpointError, InvalidOption, UnknownForecaster, XForecastError, XForecastWarning
from xforecast.forecaster import plugins
from xforecast.forecaster.forecaster import CONFIG_FILE, Forecaster
from xforecast.forecaster.lazy import cache_folder
from xforecast.labels.regridding import to_grid
from xforecast.labels.report import Report
from xforecast.models import PreDiffConfig, compat, presets
from xforecast.spec import DataSpec, Grid, Variable

__all__ = ["check", "fetch", "forecast", "list_models", "load", "regrid"]

Data = TypeVar("Data", xr.DataArray, xr.Dataset)


# ------------------------------------------------------------------ what is known


def _sevir_spec() -> DataSpec:
    vil = Variable(
        "vil",
        "1",
        ["atmosphere_cloud_liquid_water_content"],
        ["vil", "vil_code"],
        long_name="vertically integrated liquid, SEVIR code 0-255",
        scale=255.0,
        valid_range=(0.0, 255.0),
    )
    grid = Grid("projected", (384, 384), spacing=(1000.0, 1000.0), tolerance=0.05)
    return DataSpec([vil], grid, "5 minutes", history=13, horizon=12)


def _sevir_lr_spec() -> DataSpec:
    grid = Grid("projected", (128, 128), spacing=(3000.0, 3000.0), tolerance=0.05)
    return _sevir_spec().replace(grid=grid, time_step="10 minutes", history=7, horizon=6)


def _prediff_sevirlr() -> PreDiffConfig:
    """As released: without the uncertainty of the loss, and with an alignment network that knows VIL from 0 to 1, while
    constraints are in the codes of the spec, 0 to 255."""
    config = presets.prediff_sevirlr()
    assert config.alignment is not None
    alignment = replace(config.alignment, output_deviation=_sevir_lr_spec()["vil"].scale)
    return replace(config, alignment=alignment, loss=replace(config.loss, learned_uncertainty=False))


def _icar_enso_spec() -> DataSpec:
    least, most = -16.549121856689453, 10.198975563049316
    anomaly = Variable(
        "sst",
        "degC",
        ["sea_surface_temperature_anomaly"],
        ["ssta"],
        long_name="sea surface temperature anomaly of the ICAR-ENSO data",
        offset=least,
        scale=most - least,
        fill=0.0,
        valid_range=(-20.0, 20.0),
    )
    grid = Grid.latlon(np.arange(-55, 61, 5), np.arange(95, 331, 5))
    return DataSpec([anomaly], grid, "1 month", history=12, horizon=14)


@dataclass(frozen=True)
class Published:
    """A checkpoint that others published; fetched only on request, and converted once."""

    title: str
    files: Mapping[str, str]
    """Kind of `compat.from_official` -> address; a bare name where the published link has died."""
    config: Callable[[], Any]
    spec: Callable[[], DataSpec]
    period: str
    licence: str
    references: str
    optional: Collection[str] = ()
    """Kinds that the forecaster can do without."""


EARTHFORMER = "Gao et al. 2022: Earthformer: Exploring Space-Time Transformers for Earth System Forecasting. NeurIPS"
PREDIFF = "Gao et al. 2023: PreDiff: Precipitation Nowcasting with Latent Diffusion Models. NeurIPS"
BUCKET = "https://earthformer.s3.amazonaws.com/pretrained_checkpoints"

IN_PACKAGE = {
    # name -> whether a Dataset that fits it gets it without naming it
    "earthformer-enso": True,
    "earthformer-enso-1981": False,
    "prediff-radar": True,
    "earthformer-radar": False,
}
PUBLISHED = {
    "earthformer-sevir-official": Published(
        "Earthformer for SEVIR radar, as released by its authors",
        {"earthformer": f"{BUCKET}/earthformer_sevir.pt"},
        lambda: presets.earthformer_sevir(variant="released"),
        _sevir_spec,
        "to 2019-01-01",
        "Apache-2.0",
        EARTHFORMER,
    ),
    "earthformer-icar-enso-official": Published(
        "Earthformer for ICAR-ENSO sea surface temperature, as released by its authors",
        {"earthformer": f"{BUCKET}/earthformer_icarenso2021.pt"},
        lambda: presets.earthformer_enso(variant="released"),
        _icar_enso_spec,
        "CMIP5 and CMIP6 simulations",
        "Apache-2.0",
        EARTHFORMER,
    ),
    "prediff-sevirlr-official": Published(
        "PreDiff for SEVIR-LR radar, as released by its authors",
        {
            "prediff-vae": "pretrained_sevirlr_vae_8x8x64_v1.pt",
            "prediff-unet": "pretrained_sevirlr_earthformerunet_v1.pt",
            "prediff-alignment": "pretrained_sevirlr_alignment_avg_x_cuboid_v1.pt",
        },
        _prediff_sevirlr,
        _sevir_lr_spec,
        "to 2019-06-01",
        "Apache-2.0",
        PREDIFF,
        optional=("prediff-alignment",),
    ),
}


# ------------------------------------------------------------------ the functions behind the doors


def forecast(
    ds: xr.Dataset | xr.DataArray, model: str | os.PathLike | Forecaster | None = None, **options: Any
) -> xr.Dataset:
    """Forecast from a Dataset.

    Parameters
    ----------
    ds : xarray.Dataset or xarray.DataArray
        CF-compliant data. Names, dimension order, orientation, longitude convention and units may be
        the data's own; numpy data give numpy, dask data give dask and nothing is computed.
    model : str, path or Forecaster, optional
        A name of `list_models`, a folder written by `Forecaster.save`, or a forecaster. Left out, the
        one forecaster in the package that the data fit.
    init : optional
        Which forecasts to make, by the time stamp of the newest data that each may see: None for the
        newest possible (``init`` is then a scalar coordinate), a date, a slice, a list of dates, or
        ``"all"``. The step at lead k is valid k time steps after ``init``.
    samples : int, optional
        Number of samples; the forecaster's own by default.
    horizon : int, optional
        Number of steps, at most as many as trained.
    seed : int, default 0
        Sample k of a start is the same for the same seed, whatever else is asked for.
    constraint, sampler, steps : optional
        For diffusion models: what the samples should obey, how they are drawn, in how many steps.
    variables : mapping, optional
        Names in the data by names in the model, such as ``{"sst": "tos"}``, where CF attributes do not tell.
    climatology : tuple of str, optional
        For a model of anomalies, the base period of the data's own climatology, such as ``("1991", "2020")``. It
        replaces the model's own, of other observations: what the two differ by in the mean would be forecast as
        an anomaly. Computed at once, also of dask data.
    device : str, default "auto"
        ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"cuda:1"``.
    precision : {"auto", "float32", "bfloat16"}
        Of the network.
    batch_size : int or "auto"
        Of one forward pass; it does not change the numbers.
    progress : bool, optional
        Draw a bar; None draws one where somebody watches and it takes longer than two seconds.

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
    return _choose(ds, model, options).forecast(ds, **options)


def check(
    ds: xr.Dataset | xr.DataArray,
    model: str | os.PathLike | Forecaster | None = None,
    *,
    init: object = None,
    variables: Mapping[str, Hashable] | None = None,
    climatology: tuple[str, str] | None = None,
) -> Report:
    """Compare data with what a forecaster expects, without forecasting.

    Parameters
    ----------
    ds, model, init, variables, climatology
        As for `forecast`. Of lazy data the newest history is computed.

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
    options: dict[str, Any] = {"init": init, "variables": variables, "climatology": climatology}
    return _choose(ds, model, options).check(ds, **options)


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


def _choose(ds, model, options: Mapping[str, Any]) -> Forecaster:
    if isinstance(model, Forecaster):
        return model
    if model is not None:
        return load(model)
    candidates = {name: load(name) for name, automatic in IN_PACKAGE.items() if automatic}
    selection = {key: options.get(key) for key in ("init", "variables", "climatology")}
    reports = {name: forecaster.check(ds, **selection) for name, forecaster in candidates.items()}
    fitting = [name for name, report in reports.items() if report.ok]
    if len(fitting) == 1:
        return candidates[fitting[0]]
    near = [name for name, forecaster in candidates.items() if _has_variables(ds, forecaster, options)]
    if not fitting and len(near) == 1:
        return candidates[near[0]]  # which says what is wrong
    if fitting:
        raise UnknownForecaster(f"the data fit several forecasters: {', '.join(fitting)}\n  -> name one with model=")
    details = "\n".join(repr(report) for report in reports.values())
    raise UnknownForecaster(f"the data fit no forecaster in the package\n{details}\n  -> name one with model=")


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


def _folder(name: str | os.PathLike) -> Path | Forecaster:
    if not isinstance(name, (str, os.PathLike)):
        raise InvalidOption("model", type(name).__name__, "a name, a folder or a Forecaster", "xforecast.list_models()")
    text = os.fspath(name)
    if text in IN_PACKAGE:
        folder = Path(str(files("xforecast"))) / "weights" / text
        if (folder / CONFIG_FILE).exists():
            return folder
        raise CheckpointError(f"{text!r} belongs to the package, but {folder} is missing\n  -> install xforecast anew")
    if text in PUBLISHED:
        folder = _fetched(text)
        if (folder / CONFIG_FILE).exists():
            return folder
        names = " and ".join(_file_name(place) for place in PUBLISHED[text].files.values())
        raise CheckpointError(
            f"{text!r} is published by others and not on this machine\n"
            f"  -> xforecast models fetch {text}   (or --from FILE, if you have {names})"
        )
    folder = Path(text).expanduser()
    if (folder / CONFIG_FILE).exists():
        return folder
    if text in plugins.brought():
        return plugins.fetch_brought(text)
    known = [*IN_PACKAGE, *PUBLISHED, *plugins.brought()]
    close = difflib.get_close_matches(text, known, 1)
    raise UnknownForecaster(
        f"found {text!r}, wanted a folder with a {CONFIG_FILE} or one of {', '.join(known)}\n"
        f"  -> {f'did you mean {close[0]!r}?' if close else 'xforecast.list_models()'}"
    )


def list_models() -> pd.DataFrame:
    """The forecasters that can be named, a row each.

    Returns
    -------
    pandas.DataFrame
        Indexed by name.

    Examples
    --------
    >>> import xforecast as xf
    >>> bool("earthformer-enso" in xf.list_models().index)
    True
    """
    rows: dict[str, dict[str, Any]] = {}
    for name in IN_PACKAGE:
        forecaster = load(name)
        rows[name] = _row(forecaster.card, forecaster.spec, "in the package")
    for name, entry in PUBLISHED.items():
        place = "to be fetched from files of yours: its links have died" if _dead(entry) else "to be fetched"
        place = "fetched" if (_fetched(name) / CONFIG_FILE).exists() else place
        rows[name] = _row(vars(entry), entry.spec(), place)
    for name in sorted(plugins.brought().keys() - rows.keys()):
        try:
            forecaster = load(name)
        except XForecastError as error:
            warnings.warn(f"{error}", XForecastWarning, stacklevel=2)
        else:
            rows[name] = _row(forecaster.card, forecaster.spec, "another package")
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("name")


def _row(card: Mapping[str, Any], spec: DataSpec, place: str) -> dict[str, Any]:
    return {
        "title": card.get("title", ""),
        "forecasts": ", ".join(spec.targets),
        "steps": f"{spec.history} -> {spec.horizon} x {spec.time_step}",
        "grid": repr(spec.grid)[5:-1],
        "trained on": card.get("period", ""),
        "licence": card.get("licence", ""),
        "where": place,
    }


# ------------------------------------------------------------------ published checkpoints


def fetch(
    name: str,
    source: str | os.PathLike | Sequence[str | os.PathLike] | None = None,
    say: Callable[[str], None] = print,
) -> Path:
    """Get a published checkpoint, convert it to safetensors and keep it in the cache.

    Parameters
    ----------
    name : str
        A published name of `list_models`.
    source : path, address or sequence of them, optional
        The published files, if they are at hand already: their folder, or each of them; or other addresses to
        download them from. Files of other names are taken in the order in which they were published. Left out, they
        are downloaded from where they were published.
    say : callable
        Told the digests and the folder.

    Returns
    -------
    pathlib.Path
        The folder of the converted forecaster.

    Raises
    ------
    CheckpointError
        A download fails, a file is missing or not what it was when it was first fetched, or it does not fit.
    """
    if name not in PUBLISHED:
        raise UnknownForecaster(f"found {name!r}, wanted one of {', '.join(PUBLISHED)}\n  -> xforecast models")
    entry, folder = PUBLISHED[name], _fetched(name)
    digests, states = {}, {}
    with tempfile.TemporaryDirectory() as scratch:
        for kind, place in _places(name, entry, source).items():
            file = _download(place, Path(scratch) / f"{kind}.pt") if _is_address(place) else Path(place)
            digests[kind] = _digest(file)
            _compare_digest(_key(name, kind), digests[kind])
            states[kind] = _read_official(file)
            say(f"sha256 {digests[kind]}")
    for kind in (kind for kind in entry.files if kind not in states):
        say(f"without {_file_name(entry.files[kind])}")
    model = _assembled(entry, states)
    card = {key: getattr(entry, key) for key in ("title", "period", "licence", "references")}
    one = len(entry.files) == 1
    card |= {"name": name, "origin": ", ".join(entry.files[kind] for kind in states)}
    card |= {"origin_sha256": next(iter(digests.values())) if one else digests}
    Forecaster(model, entry.spec(), card).save(folder)
    for kind, digest in digests.items():
        _remember_digest(_key(name, kind), digest)
    say(f"kept in {folder}")
    return folder


def _assembled(entry: Published, states: Mapping[str, Mapping[str, torch.Tensor]]) -> torch.nn.Module:
    if "prediff-unet" in entry.files:
        return compat.prediff_from_official(entry.config(), states)
    ((kind, state),) = states.items()
    return compat.from_official_config(kind, entry.config(), state)


def _dead(entry: Published) -> list[str]:
    """Files that cannot be downloaded any more."""
    return [place for place in entry.files.values() if not _is_address(place)]


def _places(name: str, entry: Published, source: Any) -> dict[str, str]:
    """Where each file of a published forecaster is, by kind: paths and addresses."""
    names = {kind: _file_name(place) for kind, place in entry.files.items()}
    wanted = [kind for kind in names if kind not in entry.optional]
    if source is None:
        if dead := _dead(entry):
            raise CheckpointError(
                f"{name!r} cannot be downloaded: the published links have died\n"
                f"  -> get {', '.join(dead)} another way and name their folder, the files or other addresses:\n"
                f"     xforecast models fetch {name} --from FOLDER"
            )
        return dict(entry.files)
    given = [os.fspath(source)] if isinstance(source, str | os.PathLike) else [os.fspath(one) for one in source]
    if len(given) == 1 and Path(given[0]).is_dir():
        given = [str(Path(given[0]) / file) for file in names.values() if (Path(given[0]) / file).exists()]
    found = {kind: place for kind, file in names.items() for place in given if _file_name(place) == file}
    if not found and len(wanted) <= len(given) <= len(names):
        found = dict(zip(names, given, strict=False))
    if missing := [names[kind] for kind in wanted if kind not in found]:
        raise CheckpointError(
            f"{name}: found {', '.join(map(_file_name, given)) or 'no such file'}, wanted {', '.join(missing)} too\n"
            "  -> name the folder that has all, or each file"
        )
    if len(found) < len(given):
        raise CheckpointError(
            f"{name}: found {len(given)} files, wanted {' and '.join(names.values())}\n  -> name these files only"
        )
    return found


def _is_address(place: str) -> bool:
    return place.startswith(("https://", "http://"))


def _file_name(place: str) -> str:
    return place.rstrip("/").rpartition("/")[2]


def _key(name: str, kind: str) -> str:
    """Of a file in the book of digests."""
    return name if len(PUBLISHED[name].files) == 1 else f"{name}/{kind}"


def _fetched(name: str) -> Path:
    return Path(cache_folder()) / "forecasters" / name


def _download(url: str, target: Path) -> Path:
    try:
        with urllib.request.urlopen(url, timeout=60) as response, target.open("wb") as out:
            shutil.copyfileobj(response, out)
    except (urllib.error.URLError, OSError) as error:
        raise CheckpointError(
            f"cannot download {url}: {error}\n  -> get the file another way and name it with --from FILE"
        ) from error
    return target


def _digest(file: Path) -> str:
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError as error:
        raise CheckpointError(f"cannot read {file}: {error}\n  -> check the path") from error


def _digests() -> tuple[Path, dict[str, str]]:
    """Where the digests of fetched files are kept, and what they are."""
    book = Path(cache_folder()) / "digests.json"
    try:
        return book, json.loads(book.read_text()) if book.exists() else {}
    except ValueError as error:
        raise CheckpointError(f"{book} is damaged: {error}\n  -> remove it and fetch again") from error


def _compare_digest(name: str, digest: str) -> None:
    """The digest of a file that was good once is the one to be seen again."""
    book, known = _digests()
    if known.get(name, digest) != digest:
        raise CheckpointError(
            f"{name}: found sha256 {digest}, wanted {known[name]} as when it was first fetched\n"
            f"  -> ask who changed it; to trust the new file, remove the entry from {book}"
        )


def _remember_digest(name: str, digest: str) -> None:
    book, known = _digests()
    book.parent.mkdir(parents=True, exist_ok=True)
    book.write_text(json.dumps({**known, name: digest}, indent=1) + "\n")


def _read_official(file: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many types for a file that is not a checkpoint
        # The words of torch would advise to run the code in the file.
        raise CheckpointError(
            f"{file}: found something else ({type(error).__name__}), wanted a file of weights alone; nothing in it was "
            "run\n  -> is it the published file, whole?"
        ) from error
    inner = state.get("state_dict", state) if isinstance(state, dict) else None
    if not isinstance(inner, dict) or not all(isinstance(value, torch.Tensor) for value in inner.values()):
        raise CheckpointError(f"{file}: found {type(state).__name__}, wanted tensors by name\n  -> another file")
    return {str(key).removeprefix("torch_nn_module."): value for key, value in inner.items()}
