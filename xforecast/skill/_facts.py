"""What is known of each score: one table, from which attributes and skill scores are made."""

from __future__ import annotations

from math import inf
from typing import NamedTuple

import xarray as xr

__all__ = ["SCORES", "Facts"]


class Facts(NamedTuple):
    """Facts of a score: its name, units ("data" or "data2" for those of the quantity), best value and range."""

    long_name: str
    units: str
    perfect: float
    range: tuple[float, float]


SCORES = {
    "mse": Facts("mean squared error", "data2", 0.0, (0.0, inf)),
    "mae": Facts("mean absolute error", "data", 0.0, (0.0, inf)),
    "rmse": Facts("root-mean-square error", "data", 0.0, (0.0, inf)),
    "bias": Facts("mean error (forecast minus observed)", "data", 0.0, (-inf, inf)),
    "correlation": Facts("Pearson correlation", "1", 1.0, (-1.0, 1.0)),
    "anomaly_correlation": Facts("anomaly correlation coefficient", "1", 1.0, (-1.0, 1.0)),
    "csi": Facts("critical success index", "1", 1.0, (0.0, 1.0)),
    "csi_mean": Facts("critical success index, mean over thresholds", "1", 1.0, (0.0, 1.0)),
    "pod": Facts("probability of detection", "1", 1.0, (0.0, 1.0)),
    "far": Facts("false alarm ratio", "1", 0.0, (0.0, 1.0)),
    "success_ratio": Facts("success ratio", "1", 1.0, (0.0, 1.0)),
    "frequency_bias": Facts("frequency bias", "1", 1.0, (0.0, inf)),
    "heidke": Facts("Heidke skill score", "1", 1.0, (-1.0, 1.0)),
    "fss": Facts("fractions skill score", "1", 1.0, (0.0, 1.0)),
    "ssim": Facts("structural similarity", "1", 1.0, (-1.0, 1.0)),
    "crps": Facts("continuous ranked probability score", "data", 0.0, (0.0, inf)),
    "brier": Facts("Brier score", "1", 0.0, (0.0, 1.0)),
}


def describe(score: xr.DataArray, name: str, units: str | None, comment: str = "") -> xr.DataArray:
    """The score with its own name and attributes, and none of the quantity's; `units` are the quantity's."""
    facts = SCORES[name]
    score = score.rename(name)
    score.attrs = {"long_name": facts.long_name}
    if facts.units == "1":
        score.attrs["units"] = "1"
    elif units is not None:
        score.attrs["units"] = units if facts.units == "data" else squared(units)
    if comment:
        score.attrs["comment"] = comment
    return score


def squared(units: str) -> str:
    """The square of CF units.

    Examples
    --------
    >>> squared("K"), squared("kg m-2"), squared("1")
    ('K2', '(kg m-2)2', '1')
    """
    if units == "1":
        return units
    return f"{units}2" if units.isalpha() else f"({units})2"
