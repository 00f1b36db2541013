"""Train the forecasters that are missing, score those that are new, and put all of them into a table."""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
import tomllib
import warnings
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from xforecast.benchmark.table import Table
from xforecast.benchmark.tasks import TASKS, Experiment
from xforecast.cf import find_axis
from xforecast.errors import InvalidOption, MissingExtra, XForecastError, XForecastWarning, require
from xforecast.forecaster import CONFIG_FILE, Forecaster, load, pick_device
from xforecast.labels import time_axis
from xforecast.models import (
    MODELS,
    Config,
    build,
    configure,
    contract,
    cost,
    count_parameters,
    find_config,
    find_model,
    presets,
)
from xforecast.training import fit

__all__ = ["costs", "run"]

MINUTES = 10.0
"""Time of training for each network, unless another is given."""
FEWEST_STEPS = 20
TIMED_STEPS = 3
PEEK = 2**16
"""Bytes read at either end of a file to recognise it."""
PERIOD_END = re.compile(r"to (\d{4}-\d{2}(?:-\d{2})?)")
"""The end of the training period, as the card of a forecaster states it."""
SHORTEST_STEP = 1e-4
"""Seconds; a coarse clock may measure none for a short step."""
STARTS_AT_ONCE = 16
"""Number of starts that are forecast and scored in one block."""


def run(
    task: str,
    data: str | os.PathLike,
    folder: str | os.PathLike = "xforecast-benchmark",
    *,
    models: Sequence[str] | str | None = None,
    minutes: float | None = None,
    seed: int = 0,
    paper: bool = False,
    device: str = "auto",
    progress: bool | None = None,
) -> Table:
    """Run one benchmark and return its table.

    Parameters
    ----------
    task : {"enso", "icar-enso", "nbody", "radar", "sevir"}
        Name of the benchmark.
    data : path
        The file or folder that the benchmark needs; ``TASKS[task].data`` describes it.
    folder : path
        Where table, figure, forecasters and checkpoints are written. Results that it holds are used again, so a folder
        is for one data set and one seed.
    models : sequence of str or "all", optional
        Rows of the table, models by name (also models of your own, see `xforecast.models.register`), or forecasters by
        name or folder. By default the rows that need no training and the networks that were trained in this folder
        before; "all" trains the other networks too.
    minutes : float
        Time of training for each network, 10 by default. The number of steps is what that time allows on the cores of
        this machine, but at least 20. A network that was trained in this folder before is kept, with a warning if it
        was trained for another time.
    seed : int
        Seed of the weights, the order of the data and the samples.
    paper : bool
        Whether the published numbers stand below the table.
    device : str
        Device as in `xforecast.forecast`.
    progress : bool, optional
        Whether to draw progress bars.

    Returns
    -------
    Table
        The scores and costs, which are also written to ``folder`` as Markdown, csv and png.

    Raises
    ------
    InvalidOption
        An unknown task or row, data that do not suffice, or a folder of other data or another seed.
    DataFileError
        Data that cannot be read.

    Examples
    --------
    >>> run("chess", "data.nc")
    Traceback (most recent call last):
    xforecast.errors.InvalidOption: task: found 'chess', wanted one of enso, icar-enso, nbody, radar, sevir
      -> xforecast.benchmark.TASKS says which data each of them needs
    """
    _check_task(task)
    if minutes is not None and not minutes > 0:
        raise InvalidOption("minutes", minutes, "a positive number", f"minutes={MINUTES:g}")
    place = Path(folder) / task
    rows = _rows(task)
    experiment = TASKS[task].load(Path(data))
    _check_folder(place, Path(data), seed)
    found = {}
    for name in _chosen(rows, models, place, experiment):
        options = rows.get(name) or ({"model": known} if (known := find_model(name)) else {"forecaster": name})
        forecaster = _forecaster(name, options, experiment, place, minutes, seed, device, progress)
        found[name] = _scored(name, forecaster, options, experiment, place, seed, device)
    table = Table.of(task, found, paper=paper)
    table.write(Path(folder))
    return table


