"""Verification of labelled forecasts: scores, ensemble products, ENSO indices and the papers' protocols.

Every score is called as ``score(forecast, observed, dim=..., weights=...)``.
"""

from xforecast.skill import protocols
from xforecast.skill._facts import SCORES, Facts
from xforecast.skill.align import align
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
from xforecast.skill.enso import nino34_correlation, nino34_error, nino34_mean, nino34_weighted_mean
from xforecast.skill.indices import nino34, seasonal_mean
from xforecast.skill.outlook import enso_outlook
from xforecast.skill.probabilistic import brier, crps, rank_histogram, reliability, roc, spread_skill
from xforecast.skill.resampling import bootstrap, compare, skill_score
from xforecast.skill.spatial import fss, ssim

__all__ = [
    "SCORES",
    "Facts",
    "align",
    "anomaly_correlation",
    "area_weights",
    "bias",
    "bootstrap",
    "brier",
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
    "mae",
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
