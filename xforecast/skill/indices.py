"""The Nino3.4 index and its seasonal means."""

from __future__ import annotations

from collections.abc import Hashable

import numpy as np
import xarray as xr

from xforecast.cf import degrees, dimension, keywords, month_number, only_variable, with_index
from xforecast.errors import InvalidOption

__all__ = ["nino34", "seasonal_mean"]

SST = (
    ("sea_surface_temperature", "sea_surface_temperature_anomaly", "surface_temperature"),
    ("sst", "ssta", "tos", "nino34"),
)
"""Standard names and usual names of the variable."""

NINO34 = {"south": -5.0, "north": 5.0, "west": 190.0, "east": 240.0}  # 170W-120W as degrees east


def nino34(data: xr.Dataset | xr.DataArray, *, weighted: bool = True) -> xr.DataArray:
    r"""Nino3.4 index: the mean sea surface temperature over 5S-5N, 170W-120W.

    .. math:: N = \sum_i w_i T_i \Big/ \sum_i w_i, \qquad w_i = \cos\varphi_i

    over the cells whose centres lie in the region (edges included) and that are not missing.

    Parameters
    ----------
    data : Dataset or DataArray
        Sea surface temperature, or its anomaly, with latitude and longitude coordinates: any grid (also a
        curvilinear one), latitude direction, longitude convention and order of dimensions. Of a Dataset,
        the variable with that standard name.
    weighted : bool
        Weight cells by the cosine of latitude. False gives the plain mean of cells, as Earthformer's
        evaluation has it.

    Returns
    -------
    DataArray
        float64, with every other dimension of `data`; lazy where `data` is; units as in `data`. NaN where
        all cells are missing.

    Raises
    ------
    InvalidOption
        When the grid does not cover the region, or there are no coordinates to find it by.

    References
    ----------
    Trenberth, K. E. (1997). The definition of El Nino. Bulletin of the American Meteorological
    Society, 78, 2771-2777.

    Examples
    --------
    >>> lat, lon = [10.0, 5.0, 0.0, -5.0, -10.0], np.arange(-180.0, 180.0, 5.0)
    >>> sst = xr.DataArray(np.full((5, 72), 27.0), coords={"lat": lat, "lon": lon}, attrs={"units": "degC"})
    >>> nino34(sst).round(6).item()
    27.0
    >>> nino34(sst.where(sst.lon < 0)).attrs["units"]
    'degC'
    """
    sst = only_variable(data, *SST)
    latitude, longitude = degrees(sst, "latitude"), degrees(sst, "longitude") % 360
    box, dims = _region(sst, latitude, longitude)
    cos = np.cos(np.deg2rad(box[latitude.name].astype(np.float64)))
    inside = _between(box[latitude.name], NINO34["south"], NINO34["north"]) & _between(
        box[longitude.name] % 360, NINO34["west"], NINO34["east"]
    )
    index = box.astype(np.float64).weighted(inside * (cos if weighted else 1.0)).mean(dims)
    index.attrs = {k: v for k, v in sst.attrs.items() if k in ("units", "standard_name")} | {
        "long_name": f"Nino3.4 index: {'area' if weighted else 'cell'} mean over 5S-5N, 170W-120W",
        "cell_methods": f"{sst.attrs.get('cell_methods', '')} area: mean".strip(),
    }
    return index.rename("nino34")


def _between(values: xr.DataArray, low: float, high: float) -> xr.DataArray:
    tolerance = 1e-4  # degrees: coordinates are often float32
    return (values >= low - tolerance) & (values <= high + tolerance)


def _region(sst: xr.DataArray, latitude: xr.DataArray, longitude: xr.DataArray) -> tuple[xr.DataArray, list[Hashable]]:
    """The field about Nino3.4 and its horizontal dimensions, or an error if the grid leaves gaps there."""
    rows = _between(latitude, NINO34["south"], NINO34["north"])
    columns = _between(longitude, NINO34["west"], NINO34["east"])
    dims = list(dict.fromkeys([*latitude.dims, *longitude.dims]))
    if latitude.ndim == longitude.ndim == 1 and len(dims) == 2:
        covered = _covers(latitude, NINO34["south"], NINO34["north"]) and _covers(
            longitude, NINO34["west"], NINO34["east"]
        )
        part = {latitude.dims[0]: rows.values, longitude.dims[0]: columns.values}
        box = sst.isel({dim: np.flatnonzero(keep) for dim, keep in part.items()})
    else:
        covered = bool((rows & columns).any())
        box = sst
    if not covered:
        raise InvalidOption(
            "grid",
            f"latitude {_extent(latitude)}, longitude {_extent(longitude)} degrees",
            "cells all over 5S-5N, 170W-120W (190-240 degrees east)",
            "open the data with a larger region; check the units of the coordinates",
        )
    return box, dims


def _covers(points: xr.DataArray, low: float, high: float) -> bool:
    """Whether every point of the interval lies within half a cell of some grid point."""
    values = np.unique(np.asarray(points.values, np.float64))
    if values.size < 2 or not _between(points, low, high).any():
        return False
    reach = np.median(np.diff(values)) / 2 * 1.02 + 1e-3
    probes = np.linspace(low, high, 101)
    nearest = np.abs(values[:, None] - probes).min(0)
    return bool((nearest <= reach).all())


def _extent(points: xr.DataArray) -> str:
    return f"{float(points.min()):g} to {float(points.max()):g}"


def seasonal_mean(index: xr.DataArray, window: int = 3, *, min_months: int | None = None) -> xr.DataArray:
    """Running mean over `window` months, stamped with the middle month.

    Parameters
    ----------
    index : DataArray
        Monthly values over time, without gaps in the months.
    window : int
        Odd number of months.
    min_months : int, optional
        Months that must be there, all of them by default. With fewer, the seasons at the ends of a record
        that it covers in part are given too.

    Returns
    -------
    DataArray
        As `index`, with NaN where months lack.

    Examples
    --------
    >>> months = xr.date_range("2000-01", periods=5, freq="MS")
    >>> seasonal_mean(xr.DataArray([0.0, 3.0, 3.0, 0.0, 3.0], coords={"time": months})).values
    array([nan,  2.,  2.,  2., nan])
    """
    season_offsets(window)
    index = with_index(index, "time")
    time = dimension(index, "time")
    if (np.diff(month_number(index[time])) != 1).any():
        raise InvalidOption(
            str(time),
            "months that lack or are out of order",
            "one value for each month",
            f".sortby({time!r}).resample({keywords({time: 'MS'})}).mean()",
        )
    mean = index.rolling({time: window}, center=True, min_periods=min_months or window).mean()
    mean.attrs = {
        **index.attrs,
        "cell_methods": f"{index.attrs.get('cell_methods', '')} {time}: mean (interval: 1 month)".strip(),
    }
    return mean


def season_offsets(window: int) -> range:
    """Months of a season about its centre."""
    if window < 1 or window % 2 == 0:
        raise InvalidOption("window", window, "an odd number of months", "use 3, as the papers do, or 1 for none")
    return range(-(window // 2), window // 2 + 1)


def season_initials(centre: int, window: int) -> str:
    """Initials of the months of a season, by the number of the centre, January being 0.

    Examples
    --------
    >>> season_initials(0, 3), season_initials(6, 3)
    ('DJF', 'JJA')
    """
    return "".join("JFMAMJJASOND"[(centre + j) % 12] for j in season_offsets(window))
