"""Artificial rain: showers that drift, grow and decay, for a trial without any radar data."""

from __future__ import annotations

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption

__all__ = ["showers"]

MINUTES = 5
CELLS_PER_AREA = 40 / 128**2
"""Showers alive at a time, for each pixel."""
LIFE = 90.0
"""Mean time from birth to death, in minutes."""


def showers(
    frames: int = 24, size: tuple[int, int] = (128, 128), *, spacing: float = 2000.0, seed: int = 0
) -> xr.Dataset:
    """Rain rate every 5 minutes of showers that are drawn at random, not observed.

    Each shower is a Gaussian bell that drifts with a common wind and one of its own, and whose rate rises and falls
    like half a sine wave over its life.

    Parameters
    ----------
    frames : int
        Number of frames.
    size : (int, int)
        Rows and columns.
    spacing : float
        Size of a pixel in metres.
    seed : int
        Seed of the random numbers.

    Returns
    -------
    xarray.Dataset
        ``rain_rate`` in mm/h, dims (time, y, x), float32.

    Examples
    --------
    >>> rain = showers(frames=3, size=(32, 48)).rain_rate
    >>> dict(rain.sizes), float(rain.min()) >= 0
    ({'time': 3, 'y': 32, 'x': 48}, True)
    """
    if frames < 1 or min(size) < 1 or not spacing > 0:
        raise InvalidOption(
            "frames, size, spacing",
            (frames, size, spacing),
            "numbers of 1 or more, and metres",
            "frames=24, size=(128, 128), spacing=2000.0",
        )
    rng = np.random.default_rng(seed)
    minutes = MINUTES * np.arange(frames)
    kilometres = spacing / 1000
    # Those born before the first frame and beyond the edges may come in.
    span, beyond = minutes[-1] + 2 * LIFE, 60.0
    extent = np.array(size) * kilometres
    count = max(4, round(CELLS_PER_AREA * np.prod(size) * (1 + 2 * beyond / extent).prod() * span / LIFE))
    wind = rng.normal(0, 0.4, 2) + rng.choice([-0.6, 0.6], 2)  # km per minute
    born = rng.uniform(-2 * LIFE, minutes[-1] + 1, count)
    life = rng.gamma(6.0, LIFE / 6, count)
    begin = rng.uniform(-beyond, extent + beyond, (count, 2))
    drift = wind + rng.normal(0, 0.1, (count, 2))
    radius, peak = rng.gamma(6.0, 1.2, count) + 2, rng.lognormal(1.6, 0.8, count)
    y, x = (kilometres * (np.arange(number) + 0.5) for number in size)
    rain = np.zeros((frames, *size))
    for frame, now in enumerate(minutes):
        age = (now - born) / life
        for cell in np.flatnonzero((age > 0) & (age < 1)):
            centre = begin[cell] + drift[cell] * (now - born[cell])
            away = ((y[:, None] - centre[0]) ** 2 + (x - centre[1]) ** 2) / (2 * radius[cell] ** 2)
            rain[frame] += peak[cell] * np.sin(np.pi * age[cell]) * np.exp(-away)
    rain = np.where(rain < 0.1, 0.0, rain).astype(np.float32)
    attrs = {"standard_name": "rainfall_rate", "long_name": "Rain rate", "units": "mm h-1"}
    coords = {
        axis: (axis, 1000 * values, {"standard_name": f"projection_{axis}_coordinate", "units": "m"})
        for axis, values in (("y", y), ("x", x))
    }
    time = xr.date_range("2024-06-01T12:00", periods=frames, freq=f"{MINUTES}min", unit="ns")
    return xr.Dataset(
        {"rain_rate": (("time", "y", "x"), rain, attrs)},
        {"time": ("time", time, {"standard_name": "time"}), **coords},
        {"title": "Made showers", "source": f"drawn at random with seed {seed}; no observation"},
    )
