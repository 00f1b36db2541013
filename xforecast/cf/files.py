"""Open and write Datasets by file name: NetCDF or Zarr, and never half a file."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import xarray as xr

from xforecast.errors import DataFileError, InvalidOption, require

__all__ = ["check_name", "open_data", "write"]

NETCDF = (".nc", ".nc4", ".netcdf", ".cdf")


def _is_zarr(path: Path) -> bool:
    if path.suffix == ".zarr":
        require("zarr", extra="zarr", purpose="Zarr")
        return True
    return False


def open_data(path: str | os.PathLike, *, chunks: dict | None = None) -> xr.Dataset:
    """Open NetCDF or Zarr, by file name.

    Parameters
    ----------
    path : path
        A file or a Zarr folder.
    chunks : dict, optional
        As in `xarray.open_dataset`; ``{}`` is lazy.

    Returns
    -------
    xarray.Dataset

    Raises
    ------
    DataFileError
        It is missing, truncated or of no known format.
    """
    path = Path(path)
    if not path.exists():
        raise DataFileError(f"{path}: no such file\n  -> check the path")
    try:
        if _is_zarr(path):
            return xr.open_zarr(path, chunks=chunks)
        return xr.open_dataset(path, chunks=chunks, decode_coords="all")
    except (OSError, ValueError, RuntimeError) as error:
        first = str(error).strip().splitlines()[0]
        raise DataFileError(
            f"{path} cannot be read: {first}\n"
            "  -> is it complete, and NetCDF or Zarr? Compare its size with the original"
        ) from error


def check_name(path: str | os.PathLike) -> Path:
    """The path, if `write` can write there: ask before a long computation, not after."""
    path = Path(path)
    if not _is_zarr(path) and (path.suffix not in NETCDF or path.is_dir()):
        raise InvalidOption(
            "path",
            str(path),
            "the name of a file that ends in .nc, or of a folder in .zarr",
            f"{path.stem or 'forecast'}.nc",
        )
    return path


def write(ds: xr.Dataset, path: str | os.PathLike) -> Path:
    """Write a Dataset as NetCDF or Zarr, by file name; what was there is replaced when the new file is complete.

    Parameters
    ----------
    ds : xarray.Dataset
        Lazy data are computed piece by piece while writing.
    path : path
        Ending in .nc or .zarr.

    Returns
    -------
    pathlib.Path
        The path.
    """
    path = check_name(path)
    zarr = _is_zarr(path)
    try:
        return _replaced(ds, path, zarr)
    except OSError as error:
        raise DataFileError(f"{path} cannot be written: {error}\n  -> choose another folder, or make room") from error


def _replaced(ds: xr.Dataset, path: Path, zarr: bool) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".xforecast-") as scratch:
        unfinished = Path(scratch) / path.name
        if zarr:
            plain = ds.copy()
            for variable in plain.variables.values():
                variable.encoding = {key: variable.encoding[key] for key in ("_FillValue",) if key in variable.encoding}
            plain.to_zarr(unfinished, zarr_format=2)
        else:
            ds.to_netcdf(unfinished, engine="netcdf4")
        if path.is_dir():
            shutil.rmtree(path)
        os.replace(unfinished, path)
    return path
