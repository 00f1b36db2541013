"""Scores of nowcasters on sequences that none of them has seen, beside persistence and pySTEPS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from xforecast import skill
from xforecast.datasets import average_pixels, middle_cells, open_radar
from xforecast.forecaster import Forecaster, generator
from xforecast.models import STEPS, Extrapolation, ExtrapolationConfig, Persistence, PersistenceConfig, STEPSConfig
from xforecast.spec import DataSpec
from xforecast.training.recipes.markdown import markdown_table

__all__ = ["held_out_scores", "open_sequence", "table"]

Recipe = Mapping[str, Any]
LEADS = (1, 3, 6, 9, 12)
"""Steps that a table shows."""


# ------------------------------------------------------------------ observations


def open_sequence(data: Path, part: Recipe) -> xr.DataArray:
    """A sequence of the recipe as rain rate in mm/h, (time, y, x), rows from south to north, in memory."""
    options = {key: part[key] for key in ("a", "b") if key in part}
    rate = open_radar(data / part["file"], time=slice(part.get("first"), part.get("last")), **options)["rain_rate"]
    return rate.transpose("time", "y", "x").sortby("y").astype(np.float32).load()


# ------------------------------------------------------------------ scores


def held_out_scores(
    forecasters: Sequence[Forecaster],
    recipe: Recipe,
    data: Path,
    *,
    every: int = 3,
    device: str = "auto",
) -> dict[str, Any]:
    """Scores by lead of forecasters and of other methods on what the recipe holds out.

    All see the complete map, and are scored in its middle, of the size that the forecasters were trained on.

    Parameters
    ----------
    forecasters : sequence of Forecaster
    recipe : mapping
        The TOML file.
    data : pathlib.Path
        Folder of the radar files.
    every : int
        Steps between starts.
    device : str
        As in `xforecast.forecast`.

    Returns
    -------
    dict
        ``{title: {method: {score: [by lead]}}}``, JSON-ready, and the number of starts.
    """
    options, found = recipe["scores"], {}
    for part in recipe["held_out"]:
        rate = average_pixels(open_sequence(data, part), recipe["data"]["coarsen"])
        spec = forecasters[0].spec
        starts = np.arange(spec.history - 1, rate.sizes["time"] - spec.horizon, every)
        inner = _middle(rate, spec)
        observed = np.stack([inner.values[now + 1 : now + 1 + spec.horizon] for now in starts])
        made = _others(rate, starts, spec, options)
        for forecaster in forecasters:
            made[forecaster.name] = _own(forecaster, rate, starts, options, device)
        found[part["title"]] = {"starts": len(starts)} | {
            name: _scores(values, observed, options) for name, values in made.items()
        }
    return found


def _middle(rate: xr.DataArray, spec: DataSpec) -> xr.DataArray:
    return rate.isel(middle_cells(rate.sizes, dict(zip(("y", "x"), spec.grid.shape, strict=True))))


def _others(rate: xr.DataArray, starts: np.ndarray, spec: DataSpec, options: Recipe) -> dict[str, np.ndarray]:
    """Forecasts (init, sample, lead, y, x) in the middle of the map; dry where nothing is known."""
    kilometres = float(abs(rate["x"].diff("x").mean())) / 1000
    lengths = {"history": spec.history, "horizon": spec.horizon}
    steps = STEPS(STEPSConfig(**lengths, minutes=spec.step.seconds / 60, kilometres=kilometres))
    models = {
        "persistence": Persistence(PersistenceConfig(horizon=spec.horizon)),
        "extrapolation": Extrapolation(ExtrapolationConfig(**lengths)),
    }
    values = torch.from_numpy(np.nan_to_num(rate.values))[..., None]
    x = torch.stack([values[now - spec.history + 1 : now + 1] for now in starts])
    made = {name: model(x)[:, None] for name, model in models.items()}
    count = options["samples"]
    rows, members = torch.arange(len(x)).repeat_interleave(count), torch.arange(count).repeat(len(x))
    pairs = zip(rows.tolist(), members.tolist(), strict=True)
    sources = [generator(options["seed"], row, member) for row, member in pairs]
    made["STEPS"] = steps.sample(x, rows, members, sources).unflatten(0, (len(x), count))
    dims = ("init", "sample", "lead", "y", "x")
    return {
        name: _middle(xr.DataArray(np.nan_to_num(made[name][..., 0].numpy()), dims=dims), spec).values for name in made
    }


def _own(forecaster: Forecaster, rate: xr.DataArray, starts: np.ndarray, options: Recipe, device: str) -> np.ndarray:
    samples = 1 if forecaster.deterministic else options["samples"]
    init = list(rate["time"].values[starts])
    ds = rate.to_dataset(name="rain_rate")
    fc = forecaster.forecast(ds, init=init, samples=samples, device=device, progress=False)
    return _middle(fc["rain_rate"], forecaster.spec).values


def _scores(values: np.ndarray, observed: np.ndarray, options: Recipe) -> dict[str, list[float]]:
    forecast = xr.DataArray(values, dims=("init", "sample", "lead", "y", "x"))
    truth = xr.DataArray(observed, dims=("init", "lead", "y", "x"))
    over = ("init", "y", "x")
    scores = {"CRPS": skill.crps(forecast, truth, dim=over, fair=False)}
    for threshold in options["thresholds"]:
        scores[f"CSI {threshold:g}"] = skill.csi(forecast, truth, threshold, dim=over)
        window = options["neighbourhood"]
        scores[f"FSS {threshold:g}"] = skill.fss(forecast, truth, threshold, window, dim="init")
    scores["bias"] = forecast.mean(("init", "sample", "y", "x")) / truth.mean(over)
    return {name: [round(float(value), 4) for value in score.values] for name, score in scores.items()}


def table(scores: Mapping[str, Any] | None, minutes: int = 5) -> str:
    """Scores as Markdown, a table for each of what was held out."""
    if not scores:
        return "None were measured."
    blocks = []
    for title, found in scores.items():
        methods = [name for name in found if name != "starts"]
        heads = ["", "", *(f"{lead * minutes} min" for lead in LEADS)]
        rows = [heads]
        for score in found[methods[0]]:
            for place, method in enumerate(methods):
                shown = [f"{found[method][score][lead - 1]:.3f}" for lead in LEADS]
                rows.append(["" if place else score, method, *shown])
        head = f"### {title[0].upper()}{title[1:]}"
        blocks += [head, "", f"{found['starts']} starts.", "", markdown_table(rows), ""]
    return "\n".join(blocks).rstrip()