def costs(task: str, *, paper: bool = False) -> Table:
    """Parameters and multiply-accumulates of one forecast of the papers' networks; no data are needed.

    Parameters
    ----------
    task : {"icar-enso", "nbody", "sevir"}
        Name of a benchmark for which papers give the sizes of networks; for the others the data decide them.
    paper : bool
        Whether the published numbers stand below the table.

    Returns
    -------
    Table

    Raises
    ------
    InvalidOption
        An unknown task, or one without published networks.

    Examples
    --------
    >>> int(costs("icar-enso").frame.loc["UNet", "parameters"])
    12062254
    """
    _check_task(task)
    if not TASKS[task].published:
        raise InvalidOption(
            "data", None, f"{TASKS[task].data}: without them the sizes of the networks are not known",
            f"xforecast benchmark {task} --data ...",
        )  # fmt: skip
    found: dict[str, dict[str, float]] = {}
    for name, preset in TASKS[task].published.items():
        config = preset()
        network = _on_no_device(config)
        shape = (config.history, *config.grid, config.input_channels)  # type: ignore[attr-defined]
        found[name] = {"parameters": count_parameters(network), "MACs (G)": cost.macs(network, shape) / 1e9}
    return Table.of(task, found, paper=paper)


def _on_no_device(config: Config) -> torch.nn.Module:
    with torch.device("meta"):
        return _network(config)


def _network(config: Config) -> torch.nn.Module:
    name = find_config(config)
    if name is None:
        raise InvalidOption(
            "model", type(config).__name__, "a configuration of a model that is registered",
            "xforecast.models.register(model, config)",
        )  # fmt: skip
    return build(name, config)


# ------------------------------------------------------------------ rows


def _check_task(task: str) -> None:
    if task not in TASKS:
        raise InvalidOption(
            "task", task, f"one of {', '.join(sorted(TASKS))}",
            "xforecast.benchmark.TASKS says which data each of them needs",
        )  # fmt: skip


def _rows(task: str) -> dict[str, dict[str, Any]]:
    return _stored().get(task, {})


def _stored() -> dict[str, Any]:
    return tomllib.loads((files("xforecast.benchmark") / "rows.toml").read_text())


def _chosen(rows: Mapping[str, Mapping], models, place: Path, experiment: Experiment) -> list[str]:
    if models is None:
        ready = [name for name, options in rows.items() if _installed(name, options)]
        known = [name for name in ready if _place(place, name).exists() or not _learns(rows[name], experiment)]
        return [*known, *(name for name in _trained(place) if name not in rows)]
    wanted = [models] if isinstance(models, str) else list(models)
    if "all" in wanted:
        wanted = [*rows, *(name for name in wanted if name != "all" and name not in rows)]
    unknown = [name for name in wanted if name not in rows and not find_model(name) and not _is_forecaster(name)]
    if unknown:
        raise InvalidOption(
            "models", unknown, f"'all', rows among {', '.join(rows)}, models or forecasters",
            f"models='all'; xforecast.list_models() lists forecasters, {', '.join(sorted(MODELS))} are the models",
        )  # fmt: skip
    for name in wanted:  # before hours of training, not after
        _require(name, rows.get(name, {}))
    return wanted


def _trained(place: Path) -> list[str]:
    """Names of the forecasters that were trained in a folder."""
    return [json.loads(file.read_text())["card"]["name"] for file in sorted(place.glob(f"forecasters/*/{CONFIG_FILE}"))]


def _require(name: str, options: Mapping[str, Any]) -> None:
    if "extra" in options:
        require(options["extra"], extra=options["extra"], purpose=name)


def _installed(name: str, options: Mapping[str, Any]) -> bool:
    try:
        _require(name, options)
    except MissingExtra:
        return False
    return True


def _is_forecaster(name: str) -> bool:
    try:
        load(name)
    except XForecastError:
        return False
    return True


