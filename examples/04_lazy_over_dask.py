"""
Lazy over dask
==============

You will learn

- that a forecast of dask data is lazy: building it runs no model;
- how the work is divided into chunks;
- that the numbers are the same.
"""

# %%
# Build
# -----
# The same call as ever. Only the labels are looked at; the hindcasts of 29 years exist as a plan.

import time

import matplotlib.pyplot as plt
import numpy as np

import xforecast as xf
from xforecast import datasets

ds = datasets.hadisst()
lazy = ds.chunk(time=60)
starts = slice("1991-12", "2020-06")

begin = time.perf_counter()
plan = lazy.earthformer.forecast("earthformer-enso-1981", init=starts)
building = time.perf_counter() - begin
plan.sst

# %%
# A block holds some starts, all samples and leads, and the whole region.

print(plan.chunksizes["init"])

# %%
# Compute what you need
# ---------------------
# Asking for the index of a few starts computes the blocks that hold them, and nothing else.

cycle = xf.climatology.climatology(ds.sst)
begin = time.perf_counter()
few = xf.skill.nino34(xf.climatology.anomaly(plan.sst.sel(init="2015"), cycle)).compute()
a_few = time.perf_counter() - begin

begin = time.perf_counter()
everything = plan.sst.compute()
all_of_it = time.perf_counter() - begin

axis = plt.subplots(figsize=(7, 2.2), layout="constrained")[1]
names = ["build the plan", "12 starts", f"all {everything.sizes['init']} starts"]
axis.barh(names, [building, a_few, all_of_it])
axis.invert_yaxis()
axis.set_xlabel("seconds on the machine that made this page")

# %%
# The same numbers
# ----------------
# Chunks, batches and workers do not change a forecast, beyond the rounding of float32.

eager = ds.earthformer.forecast("earthformer-enso-1981", init=starts)
print(f"largest difference: {np.abs(eager.sst - everything).max().item():.1e} degC")

# %%
# Here are the forecasts of 2015, and what came.

fig, axis = plt.subplots(figsize=(8, 3), layout="constrained")
observed = xf.skill.nino34(xf.climatology.anomaly(ds.sst, cycle))
axis.plot(observed.time, observed, color="0.2", lw=2, label="observed")
for init in few.init:
    one = few.sel(init=init).mean("sample")
    axis.plot(one.valid_time, one, color="C3", lw=0.8)
axis.set(xlim=(np.datetime64("2014-01"), np.datetime64("2017-07")), ylabel="Nino3.4 anomaly (°C)")
axis.legend(frameon=False)
