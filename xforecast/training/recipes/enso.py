"""The recipe of ``earthformer-enso``: observations, a linear teacher, networks that imitate it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr

from xforecast import skill
from xforecast._version import __version__
from xforecast.cf import open_data
from xforecast.errors import DataFileError, require
from xforecast.forecaster import Forecaster
from xforecast.labels import make_spec
from xforecast.models import Earthformer, EarthformerConfig, Ensemble, LinearInverseModel, LinearInverseModelConfig
from xforecast.spec import DataSpec
from xforecast.training.imitation import Imitation, lead_weights
from xforecast.training.options import TrainingOptions
from xforecast.training.recipes.markdown import markdown_table
from xforecast.training.windows import TrainingWindows, cell_weights, windows_of

__all__ = ["train"]

Recipe = Mapping[str, Any]
LIMITS = (-12.0, 12.0)
"""SST anomalies beyond these are no anomalies, in degC."""
VERIFIED = ("1984", "2017")


def train(
    recipe: Recipe, entry: Recipe, data: Path, output: Path, *, resume: bool = False, progress: bool | None = None
) -> Path:
    """Train one forecaster of the recipe and save it with its card.

    Parameters
    ----------
    recipe : mapping
        The TOML file.
    entry : mapping
        The forecaster: name, last year of training data, members.
    data, output : pathlib.Path
        Folders.
    resume : bool
        Go on from the checkpoints in ``output``.
    progress : bool, optional
        Draw a bar.

    Returns
    -------
    pathlib.Path
        The forecaster's folder.
    """
    require("lightning", extra="train", purpose="training")  # at once, not after the simulation
    sst = _nodes(open_data(data / recipe["data"]["sst"]), recipe)
    last = str(entry["last_year"])
    past = sst.sel(time=slice(None, last))
    spec = _spec(past, recipe, last)
    observed, _ = windows_of(past, spec)
    series = _with_pacific_before(observed, data, recipe, spec, int(past.time.dt.year[0]))
    pairs = _pairs(series, recipe, spec)
    logs = output / f"{entry['name']}-training"
    run = {"resume": resume, "progress": progress}
    networks = [
        _member(recipe, spec, pairs, seed, {**run, "folder": logs / f"member-{seed}"})
        for seed in range(int(entry["members"]))
    ]
    forecaster = Forecaster(Ensemble.of(networks), spec, _card(recipe, entry))
    forecaster.card |= _verified(forecaster, sst, int(last), output)
    folder = forecaster.save(output / entry["name"], half=True)
    (folder / "README.md").write_text(_model_card(forecaster, recipe))
    return folder


# ------------------------------------------------------------------ observations


def _nodes(ds: xr.Dataset, recipe: Recipe) -> xr.Dataset:
    """The nodes of the recipe, south to north."""
    (south, north, dy), (west, east, dx) = recipe["data"]["latitudes"], recipe["data"]["longitudes"]
    nodes = {"lat": np.arange(south, north + dy, dy), "lon": np.arange(west, east + dx, dx)}
    return (
        ds[["sst"]]
        .sel(nodes, method="nearest", tolerance=0.01)
        .assign_coords({k: v.astype(float) for k, v in nodes.items()})
        .load()
    )


def _spec(past: xr.Dataset, recipe: Recipe, last: str) -> DataSpec:
    options = recipe["data"]
    base = (str(int(last) - options["normal_years"] + 1), last)
    described = past.assign_coords(
        lat=past.lat.assign_attrs(standard_name="latitude", units="degrees_north"),
        lon=past.lon.assign_attrs(standard_name="longitude", units="degrees_east"),
    )
    spec = make_spec(described, history=options["history"], horizon=options["horizon"], base=base, calendar=["annual"])
    variable = dataclasses.replace(
        spec.variables[0],
        aliases=["sst", "tos", "ts", "sea_surface_temperature", "surface_temperature"],
        long_name="Sea surface temperature",
        valid_range=LIMITS,
        statistics=None,
    )
    return spec.replace(variables=[variable])


def _with_pacific_before(
    observed: TrainingWindows, data: Path, recipe: Recipe, spec: DataSpec, first_year: int
) -> torch.Tensor:
    """The observed network input, preceded by older anomalies of the Pacific completed over all oceans."""
    options = recipe["data"]
    file = data / options["anomalies"]
    ds = open_data(file)["ssta"].sel(time=slice(str(options["anomalies_from"]), str(first_year - 1)))
    if ds.sizes["time"] != 12 * (first_year - options["anomalies_from"]):
        raise DataFileError(
            f"{file}: months are missing before {first_year}\n  -> take the file from its first year on"
        )
    mask = np.ones(spec.grid.shape, bool) if spec.mask is None else spec.mask
    nodes = _at_nodes(ds.transpose("time", "lat", "lon"), spec, mask)
    full = observed.series[..., 0]
    older = _completed(nodes / spec.variables[0].scale, full, mask, cell_weights(spec), options)
    months = np.arange(len(older)) % 12
    waves = np.stack([np.sin(2 * np.pi * months / 12), np.cos(2 * np.pi * months / 12)], axis=-1)
    waves = np.broadcast_to(waves[:, None, None], (*older.shape, 2))
    before = np.concatenate([older[..., None], waves], axis=-1).astype(np.float32)
    return torch.from_numpy(np.concatenate([before, observed.series]))


def _at_nodes(anomalies: xr.DataArray, spec: DataSpec, mask: np.ndarray) -> np.ndarray:
    """Anomalies of 5 degree cells at the nodes between their centres, without their mean cycle; NaN elsewhere."""
    values = anomalies.values
    between = (values[:, :-1, :-1] + values[:, 1:, :-1] + values[:, :-1, 1:] + values[:, 1:, 1:]) / 4
    lat = (anomalies.lat.values[:-1] + anomalies.lat.values[1:]) / 2
    lon = (anomalies.lon.values[:-1] + anomalies.lon.values[1:]) / 2
    out = np.full((len(values), *spec.grid.shape), np.nan)
    _, rows, own_rows = np.intersect1d(np.array(spec.grid.y), lat, return_indices=True)
    _, columns, own_columns = np.intersect1d(np.array(spec.grid.x), lon, return_indices=True)
    out[:, rows[:, None], columns] = between[:, own_rows[:, None], own_columns]
    out[:, ~mask] = np.nan
    cycle = np.stack([out[month::12].mean(axis=0) for month in range(12)])
    return out - np.tile(cycle, (len(out) // 12, 1, 1))


def _completed(partial: np.ndarray, full: np.ndarray, mask, area: np.ndarray, options: Recipe) -> np.ndarray:
    """Fields known in some cells, completed by ridge regression on their leading modes, learnt from complete fields."""
    known = ~np.isnan(partial).any(axis=0) & mask
    root = np.sqrt(area[known])
    complete, weighted = full[:, mask], full[:, known] * root
    modes = np.linalg.svd(weighted, full_matrices=False)[2][: options["fill_modes"]]
    scores = weighted @ modes.T
    penalty = options["fill_penalty"] * np.eye(len(modes))
    regression = np.linalg.solve(scores.T @ scores + penalty, scores.T @ complete)
    out = np.zeros(partial.shape)
    out[:, mask] = (partial[:, known] * root) @ modes.T @ regression
    out[:, known] = partial[:, known]
    return out


# ------------------------------------------------------------------ teacher and networks


def _pairs(series: torch.Tensor, recipe: Recipe, spec: DataSpec) -> Imitation:
    """What the networks learn from: the teacher fitted to the series, its simulations, the observed histories."""
    shape = {"history": spec.history, "horizon": spec.horizon, "grid": spec.grid.shape, "input_channels": spec.channels}
    teacher = LinearInverseModel(LinearInverseModelConfig.from_dict({**shape, **recipe["teacher"]}))
    teacher.fit_series(series, torch.from_numpy(cell_weights(spec))[..., None])
    options = recipe["simulation"]
    simulated = teacher.simulate(
        options["months"], torch.Generator().manual_seed(options["seed"]), series=options["series"]
    )
    windows = series.unfold(0, spec.history, 1).movedim(-1, 1).contiguous()
    training = recipe["training"]
    return Imitation(
        teacher,
        simulated,
        windows,
        torch.from_numpy(np.ones(spec.grid.shape, bool) if spec.mask is None else spec.mask),
        count=training["steps"] * training["batch_size"],
        share=recipe["imitation"]["share"],
        noise=recipe["imitation"]["noise"],
        drift=recipe["imitation"]["drift"],
    )


def _member(recipe: Recipe, spec: DataSpec, pairs: Imitation, seed: int, run: Mapping[str, Any]) -> Earthformer:
    """One network, with weights, data and noise of its own seed."""
    from xforecast.training.loop import train as optimise

    shape = {"history": spec.history, "horizon": spec.horizon, "grid": spec.grid.shape, "input_channels": spec.channels}
    torch.manual_seed(seed)
    network = Earthformer(EarthformerConfig.from_dict({**shape, **recipe["network"]}))
    own = dataclasses.replace(pairs, seed=seed)
    weight = torch.from_numpy(cell_weights(spec))
    by_lead = lead_weights(own, weight) if recipe["imitation"]["lead_weights"] else torch.ones(spec.horizon, 1, 1, 1)
    options = TrainingOptions.from_dict({**recipe["training"], "seed": seed})
    optimise(network, own, None, by_lead * weight[..., None], options, **run)
    return network


# ------------------------------------------------------------------ the card


def _card(recipe: Recipe, entry: Recipe) -> dict[str, Any]:
    options = recipe["data"]
    return {
        "name": entry["name"],
        "title": recipe["title"],
        "period": f"{options['anomalies_from']}-01 to {entry['last_year']}-12",
        "licence": recipe["licence"],
        "references": recipe["references"],
        "recipe": "xforecast train enso",
        "xforecast": __version__,
    }


def _model_card(forecaster: Forecaster, recipe: Recipe) -> str:
    """The card for people, in Markdown."""
    assert isinstance(forecaster.model, Ensemble)
    network = forecaster.model.networks[0]
    climatology = forecaster.spec.variables[0].climatology
    assert climatology is not None
    return (
        (files("xforecast.training.recipes") / "enso.md")
        .read_text()
        .format(
            **forecaster.card,
            members=forecaster.model.size,
            first_year=recipe["data"]["anomalies_from"],
            base="-".join(climatology.base),
            parameters=sum(parameter.numel() for parameter in network.parameters()),
            steps=recipe["training"]["steps"],
            batch_size=recipe["training"]["batch_size"],
            scores=_scores_table(forecaster.card),
        )
    )


def _scores_table(card: Mapping[str, Any]) -> str:
    """Correlation and error by lead, if they were measured."""
    if "hindcast_correlation" not in card:
        return "None were measured."
    leads = list(card["hindcast_correlation"])
    rows = [
        ["lead (months)", *leads],
        ["correlation", *(f"{card['hindcast_correlation'][lead]:.2f}" for lead in leads)],
        ["RMSE (degC)", *(f"{card['hindcast_error'][lead]:.2f}" for lead in leads)],
    ]
    note = f"3-month mean {card['hindcast_note']}; mean of the samples against ERA5, lead to the centre of the season."
    return f"{note}\n\n{markdown_table(rows)}"


def _verified(forecaster: Forecaster, sst: xr.Dataset, last_year: int, output: Path) -> dict[str, Any]:
    """Correlation and error by lead over years that the forecaster never saw; for one that saw them all, those of the
    forecaster of the same recipe that did not."""
    if last_year >= int(VERIFIED[0]):
        before = output / "earthformer-enso-1981"
        if not (before / "forecaster.json").exists():
            return {}
        card = Forecaster.load(before).card
        return {key: card[key] for key in ("hindcast_error", "hindcast_correlation", "hindcast_note") if key in card}
    first = str(int(VERIFIED[0]) - 1 - forecaster.spec.horizon // 12)
    fc = forecaster.forecast(sst, init=slice(first, VERIFIED[1]), progress=False)
    targets = slice(*VERIFIED)
    index, truth = skill.nino34(fc["sst"], weighted=False), skill.nino34(sst["sst"], weighted=False)
    scores, errors = (score(index, truth, targets=targets) for score in (skill.nino34_correlation, skill.nino34_error))
    return {
        "hindcast_correlation": {str(int(lead)): round(float(scores.sel(lead=lead)), 3) for lead in scores["lead"]},
        "hindcast_error": {str(int(lead)): round(float(errors.sel(lead=lead)), 3) for lead in errors["lead"]},
        "hindcast_note": f"Nino3.4, targets {'-'.join(VERIFIED)}, by earthformer-enso-1981, which saw none of them",
    }
