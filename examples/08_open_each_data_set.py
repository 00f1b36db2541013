"""
Open each data set
==================

You will learn

- how SEVIR, ICAR-ENSO, N-body MNIST and radar files become labelled data;
- what their events, runs and sequences look like;
- that the windows of the papers come with one more call.
"""

# %%
# The files here are small, written in the layout of the real ones; with the real ones the calls are the same.

from pathlib import Path
from tempfile import mkdtemp

import h5py
import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from xforecast import datasets, plot

folder, rng = Path(mkdtemp()), np.random.default_rng(0)


def blobs(*shape, width=4.0):
    """Smooth noise from 0 to 1 that changes slowly along its first axis."""
    noise = gaussian_filter(rng.normal(size=shape), (3.0, width, width), mode="wrap")
    return ((noise - noise.min()) / np.ptp(noise)).astype("f4")


# %%
# SEVIR
# -----
# A catalogue names rows of HDF5 files. ``sevir`` gives the events of a split, lazily, and ``sevir_sequences`` the
# windows of 13 frames in and 12 out. The colours are SEVIR's own.

(folder / "data").mkdir()
with h5py.File(folder / "data" / "vil.h5", "w") as file:
    file["vil"] = (255 * blobs(49, 96, 96) ** 3).transpose(1, 2, 0)[None].astype("u1")
columns, row = "id,file_name,file_index,img_type,time_utc,pct_missing", "S1,vil.h5,0,vil,2019-07-01 20:00:00,0"
(folder / "CATALOG.csv").write_text(f"{columns}\n{row}\n")

windows = datasets.sevir_sequences(datasets.sevir(folder, "test"))
plot.maps(windows.vil.isel(sequence=0), leads=["-30min", "0min", "30min", "1h"])

# %%
# ICAR-ENSO
# ---------
# The files hold 4645 overlapping windows of 36 months. ``icar_enso`` gives the runs of the climate models, each month
# once, and ``icar_enso_windows`` 12 months in and 14 out, with the Nino3.4 index to score against.

months = blobs(4645 * 12 + 24, 5, 12, width=1.0) * 6 - 3
overlapping = np.lib.stride_tricks.sliding_window_view(months, 36, axis=0)[::12].transpose(0, 3, 1, 2)
coords = {"lat": np.arange(-10.0, 11.0, 5.0), "lon": np.arange(120.0, 300.0, 15.0)}
fields = xr.DataArray(overlapping, dims=("year", "month", "lat", "lon"), coords=coords, name="sst")
fields.to_netcdf(folder / "CMIP_train.nc")
fields.mean(["lat", "lon"]).rename("nino").to_netcdf(folder / "CMIP_label.nc")

enso = datasets.icar_enso(folder, "test")
print(datasets.icar_enso_windows(enso))
plot.maps(enso.sst.isel(model=0, time=slice(0, 12)))

# %%
# N-body MNIST: digits that attract one another, made when they are asked for, of any pictures.

rings = np.hypot(*np.mgrid[-14:14, -14:14])
nbody = datasets.nbody_mnist(3, np.array([255 * (abs(rings - size) < 3) for size in (6, 9)]), seed=2)
plot.maps(nbody.frames.isel(sequence=0))

# %%
# Radar: rain rate in mm/h, of rates, amounts or reflectivity. ``datasets.sample`` has real ones.

dbz = xr.DataArray(60 * blobs(12, 96, 96) - 12, dims=("time", "y", "x"), name="dbz", attrs={"units": "dBZ"})
dbz.assign_coords(time=xr.date_range("2024-06-01", periods=12, freq="5min")).to_netcdf(folder / "radar.nc")
plot.maps(datasets.open_radar(folder / "radar.nc", a=223.0, b=1.53))