def _learns(options: Mapping[str, Any], experiment: Experiment) -> bool:
    """Whether a row is a network that has to be trained by gradient."""
    return "forecaster" not in options and contract.learns(
        _on_no_device(_config(options, _shape(experiment, networks=True)))
    )


def _place(place: Path, name: str) -> Path:
    return place / "forecasters" / re.sub(r"\W+", "-", name).strip("-").lower() / CONFIG_FILE


def _check_folder(place: Path, data: Path, seed: int) -> None:
    """Refuse a folder with results of other data or of another seed, which would be taken for those of this run."""
    record, file = {"data": _fingerprint(data, place.parent), "seed": seed}, place / "run.json"
    if not file.exists():
        place.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(record, indent=1))
        return
    stored = json.loads(file.read_text())
    if other := [name for name in record if stored.get(name) != record[name]]:
        raise InvalidOption(
            "folder", f"{place} with results of another {' and '.join(other)}", "one for each data set and seed",
            "another folder (--folder), or remove this one",
        )  # fmt: skip


def _fingerprint(data: Path, but: Path) -> str:
    """A digest of names, sizes, beginnings and ends of files, leaving out those in the folder of results."""
    if not data.exists():  # an address or a pattern
        return str(data)
    inside = [data]
    if data.is_dir():
        inside = sorted(
            file for file in data.rglob("*") if file.is_file() and but.resolve() not in file.resolve().parents
        )
    found = hashlib.sha256()
    for file in inside:
        size = file.stat().st_size
        found.update(f"{file.relative_to(data)} {size}\n".encode())
        with file.open("rb") as stream:
            found.update(stream.read(PEEK))
            stream.seek(max(0, size - PEEK))
            found.update(stream.read(PEEK))
    return found.hexdigest()


# ------------------------------------------------------------------ forecasters


def _forecaster(name, options, experiment: Experiment, place: Path, minutes, seed, device, progress) -> Forecaster:
    """The forecaster of a row, loaded if an earlier run made it, else made and saved."""
    file = _place(place, name)
    if file.exists():
        kept = Forecaster.load(file.parent)
        if minutes is not None and kept.card.get("minutes", minutes) != minutes:
            had = kept.card["minutes"]
            _warn(f"{name} was trained here for {had:g} minutes and is kept; another folder trains it for {minutes:g}")
        return kept
    if "forecaster" in options:
        return _warned_if_it_knew(load(options["forecaster"]), experiment)
    learnt = _learns(options, experiment)
    shape = _shape(experiment, networks=learnt)
    config = _config(options, shape)
    training = {**_stored()["training"], "seed": seed, **experiment.options}
    if learnt:
        steps = _affordable(config, shape, training["batch_size"], minutes or MINUTES, device)
        training["steps"] = min(steps, experiment.longest or steps)
    else:
        training["valid"] = None  # a closed form has no best step to choose
    made = fit(
        _training_data(experiment, learnt), config, name=name, folder=place / "training" / file.parent.name,
        resume=True, device=device, progress=progress, **training,
    )  # fmt: skip
    if learnt:
        made.card["minutes"] = minutes or MINUTES
    made.save(file.parent)
    return made


def _warned_if_it_knew(forecaster: Forecaster, experiment: Experiment) -> Forecaster:
    """The same forecaster, with a warning if its card says that it was trained on data that are scored here."""
    end = PERIOD_END.search(str(forecaster.card.get("period", "")))
    if experiment.unseen is not None and end is not None and end[1] >= experiment.unseen:
        _warn(
            f"{forecaster.name} was trained on data to {end[1]}: what is scored here, from {experiment.unseen}, it knew"
        )
    return forecaster


def _warn(text: str) -> None:
    warnings.warn(text, XForecastWarning, stacklevel=2)


def _training_data(experiment: Experiment, networks: bool) -> xr.Dataset:
    return experiment.train.isel(experiment.crop) if networks else experiment.train


