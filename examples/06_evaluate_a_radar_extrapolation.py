"""
Evaluate a radar extrapolation
==============================

You will learn

- how any nowcast becomes data that can be scored: an array with ``init`` and ``lead``;
- the critical success index by threshold and lead, against persistence;
- the fractions skill score: at which scale a forecast is useful.
"""

# %%
# Rain
# ----
# Radar frames every 5 minutes. With the sample data this would be ``datasets.sample("knmi-2010-08-26")``; here showers
# are made that move, grow and decay, so that the example runs anywhere.

import numpy as np
import xarray as xr
from scipy.ndimage import gaussian_filter

from xforecast import plot, skill


def showers(frames=19, size=160, wind=(2, 5), seed=3):
    """Rain rate in mm/h of noise on three scales, carried along; small scales change first."""
    rng, fields = np.random.default_rng(seed), []
    waves = {12: 0.995, 5: 0.95, 2: 0.8}  # width in km: memory from frame to frame
    state = {width: gaussian_filter(rng.normal(size=(size, size)), width, mode="wrap") * width for width in waves}
    for _ in range(frames):
        for width, memory in waves.items():
            fresh = gaussian_filter(rng.normal(size=(size, size)), width, mode="wrap") * width
            moved = np.roll(state[width], wind, (0, 1))
            state[width] = memory * moved + np.sqrt(1 - memory**2) * fresh
        fields.append(np.maximum(np.exp(3.2 * sum(state.values()) - 1.5) - 0.8, 0.0))
    return np.array(fields, np.float32)


times = xr.date_range("2024-06-01 12:00", periods=19, freq="5min")
space = {axis: (axis, 1000.0 * np.arange(160), {"units": "m", "axis": axis.upper()}) for axis in "yx"}
attrs = {"standard_name": "rainfall_rate", "long_name": "Rain rate", "units": "mm h-1"}
rain = xr.DataArray(showers(), dims=("time", "y", "x"), coords={"time": times, **space}, attrs=attrs, name="rain_rate")

# %%
# Two nowcasts
# ------------
# The shift between the last two frames is the peak of their cross-correlation; extrapolation goes on with it. What a
# score needs to know is said in two coordinates: the start, and the leads.

before, last = rain[5].values, rain[6].values
product = np.fft.ifft2(np.fft.fft2(last) * np.fft.fft2(before).conj()).real
shift = np.array(np.unravel_index(product.argmax(), product.shape))
print(f"the showers move {shift[0]} km north and {shift[1]} km east in 5 minutes")

lead = xr.DataArray((times[1:13] - times[0]).values, dims="lead", attrs={"standard_name": "forecast_period"})
moved = [rain[6].roll(y=k * shift[0], x=k * shift[1]).drop_vars("time") for k in range(1, 13)]
extrapolation = xr.concat(moved, "lead").assign_coords(lead=lead, init=times[6], valid_time=lead + times[6])
persistence = extrapolation.copy(data=np.broadcast_to(last, extrapolation.shape))
plot.maps(extrapolation, leads=["15min", "30min", "1h"], observed=rain)

# %%
# Events
# ------
# One pass counts all thresholds. High thresholds mean small showers, which are gone before they can be moved far.

systems = {"extrapolation": extrapolation, "persistence": persistence}
plot.skill_by_threshold({name: skill.csi(fc, rain, [0.1, 0.5, 1, 2, 5, 10]) for name, fc in systems.items()})

# %%
plot.skill_by_lead({name: skill.csi(fc, rain, 1.0, dim=["y", "x"]) for name, fc in systems.items()})

# %%
# Scales
# ------
# A shower two kilometres off is a miss and a false alarm to the CSI. Over a neighbourhood it is a good forecast.

fractions = skill.fss(extrapolation, rain, 2.0, window=[1, 5, 21], dim=())
plot.skill_by_lead({f"{side} km": fractions.sel(window=side) for side in (21, 5, 1)}, title="Extrapolation, 2 mm/h")
