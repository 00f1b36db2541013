"""
Evaluate an ENSO hindcast
=========================

You will learn

- how sure a score is, with only thirty years to verify in;
- whether a forecast beats persistence by more than chance;
- in which seasons it is good, and where spring stops it.
"""

# %%
# The hindcasts
# -------------
# Forecasts from each month of 1991-2020, by networks that saw nothing after 1981. For what follows only the Nino3.4
# index is needed: small, and quick to resample.

import xforecast as xf
from xforecast import datasets, plot, skill

ds = datasets.hadisst()
fc = ds.earthformer.forecast("earthformer-enso-1981", init=slice("1991-12", "2020-06"))

cycle = xf.climatology.climatology(ds.sst)
index = skill.nino34(xf.climatology.anomaly(fc.sst, cycle)).mean("sample", keep_attrs=True)
observed = skill.nino34(xf.climatology.anomaly(ds.sst, cycle))

# %%
# What came, and persistence
# --------------------------
# ``align`` puts the record on the valid time of every start and lead. Persistence keeps the anomaly of the start.

came = skill.align(index, observed, keep="same_inits")
kept = observed.rename(time="init").sel(init=index.init).expand_dims(lead=index.lead)
came

# %%
# Skill with intervals
# --------------------
# Months in a row are alike, so blocks of two years are resampled. The intervals are wide: an El Niño comes every few
# years, and each decides much.

options = {"dim": "init", "block": 24, "resamples": 200}
scores = {
    "earthformer-enso-1981": skill.bootstrap(skill.correlation, index, came, **options),
    "persistence": skill.bootstrap(skill.correlation, kept, came, **options),
}
plot.skill_by_lead(scores, title="Correlation of the monthly Nino3.4 index, 1992-2021")

# %%
# Better than persistence?
# ------------------------
# Intervals that overlap say little: both forecasts meet the same easy and hard years. Resampled in pairs, what is hard
# for both cancels.

difference = skill.compare(skill.correlation, index, kept, came, **options)
difference.to_dataframe().round(2)

# %%
# By season and lead
# ------------------
# The same hindcast, as the ENSO papers show it: three-month means, each target season by itself. Skill falls steeply
# for forecasts that have to pass through spring, when El Niño and La Niña are weakest.

by_season = skill.nino34_correlation(index, observed, seasons="each")
plot.season_by_lead(by_season, title="earthformer-enso-1981, targets 1992-2021")

# %%
# Persistence has its own barrier, at the same time of year.

plot.season_by_lead(skill.nino34_correlation(kept, observed, seasons="each"), title="Persistence")
