"""Mean cycles of the year, and the anomalies from them: the public functions of `xforecast.labels`."""

from xforecast.labels import anomaly, detrend, monthly_climatology

climatology = monthly_climatology
"""The earlier name."""

__all__ = ["anomaly", "climatology", "detrend", "monthly_climatology"]


def __dir__() -> list[str]:
    return sorted({*__all__} - {"climatology"})
