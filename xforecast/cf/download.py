"""Files from the network, and where they are kept."""

from __future__ import annotations

import os
from pathlib import Path

from xforecast.errors import DataFileError, require

__all__ = ["cache_folder", "download"]


def cache_folder() -> Path:
    """Where downloads and forecasters for workers are kept: ``XFORECAST_CACHE`` or the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.environ.get("XFORECAST_CACHE") or os.path.join(base, "xforecast"))


def download(address: str, target: Path, *, purpose: str, sha256: str | None = None) -> Path:
    """Fetch a file, unless it is there already.

    Parameters
    ----------
    address : str
        Of the file.
    target : pathlib.Path
        Where to write it.
    purpose : str
        What it is for, in the message of an error.
    sha256 : str, optional
        The digest that the file must have.

    Returns
    -------
    pathlib.Path
        The target.

    Raises
    ------
    DataFileError
        The file cannot be fetched, or is another one.
    MissingExtra
        pooch is not installed.
    """
    pooch = require("pooch", extra="data", purpose=purpose)
    pooch.get_logger().setLevel("WARNING")
    known = sha256 and f"sha256:{sha256}"
    try:
        return Path(pooch.retrieve(address, known, fname=target.name, path=target.parent))
    except (OSError, ValueError) as error:
        raise DataFileError(f"{address}: cannot be fetched: {error}\n  -> try again later") from error
