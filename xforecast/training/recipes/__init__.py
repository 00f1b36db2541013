"""Recipes of the shipped forecasters: a TOML file each, and the code that follows it."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from importlib import import_module
from importlib.resources import files
from pathlib import Path
from typing import Any

from xforecast.errors import UnknownForecaster
from xforecast.training.recipes.markdown import markdown_table

__all__ = ["markdown_table", "read", "run"]

RECIPES = ("enso", "radar")
"""A TOML file and a module of that name each; the module has ``train(recipe, entry, data, output, ...)``."""


def read(name: str) -> dict[str, Any]:
    """A recipe by name.

    Examples
    --------
    >>> [forecaster["name"] for forecaster in read("enso")["forecasters"]]
    ['earthformer-enso-1981', 'earthformer-enso']
    """
    if name not in RECIPES:
        raise UnknownForecaster(f"found recipe {name!r}, wanted one of {', '.join(RECIPES)}\n  -> xforecast train enso")
    return tomllib.loads((files(__name__) / f"{name}.toml").read_text())


def run(
    name: str,
    *,
    data: str | os.PathLike,
    output: str | os.PathLike,
    only: str | None = None,
    quick: bool = False,
    resume: bool = False,
    progress: bool | None = None,
) -> list[Path]:
    """Follow a recipe.

    Parameters
    ----------
    name : str
        Of the recipe.
    data : path
        Folder with the files that the recipe names.
    output : path
        Each forecaster gets a folder of its name there.
    only : str, optional
        Train one forecaster of the recipe.
    quick : bool
        A few steps only, to see that everything works: with the table ``quick`` of the recipe.
    resume : bool
        Go on from the checkpoints in ``output``.
    progress : bool, optional
        Draw a bar.

    Returns
    -------
    list of pathlib.Path
        The folders.
    """
    recipe = read(name)
    chosen = [entry for entry in recipe["forecasters"] if only in (None, entry["name"])]
    if not chosen:
        names = ", ".join(entry["name"] for entry in recipe["forecasters"])
        raise UnknownForecaster(
            f"found {only!r}, wanted one of {names}\n  -> --only {recipe['forecasters'][0]['name']}"
        )
    if quick:
        recipe = _merged(recipe, recipe["quick"])
    train = import_module(f"{__name__}.{name}").train
    return [train(recipe, entry, Path(data), Path(output), resume=resume, progress=progress) for entry in chosen]


def _merged(recipe: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """The recipe with some entries changed, at any depth."""
    nested = {key: _merged(recipe[key], value) for key, value in changes.items() if isinstance(value, Mapping)}
    return {**recipe, **changes, **nested}
