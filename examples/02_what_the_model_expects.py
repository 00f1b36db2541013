"""
What the model expects
======================

You will learn

- how to see what a model was trained on, and to check data against it;
- which differences are repaired, and undone on the way out;
- what is refused, and how to regrid.
"""

# %%
# The spec
# --------
# A forecaster knows what data it takes.

import numpy as np

import xforecast as xf
from xforecast import datasets

forecaster = xf.load("earthformer-enso")
print(forecaster.spec)

# %%
# A messy Dataset
# ---------------
# Kelvin in place of degrees Celsius, longitudes from -180 to 180, north at the top, dimensions in another order and
# other names for everything. All of it is repaired.

ds = datasets.hadisst()
messy = ds.assign_coords(lon=(ds.lon + 180) % 360 - 180).sortby("lon")
messy["sst"] = (messy.sst + 273.15).assign_attrs(ds.sst.attrs, units="K")
messy = messy.isel(lat=slice(None, None, -1)).transpose("lon", "time", "lat")
messy = messy.rename(sst="tos", lat="nav_lat", lon="nav_lon")
messy.earthformer.check("earthformer-enso")

# %%
# The forecast is in the data's own terms, and it is the same forecast.

fc = messy.earthformer.forecast("earthformer-enso")
tidy = ds.earthformer.forecast("earthformer-enso")
back = (fc.tos - 273.15).rename(nav_lat="lat", nav_lon="lon")
back = back.assign_coords(lon=back.lon % 360).sortby("lon").sortby("lat")
print(fc.tos.dims, fc.tos.attrs["units"])
print(f"largest difference: {np.abs(back - tidy.sst).max().item():.5f} K")

# %%
# A wrong attribute
# -----------------
# A label that cannot be true is found out by the values. The message says what to do; nothing is forecast.

wrong = ds.assign(sst=ds.sst.assign_attrs(units="K"))
try:
    wrong.earthformer.forecast("earthformer-enso")
except xf.errors.SpecMismatch as error:
    print(error)

# %%
# Another grid
# ------------
# Regridding loses something, so it is never done behind your back. Here is a record on a 2.5 degree grid.

lat, lon = np.arange(-32.5, 33, 2.5), np.arange(17.5, 303, 2.5)
fine = ds.reindex(lat=lat, lon=lon, method="nearest")
fine.earthformer.check("earthformer-enso")

# %%
# The remedy is named in the report.

fc = xf.regrid(fine, like="earthformer-enso").earthformer.forecast("earthformer-enso")
xf.plot.maps(fc.sst, leads=[1, 6])
