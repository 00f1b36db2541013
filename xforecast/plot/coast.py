"""Coastlines, where cartopy and its shapes are installed; they are never fetched."""

from __future__ import annotations

from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import xarray as xr

from xforecast.cf import kinds_of
from xforecast.plot.style import INK

__all__ = ["coastlines"]

RESOLUTIONS = {"110m": 60.0, "50m": 12.0, "10m": 0.0}
"""Natural Earth's, and the degrees that a map spans at least for each."""


def coastlines(axis, field: xr.DataArray, y: str, x: str) -> int:
    """Draw coastlines onto a map, in the coordinates of the map; how many lines were drawn."""
    points = _degrees(field, y, x)
    if points is None:
        return 0
    lon, lat = points
    file = _shapes(float(np.ptp(lat)))
    if file is None:
        return 0
    inside = [line for line in _lines(file) if _near(line, lon, lat)]
    lines = [part for line in inside for part in _on_map(line, field, x, lon)]
    if not lines:
        return 0
    from matplotlib.collections import LineCollection

    limits = axis.get_xlim(), axis.get_ylim()
    axis.add_collection(LineCollection(lines, colors=INK, linewidths=0.6, alpha=0.8, label="coastlines"))
    axis.set(xlim=limits[0], ylim=limits[1])
    return len(lines)


def _shapes(height: float) -> Path | None:
    """The file with coastlines for a map so many degrees high, finer or coarser than best if need be."""
    if find_spec("cartopy") is None:
        return None
    import cartopy

    best = next(name for name, least in RESOLUTIONS.items() if height >= least)
    for resolution in (best, *RESOLUTIONS):
        for key in ("pre_existing_data_dir", "data_dir", "repo_data_dir"):
            folder = Path(str(cartopy.config[key])) / "shapefiles" / "natural_earth" / "physical"
            if (file := folder / f"ne_{resolution}_coastline.shp").is_file():
                return file
    return None


@lru_cache(maxsize=4)
def _lines(file: Path) -> list[np.ndarray]:
    """Lines (point, 2) of longitude and latitude."""
    from cartopy.io.shapereader import Reader
    from shapely import get_parts

    shapes = list(Reader(str(file)).geometries())
    return [np.array(line.coords)[:, :2] for line in get_parts(shapes)]


def _crs(field: xr.DataArray):
    """The projection that the grid mapping states, or None."""
    name = field.attrs.get("grid_mapping", field.encoding.get("grid_mapping"))
    if name not in field.coords or find_spec("pyproj") is None:
        return None
    from pyproj import CRS
    from pyproj.exceptions import CRSError

    try:
        return CRS.from_cf(field[name].attrs)
    except (CRSError, KeyError):
        return None


def _degrees(field: xr.DataArray, y: str, x: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Longitudes and latitudes of the border of the map, or None where they cannot be known."""
    if x not in field.coords or y not in field.coords:
        return None
    if "longitude" in kinds_of(field, x) and "latitude" in kinds_of(field, y):
        return field[x].values.astype(float), field[y].values.astype(float)
    crs = _crs(field)
    if crs is None or crs.is_geographic:
        return None
    from pyproj import Transformer

    across, along = np.meshgrid(np.linspace(*_ends(field[x]), 12), np.linspace(*_ends(field[y]), 12))
    return Transformer.from_crs(crs, crs.geodetic_crs, always_xy=True).transform(across.ravel(), along.ravel())


def _ends(coordinate: xr.DataArray) -> tuple[float, float]:
    return float(coordinate.min()), float(coordinate.max())


def _near(line: np.ndarray, lon: np.ndarray, lat: np.ndarray) -> bool:
    """Whether a line may cross the map."""
    if line[:, 1].max() < lat.min() - 1 or line[:, 1].min() > lat.max() + 1:
        return False
    turns = (-360.0, 0.0, 360.0)
    return any(line[:, 0].max() + t >= lon.min() - 1 and line[:, 0].min() + t <= lon.max() + 1 for t in turns)


def _on_map(line: np.ndarray, field: xr.DataArray, x: str, lon: np.ndarray) -> list[np.ndarray]:
    """The line in the map's coordinates, once for each turn of the globe that the map may show."""
    if "longitude" in kinds_of(field, x):
        turned = [line + np.array([turn, 0.0]) for turn in (-360.0, 0.0, 360.0)]
        return [part for part in turned if part[:, 0].max() >= lon.min() and part[:, 0].min() <= lon.max()]
    crs = _crs(field)
    from pyproj import Transformer

    easting, northing = Transformer.from_crs(crs.geodetic_crs, crs, always_xy=True).transform(*line.T)
    points = np.column_stack([easting, northing])
    points[~np.isfinite(points).all(1)] = np.nan
    return [points]
