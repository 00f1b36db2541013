"""Verification: scores, indices and protocols on labelled forecasts."""

from xforecast.skill import protocols
from xforecast.skill.enso import nino34_correlation, nino34_mean, nino34_weighted_mean
from xforecast.skill.indices import nino34, seasonal_mean
from xforecast.skill.outlook import enso_outlook

__all__ = [
    "enso_outlook",
    "nino34",
    "nino34_correlation",
    "nino34_mean",
    "nino34_weighted_mean",
    "protocols",
    "seasonal_mean",
]
