"""The same SST written in the many ways in which files write it."""

from __future__ import annotations

import itertools

import cftime
import numpy as np
import xarray as xr
from hypothesis import strategies as st

DTYPES = ("f4", "f8", ">f4", ">f8", "packed", "read-only")
CALENDARS = ("datetime64[ns]", "datetime64[s]", "noleap", "360_day", "standard")
STAMPS = ("first", "middle", "last")
NAMES = (("sst", "time", "lat", "lon"), ("tos", "T", "Y", "X"), ("SST", "date", "latitude", "longitude"),
         ("analysed", "month_of_year_and_year", "rows", "columns"))  # fmt: skip
ORDERS = tuple(itertools.permutations(range(3)))

variants = st.fixed_dictionaries(
    {
        "names": st.sampled_from(NAMES),
        "order": st.sampled_from(ORDERS),
        "flipped": st.booleans(),
        "longitude": st.sampled_from(("0..360", "-180..180", "-180..180 unsorted")),
        "units": st.sampled_from(("degC", "K", "kelvin", "degrees C")),
        "dtype": st.sampled_from(DTYPES),
        "calendar": st.sampled_from(CALENDARS),
        "stamps": st.sampled_from(STAMPS),
        "extra": st.booleans(),
        "larger": st.booleans(),
        "chunks": st.sampled_from((None, {}, "time", "space", "ragged")),
        "as_array": st.booleans(),
    }
)


def written(ds: xr.Dataset, how: dict) -> xr.Dataset | xr.DataArray:
    """``ds`` (from `sst_dataset`) as the choices say."""
    ds = _larger(ds) if how["larger"] else ds
    ds = ds.assign_coords(time=("time", _stamps(ds.time, how["calendar"], how["stamps"]), ds.time.attrs))
    if how["flipped"]:
        ds = ds.isel(lat=slice(None, None, -1))
    if how["longitude"] != "0..360":
        ds = ds.assign_coords(lon=("lon", (ds.lon.values + 180) % 360 - 180, ds.lon.attrs))
        ds = ds.sortby("lon") if how["longitude"] == "-180..180" else ds
    attrs = ds.sst.attrs
    if how["units"] in ("K", "kelvin"):
        ds["sst"] = ds.sst + 273.15
    ds["sst"] = _stored(ds.sst.transpose(*np.array(ds.sst.dims)[list(how["order"])]), how["dtype"])
    ds["sst"].attrs = {**attrs, **ds.sst.attrs, "units": how["units"]}
    if how["extra"]:
        ds["sst"] = ds.sst.expand_dims(depth=[0.5])
    ds = ds.rename(dict(zip(("sst", "time", "lat", "lon"), how["names"], strict=True)))
    own, time, *space = how["names"]
    chunks = {"time": {time: 4}, "space": {space[0]: 2, space[1]: 3}, "ragged": {time: (5, 1, 7, 5)}}
    if how["chunks"] is not None:
        ds = ds.chunk(chunks.get(how["chunks"], {}) if isinstance(how["chunks"], str) else {})
    return ds[own] if how["as_array"] and how["dtype"] != "packed" else ds


def _larger(ds: xr.Dataset) -> xr.Dataset:
    lat, lon = np.arange(-20.0, 21, 5), np.arange(140.0, 221, 5)
    wide = ds.reindex(lat=lat, lon=lon)
    inside = wide.lat.isin(ds.lat) & wide.lon.isin(ds.lon)
    wide["sst"] = wide.sst.where(inside, 12.0).assign_attrs(ds.sst.attrs)
    for name in ("lat", "lon"):
        wide[name].attrs = ds[name].attrs
    return wide


def _stamps(time: xr.DataArray, calendar: str, where: str) -> np.ndarray:
    years, months = time.dt.year.values, time.dt.month.values
    name = "standard" if calendar.startswith("datetime64") else calendar
    stamps = []
    for year, month in zip(years, months, strict=True):
        first = cftime.datetime(year, month, 1, calendar=name)
        stamps.append(first.replace(day={"first": 1, "middle": 16, "last": first.daysinmonth}[where]))
    if not calendar.startswith("datetime64"):
        return np.array(stamps, object)
    return np.array([stamp.isoformat() for stamp in stamps], calendar)


def _stored(array: xr.DataArray, dtype: str) -> xr.DataArray:
    if dtype == "packed":
        packed = np.where(np.isnan(array), -32768, np.round((array - array.mean()) / 0.001)).astype(np.int16)
        facts = {"scale_factor": 0.001, "add_offset": float(array.mean()), "_FillValue": np.int16(-32768)}
        return array.copy(data=packed).assign_attrs(facts)
    values = array.values.astype("f8" if dtype == "read-only" else dtype)
    values.flags.writeable = dtype != "read-only"
    return array.copy(data=values)
