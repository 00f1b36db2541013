"""The demonstration behind ``xforecast demo nowcast``: samples of the next hour of rain, in library calls."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xforecast import datasets, plot
from xforecast.cf import conversion, find_axis, find_variable, write
from xforecast.datasets import middle_cells
from xforecast.errors import CheckpointError, DataFileError, UnknownForecaster
from xforecast.forecaster import Forecaster, forecast, load
from xforecast.plot import pyplot
from xforecast.spec import DataSpec

__all__ = ["nowcast", "nowcast_table"]

MODEL = "prediff-radar"
SAMPLE = "mch-2017-01-31"
"""What is taken without data of one's own, if it is there: an event that the model was not trained on."""
SAMPLES = 8
THRESHOLDS = (5.0, 10.0, 20.0)
"""Rain rates of the table, in mm/h."""
RATE = "mm h-1"
MARGIN = 32
"""Pixels around the part of a map that is shown: the rain that will come in."""


def nowcast(
    folder: str | os.PathLike = "xforecast-demo",
    *,
    data: str | os.PathLike | None = None,
    model: str | os.PathLike | Forecaster | None = None,
) -> pd.DataFrame:
    """Draw samples of the next hour of rain, print a table, write ``nowcast.nc``, ``nowcast.png`` and ``nowcast.gif``.

    Of a sample, a stretch that was observed to its end and the middle of the map are taken, with what is around it
    where there is more; of a file, the newest start and the complete map.

    Parameters
    ----------
    folder : path
        Where to write.
    data : path or str, optional
        A file that `xforecast.datasets.open_radar` reads, or a name of `xforecast.datasets.list_samples`. Left out, a
        sample if the radar files are at hand, else made showers.
    model : str, path or Forecaster, optional
        In place of the nowcaster of the package.

    Returns
    -------
    pandas.DataFrame
        The table, a row for each lead.

    Raises
    ------
    CheckpointError
        There is no nowcaster in the package.
    SpecMismatch
        The data do not fit it.
    """
    forecaster = model if isinstance(model, Forecaster) else _load(model)
    rain, name, own = _rain(data, forecaster.spec)
    print(f"rain from {name}")
    rain = _fitted(rain, forecaster.spec)
    if not own:
        rain = _middle(rain, forecaster.spec, MARGIN)
    time = rain["time"].values
    past = own or len(time) < forecaster.spec.history + forecaster.spec.horizon
    init = None if past else time[-1 - forecaster.spec.horizon]
    fc = forecast(rain, forecaster, init=init, samples=None if forecaster.deterministic else SAMPLES)
    if not own:
        before = dict(rain.sizes)
        rain, fc = (_middle(data, forecaster.spec) for data in (rain, fc))
        if dict(rain.sizes) != before:
            print(f"of the map, the middle {' x '.join(map(str, forecaster.spec.grid.shape))} pixels")
    variable = str(find_variable(rain, forecaster.spec.variables[0]))
    observed = None if past else _rates(rain[variable])
    table = nowcast_table(_rates(fc[variable]), observed)
    print(f"\nrain from data to {np.datetime_as_string(fc['init'].values, unit='m')}, {forecaster.name}, "
          f"samples: {fc.sizes['sample']}\n\n{table.to_string()}\n\nmeans and ranges in mm/h over the map; "
          "chance: share of samples with such a rate somewhere on the map")  # fmt: skip
    folder = Path(folder)
    written = [write(fc, folder / "nowcast.nc"), *_pictures(fc[variable], observed, folder)]
    print(f"\nwrote {', '.join(map(str, written))}")
    return table


