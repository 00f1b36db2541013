"""What the papers' scores of radar images (VIL, 0 to 255) have in common."""

from __future__ import annotations

from typing import Literal

import numpy as np
import xarray as xr

from xforecast.cf import dimension, find_dimension
from xforecast.errors import InvalidOption
from xforecast.skill._pairs import Samples, pair
from xforecast.skill.categorical import contingency

THRESHOLDS = (16.0, 74.0, 133.0, 160.0, 181.0, 219.0)

EPSILON = 1e-4
"""Added to every denominator: it makes the score 0 where there are no events, and small scores smaller."""

LETTERS = {"S": "sample", "N": "sequence", "T": "lead", "H": "y", "W": "x", "C": "channel"}

LONG_NAMES = {
    "csi": "critical success index",
    "pod": "probability of detection",
    "sucr": "success ratio",
    "bias": "squared frequency bias over squared ln 2, as published",
}

Mode = Literal["0", "1", "2"]


def images(
    forecast: xr.DataArray | np.ndarray, observed: xr.DataArray | np.ndarray, layout: str
) -> tuple[xr.DataArray, xr.DataArray]:
    """Forecast and observations with labels, the axes of bare arrays being those of the layout."""
    labelled = []
    for data in (forecast, observed):
        if not isinstance(data, xr.DataArray):
            letters = layout if np.ndim(data) == len(layout) else layout.replace("S", "")
            if np.ndim(data) != len(letters) or set(letters) - set(LETTERS):
                raise InvalidOption(
                    "layout",
                    f"{layout!r} for shape {np.shape(data)}",
                    "a letter of SNTHWC an axis",
                    'layout="NTHWC", say, for (sequence, time, height, width, channel)',
                )
            data = xr.DataArray(data, dims=[LETTERS[letter] for letter in letters])
        labelled.append(data)
    return pair(*labelled)


def published_scores(
    forecast: xr.DataArray, observed: xr.DataArray, *, mode: Mode, pool: int, samples: Samples
) -> xr.Dataset:
    """The papers' scores of images of 0 to 255, with counts, by threshold and averaged over thresholds."""
    if mode not in ("0", "1", "2"):
        raise InvalidOption("mode", mode, '"0", "1" or "2"', 'mode="0" counts over everything')
    time = find_dimension(forecast, "lead") or dimension(forecast, "time")
    sample = find_dimension(forecast, "sample")
    dims = [d for d in forecast.dims if mode == "0" or d != time]
    if samples == "mean":
        dims = [d for d in dims if d != sample]
    table = contingency(forecast, observed, THRESHOLDS, dim=dims, pool=pool, samples=samples)
    table = table.drop_vars("correct_negatives")
    hits, misses, false = (table[name] for name in table)
    scores = {
        "csi": hits / (hits + misses + false + EPSILON),
        "pod": hits / (hits + misses + EPSILON),
        "sucr": hits / (hits + false + EPSILON),
        "bias": ((hits + false) / (hits + misses + EPSILON) / np.log(2.0)) ** 2,
    }
    for name, score in scores.items():
        score = score.mean(time) if mode == "2" else score
        table[name] = score.assign_attrs(long_name=LONG_NAMES[name], units="1")
        table[f"{name}_mean"] = score.mean("threshold").assign_attrs(
            long_name=f"{LONG_NAMES[name]}, mean over thresholds", units="1"
        )
    return table
