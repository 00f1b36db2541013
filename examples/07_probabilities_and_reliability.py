"""
Probabilities and their reliability
===================================

You will learn

- what an ensemble gives: mean, spread, quantiles, the probability of an event;
- how to see whether its probabilities can be trusted;
- what past errors do for an ensemble that is too sure of itself.
"""

# %%
# An ensemble
# -----------
# Hindcasts of four networks from June and December of each year, which saw nothing after 1981, as anomalies.

import numpy as np
import xarray as xr

import xforecast as xf
from xforecast import datasets, plot, skill

ds = datasets.hadisst()
fc = ds.earthformer.forecast("earthformer-enso-1981", init=ds.time.values[11:-18:6], horizon=8)
cycle = xf.climatology.climatology(ds.sst)
ensemble = xf.climatology.anomaly(fc.sst, cycle)
record = xf.climatology.anomaly(ds.sst, cycle)

# %%
# Products
# --------
# Each takes the samples, wherever their dimension is, and gives a labelled field: ``ensemble_mean``,
# ``ensemble_spread``, ``ensemble_quantiles``, ``probability_matched_mean`` and the probability of an event.

warm = skill.exceedance_probability(ensemble, 0.5)
plot.maps(warm.sel(init="2015-06").isel(init=0), title="Probability of an anomaly of 0.5 °C, from data to June 2015")

# %%
# Too sure
# --------
# In a reliable ensemble the observation is as likely below all samples as between any two. Here it is mostly outside:
# the networks share data and so errors, and lean to the cool side of a sea that has warmed since 1981.

observed = skill.align(ensemble, record)
plot.rank_diagram(skill.rank_histogram(ensemble, observed), title="Four networks")

# %%
skill.spread_skill(ensemble, observed, dim=["init", "lat", "lon"]).to_dataframe().round(2)

# %%
# Dressed with past errors
# ------------------------
# The starts before 2006 tell the mean error and the typical error of each lead and place. With them the mean of the
# later ones becomes an ensemble of twenty: nothing that it is tested on was used.

mean = skill.ensemble_mean(ensemble)
early, late = slice(None, "2005"), slice("2006", None)
errors = (observed - mean).sel(init=early)
noise = xr.DataArray(np.random.default_rng(0).normal(size=20), dims="sample")
dressed = mean.sel(init=late) + errors.mean("init") + errors.std("init") * noise
systems = {"four networks": ensemble.sel(init=late), "dressed with past errors": dressed}

# %%
# Reliability
# -----------
# When something was given a probability of 70 %, did it happen in 70 % of the cases? On the line it did.

events = {name: skill.reliability(one, observed.sel(init=late), 0.5) for name, one in systems.items()}
plot.reliability_diagram(events, title="Anomaly of 0.5 °C or more, 2006-2021")

# %%
plot.roc_curve({name: skill.roc(one, observed.sel(init=late), 0.5) for name, one in systems.items()})

# %%
# One number for all of it is the continuous ranked probability score. The fair one does not punish a small ensemble.

scores = {name: skill.crps(one, observed.sel(init=late), dim=["init", "lat", "lon"]) for name, one in systems.items()}
plot.skill_by_lead(scores)
