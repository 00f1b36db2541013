"""Scores of nowcasters on sequences that none of them has seen, beside persistence and pySTEPS."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from xforecast import skill
from xforecast.datasets.radar import open_radar
from xforecast.errors import require
from xforecast.forecaster import Forecaster
from xforecast.spec import DataSpec

__all__ = ["METHODS", "coarse", "held_out_scores", "open_sequence", "table"]

Recipe = Mapping[str, Any]
DRY, DRY_DECIBEL = 0.1, -15.0
"""Rate below which pySTEPS counts a pixel as dry, in mm/h, and what it then has in place of its logarithm."""
LEADS = (1, 3, 6, 9, 12)
"""Steps that a table shows."""


# ------------------------------------------------------------------ observations


def open_sequence(data: Path, part: Recipe) -> xr.DataArray:
    """A sequence of the recipe as rain rate in mm/h, (time, y, x), rows from south to north, in memory."""
    options = {key: part[key] for key in ("a", "b") if key in part}
    rate = open_radar(data / part["file"], time=slice(part.get("first"), part.get("last")), **options)["rain_rate"]
    return rate.transpose("time", "y", "x").sortby("y").astype(np.float32).load()


def coarse(rate: xr.DataArray, factor: int) -> xr.DataArray:
    """Means of squares of pixels; missing where a pixel is missing."""
    means = rate.coarsen(y=factor, x=factor, boundary="trim").mean(skipna=False, keep_attrs=True)
    return means.assign_coords({axis: means[axis].assign_attrs(rate[axis].attrs) for axis in ("y", "x")})


# ------------------------------------------------------------------ forecasts that others make


def _persistence(past: np.ndarray, horizon: int, samples: int, seed: int) -> np.ndarray:
    return np.broadcast_to(past[-1], (1, horizon, *past.shape[1:]))


def _decibels(past: np.ndarray) -> np.ndarray:
    from pysteps.utils.transformation import dB_transform

    return dB_transform(past, threshold=DRY, zerovalue=DRY_DECIBEL)[0]


def _motion(decibels: np.ndarray) -> np.ndarray:
    from pysteps import motion

    return motion.get_method("LK")(decibels)


def _extrapolation(past: np.ndarray, horizon: int, samples: int, seed: int) -> np.ndarray:
    """The last frame along the motion of the last four (Lucas-Kanade); dry where it comes from outside."""
    from pysteps import nowcasts

    moved = nowcasts.get_method("extrapolation")(past[-1], _motion(_decibels(past[-4:])), horizon)
    return np.nan_to_num(moved)[None]


def _steps(past: np.ndarray, horizon: int, samples: int, seed: int) -> np.ndarray:
    """STEPS with the options of the pySTEPS example (Bowler et al. 2006; Pulkkinen et al. 2019)."""
    from pysteps import nowcasts

    decibels = _decibels(past[-4:])
    made = nowcasts.get_method("steps")(
        decibels[-3:], _motion(decibels), horizon, n_ens_members=samples, n_cascade_levels=6,
        precip_thr=10 * np.log10(DRY), kmperpixel=2.0, timestep=5, noise_method="nonparametric",
        vel_pert_method="bps", mask_method="incremental", seed=seed,
    )  # fmt: skip
    rates = np.where(made > 10 * np.log10(DRY), 10.0 ** (made / 10), 0.0)
    return np.where(np.isfinite(made), rates, 0.0)


METHODS: dict[str, Callable[[np.ndarray, int, int, int], np.ndarray]] = {
    "persistence": _persistence,
    "extrapolation": _extrapolation,
    "STEPS": _steps,
}
"""Other forecasts by name: from past rates (time, y, x), numbers of steps and of samples, and a seed, to rates
(sample, lead, y, x)."""


# ------------------------------------------------------------------ scores


def held_out_scores(
    forecasters: Sequence[Forecaster],
    recipe: Recipe,
    data: Path,
    *,
    methods: Sequence[str] = tuple(METHODS),
    every: int = 3,
    device: str = "auto",
) -> dict[str, Any]:
    """Scores by lead of forecasters and of other methods on what the recipe holds out.

    The forecasters see the middle of the map, of the size that they take, and are scored there with the others, which
    see the whole map.

    Parameters
    ----------
    forecasters : sequence of Forecaster
    recipe : mapping
        The TOML file.
    data : pathlib.Path
        Folder of the radar files.
    methods : sequence of str
        Of `METHODS`.
    every : int
        Steps between starts.
    device : str
        As in `xforecast.forecast`.

    Returns
    -------
    dict
        ``{title: {method: {score: [by lead]}}}``, JSON-ready, and the number of starts.
    """
    require("pysteps", extra="test", purpose="scores beside extrapolation and STEPS")
    options, found = recipe["scores"], {}
    for part in recipe["held_out"]:
        rate = coarse(open_sequence(data, part), recipe["data"]["coarsen"])
        spec = forecasters[0].spec
        starts = np.arange(spec.history - 1, rate.sizes["time"] - spec.horizon, every)
        inner = _middle(rate, spec)
        observed = np.stack([inner.values[now + 1 : now + 1 + spec.horizon] for now in starts])
        made: dict[str, np.ndarray] = {name: _others(name, rate, starts, spec, options) for name in methods}
        for forecaster in forecasters:
            made[forecaster.name] = _own(forecaster, inner, starts, options, device)
        found[part["title"]] = {"starts": len(starts)} | {
            name: _scores(values, observed, options) for name, values in made.items()
        }
    return found


def _middle(rate: xr.DataArray, spec: DataSpec) -> xr.DataArray:
    first = {axis: (rate.sizes[axis] - size) // 2 for axis, size in zip(("y", "x"), spec.grid.shape, strict=True)}
    return rate.isel({axis: slice(start, start + spec.grid.shape[0]) for axis, start in first.items()})


def _others(name: str, rate: xr.DataArray, starts: np.ndarray, spec: DataSpec, options: Recipe) -> np.ndarray:
    """(init, sample, lead, y, x) in the middle of the map, from the whole map."""
    values, made = np.nan_to_num(rate.values), []
    for now in starts:
        past = values[now - spec.history + 1 : now + 1]
        forecast = METHODS[name](past, spec.horizon, options["samples"], options["seed"] + int(now))
        made.append(_middle(xr.DataArray(forecast, dims=("sample", "lead", "y", "x")), spec).values)
    return np.stack(made)


def _own(forecaster: Forecaster, inner: xr.DataArray, starts: np.ndarray, options: Recipe, device: str) -> np.ndarray:
    samples = 1 if forecaster.deterministic else options["samples"]
    init = list(inner["time"].values[starts])
    ds = inner.to_dataset(name="rain_rate")
    return forecaster.forecast(ds, init=init, samples=samples, device=device, progress=False)["rain_rate"].values


def _scores(values: np.ndarray, observed: np.ndarray, options: Recipe) -> dict[str, list[float]]:
    forecast = xr.DataArray(values, dims=("init", "sample", "lead", "y", "x"))
    truth = xr.DataArray(observed, dims=("init", "lead", "y", "x"))
    over = ("init", "y", "x")
    scores = {"CRPS": skill.crps(forecast, truth, dim=over, fair=False)}
    for threshold in options["thresholds"]:
        scores[f"CSI {threshold:g}"] = skill.csi(forecast, truth, threshold, dim=over)
        window = options["neighbourhood"]
        scores[f"FSS {threshold:g}"] = skill.fss(forecast, truth, threshold, window, dim="init")
    scores["mean rate"] = forecast.mean(("init", "sample", "y", "x"))
    return {name: [round(float(value), 4) for value in score.values] for name, score in scores.items()}


def table(scores: Mapping[str, Any] | None, minutes: int = 5) -> str:
    """Scores as Markdown, a table for each of what was held out."""
    if not scores:
        return "None were measured."
    blocks = []
    for title, found in scores.items():
        methods = [name for name in found if name != "starts"]
        heads = ["", "", *(f"{lead * minutes} min" for lead in LEADS)]
        rows = ["| " + " | ".join(heads) + " |", "|" + "---|" * len(heads)]
        for score in found[methods[0]]:
            for place, method in enumerate(methods):
                shown = [f"{found[method][score][lead - 1]:.3f}" for lead in LEADS]
                rows.append("| " + " | ".join(["" if place else score, method, *shown]) + " |")
        blocks += [f"### {title[0].upper()}{title[1:]}", "", f"{found['starts']} starts.", "", *rows, ""]
    return "\n".join(blocks).rstrip()
