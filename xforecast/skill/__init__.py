"""Verification of labelled forecasts: scores, ensemble products, ENSO indices and the papers' protocols.

Every score is called as ``score(forecast, observed, dim=..., weights=...)``.
"""

from xforecast.skill import protocols
from xforecast.skill._facts import SCORES, Facts
from xforecast.skill.categorical import (
    contingency,
    csi,
    csi_mean,
    far,
    frequency_bias,
    heidke,
    max_pool,
    pod,
    success_ratio,
)
from xforecast.skill.deterministic import (
    anomaly_correlation,
    area_weights,
    bias,
    correlation,
    mae,
    mse,
    rmse,
    valid_pairs,
)
from xforecast.skill.ensemble import (
    ensemble_mean,
    ensemble_quantiles,
    ensemble_spread,
    exceedance_probability,
    probability_matched_mean,
)
from xforecast.skill.enso import (
    celsius_index,
    is_temperature,
    nino34_correlation,
    nino34_error,
    nino34_mean,
    nino34_weighted_mean,
)
from xforecast.skill.indices import nino34, seasonal_mean
from xforecast.skill.outlook import enso_outlook
from xforecast.skill.probabilistic import brier, crps, rank_histogram, reliability, roc, spread_skill
from xforecast.skill.resampling import bootstrap, compare, skill_score
from xforecast.skill.spatial import fss, ssim
from xforecast.skill.times import match_times

align = match_times
"""The earlier name."""

__all__ = [
    "SCORES",
    "Facts",
    "align",
    "anomaly_correlation",
    "area_weights",
    "bias",
    "bootstrap",
    "brier",
    "celsius_index",
    "compare",
    "contingency",
    "correlation",
    "crps",
    "csi",
    "csi_mean",
    "ensemble_mean",
    "ensemble_quantiles",
    "ensemble_spread",
    "enso_outlook",
    "exceedance_probability",
    "far",
    "frequency_bias",
    "fss",
    "heidke",
    "is_temperature",
    "mae",
    "match_times",
    "max_pool",
    "mse",
    "nino34",
    "nino34_correlation",
    "nino34_error",
    "nino34_mean",
    "nino34_weighted_mean",
    "pod",
    "probability_matched_mean",
    "protocols",
    "rank_histogram",
    "reliability",
    "rmse",
    "roc",
    "seasonal_mean",
    "skill_score",
    "spread_skill",
    "ssim",
    "success_ratio",
    "valid_pairs",
]

_FOR_OTHER_PARTS = {"Facts", "SCORES", "celsius_index", "is_temperature"}
_EARLIER_NAMES = {"align"}
_MODULES = {"protocols"}


def __dir__() -> list[str]:
    return sorted({*__all__} - _FOR_OTHER_PARTS - _EARLIER_NAMES - _MODULES)
