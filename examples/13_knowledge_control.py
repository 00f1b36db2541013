"""
Forecasts that obey what you know
=================================

You will learn

- how to state what you know about the future as a constraint;
- that a forecast says how well it obeys, with and without guidance;
- the experiment of the PreDiff paper: the same rain under five anticipated intensities.
"""

# %%
# Rain, and what is usual
# -----------------------
# A hydrologist may know from a weather model that the next hour will be wetter than the radar suggests. What is usual
# is taken here from the record up to the start: the mean over the area, and how much it varies from frame to frame.

import warnings

import numpy as np

import xforecast as xf
from xforecast import datasets, plot, skill
from xforecast.errors import DataFileError, XForecastWarning
from xforecast.models import MeanIntensity, RegionTotal, UpperBound

forecaster = xf.load("prediff-radar")
try:
    rain = datasets.average_pixels(datasets.sample("mch-2017-01-31").rain_rate, 2).load()
    rain = rain.isel(y=slice(32, 160), x=slice(32, 160))  # the middle
except DataFileError:
    rain = datasets.showers(frames=24, size=(128, 128)).rain_rate
init = rain.time.values[-13]
known = rain.sel(time=slice(None, init))
area = known.mean(["y", "x"])
usual, deviation = float(area.mean()), max(float(area.std()), 0.1 * float(area.mean()))
print(f"area mean {usual:.2f} mm/h, standard deviation {deviation:.2f} mm/h")

# %%
# Five anticipated intensities
# ----------------------------
# The target is the usual mean plus n standard deviations, for n = -4, -2, 0, 2, 4. The random numbers are the same in
# all five, so that only the knowledge differs. A target below zero is out of reach, and the forecast would say so; the
# lowest is kept at a tenth of what is usual. Warnings are caught and printed.

options = {"init": init, "samples": 2, "steps": 8}
forecasts = {}
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always", XForecastWarning)
    for n in (-4, -2, 0, 2, 4):
        target = max(usual + n * deviation, 0.1 * usual)
        forecasts[n] = forecaster.forecast(rain, constraint=MeanIntensity(target), **options)
        residual = forecasts[n].constraint_residual.mean("sample")
        mean = float(forecasts[n].rain_rate.mean())
        print(
            f"n = {n:+d}: target {target:.2f} mm/h, mean {mean:.2f}; distance {residual.sel(guided=False).item():.2f} "
            f"without guidance, {residual.sel(guided=True).item():.2f} with it"
        )
print(*(warning.message for warning in told), sep="\n")
means = [float(forecasts[n].rain_rate.mean()) for n in forecasts]
print("the mean rises with n:", bool((np.diff(means) > 0).all()))

# %%
# At n = 0 the hour is said to be as wet as usual. The score must not suffer from that: the continuous ranked probability
# score of these samples, and of samples of the same noise without a constraint, over all leads.

plain = forecaster.forecast(rain, **options)
for name, fc in {"without constraint": plain, "n = 0": forecasts[0]}.items():
    print(f"{name}: CRPS {float(skill.crps(fc.rain_rate, rain)):.3f} mm/h")

# %%
# The wetter the hour is said to be, the wetter the samples, where rain is plausible at all.

for n in (-4, 4):
    title = f"Anticipated mean intensity at n = {n:+d}"
    plot.maps(forecasts[n].rain_rate, leads=["15min", "1h"], samples=1, title=title, coastlines=False)

# %%
# Other knowledge
# ---------------
# A total over a region, stated with the coordinates of your data; or a bound on the rate. Any function of the field
# that torch can differentiate is a constraint, too: what it gives is to be zero.

half = float(rain.x.mean())
total = forecasts[0].rain_rate.sel(x=slice(None, half)).mean("sample").sum()
west = RegionTotal({"x": slice(None, half)}, target=1.2 * float(total))
bound = UpperBound(float(forecasts[0].rain_rate.quantile(0.9)))
quick = {"init": init, "samples": 1, "steps": 6}


def no_trend(field):
    """The area's mean is the same in the first and the last frame; ``field`` is (batch, time, y, x, channel), mm/h."""
    means = field.mean(dim=(2, 3, 4))
    return means[:, -1] - means[:, 0]


for name, constraint in {"total in the west": west, "upper bound": bound, "no trend": no_trend}.items():
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", XForecastWarning)
        residual = forecaster.forecast(rain, constraint=constraint, **quick).constraint_residual.mean("sample")
    before, after = (residual.sel(guided=guided).item() for guided in (False, True))
    print(f"{name}: distance {before:.3g} without guidance, {after:.3g} with it")

# %%
# :doc:`/guides/samples_and_constraints` says how constraints are applied, and how to train a network for one.
