"""
First forecast
==============

You will learn

- how a Dataset becomes a forecast in one call;
- what the forecast looks like: samples, leads, valid times;
- how to draw maps of anomalies and the plume of the Nino3.4 index.
"""

# %%
# The data
# --------
# Monthly sea surface temperature of the tropics, observed 1991-2021. Any CF-compliant record on the same 5 degree nodes
# would do, and other grids can be brought to them.

import xforecast as xf
from xforecast import datasets

ds = datasets.hadisst()
ds

# %%
# The forecast
# ------------
# ``import xforecast`` gave the Dataset an accessor. Without ``init`` the forecast starts from the newest data. Its
# variable, units and coordinates are those of the data. The model works on anomalies; ``climatology=`` lets the record
# have its own normal, in place of that of the training data.

base = ("1991", "2020")
fc = ds.earthformer.forecast("earthformer-enso", climatology=base)
fc

# %%
# Anomalies
# ---------
# Sea surface temperature mostly follows the season. What matters is the departure from the usual annual cycle, here
# that of 1991-2020. The same cycle serves forecast and observation.

cycle = xf.climatology.climatology(ds.sst, base)
expected = xf.climatology.anomaly(fc.sst, cycle)
observed = xf.climatology.anomaly(ds.sst, cycle)

xf.plot.maps(expected, leads=[1, 4, 8, 12])

# %%
# The plume
# ---------
# Averaged over 5S-5N, 170W-120W the anomaly is the Nino3.4 index. Thin lines are the samples: one for each network of
# the ensemble. Their spread shows where the networks disagree; it is no full measure of the uncertainty.

index = xf.skill.nino34(expected)
xf.plot.plume(index, xf.skill.nino34(observed), threshold=0.5)

# %%
# In numbers
# ----------
# Three-month means, as outlooks have them: an El Niño at or above 0.5 degC, a La Niña at or below -0.5 degC. The
# forecaster's card knows the error of hindcasts by lead, for years that the model never saw. It widens the samples to
# honest chances; without ``error=`` they would be fractions of the samples.

error = xf.load("earthformer-enso").hindcast_error
outlook = xf.skill.enso_outlook(index, error, observed=xf.skill.nino34(observed))
table = outlook[["season", "mean", "la_nina", "neutral", "el_nino"]].to_dataframe()
table.drop(columns="init").round(2)
