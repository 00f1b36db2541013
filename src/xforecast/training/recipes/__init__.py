"""Recipes of the shipped forecasters: a TOML file each, and the code that follows it."""

from __future__ import annotations

import os
import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from xforecast.errors import UnknownForecaster

__all__ = ["read", "run"]

RECIPES = ("enso",)


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
        A few steps only, to see that everything works.
    progress : bool, optional
        Draw a bar.

    Returns
    -------
    list of pathlib.Path
        The folders.
    """
    from xforecast.training.recipes import enso

    recipe = read(name)
    chosen = [entry for entry in recipe["forecasters"] if only in (None, entry["name"])]
    if not chosen:
        names = ", ".join(entry["name"] for entry in recipe["forecasters"])
        raise UnknownForecaster(
            f"found {only!r}, wanted one of {names}\n  -> --only {recipe['forecasters'][0]['name']}"
        )
    if quick:
        recipe["training"] |= {"steps": 3}
        recipe["simulation"] |= {"series": 2}
    return [enso.train(recipe, entry, Path(data), Path(output), progress=progress) for entry in chosen]
