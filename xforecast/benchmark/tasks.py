"""The benchmarks: where their data come from, how they are divided, and what is scored."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xforecast import datasets, skill
from xforecast.cf import find_axis, open_data
from xforecast.errors import DataFileError, InvalidOption
from xforecast.models import Config, presets

__all__ = ["TASKS", "Experiment", "Task"]

Scores = dict[str, float]
VIL_THRESHOLDS = (16, 74, 133, 160, 181, 219)
RAIN_THRESHOLDS = (0.5, 2.0, 5.0, 10.0)
ENSO_TARGETS, ENSO_TRAINING, ENSO_BASE = slice("1984", "2017"), slice(None, "1981"), ("1951", "1980")
ENSO_LEADS = 17
"""The longest lead of a season that is scored, in months."""
FSS_WINDOW = 9


@dataclass(frozen=True)
class Experiment:
    """Data of one benchmark, and how forecasts of them are scored.

    Parameters
    ----------
    train : xarray.Dataset
        Data that models are trained on.
    test : xarray.Dataset
        Data that are forecast and scored; none of the scored values are in ``train``.
    starts : slice or list
        Starts of the forecasts that are scored.
    options : mapping
        Options of `xforecast.fit`: lengths, held-out share, base period, transform.
    score : callable
        Function of a forecast that returns the scores by column.
    crop : mapping
        Positions of the cells that networks see, for data on grids that some networks cannot take.
    longest : int, optional
        The largest number of training steps, for a short record that more steps would only learn by heart.
    unseen : str, optional
        The first date that is scored, for data with real dates.
    """

    train: xr.Dataset
    test: xr.Dataset
    starts: Any
    options: Mapping[str, Any]
    score: Callable[[xr.Dataset], Scores]
    crop: Mapping[Any, slice] = field(default_factory=dict)
    longest: int | None = None
    unseen: str | None = None


@dataclass(frozen=True)
class Task:
    """One benchmark.

    Parameters
    ----------
    title : str
        Title of table and figure.
    data : str
        What the file or folder of data must hold.
    columns : mapping
        Names of the scores, and for each whether more is better.
    load : callable
        Function of a path that returns an `Experiment`.
    published : mapping
        Names of the papers' networks, and for each a function that returns its configuration.
    by : str
        What the columns of the figure stand for, such as ``"lead"``.
    """

    title: str
    data: str
    columns: Mapping[str, bool]
    load: Callable[[Path], Experiment]
    published: Mapping[str, Callable[[], Config]] = field(default_factory=dict)
    by: str = ""


def _starts(record: xr.Dataset, length: int, history: int) -> list:
    """Dates of the last history step of every sequence of a record."""
    return list(record["time"].values.reshape(-1, length)[:, history - 1])


def _numbers(scores: Mapping[str, xr.DataArray]) -> Scores:
    """The scores as numbers, computed in one pass over lazy data."""
    return {str(name): float(value) for name, value in xr.Dataset(dict(scores)).compute().data_vars.items()}


# ------------------------------------------------------------------ SEVIR


def _sevir(root: Path) -> Experiment:
    history, horizon = 13, 12
    train = datasets.as_record(datasets.sevir(root, split="train")[["vil"]], "event")
    windows = datasets.sevir_sequences(datasets.sevir(root, split="test")[["vil"]], history, horizon)
    test = datasets.as_record(windows)

    def score(fc: xr.Dataset) -> Scores:
        observed = skill.align(fc, test["vil"])
        found = skill.protocols.sevir(fc["vil"], observed, normalised=False)
        by_threshold = {f"CSI-{level}": found["csi"].sel(threshold=level, drop=True) for level in VIL_THRESHOLDS}
        crps = skill.crps(fc["vil"], observed) / 255
        return _numbers({"CSI-M": found["csi_mean"], **by_threshold, "MSE (1e-3)": 1e3 * found["mse"], "CRPS": crps})

    valid = datasets.as_record(datasets.sevir(root, split="val")[["vil"]], "event")
    options = {"history": history, "horizon": horizon, "valid": valid}
    return Experiment(train, test, _starts(test, history + horizon, history), options, score)


# ------------------------------------------------------------------ ICAR-ENSO


def _runs(ds: xr.Dataset) -> xr.Dataset:
    """Runs of climate models one after the other, each in its own length."""
    month = np.tile(np.arange(ds.sizes["time"]), ds.sizes["model"])
    return datasets.as_record(ds[["sst"]], "model").isel(time=month < np.repeat(ds["months"].values, ds.sizes["time"]))


def _icar_enso(folder: Path) -> Experiment:
    history, horizon = 12, 14
    train, valid = (_runs(datasets.icar_enso(folder, split)) for split in ("train", "val"))
    windows = datasets.icar_enso_windows(datasets.icar_enso(folder, "test"), history, horizon)
    test, labels = datasets.as_record(windows[["sst"]]), windows["nino"].values

    def score(fc: xr.Dataset) -> Scores:
        observed = skill.align(fc, test["sst"])
        found = skill.protocols.icar_enso(fc["sst"].rename(init="sequence"), observed.rename(init="sequence"), labels,
                                          normalised=False)  # fmt: skip
        names = {"nino34_mean": "C-Nino3.4-M", "nino34_weighted_mean": "C-Nino3.4-WM"}
        scores = {title: found[name] for name, title in names.items()}
        return _numbers({**scores, "MSE (1e-4)": 1e4 * found["mse"], "CRPS": skill.crps(fc["sst"], observed)})

    options = {"history": history, "horizon": horizon, "valid": valid}
    return Experiment(train, test, _starts(test, history + horizon, history), options, score)


# ------------------------------------------------------------------ N-body MNIST


def _nbody(path: Path, sequences: tuple[int, int, int] = (3000, 100, 300)) -> Experiment:
    """Digits of an npz file; the last tenth of them appear in the test sequences only."""
    history = horizon = 10
    try:
        with np.load(path) as stored:
            digits = stored["images"]
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise DataFileError(f"{path}: found {type(error).__name__}: {error}, wanted an npz file of digits, `images`\n"
                            "  -> numpy.savez(path, images=...), uint8 (number, 28, 28)") from error  # fmt: skip
    known, unseen = np.split(digits, [len(digits) * 9 // 10])
    sources = (known, known, unseen)
    train, valid, test = (
        datasets.as_record(datasets.nbody_mnist(count, source, seed=seed))
        for seed, (count, source) in enumerate(zip(sequences, sources, strict=True))
    )

    def score(fc: xr.Dataset) -> Scores:
        forecast, observed = fc["frames"].mean("sample"), skill.align(fc, test["frames"])
        cells = fc.sizes["y"] * fc.sizes["x"]
        return _numbers({
            "MSE": cells * skill.mse(forecast, observed), "MAE": cells * skill.mae(forecast, observed),
            "SSIM": skill.ssim(forecast, observed), "CRPS": skill.crps(fc["frames"], observed),
        })  # fmt: skip

    options = {"history": history, "horizon": horizon, "valid": valid}
    return Experiment(train, test, _starts(test, history + horizon, history), options, score)


# ------------------------------------------------------------------ ENSO from observations


def _enso(file: Path) -> Experiment:
    """Networks see 12 latitudes by 48 longitudes, which all of them can halve; closed forms see all of the tropics."""
    ds = open_data(file)
    name = next((str(key) for key in ds.data_vars if find_axis(ds[key], "time") is not None), None)
    if name is None:
        raise InvalidOption(
            "data", list(ds.data_vars), "monthly sea surface temperature, with a time axis",
            "mark the axis in the file: ds['time'].attrs['standard_name'] = 'time', or by the name that it has there",
        )  # fmt: skip
    lat, lon = (find_axis(ds[name], axis) for axis in ("y", "x"))
    time = find_axis(ds[name], "time")
    years = np.unique(ds[time].dt.year.values)
    if years[0] > int(ENSO_BASE[0]) or years[-1] < int(ENSO_TARGETS.stop):
        raise InvalidOption(
            "data", f"{years[0]} to {years[-1]}", f"{ENSO_BASE[0]} or before, to {ENSO_TARGETS.stop}",
            "give the file of a longer record, such as ERA5 from 1940 or HadISST from 1870",
        )  # fmt: skip
    nodes = {lat: np.arange(-30.0, 31, 5), lon: np.arange(20.0, 301, 5)}
    try:
        tropics = ds[[name]].sel(nodes, method="nearest", tolerance=0.01)
    except (KeyError, ValueError, TypeError) as error:
        raise InvalidOption(
            "data", f"{name} on {dict(ds[name].sizes)}", "values every 5 degrees, 30S to 30N and 20E to 300E",
            "xforecast.regrid(ds, like='earthformer-enso').to_netcdf(path)",
        ) from error  # fmt: skip
    crop = {lat: slice(1, None), lon: slice(8, 56)}

    def score(fc: xr.Dataset) -> Scores:
        index, truth = skill.nino34(fc[name]).compute(), skill.nino34(ds[name]).compute()
        base = slice(*ENSO_BASE)
        by_lead = skill.nino34_correlation(index, truth, targets=ENSO_TARGETS, base=base)
        error = skill.nino34_error(index, truth, targets=ENSO_TARGETS, base=base)
        named = {f"{int(lead)}": by_lead.sel(lead=lead, drop=True) for lead in by_lead["lead"]}
        if by_lead.sizes["lead"] < ENSO_LEADS:  # means over fewer leads are no match for the others
            return _numbers(named)
        return _numbers({**named, "mean": skill.nino34_mean(by_lead), "RMSE": error.mean("lead")})

    options = {"history": 12, "horizon": 18, "valid": slice("1972", "1981"), "base": ENSO_BASE, "calendar": ["annual"]}
    starts = slice(str(int(ENSO_TARGETS.start) - 2), ENSO_TARGETS.stop)
    train, unseen = tropics.sel({time: ENSO_TRAINING}), f"{ENSO_TARGETS.start}-01-01"
    return Experiment(train, ds[[name]], starts, options, score, crop=crop, longest=450, unseen=unseen)


# ------------------------------------------------------------------ radar


def _radar(file: Path) -> Experiment:
    """The last third of a record of rain is forecast, the rest is learnt from."""
    rain = datasets.open_radar(file).load()
    steps = rain.sizes["time"]
    history, horizon = 7, 12
    first = steps * 2 // 3
    if first < 2 * (history + horizon) or steps - first < history + horizon:
        raise InvalidOption(
            "data", f"{steps} frames",
            f"at least {4 * (history + horizon)}: two thirds to learn from, a third to forecast",
            "give the file of a longer event",
        )  # fmt: skip
    train, test = rain.isel(time=slice(first)), rain.isel(time=slice(first, None))
    starts = list(test["time"].values[history - 1 : -horizon])

    def score(fc: xr.Dataset) -> Scores:
        forecast, observed = fc["rain_rate"], skill.align(fc, test["rain_rate"])
        csi = skill.csi(forecast, observed, list(RAIN_THRESHOLDS))
        named = {f"CSI-{level:g}": csi.sel(threshold=level, drop=True) for level in RAIN_THRESHOLDS}
        fss = skill.fss(forecast, observed, 2.0, FSS_WINDOW)
        crps = skill.crps(forecast, observed)
        return _numbers({"CSI-M": csi.mean("threshold"), **named, "FSS-2": fss, "CRPS": crps})

    options = {"history": history, "horizon": horizon, "valid": 0.15, "transform": ("log1p", 0.5)}
    return Experiment(train, test, starts, options, score, unseen=str(starts[0])[:10])


# ------------------------------------------------------------------ the table

SEVIR_ROWS = {
    "UNet": presets.unet_sevir, "ConvLSTM": presets.convlstm_sevir, "PredRNN": presets.predrnn_sevir,
    "PhyDNet": presets.phydnet_sevir, "E3D-LSTM": presets.e3dlstm_sevir, "Rainformer": presets.rainformer_sevir,
    "Earthformer w/o global": lambda: presets.earthformer_sevir(global_vectors=0),
    "Earthformer": presets.earthformer_sevir,
}  # fmt: skip
ENSO_ROWS = {
    "UNet": presets.unet_enso, "ConvLSTM": presets.convlstm_enso, "PredRNN": presets.predrnn_enso,
    "PhyDNet": presets.phydnet_enso, "E3D-LSTM": presets.e3dlstm_enso, "Rainformer": presets.rainformer_enso,
    "Earthformer w/o global": lambda: presets.earthformer_enso(global_vectors=0),
    "Earthformer": presets.earthformer_enso,
}  # fmt: skip
NBODY_ROWS = {
    "Earthformer w/o global": presets.earthformer_nbody,
    "Earthformer": lambda: presets.earthformer_nbody(global_vectors=8),
}
TASKS = {
    "sevir": Task(
        "SEVIR, 13 frames in, 12 out", "the root folder of SEVIR",
        {"CSI-M": True, **{f"CSI-{level}": True for level in VIL_THRESHOLDS}, "MSE (1e-3)": False, "CRPS": False},
        _sevir, SEVIR_ROWS, "threshold",
    ),
    "icar-enso": Task(
        "ICAR-ENSO, 12 months in, 14 out", "the folder with CMIP_train.nc and CMIP_label.nc",
        {"C-Nino3.4-M": True, "C-Nino3.4-WM": True, "MSE (1e-4)": False, "CRPS": False}, _icar_enso, ENSO_ROWS,
    ),
    "nbody": Task(
        "N-body MNIST, 10 frames in, 10 out", "an npz file of digits, `images`",
        {"MSE": False, "MAE": False, "SSIM": True, "CRPS": False}, _nbody, NBODY_ROWS,
    ),
    "enso": Task(
        "Nino3.4 from observations to 1981, targets 1984-2017", "a file of monthly SST from 1951 or before to 2017",
        {**{str(lead): True for lead in range(1, ENSO_LEADS + 1)}, "mean": True, "RMSE": False}, _enso, by="lead",
    ),
    "radar": Task(
        "Radar rain, 7 frames in, 12 out", "a radar file that `xforecast.datasets.open_radar` reads",
        {"CSI-M": True, **{f"CSI-{level:g}": True for level in RAIN_THRESHOLDS}, "FSS-2": True, "CRPS": False},
        _radar, by="threshold",
    ),
}  # fmt: skip
"""Every benchmark by name."""
