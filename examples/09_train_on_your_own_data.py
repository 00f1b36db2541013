"""
Train on your own data
======================

You will learn

- how a NetCDF file becomes a forecaster, with two variables in and one out;
- how to judge it by data that it has not seen;
- that a saved forecaster forecasts like any other.
"""

# %%
# A file
# ------
# Twelve years of a made ocean: heat content travels east, and the surface temperature follows it three months later,
# with weather on top.

from pathlib import Path
from tempfile import mkdtemp

import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import xforecast as xf

months, lat, lon = np.arange(144), np.arange(-10.0, 11, 5), np.arange(160.0, 280, 10)
rng = np.random.default_rng(0)
source = np.convolve(rng.normal(size=200), np.hanning(13), "valid")
heat = source[months[:, None] + 30 - np.arange(12)][:, None] * np.exp(-((lat / 10) ** 2))[:, None]
warm = 27 + 0.6 * np.roll(heat, 3, axis=0) + 0.1 * rng.normal(size=heat.shape)
dims = ("time", "lat", "lon")
made = xr.Dataset(
    {
        "sst": (dims, warm, {"standard_name": "sea_surface_temperature", "units": "degC"}),
        "heat": (dims, heat, {"long_name": "heat content anomaly", "units": "GJ m-2"}),
    },
    {"time": xr.date_range("2000-01", periods=144, freq="MS"), "lat": lat, "lon": lon},
)
folder = Path(mkdtemp())
made.to_netcdf(folder / "ocean.nc")

# %%
# Train
# -----
# Both variables go in, the temperature comes out. The last two years are for the test; of the rest the last 15 % choose
# the best weights. Print the forecaster to see what it expects of data.

ds = xr.open_dataset(folder / "ocean.nc")
past, test = ds.sel(time=slice(None, "2009")), slice("2010", "2011-08")
options = {"history": 6, "horizon": 4, "targets": ["sst"], "progress": False}
small = xf.models.EarthformerConfig(history=6, horizon=4, grid=(5, 12), base_channels=16)
forecaster = xf.fit(past, small, **options, epochs=30, learning_rate=3e-3, name="my-ocean", folder=folder / "runs")
forecaster

# %%
# Save, load, forecast
# --------------------
# The folder that it is saved in, which ``save`` gives back, is its name from now on.

fc = ds.earthformer.forecast(forecaster.save(folder / "my-ocean"), init=test)
fc.sst

# %%
# Skill
# -----
# Against persistence, which is fitted and called the same way.

persistence = xf.fit(past, "Persistence", **options).forecast(ds, init=test)
observed = xf.skill.align(fc, ds.sst)
forecasts = {"trained": fc.sst.isel(sample=0), "persistence": persistence.sst.isel(sample=0)}
scores = {name: xf.skill.rmse(one, observed, dim=["init", "lat", "lon"]) for name, one in forecasts.items()}
figure, (left, right) = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
curve = np.genfromtxt(folder / "runs" / "member-0" / "log" / "metrics.csv", delimiter=",", names=True)
for column, words in {"train_loss": "training", "valid_loss": "held out"}.items():
    left.plot(curve["epoch"], curve[column], label=words)
left.set(xlabel="pass over the data", ylabel="loss")
left.legend()
xf.plot.skill_by_lead(scores, ax=right)