def nowcast_table(rate: xr.DataArray, observed: xr.DataArray | None = None) -> pd.DataFrame:
    """What the samples say of each lead.

    Parameters
    ----------
    rate : xarray.DataArray
        Dims (sample, lead, y, x), in mm/h.
    observed : xarray.DataArray, optional
        Dims (time, y, x), in mm/h.

    Returns
    -------
    pandas.DataFrame
        Indexed by the lead in minutes: mean over the map of all samples, of the lowest and the highest, chance of rates
        above thresholds somewhere on the map, and the observed mean.
    """
    space = [dim for dim in rate.dims if dim not in ("sample", "lead")]
    means, most = rate.mean(space), rate.max(space)
    columns = {"mean": means.mean("sample"), "lowest": means.min("sample"), "highest": means.max("sample")}
    table = pd.DataFrame({name: values.values.round(2) for name, values in columns.items()})
    for threshold in THRESHOLDS:
        chance = (most > threshold).mean("sample")
        table[f"> {threshold:g} mm/h"] = [f"{share:.0%}" for share in chance.values]
    if observed is not None:
        seen = observed.mean(space).reindex(time=np.atleast_1d(rate["valid_time"].values))
        table["observed"] = seen.values.round(2)
    table.index = pd.Index((rate["lead"] / np.timedelta64(1, "m")).values.astype(int), name="minutes")
    return table


# ------------------------------------------------------------------ the model and the data


def _load(model: str | os.PathLike | None) -> Forecaster:
    if model is not None:
        return load(model)
    try:
        return load(MODEL)
    except UnknownForecaster as error:
        raise CheckpointError(
            f"{MODEL!r} is not in this package\n"
            "  -> xforecast train radar --data FOLDER -o OUTPUT trains it; then xforecast demo nowcast --model "
            f"OUTPUT/{MODEL}"
        ) from error


def _rain(data: str | os.PathLike | None, spec: DataSpec) -> tuple[xr.Dataset, str, bool]:
    """Rain rate, where it is from, and whether it is the user's own."""
    if data is not None and str(data) not in datasets.list_samples():
        return datasets.open_radar(data), str(data), True
    try:
        name = str(data or SAMPLE)
        return datasets.sample(name), f"the sample {name}", False
    except DataFileError:
        if data is not None:
            raise
    rows, columns = (size + 2 * MARGIN for size in spec.grid.shape)
    return datasets.showers(size=(rows, columns)), "made showers, since no radar sample is at hand", False


def _fitted(rain: xr.Dataset, spec: DataSpec) -> xr.Dataset:
    """Averaged to the model's pixels where those of the data are finer by a whole number, which is printed."""
    name = find_variable(rain, spec.variables[0])
    if name is None or spec.grid.kind != "projected" or spec.grid.spacing is None:
        return rain
    x = find_axis(rain[name], "x")
    if x is None or x not in rain.coords or rain.sizes[x] < 2:
        return rain
    found, wanted = float(abs(rain[x].astype(float).diff(x).median())), spec.grid.spacing[1]
    factor = spec.grid.pixels_across(found, wanted)
    if rain[x].attrs.get("units") != "m" or factor == 1:
        return rain
    print(f"averaged: squares of {factor} x {factor} pixels of {found / 1000:g} km to {wanted / 1000:g} km")
    mapping = [key for key in rain.data_vars if not rain[key].dims]
    coarse = datasets.average_pixels(rain[name], factor)
    return coarse.to_dataset().assign(rain[mapping].data_vars).assign_attrs(rain.attrs).load()


def _middle(rain: xr.Dataset, spec: DataSpec, margin: int = 0) -> xr.Dataset:
    """The middle of a map, of the size of the model's window and a margin."""
    name = find_variable(rain, spec.variables[0])
    if name is None:
        return rain
    dims = [find_axis(rain[name], axis) for axis in ("y", "x")]
    wanted = {dim: size + 2 * margin for dim, size in zip(dims, spec.grid.shape, strict=True) if dim is not None}
    return rain.isel(middle_cells(rain.sizes, wanted))


def _rates(rain: xr.DataArray) -> xr.DataArray:
    return conversion(str(rain.attrs.get("units", RATE)), RATE)(rain).assign_attrs({**rain.attrs, "units": RATE})


# ------------------------------------------------------------------ pictures


def _pictures(rain: xr.DataArray, observed: xr.DataArray | None, folder: Path) -> list[Path]:
    samples = min(2, rain.sizes["sample"] - 1)
    still, moving = folder / "nowcast.png", folder / "nowcast.gif"
    figure = plot.maps(rain, observed=observed, samples=samples, coastlines=False)
    figure.savefig(still, dpi=110)
    pyplot().close(figure)
    plot.animate(rain, moving, observed=observed, samples=samples, coastlines=False)
    return [still, moving]
