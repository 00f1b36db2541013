"""Small made data and forecasters that the tests share."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import xarray as xr
from torch import nn

from xforecast.forecaster import Forecaster
from xforecast.models import Persistence, PersistenceConfig
from xforecast.models.contract import Config
from xforecast.spec import Climatology, DataSpec, Grid, Variable

LAT = np.arange(-10.0, 11.0, 5.0)
LON = np.arange(160.0, 196.0, 5.0)
MASK = np.ones((LAT.size, LON.size), bool)
MASK[:2, :2] = MASK[4, 5] = False
HISTORY, HORIZON = 3, 4

TEMPERATURES = ("degC", "K", "degF", "celsius", "degrees C", "Kelvin", "degree_Celsius", "deg_C", "°C")
RATES = ("mm/h", "mm hr-1", "kg m-2 s-1", "mm/day", "m s-1", "kg/m2/s")


def cycle_values() -> np.ndarray:
    """A climatology in degC, shape (12, y, x): warm at the equator, warmest in March; NaN on land."""
    month = np.arange(12)[:, None, None]
    values = 27.0 - 0.1 * np.abs(LAT)[:, None] + 0.02 * (LON - 160) + 1.5 * np.cos(2 * np.pi * (month - 2) / 12)
    return np.where(MASK, values, np.nan).astype(np.float32)


def sst_spec(**changes) -> DataSpec:
    """Monthly SST anomalies on a 5 x 8 grid with land."""
    sst = Variable(
        "sst", "degC", ["sea_surface_temperature"], ["tos"], scale=0.8, climatology=Climatology(("1991", "2020"),
        cycle_values()), fill=0.0, valid_range=(-12.0, 12.0), statistics=(0.0, 0.8),
    )  # fmt: skip
    options = {
        "variables": [sst],
        "grid": Grid.latlon(LAT, LON),
        "time_step": "1 month",
        "history": HISTORY,
        "horizon": HORIZON,
    }
    return DataSpec(**{**options, "mask": MASK, **changes})


def sst_dataset(months: int = 18, start: str = "2000-01", seed: int = 0) -> xr.Dataset:
    """Monthly SST in degC as a file would have it: climatology plus smooth anomalies, NaN on land."""
    time = xr.date_range(start, periods=months, freq="MS", unit="ns")
    anomaly = np.random.default_rng(seed).normal(0, 0.5, (months, LAT.size, LON.size))
    values = cycle_values()[time.month.values - 1] + anomaly
    return xr.Dataset(
        {"sst": (("time", "lat", "lon"), values, {"standard_name": "sea_surface_temperature", "units": "degC",
                                                  "long_name": "SST", "cell_methods": "time: mean"})},
        coords={
            "time": ("time", time, {"standard_name": "time"}),
            "lat": ("lat", LAT, {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": ("lon", LON, {"standard_name": "longitude", "units": "degrees_east"}),
        },
        attrs={"title": "made for tests", "history": "made"},
    )  # fmt: skip


def radar_spec(size: int = 6, history: int = 2, horizon: int = 3) -> DataSpec:
    """Rain every 5 minutes on any window of a 1 km grid."""
    rain = Variable("rain", "mm/h", ["rainfall_rate"], valid_range=(0.0, 300.0))
    return DataSpec([rain], Grid("projected", (size, size), spacing=(1000.0, 1000.0)), "5 minutes", history, horizon)


def radar_dataset(steps: int = 5, size: int = 6) -> xr.Dataset:
    """Rain in kg m-2 s-1 on a projected grid: rows from north to south, kilometres, bounds, 2-D lat/lon."""
    y, x = np.arange(size)[::-1] * 1.0, np.arange(size) * 1.0
    time = xr.date_range("2020-06-01T12:00", periods=steps, freq="5min", unit="ns")
    rain = np.random.default_rng(1).gamma(0.5, 4.0, (steps, size, size)) / 3600
    bounds = np.stack([x - 0.5, x + 0.5], axis=1)
    grid = np.meshgrid(50 + 0.01 * y, 5 + 0.01 * x, indexing="ij")
    return xr.Dataset(
        {
            "rr": (("time", "y", "x"), rain, {"standard_name": "rainfall_rate", "units": "kg m-2 s-1",
                                              "grid_mapping": "crs"}),
            "x_bnds": (("x", "nv"), bounds),
            "crs": ((), 0, {"grid_mapping_name": "polar_stereographic", "earth_radius": 6371000.0}),
        },
        coords={
            "time": ("time", time, {"standard_name": "time"}),
            "y": ("y", y, {"standard_name": "projection_y_coordinate", "units": "km"}),
            "x": ("x", x, {"standard_name": "projection_x_coordinate", "units": "km", "bounds": "x_bnds"}),
            "lat": (("y", "x"), grid[0], {"standard_name": "latitude", "units": "degrees_north"}),
            "lon": (("y", "x"), grid[1], {"standard_name": "longitude", "units": "degrees_east"}),
        },
    )  # fmt: skip


@dataclass(frozen=True)
class NoiseConfig(Config):
    """Of `Noise`."""

    horizon: int


class Noise(nn.Module):
    """The last frame plus white noise, a new draw at each step: a model with samples."""

    def __init__(self, config: NoiseConfig):
        super().__init__()
        self.config = config
        self.spread = nn.Parameter(torch.tensor(0.5))
        self.calls: list[int] = []

    def forward(self, x):
        return x[:, -1:].expand(-1, self.config.horizon, -1, -1, -1)

    def loss(self, x, y, weight=None):
        return (self(x) - y).square().mean()

    def sample(self, x, rows, members, generators):
        self.calls.append(len(rows))
        shape = (self.config.horizon, *x.shape[2:])
        noise = torch.stack([torch.randn(shape, generator=generator) for generator in generators])
        return self(x)[rows] + self.spread * noise


def persistence(spec: DataSpec | None = None, **card) -> Forecaster:
    """The last frame again and again."""
    spec = spec or sst_spec()
    model = Persistence(PersistenceConfig(horizon=spec.horizon, output_channels=len(spec.targets)))
    return Forecaster(model, spec, {"name": "tiny-persistence", "title": "Persistence of the tests", **card})


def noise(spec: DataSpec | None = None) -> Forecaster:
    """A forecaster whose samples differ."""
    spec = spec or sst_spec()
    return Forecaster(Noise(NoiseConfig(horizon=spec.horizon)), spec, {"name": "tiny-noise"})


def persisted(ds: xr.Dataset, horizon: int = HORIZON) -> np.ndarray:
    """What persistence of anomalies must give for the newest start of `sst_dataset`, shape (lead, y, x), degC."""
    last = ds.sst.isel(time=-1)
    month = int(last.time.dt.month) - 1
    anomaly = last.values - cycle_values()[month]
    return np.stack([anomaly + cycle_values()[(month + lead) % 12] for lead in range(1, horizon + 1)])
