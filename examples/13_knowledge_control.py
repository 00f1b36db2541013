"""
Forecasts that obey what you know
=================================

You will learn

- how to state what you know about the future as a constraint;
- that a forecast says how well it obeys, with and without guidance;
- the experiment of the PreDiff paper: the same rain under five anticipated intensities.
"""

# %%
# A hydrologist may know from a weather model that the next hour will be wetter than the radar suggests. What is usual
# is taken here from the record up to the start: the mean over the area, and how much it varies from frame to frame.

import xforecast as xf
from xforecast import datasets, plot, skill
from xforecast.errors import DataFileError
from xforecast.models import MeanIntensity, RegionTotal, UpperBound

forecaster = xf.load("prediff-radar")
try:
    rain = datasets.average_pixels(datasets.sample("mch-2017-01-31").rain_rate, 2).load()
    rain = rain.isel(y=slice(32, 160), x=slice(32, 160))  # the middle
except DataFileError:
    rain = datasets.showers(frames=24, size=(128, 128)).rain_rate
init = rain.time.values[-13]
area = rain.sel(time=slice(None, init)).mean(["y", "x"])
mu, sigma = float(area.mean()), float(area.std())
print(f"area mean {mu:.2f} mm/h, standard deviation {sigma:.2f} mm/h")

# %%
# The target is the usual mean plus n standard deviations. The random numbers are the same in all five, so that only
# the knowledge differs.

options = {"init": init, "samples": 2, "steps": 8}
forecasts = {}
for n in (-4, -2, 0, 2, 4):
    constraint = MeanIntensity.anticipated(mu, sigma, n)
    forecasts[n] = forecaster.forecast(rain, constraint=constraint, **options)
    before, after = forecasts[n].constraint_residual.mean("sample").values
    mean = float(forecasts[n].rain_rate.mean())
    print(f"n = {n:+d}: mean {mean:.2f} mm/h; off by {before:.2f} without guidance, {after:.3f} with it")

# %%
# The wetter the hour is said to be, the wetter the samples, where rain is plausible at all. The middle is shown: what
# comes in from beyond the edges is a guess.

middle = {"y": slice(24, 104), "x": slice(24, 104)}
for n in (-4, 4):
    title = f"Anticipated mean intensity at n = {n:+d}"
    plot.maps(forecasts[n].rain_rate.isel(middle), leads=["15min", "1h"], samples=1, title=title, coastlines=False)

# %%
# At n = 0 the hour is said to be as wet as usual. The score must not suffer from that: the continuous ranked
# probability score of these samples, and of samples of the same noise without a constraint, over all leads.

plain = forecaster.forecast(rain, **options)
for name, fc in {"without constraint": plain, "n = 0": forecasts[0]}.items():
    print(f"{name}: CRPS {float(skill.crps(fc.rain_rate, rain)):.3f} mm/h")

# %%
# A total over a region, stated with the coordinates of your data, or a bound on the rate. Any function of the field
# that torch can differentiate is a constraint, too: what it gives is to be zero.


def no_trend(field):
    """The area's mean is the same in the first and the last frame; ``field`` is (batch, time, y, x, channel), mm/h."""
    return (field[:, -1] - field[:, 0]).mean(dim=(1, 2, 3))[:, None]


west = {"x": slice(None, float(rain.x.mean()))}
total = 1.2 * float(plain.rain_rate.sel(west).mean("sample").sum())
stated = {"total in the west": RegionTotal(west, total), "upper bound": UpperBound(5.0), "no trend": no_trend}
for name, constraint in stated.items():
    fc = forecaster.forecast(rain, constraint=constraint, init=init, steps=6)
    before, after = fc.constraint_residual.mean("sample").values
    print(f"{name}: off by {before:.3g} without guidance, {after:.3g} with it")
