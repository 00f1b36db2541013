"""The climatology that is subtracted from absolute values, and added to their forecast."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.labels.climatology import monthly_climatology
from xforecast.labels.report import Report
from xforecast.labels.variables import Found
from xforecast.spec import Climatology, DataSpec, months_of

__all__ = ["Anomalies", "find_anomalies"]

FEW_YEARS = 20
"""A climatology of fewer years warns."""


@dataclass(frozen=True)
class Anomalies:
    """Departures from a climatology in place of the values themselves.

    Parameters
    ----------
    climatology : Climatology, optional
        Without one, values stay as they are.

    Examples
    --------
    >>> cycle = Climatology(("1991", "2020"), np.arange(12.0).reshape(12, 1, 1))
    >>> february = np.array(["2000-02-15"], "datetime64[s]")
    >>> values = xr.DataArray([[[21.0]]], dims=("time", "y", "x"))
    >>> Anomalies(cycle).apply(values, february).item(), Anomalies(cycle).undo(values, february).item()
    (20.0, 22.0)
    """

    climatology: Climatology | None = None

    def apply(self, values: xr.DataArray, dates: np.ndarray, dims: tuple[str, ...] = ("time",)) -> xr.DataArray:
        """Values without the climatology of their dates; attributes are kept.

        Parameters
        ----------
        values : xarray.DataArray
            With dims (..., y, x), lazy or not.
        dates : numpy.ndarray
            Date of each value along ``dims``.
        dims : tuple of str
            Dimensions of the dates.
        """
        if self.climatology is None:
            return values
        return (values - self._of(dates, dims, values)).assign_attrs(values.attrs)

    def undo(self, values: xr.DataArray, dates: np.ndarray, dims: tuple[str, ...] = ("time",)) -> xr.DataArray:
        """Values with the climatology of their dates, the inverse of `apply`."""
        if self.climatology is None:
            return values
        return values + self._of(dates, dims, values)

    def _of(self, dates: np.ndarray, dims: tuple[str, ...], like: xr.DataArray) -> xr.DataArray:
        """The climatology for each date: ``dims``, then (y, x); lazy and in chunks where ``like`` is."""
        assert self.climatology is not None
        monthly = self.climatology.values
        stamps = xr.DataArray(dates, dims=dims)
        if like.chunks is not None:
            stamps = stamps.chunk({dim: like.chunksizes[dim] for dim in dims})
        return xr.apply_ufunc(
            lambda stamps: monthly[months_of(stamps)],
            stamps,
            output_core_dims=[["y", "x"]],
            dask="parallelized",
            output_dtypes=[monthly.dtype],
            dask_gufunc_kwargs={"output_sizes": {"y": monthly.shape[1], "x": monthly.shape[2]}},
        )


def find_anomalies(
    found: Mapping[str, Found], fields: Mapping[str, xr.DataArray], spec: DataSpec, base: Any, report: Report
) -> dict[str, Anomalies]:
    """How each variable becomes an anomaly, where the spec wants one and the data are absolute.

    Parameters
    ----------
    found : mapping
        The variables, by their names in the spec.
    fields : mapping
        Their values, dims (time, y, x), in the spec's units.
    spec : DataSpec
        Has the climatologies.
    base : tuple of str, optional
        Base period of a climatology of the data's own in place of the spec's.
    report : Report
        Takes a warning if that is short.
    """
    absolute = [name for name, entry in found.items() if spec[name].climatology is not None and not entry.anomaly]
    if base is not None and not absolute:
        wanted = "None, since no climatology is subtracted from these data"
        raise InvalidOption("base_period", base, wanted, "leave base_period= out")
    chosen: dict[str, Anomalies] = dict.fromkeys(found, Anomalies())
    for name in absolute:
        cycle = spec[name].climatology if base is None else _own_climatology(fields[name], base, report)
        chosen[name] = Anomalies(cycle)
    return chosen


def _own_climatology(array: xr.DataArray, base: tuple[str, str], report: Report) -> Climatology:
    """The climatology of the data themselves over a base period; computed at once."""
    if not isinstance(base, tuple | list) or len(base) != 2:
        wanted = "first and last year of a base period, such as ('1991', '2020')"
        raise InvalidOption("base_period", base, wanted, "base_period=('1991', '2020')")
    first, last = (str(year) for year in base)
    years = np.unique(array["time"].sel(time=slice(first, last)).dt.year)
    wanted_years = int(last[:4]) - int(first[:4]) + 1 if first[:4].isdigit() and last[:4].isdigit() else FEW_YEARS
    if years.size < wanted_years or years.size < FEW_YEARS:
        report.warn("climatology", f"the base period {first}-{last} has {years.size} years in the data")
    cycle = monthly_climatology(array, (first, last)).transpose("month", "y", "x").compute()
    return Climatology((first, last), cycle.values)
