"""
Nowcast rain with samples
=========================

You will learn

- how to draw several futures of a radar sequence;
- what they say that one forecast cannot: chances, by place and lead;
- how to score them against one answer, and against persistence.
"""

# %%
# Radar frames every 5 minutes on pixels of 2 km. With the sample data this is an event over Switzerland that the
# nowcaster was not trained on; elsewhere, showers are made. Averaging 1 km pixels to 2 km is done here and by you: the
# forecaster refuses pixels of another size.

import xarray as xr

import xforecast as xf
from xforecast import datasets, plot, skill
from xforecast.errors import DataFileError

try:
    rain = datasets.average_pixels(datasets.sample("mch-2017-01-31").rain_rate, 2).load()
except DataFileError:
    rain = datasets.showers(frames=24, size=(192, 192)).rain_rate
init = rain.time.values[-13]
print(xf.check(rain, "prediff-radar", init=init))

# %%
# Samples differ because the noise that they begin with differs. Sample 3 is always the same for this start and
# ``seed=0``, however many you ask for. ``steps=10`` is half the default, for the sake of this page.
#
# Rain that comes in from beyond the map is not known; the forecast has the map's own rain there, mirrored and smoothed.
# So forecast more than you need, and look at the middle.

middle = {"y": slice(32, 160), "x": slice(32, 160)}
fc = rain.earthformer.forecast("prediff-radar", init=init, samples=8, steps=10).rain_rate.isel(middle)
one = rain.earthformer.forecast("earthformer-radar", init=init).rain_rate.isel(middle)
rain = rain.isel(middle)
plot.maps(fc, leads=["15min", "30min", "1h"], observed=rain, samples=2, coastlines=False)

# %%
# The mean of the samples is smooth where they disagree; a single sample has more detail, though less than rain: the
# network is small and was trained on a laptop. The share of samples above a rate is its chance.

likely = skill.exceedance_probability(fc, 1.0)
plot.maps(likely, leads=["15min", "30min", "1h"], title="Chance of more than 1 mm/h", coastlines=False)

# %%
# The CRPS takes all samples; of a single forecast it is the absolute error. Beside the samples stand
# ``earthformer-radar``, which gives one answer, and persistence, the last frame again and again.

persistence = xr.zeros_like(fc.isel(sample=[0])) + rain.sel(time=init, drop=True)
forecasts = {"samples": fc, "one answer": one, "persistence": persistence}
plot.skill_by_lead({name: skill.crps(made, rain, dim=["y", "x"]) for name, made in forecasts.items()})

# %%
# The critical success index is that of one field. The mean of the samples is a good one for low rates.

means = {name: made.mean("sample") for name, made in forecasts.items()}
plot.skill_by_lead({name: skill.csi(made, rain, 0.5, dim=["y", "x"]) for name, made in means.items()})

# %%
# One start is an anecdote. The card of the forecaster has its scores on events that it never saw, and
# ``xforecast benchmark radar`` makes such a table of your own data. How larger maps are forecast, and what samples are
# good for, is told in :doc:`/guides/samples_and_constraints`.
