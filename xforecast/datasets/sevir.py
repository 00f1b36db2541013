"""SEVIR, the Storm EVent ImagRy: 4-hour events of radar and satellite images over the United States.

A catalogue (``CATALOG.csv``) names for each event and image type a row of an HDF5 file under ``data/``.
`sevir` and `sevir_lr` give the events of a split, lazily.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
import pandas as pd
import xarray as xr

from xforecast.datasets.sevir_catalogue import Events, events, grid_mapping, map_coordinates
from xforecast.errors import DataFileError, InvalidOption, XForecastWarning, require

__all__ = ["sevir", "sevir_lr"]

EVENT_START = -120  # minutes from the time of the event to its first frame, where the catalogue does not say


@dataclass(frozen=True)
class ImageType:
    """What is known of one image type: labels, decoding, and what stands for missing."""

    attrs: dict
    scale: float = 1.0
    missing: int | None = None


TYPES = {
    "vil": ImageType({"long_name": "Vertically integrated liquid as SEVIR's code, 0 to 255", "units": "1"}),
    "ir069": ImageType(
        {"standard_name": "brightness_temperature", "long_name": "GOES-16 6.9 um, water vapour", "units": "degC"},
        0.01,
        -32768,
    ),
    "ir107": ImageType(
        {"standard_name": "brightness_temperature", "long_name": "GOES-16 10.7 um, window", "units": "degC"},
        0.01,
        -32768,
    ),
    "vis": ImageType({"long_name": "GOES-16 0.64 um reflectance factor", "units": "1"}, 1e-4, -32768),
}
REFERENCES = {
    "title": "Storm EVent ImagRy (SEVIR)",
    "references": "Veillette, Samsi and Mattioli 2020, NeurIPS 33",
    "source": "NEXRAD and GOES-16 (NOAA), processed at MIT Lincoln Laboratory; registry.opendata.aws/sevir",
    "licence": "no restrictions, cite the paper",
    "Conventions": "CF-1.11",
}


# ------------------------------------------------------------------ events


def sevir(
    root: str | os.PathLike,
    split: str | None = None,
    *,
    image_types: Sequence[str] = ("vil",),
    start: str | None = None,
    end: str | None = None,
    order: str = "sorted",
    missing_files: str = "raise",
    decode: bool = True,
) -> xr.Dataset:
    """The events of SEVIR, with their frames, times and places.

    Parameters
    ----------
    root : path
        Folder with ``CATALOG.csv`` and ``data/``.
    split : {"train", "val", "test"}, optional
        The published splits: events up to 2019-01-01, up to 2019-06-01, and later.
    image_types : sequence of {"vil", "ir069", "ir107", "vis"}
        What to read; only events that have all of them are given.
    start, end : str, optional
        Events after ``start`` and not after ``end``, within the split.
    order : {"sorted", "training"}
        By id, or in the order in which Earthformer was trained: shuffled twice with pandas' seed 1.
    missing_files : {"raise", "skip"}
        What to do about events whose file is not there.
    decode : bool, default True
        Give float32 in the units below; otherwise the stored integers.

    Returns
    -------
    xarray.Dataset
        A variable for each image type, dims (event, time, y, x), lazy by event. ``vil`` is SEVIR's code
        0 to 255 (`xforecast.datasets.vil_from_vil_code` gives kg m-2), ``ir069`` and ``ir107`` are in
        degC, ``vis`` is a reflectance factor. ``time`` counts from the time of the event; coordinates
        ``valid_time`` (event, time), the corners' latitudes and longitudes, and ``crs``; ``y`` and ``x``
        are metres from the lower left corner. A type of another resolution has axes of its own, named
        by their length, such as ``y_192``.

    Raises
    ------
    DataFileError
        The catalogue or a file is missing, damaged, or shorter than the catalogue says.

    Warns
    -----
    XForecastWarning
        Catalogue rows were left out, as published: with missing data, doubled, or without one of the
        types; and those whose file is not there, with ``missing_files="skip"``.

    Notes
    -----
    Veillette, Samsi and Mattioli (2020), NeurIPS 33. The data are free of restrictions and can be had
    from ``s3://sevir`` without an account.

    Examples
    --------
    >>> sevir("/no/such/folder", "test")
    Traceback (most recent call last):
    xforecast.errors.DataFileError: /no/such/folder/CATALOG.csv: no such file
      -> pass the folder that holds CATALOG.csv and data/; SEVIR is at s3://sevir
    """
    chosen = _events(root, split, image_types, start, end, order, missing_files)
    return _open(chosen, tuple(image_types), minutes=5, decode=decode, every=1)


def sevir_lr(
    root: str | os.PathLike,
    split: str | None = None,
    *,
    start: str | None = None,
    end: str | None = None,
    order: str = "sorted",
    missing_files: str = "raise",
    decode: bool = True,
) -> xr.Dataset:
    """The events of SEVIR-LR: SEVIR's VIL at half the frames and a third of the resolution.

    Parameters
    ----------
    root : path
        Folder with SEVIR's ``CATALOG.csv`` and the reduced files under ``data/``. `downsample` makes the
        same from `sevir`.
    split, start, end, order, missing_files, decode
        The same as in `sevir`. The test split is that of PreDiff; its training and validation data were drawn at
        random from overlapping windows, while here they are apart in time.

    Returns
    -------
    xarray.Dataset
        Like that of `sevir`: ``vil`` over (event, time, y, x) with 25 frames every 10 minutes, 128 x 128 cells.

    Raises
    ------
    DataFileError
        The same as in `sevir`.

    Notes
    -----
    Gao et al. (2023), PreDiff, NeurIPS 36.

    Examples
    --------
    >>> sevir_lr("/no/such/folder", "test")
    Traceback (most recent call last):
    xforecast.errors.DataFileError: /no/such/folder/CATALOG.csv: no such file
      -> pass the folder that holds CATALOG.csv and data/; SEVIR is at s3://sevir
    """
    chosen = _events(root, split, ("vil",), start, end, order, missing_files)
    ds = _open(chosen, ("vil",), minutes=10, decode=decode, every=2)
    return ds.assign_attrs(title="SEVIR-LR", references=f"{ds.references}; Gao et al. 2023, NeurIPS 36")


def _events(root, split, image_types, start, end, order, missing_files) -> Events:
    unknown = [name for name in image_types if name not in TYPES]
    if unknown or isinstance(image_types, str) or not len(image_types):
        why = "lght is a table of flashes, not an image" if "lght" in unknown else ""
        raise InvalidOption("image_types", image_types, f"a sequence of some of {list(TYPES)}", why)
    chosen = events(Path(root), tuple(image_types), split, start, end, order, missing_files)
    if chosen.skipped:
        counts = ", ".join(f"{number} {why}" for why, number in chosen.skipped.items())
        warnings.warn(f"{chosen.catalogue}: left out {counts}", XForecastWarning, stacklevel=3)
    return chosen


def _open(chosen: Events, image_types: tuple[str, ...], *, minutes: int, decode: bool, every: int) -> xr.Dataset:
    h5py = require("h5py", extra="data", purpose="SEVIR")
    fields: dict[str, tuple] = {}
    axes: dict[tuple[str, str], tuple[int, int]] = {}
    for position, name in enumerate(image_types):
        rows, columns, frames, dtype = _layout(h5py, chosen, name)
        y, x = ("y", "x") if position == 0 or (rows, columns) == axes["y", "x"] else (f"y_{rows}", f"x_{columns}")
        axes.setdefault((y, x), (rows, columns))
        data = _lazy(chosen, name, (frames, rows, columns), dtype)
        attrs = {**TYPES[name].attrs, "grid_mapping": "crs"}
        if not decode:
            attrs |= {"units": "1", "long_name": f"{attrs['long_name']}, as stored"}
        fields[name] = (("event", "time", y, x), _decoded(data, TYPES[name]) if decode else data, attrs)
    if len({field[1].shape[1] for field in fields.values()}) > 1:
        raise DataFileError(
            f"{chosen.catalogue}: found image types with different numbers of frames\n  -> open them one by one"
        )
    ds = xr.Dataset(fields, coords=_times(chosen, frames, minutes, every), attrs=REFERENCES)
    for (y, x), (rows, columns) in axes.items():
        ds = ds.assign_coords(map_coordinates(chosen.table, y, x, rows, columns))
    skipped = "; ".join(f"{why}: {number}" for why, number in chosen.skipped.items())
    return ds.assign_coords(crs=((), 0, grid_mapping(chosen.table))).assign_attrs(left_out=skipped or "none")


def _times(chosen: Events, frames: int, minutes: int, every: int) -> dict:
    """Offsets from the event, the dates of the frames, and the corners."""
    table = chosen.table
    nominal = EVENT_START + minutes * np.arange(frames)
    offsets = np.tile(nominal.astype(float), (len(table), 1))
    for row, text in enumerate(table.get("minute_offsets", pd.Series(dtype=object))):
        stated = str(text).split(":")[::every]
        if len(stated) == frames:
            offsets[row] = np.array(stated, float)
    stamps = table["time_utc"].to_numpy("datetime64[ns]")
    valid = stamps[:, None] + np.rint(offsets * 60e9).astype("timedelta64[ns]")
    coords = {
        "event": ("event", table["id"].to_numpy(str), {"long_name": "SEVIR event"}),
        "time": ("time", (nominal * 60).astype("timedelta64[s]").astype("timedelta64[ns]"), {
            "long_name": "Time from the time of the event", "axis": "T"}),
        "event_time": ("event", stamps, {"standard_name": "time", "long_name": "Time of the event"}),
        "valid_time": (("event", "time"), valid, {"standard_name": "time", "long_name": "Time of the frame"}),
        "file_index": ("event", table["file_index"].to_numpy(int), {"long_name": "Row in the file"}),
    }  # fmt: skip
    for corner, name in {"llcrnr": "lower_left", "urcrnr": "upper_right"}.items():
        for short, long in {"lat": "latitude", "lon": "longitude"}.items():
            if corner + short in table:
                unit = "degrees_north" if short == "lat" else "degrees_east"
                attrs = {"long_name": f"{long} of the {name.replace('_', ' ')} corner", "units": unit}
                coords[f"{name}_{long}"] = ("event", table[corner + short].to_numpy(float), attrs)
    return coords


# ------------------------------------------------------------------ frames


def _layout(h5py, chosen: Events, name: str) -> tuple[int, int, int, np.dtype]:
    """Rows, columns, frames and type of the images, after a look at every file."""
    found = set()
    places = pd.DataFrame({"path": chosen.paths[name], "index": chosen.indices[name]})
    for path, wanted in places.groupby("path")["index"].max().items():
        with _opened(h5py, path, name) as images:
            if wanted >= images.shape[0]:
                raise DataFileError(
                    f"{path}: found {images.shape[0]} events, wanted {wanted + 1} by the catalogue\n"
                    "  -> the file or the catalogue is of another version, or cut short; fetch both again"
                )
            found.add((*images.shape[1:], images.dtype))
    if len(found) != 1:
        raise DataFileError(
            f"{chosen.catalogue}: found {name} images of {len(found)} shapes, wanted one\n"
            "  -> fetch the files of one version"
        )
    return found.pop()


class _opened:  # noqa: N801 - a context manager
    """The images of one type in a file, or an error that names the file."""

    def __init__(self, h5py, path: str, name: str):
        self.path, self.name, self.h5py = path, name, h5py

    def __enter__(self):
        try:
            self.file = self.h5py.File(self.path, "r")
        except OSError as error:
            raise DataFileError(
                f"{self.path}: cannot be read as HDF5: {str(error).splitlines()[0]}\n"
                "  -> is it complete? Compare its size with the original and fetch it again"
            ) from error
        images = self.file.get(self.name)
        if images is None or images.ndim != 4:
            found = sorted(self.file)
            self.file.close()
            raise DataFileError(
                f"{self.path}: found {found}, wanted an array {self.name!r} (event, y, x, time)\n"
                "  -> is it a SEVIR file of that type?"
            )
        return images

    def __exit__(self, *_):
        self.file.close()


def _lazy(chosen: Events, name: str, shape: tuple[int, int, int], dtype: np.dtype) -> da.Array:
    """Frames (event, time, y, x), one task an event."""
    paths = da.from_array(np.array(chosen.paths[name], dtype=str), chunks=1)
    indices = da.from_array(np.asarray(chosen.indices[name], np.int64), chunks=1)
    chunks = ((1,) * len(chosen.table), *((size,) for size in shape))
    meta = np.empty((0, 0, 0, 0), dtype)
    return da.map_blocks(_read, paths, indices, image_type=name, chunks=chunks, new_axis=[1, 2, 3], meta=meta)


def _read(paths: np.ndarray, indices: np.ndarray, image_type: str) -> np.ndarray:
    h5py = require("h5py", extra="data", purpose="SEVIR")
    with _opened(h5py, str(paths[0]), image_type) as images:
        try:
            return np.ascontiguousarray(np.moveaxis(images[int(indices[0])], -1, 0))[None]
        except OSError as error:
            raise DataFileError(
                f"{paths[0]}: event {indices[0]} cannot be read: {error}\n  -> the file is damaged; fetch it again"
            ) from error


def _decoded(data: da.Array, facts: ImageType) -> da.Array:
    values = data.astype(np.float32)
    if facts.missing is not None:
        values = da.where(data == facts.missing, np.float32(np.nan), values)
    return values if facts.scale == 1.0 else values * np.float32(facts.scale)
