"""The recipe of ``earthformer-radar`` and ``prediff-radar``: random crops of a few radar sequences."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from xforecast._version import __version__
from xforecast.errors import require
from xforecast.forecaster import Forecaster
from xforecast.models import EarthformerConfig, Moving, MovingConfig, PreDiff, PreDiffConfig, count_parameters
from xforecast.spec import DataSpec, Grid, Variable
from xforecast.training.crops import Crops
from xforecast.training.options import TrainingOptions
from xforecast.training.recipes.radar_scores import held_out_scores, open_sequence, table
from xforecast.training.stages import train_stages

__all__ = ["train", "verify"]

Recipe = Mapping[str, Any]
LIMITS = (0.0, 400.0)
"""Rates beyond these are no rates, in mm/h."""
NORMALISING_CROPS = 64


def train(
    recipe: Recipe, entry: Recipe, data: Path, output: Path, *, resume: bool = False, progress: bool | None = None
) -> Path:
    """Train one forecaster of the recipe and save it with its card, without scores.

    Parameters
    ----------
    recipe : mapping
        The TOML file.
    entry : mapping
        The forecaster: name, model, title.
    data, output : pathlib.Path
        Folders.
    resume : bool
        Go on from the checkpoints in ``output``.
    progress : bool, optional
        Draw a bar.

    Returns
    -------
    pathlib.Path
        The forecaster's folder; `verify` adds the scores.
    """
    require("lightning", extra="train", purpose="training")
    sequences = [open_sequence(data, part).values for part in recipe["data"]["sequences"]]
    spec = _spec(recipe["data"], sequences)
    run = {"folder": output / f"{entry['name']}-training", "resume": resume, "progress": progress}
    network = MODELS[entry["model"]](recipe, spec, sequences, run)
    forecaster = Forecaster(network, spec, _card(recipe, entry, sequences))
    folder = forecaster.save(output / entry["name"], half=True)
    write_card(folder, recipe)
    return folder


# ------------------------------------------------------------------ the contract


def _spec(options: Recipe, sequences: list[np.ndarray]) -> DataSpec:
    size, metres = options["grid"], 1000.0 * options["coarsen"]
    name, scale = options["transform"]
    rain = Variable(
        "rain_rate",
        "mm h-1",
        ["rainfall_rate", "lwe_precipitation_rate", "precipitation_flux"],
        ["rain", "rain_rate", "precip_intensity", "precipitation_rate", "rr", "RATE"],
        long_name="Rain rate",
        fill=0.0,
        valid_range=LIMITS,
        transform=name,
        transform_scale=scale,
    )
    spec = DataSpec(
        [rain],
        Grid("projected", (size, size), spacing=(metres, metres)),
        options["time_step"],
        history=options["history"],
        horizon=options["horizon"],
    )
    crops = _crops(options, spec, sequences, NORMALISING_CROPS)
    values = np.concatenate([crops[index][1].numpy().ravel() for index in range(NORMALISING_CROPS)])
    rates = rain.to_physical(values)
    normalised: dict[str, Any] = {
        "offset": float(np.nanmean(values)),
        "scale": float(np.nanstd(values)),
        "statistics": (float(np.nanmean(rates)), float(np.nanstd(rates))),
    }
    return spec.replace(variables=[dataclasses.replace(rain, **normalised)])


def _crops(options: Recipe, spec: DataSpec, sequences: list[np.ndarray], count: int, seed: int = 0) -> Crops:
    shaping = {name: options[name] for name in ("coarsen", "calibration", "coverage")}
    return Crops(sequences, spec, count, seed=seed, **shaping)


# ------------------------------------------------------------------ networks


def _earthformer(recipe: Recipe, spec: DataSpec, sequences: list[np.ndarray], run: Mapping[str, Any]) -> nn.Module:
    from xforecast.training.loop import train as optimise

    options = TrainingOptions.from_dict(recipe["earthformer"]["training"])
    shape = {"history": spec.history, "horizon": spec.horizon, "grid": spec.grid.shape}
    torch.manual_seed(options.seed)
    config = EarthformerConfig.from_dict({**shape, **recipe["earthformer"]["network"]})
    network = Moving(MovingConfig("Earthformer", config, **recipe["earthformer"]["moving"]))
    pairs = _crops(recipe["data"], spec, sequences, recipe["earthformer"]["pairs"])
    return optimise(network, pairs, None, torch.ones(1), options, **run)


def _prediff(recipe: Recipe, spec: DataSpec, sequences: list[np.ndarray], run: Mapping[str, Any]) -> nn.Module:
    """The autoencoder on pairs of neighbouring frames, then the denoiser on the latents of windows that move."""
    options = recipe["prediff"]
    stages = {name: {**stage, **options["training"]} for name, stage in options["stages"].items()}
    torch.manual_seed(0)
    model = Moving(MovingConfig("PreDiff", prediff_config(options["network"], spec), **options["moving"]))
    neighbours = _crops(recipe["data"], spec.replace(history=1, horizon=1), sequences, options["pairs"], seed=1)
    windows = _crops(recipe["data"], spec, sequences, options["encoded_pairs"], seed=2)
    stages["denoiser"]["encoded_pairs"] = options["encoded_pairs"]
    for learner, pairs, held in ((model.network, neighbours, "denoiser"), (model, windows, "autoencoder")):
        train_stages(learner, {**stages, held: None}, pairs, None, torch.ones(1), spec, {}, run)
    return model


def prediff_config(network: Recipe, spec: DataSpec) -> PreDiffConfig:
    """The configuration in a recipe, for data of a spec."""
    latent = network["autoencoder"]["latent_channels"]
    size = {"history": spec.history, "horizon": spec.horizon, "grid": (1, 1), "channels": latent}
    factor = 2 ** (len(network["autoencoder"]["level_channels"]) - 1)
    config = PreDiffConfig.from_dict({**network, "denoiser": {**size, **network["denoiser"]}, "grid": (factor, factor)})
    return config.fitted(history=spec.history, horizon=spec.horizon, grid=spec.grid.shape)


MODELS = {"earthformer": _earthformer, "prediff": _prediff}
KINDS = {
    "Earthformer": "one expectation, which is smoother than rain is, the more so the farther ahead",
    "PreDiff": "as many samples as are asked for, which differ as the hour may go",
}


# ------------------------------------------------------------------ the card


def _card(recipe: Recipe, entry: Recipe, sequences: list[np.ndarray]) -> dict[str, Any]:
    frames = [
        f"{len(frame)} of {part['file']}" for frame, part in zip(sequences, recipe["data"]["sequences"], strict=True)
    ]
    return {
        "name": entry["name"],
        "title": entry["title"],
        "period": "events of 2010-08-26, 2016-07-11 and 2016-09-28",
        "frames": frames,
        "licence": recipe["licence"],
        "references": recipe["references"],
        "recipe": "xforecast train radar",
        "xforecast": __version__,
    }


def verify(recipe: Recipe, data: Path, output: Path, **options: Any) -> None:
    """Score the forecasters of the recipe that are in a folder on what was held out, and write that on their cards.

    Parameters
    ----------
    recipe : mapping
        The TOML file.
    data, output : pathlib.Path
        Folders of the radar files and of the forecasters.
    **options
        Of `xforecast.training.recipes.radar_scores.held_out_scores`.
    """
    folders = [output / entry["name"] for entry in recipe["forecasters"]]
    folders = [folder for folder in folders if (folder / "forecaster.json").exists()]
    forecasters = [Forecaster.load(folder) for folder in folders]
    scores = held_out_scores(forecasters, recipe, data, **options)
    for forecaster, folder in zip(forecasters, folders, strict=True):
        forecaster.card |= {"scores": scores}
        forecaster.save(folder, half=True)
        write_card(folder, recipe)


def write_card(folder: Path, recipe: Recipe) -> None:
    """The card for people, in Markdown, beside the weights."""
    forecaster = Forecaster.load(folder)
    model: Any = forecaster.model
    inner = model.network
    if isinstance(inner, PreDiff):
        options, parts = recipe["prediff"], {"autoencoder": inner.autoencoder, "denoiser": inner.denoiser}
        lengths = options["stages"]
    else:
        options, parts = recipe["earthformer"], {"network": model}
        lengths = {"network": options["training"]}
    text = (files("xforecast.training.recipes") / "radar.md").read_text()
    card = text.format(
        **{key: value for key, value in forecaster.card.items() if isinstance(value, str)},
        parameters=", ".join(f"{name} {count_parameters(part):,}" for name, part in parts.items()),
        training="; ".join(
            f"{name} {stage['steps']:,} steps of {stage['batch_size']}" for name, stage in lengths.items()
        ),
        scores=table(forecaster.card.get("scores")),
        frames=", ".join(forecaster.card["frames"]),
        held_out="\n".join(f"- {part['title']} (`{part['file']}`)" for part in recipe["held_out"]),
        samples=", samples=8" if isinstance(inner, PreDiff) else "",
        kind=KINDS[type(inner).__name__],
    )
    (folder / "README.md").write_text(card)
