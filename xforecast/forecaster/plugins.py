"""Forecasters of other packages, by entry point.

A package that has, in its ``pyproject.toml``, ::

    [project.entry-points."xforecast.forecasters"]
    my-nowcast = "my_package:folder"

makes ``"my-nowcast"`` a name for `xforecast.load`, `xforecast.forecast` and `xforecast.list_models`. The object is the
path of a folder written by `Forecaster.save`, a `Forecaster`, or a function without arguments that returns either.
"""

from __future__ import annotations

import os
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path

from xforecast.errors import CheckpointError
from xforecast.forecaster.folder import CONFIG_FILE
from xforecast.forecaster.forecaster import Forecaster

__all__ = ["GROUP", "find", "offered"]

GROUP = "xforecast.forecasters"


def offered() -> dict[str, EntryPoint]:
    """The forecasters of other packages by name; nothing is imported."""
    return {entry.name: entry for entry in entry_points(group=GROUP)}


def find(name: str) -> Path | Forecaster:
    """The folder of the forecaster of that name, or the forecaster itself.

    Raises
    ------
    CheckpointError
        Its package is broken, or gives something else.
    """
    return _found(offered()[name])


@lru_cache(maxsize=8)
def _found(entry: EntryPoint) -> Path | Forecaster:
    source = f"{entry.name!r} of {entry.dist.name if entry.dist is not None else 'another package'} ({entry.value})"
    try:
        found = entry.load()
        if callable(found) and not isinstance(found, Forecaster):
            found = found()
    except Exception as error:  # code of others may raise anything
        raise CheckpointError(
            f"{source} cannot be loaded: {type(error).__name__}: {error}\n  -> upgrade or remove that package"
        ) from error
    if isinstance(found, Forecaster):
        return found
    if isinstance(found, str | os.PathLike) and (Path(found) / CONFIG_FILE).is_file():
        return Path(found)
    raise CheckpointError(
        f"{source}: found {found!r}, wanted a folder, a Forecaster or a function that returns one\n"
        "  -> write to its authors"
    )