def _shape(experiment: Experiment, networks: bool) -> dict[str, Any]:
    """Lengths, grid and channels of the data, by the names that configurations have for them."""
    field = next(iter(_training_data(experiment, networks).data_vars.values()))
    return {
        **{key: experiment.options[key] for key in ("history", "horizon")},
        "grid": tuple(field.sizes[find_axis(field, axis)] for axis in ("y", "x")),
        "input_channels": 1 + 2 * len(experiment.options.get("calendar", ())),
        "output_channels": 1,
    }


def _config(options: Mapping[str, Any], shape: Mapping[str, Any]) -> Config:
    other = {key: value for key, value in options.items() if key not in ("model", "preset", "samples", "extra")}
    if "preset" in options:
        return getattr(presets, options["preset"])(**other)
    return configure(options["model"], shape, other)


def _affordable(config: Config, shape: Mapping[str, Any], batch_size: int, minutes: float, device: str) -> int:
    """Number of training steps that fit into a time on this machine, from a few steps whose time is measured."""
    place = pick_device(device)
    network = _network(config).to(place)
    grid = config.frame_grid or shape["grid"]  # a preset has its own
    x = torch.randn(batch_size, shape["history"], *grid, shape["input_channels"], device=place)
    y = torch.randn(batch_size, shape["horizon"], *grid, shape["output_channels"], device=place)
    spent = []
    for _ in range(1 + TIMED_STEPS):
        begin = _worked(place)
        network.loss(x, y).backward()  # type: ignore[operator]
        spent.append(_worked(place) - begin)
    return max(FEWEST_STEPS, int(60 * minutes / max(np.median(spent[1:]), SHORTEST_STEP)))


def _worked(device: torch.device) -> float:
    """Seconds of work so far: processor time of this process shared over its cores, or the clock for another device."""
    if device.type != "cpu":
        torch.accelerator.synchronize()
        return time.perf_counter()
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return time.process_time() / min(cores, torch.get_num_threads())


# ------------------------------------------------------------------ scores


def _scored(name, forecaster: Forecaster, options, experiment: Experiment, place: Path, seed, device) -> dict:
    """Scores and costs of one forecaster, read from the file of an earlier run if that had the same forecaster."""
    file = place / "scores" / f"{_place(place, name).parent.name}.json"
    if file.exists():
        stored = json.loads(file.read_text())
        if stored["digest"] == forecaster.digest and stored["seed"] == seed:
            return stored["row"]
    chosen = {"samples": options["samples"]} if "samples" in options else {}
    test = experiment.test.chunk({time_axis(experiment.test): 64})
    fc = forecaster.forecast(test, init=experiment.starts, seed=seed, device=device, progress=False, **chosen)
    cost = _cost(forecaster, experiment.test, fc["init"].values[0], {"device": device, **chosen})
    row = {**cost, **experiment.score(fc.chunk(init=STARTS_AT_ONCE))}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps({"digest": forecaster.digest, "seed": seed, "row": row}, indent=1))
    return row


def _cost(forecaster: Forecaster, test: xr.Dataset, init, how: Mapping[str, Any]) -> dict[str, float]:
    """Parameters, multiply-accumulates and seconds of one forecast, from data in memory to a labelled Dataset."""
    dim = time_axis(test)
    history = test.sortby(dim).sel({dim: slice(None, init)}).isel({dim: slice(-forecaster.spec.history, None)}).load()
    seconds = []
    for _ in range(2):  # the first also compiles and fills caches, and is not counted
        begin = time.perf_counter()
        forecaster.forecast(history, init=init, progress=False, **how)
        seconds.append(time.perf_counter() - begin)
    parameters = count_parameters(forecaster.model)
    work = {"MACs (G)": cost.macs(forecaster.model, forecaster.spec.input_shape) / 1e9} if parameters else {}
    return {"parameters": parameters, **work, "seconds": seconds[-1]}
