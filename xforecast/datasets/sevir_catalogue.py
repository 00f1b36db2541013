"""SEVIR's catalogue: which events there are, in which files, when and where."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from xforecast.errors import DataFileError, InvalidOption

__all__ = ["Events", "events", "grid_mapping", "map_coordinates", "project"]

SPLITS = {"train": (None, "2019-01-01"), "val": ("2019-01-01", "2019-06-01"), "test": ("2019-06-01", None)}
NEEDED = ("id", "file_name", "file_index", "img_type", "time_utc", "pct_missing")
SIDE = 384_000.0  # metres, where the catalogue does not say
PROJ_TO_CF = {
    "lat_0": "latitude_of_projection_origin",
    "lon_0": "longitude_of_projection_origin",
    "a": "earth_radius",
    "R": "earth_radius",
    "x_0": "false_easting",
    "y_0": "false_northing",
}


@dataclass(frozen=True)
class Events:
    """The chosen events.

    Parameters
    ----------
    catalogue : pathlib.Path
        Where they come from.
    table : pandas.DataFrame
        One row an event: the catalogue's columns for the first image type.
    paths, indices : mapping
        File and row in it, for each image type.
    skipped : mapping
        Why rows were left out, and how many.
    """

    catalogue: Path
    table: pd.DataFrame
    paths: Mapping[str, list[str]]
    indices: Mapping[str, list[int]]
    skipped: Mapping[str, int]


def events(
    root: Path,
    types: tuple[str, ...],
    split: str | None,
    start: str | None,
    end: str | None,
    order: str,
    missing_files: str,
) -> Events:
    """Filter the catalogue as published: dates, missing data, types, doubled ids; then sort by id."""
    if split is not None and split not in SPLITS:
        raise InvalidOption("split", split, f"one of {list(SPLITS)} or None", "split=None gives all events")
    if order not in ("sorted", "training"):
        raise InvalidOption("order", order, "'sorted' or 'training'", "order='sorted'")
    if missing_files not in ("raise", "skip"):
        raise InvalidOption(
            "missing_files",
            missing_files,
            "'raise' or 'skip'",
            "missing_files='skip' leaves out events whose file is not there",
        )
    catalogue = root / "CATALOG.csv"
    rows = _rows(catalogue)
    for low, high in (SPLITS.get(split or "", (None, None)), (start, end)):
        rows = rows[rows["time_utc"] > pd.Timestamp(low)] if low is not None else rows
        rows = rows[rows["time_utc"] <= pd.Timestamp(high)] if high is not None else rows
    rows = rows[rows["img_type"].isin(types)]
    skipped: dict[str, int] = {}
    rows = _kept(rows, rows["pct_missing"] == 0, "rows with missing data", skipped)
    rows = _kept(rows, ~rows.duplicated(["id", "img_type"], keep=False), "rows of doubled events", skipped)
    complete = rows.groupby("id")["img_type"].transform("count") == len(types)
    rows = _kept(rows, complete, f"rows of events without {', '.join(types)} together", skipped)
    rows = rows.assign(path=[str(root / "data" / name) for name in rows["file_name"]])
    rows = _with_files(rows, missing_files, catalogue, skipped)
    if rows.empty:
        raise DataFileError(
            f"{catalogue}: found no event of {', '.join(types)} for split {split!r} from {start} to {end}\n"
            f"  -> the catalogue has {_listing(catalogue)}; choose another split, dates or type"
        )
    by_type = {name: part.set_index("id").sort_index() for name, part in rows.groupby("img_type")}
    table = by_type[types[0]].reset_index()
    if order == "training":
        for _ in range(2):
            table = table.sample(frac=1, random_state=1)
    ids = table["id"]
    return Events(
        catalogue,
        table.reset_index(drop=True),
        {name: list(by_type[name].loc[ids, "path"]) for name in types},
        {name: [int(index) for index in by_type[name].loc[ids, "file_index"]] for name in types},
        skipped,
    )


def _rows(catalogue: Path) -> pd.DataFrame:
    if not catalogue.is_file():
        raise DataFileError(
            f"{catalogue}: no such file\n  -> pass the folder that holds CATALOG.csv and data/; SEVIR is at s3://sevir"
        )
    try:
        rows = pd.read_csv(catalogue, low_memory=False, dtype={"id": str})
        rows["time_utc"] = pd.to_datetime(rows["time_utc"])
    except (ValueError, KeyError, OSError) as error:
        raise DataFileError(f"{catalogue}: is not SEVIR's catalogue: {error}\n  -> fetch it again") from error
    if missing := [name for name in NEEDED if name not in rows]:
        raise DataFileError(f"{catalogue}: found no columns {missing}\n  -> fetch SEVIR's catalogue again")
    if rows["time_utc"].dt.tz is not None:
        rows["time_utc"] = rows["time_utc"].dt.tz_convert("UTC").dt.tz_localize(None)
    return rows


def _kept(rows: pd.DataFrame, keep: pd.Series, why: str, skipped: dict[str, int]) -> pd.DataFrame:
    if not keep.all():
        skipped[why] = int((~keep).sum())
    return rows[keep]


def _with_files(rows: pd.DataFrame, missing_files: str, catalogue: Path, skipped: dict[str, int]) -> pd.DataFrame:
    absent = [path for path in rows["path"].unique() if not Path(path).is_file()]
    if not absent:
        return rows
    if missing_files == "raise":
        more = f" and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise DataFileError(
            f"{absent[0]}{more}: no such file, named by {catalogue}\n"
            "  -> fetch it from s3://sevir/data, restrict start and end, or pass missing_files='skip'"
        )
    gone = rows.loc[rows["path"].isin(absent), "id"]
    return _kept(rows, ~rows["id"].isin(gone), f"rows of events in {len(absent)} files that are not there", skipped)


def _listing(catalogue: Path) -> str:
    rows = _rows(catalogue)
    counts = ", ".join(f"{number} of {name}" for name, number in rows["img_type"].value_counts().items())
    return f"rows from {rows['time_utc'].min()} to {rows['time_utc'].max()}: {counts}" if len(rows) else "no rows"


# ------------------------------------------------------------------ places


def grid_mapping(table: pd.DataFrame) -> dict[str, Any]:
    """CF attributes of the projection; with its parameters where the catalogue states the same for all."""
    stated = sorted(set(table["proj"].dropna())) if "proj" in table else []
    attrs: dict[str, Any] = {"grid_mapping_name": "lambert_azimuthal_equal_area"}
    if len(stated) != 1:
        return attrs
    attrs["proj4"] = stated[0]
    for word in stated[0].split():
        key, _, value = word.lstrip("+").partition("=")
        if key in PROJ_TO_CF and value:
            attrs[PROJ_TO_CF[key]] = float(value)
    return attrs


def map_coordinates(table: pd.DataFrame, y: str, x: str, rows: int, columns: int) -> dict[str, tuple]:
    """Metres from the lower left corner to the centres of the cells; the first row is the southernmost."""
    height = float(table["height_m"].iloc[0]) if "height_m" in table else SIDE
    width = float(table["width_m"].iloc[0]) if "width_m" in table else SIDE
    northward = (np.arange(rows) + 0.5) * height / rows
    eastward = (np.arange(columns) + 0.5) * width / columns
    where = "of the lower left corner of the event"
    return {
        y: (y, northward, {"long_name": f"Distance north {where}", "units": "m", "axis": "Y"}),
        x: (x, eastward, {"long_name": f"Distance east {where}", "units": "m", "axis": "X"}),
    }


def project(longitude: float, latitude: float, crs: Mapping[str, Any]) -> tuple[float, float]:
    """Easting and northing, in metres, on a Lambert azimuthal equal-area map of a sphere.

    Snyder (1987), Map Projections, USGS Professional Paper 1395, equations 24-2 to 24-4.

    Examples
    --------
    >>> crs = {"latitude_of_projection_origin": 38.0, "longitude_of_projection_origin": -98.0,
    ...        "earth_radius": 6370997.0}
    >>> project(-98.0, 38.0, crs)
    (0.0, 0.0)
    """
    phi, origin = np.deg2rad([latitude, crs.get("latitude_of_projection_origin", 0.0)])
    east = np.deg2rad(longitude - crs.get("longitude_of_projection_origin", 0.0))
    sine, cosine = np.sin(origin), np.cos(origin)
    stretch = np.sqrt(2 / (1 + sine * np.sin(phi) + cosine * np.cos(phi) * np.cos(east)))
    x = crs["earth_radius"] * stretch * np.cos(phi) * np.sin(east) + crs.get("false_easting", 0.0)
    y = crs["earth_radius"] * stretch * (cosine * np.sin(phi) - sine * np.cos(phi) * np.cos(east))
    return float(x), float(y + crs.get("false_northing", 0.0))
