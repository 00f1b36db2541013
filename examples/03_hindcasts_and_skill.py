"""
Hindcasts and skill
===================

You will learn

- how to make hindcasts: forecasts from many past dates in one call;
- how to score them against what happened, and against persistence;
- why the model must not have seen those years.
"""

# %%
# Which model
# -----------
# The weights ``earthformer-enso-1981`` were trained on data up to 1981 and on nothing later. The sample record begins
# in 1991, so no target below was seen in training.

import xforecast as xf
from xforecast import datasets

ds = datasets.hadisst()
forecaster = xf.load("earthformer-enso-1981")
print(forecaster)

# %%
# Hindcasts
# ---------
# A slice of dates makes one forecast from each. Every one of them sees the 12 months up to its ``init`` and nothing
# else.

starts = slice("1991-12", "2020-06")
fc = ds.earthformer.forecast(forecaster, init=starts)
fc

# %%
# Persistence
# -----------
# The least that a forecast has to beat: today's anomaly stays as it is. It is a forecaster too, and the same function
# scores it. Its "training" learns nothing; only the spec is taken.

persistence = xf.fit(ds, "Persistence", spec=forecaster.spec, valid=None)
kept = ds.earthformer.forecast(persistence, init=starts)

# %%
# Correlation by lead
# -------------------
# The score of the ENSO papers: the correlation of the 3-month mean Nino3.4 index, for each calendar season by itself,
# then averaged. The lead counts months from the last input month to the centre of the season, so the season at lead 1
# still holds one observed month.

scores = {
    "earthformer-enso-1981": xf.skill.nino34_correlation(fc.sst, ds.sst),
    "persistence": xf.skill.nino34_correlation(kept.sst, ds.sst),
}
xf.plot.skill_by_lead(scores, title="Correlation of the 3-month Nino3.4 index, 1992-2021")

# %%
# One number
# ----------
# The mean over leads, and the mean that Earthformer's paper weighs towards long leads.

for name, score in scores.items():
    print(f"{name:22s} {xf.skill.nino34_mean(score):6.3f} {xf.skill.nino34_weighted_mean(score):6.3f}")
