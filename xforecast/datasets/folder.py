"""Where local data are: the folder that the environment variable XFORECAST_DATA names."""

from __future__ import annotations

import os
from pathlib import Path

from xforecast.errors import DataFileError

__all__ = ["data_file"]

VARIABLE = "XFORECAST_DATA"


def data_file(name: str, what: str, otherwise: str = "") -> Path:
    """The path of a file in that folder, or an error that says what to do.

    Parameters
    ----------
    name : str
        Path in the folder.
    what : str
        What the file holds, for the message.
    otherwise : str
        Another remedy, for the message.

    Raises
    ------
    DataFileError
        The variable is not set, or the file is not there.
    """
    folder = os.environ.get(VARIABLE)
    if folder and (file := Path(folder) / name).is_file():
        return file
    found = f"no file {name} in {folder}" if folder else f"{VARIABLE} is not set"
    raise DataFileError(
        f"{what}: {found}\n  -> {f'{otherwise} ' if otherwise else ''}set {VARIABLE} to a folder with the file {name}"
    )
