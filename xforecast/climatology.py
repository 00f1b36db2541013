"""Mean cycles of the year, and the anomalies from them: the public functions of `xforecast.labels.climatology`."""

from xforecast.labels.climatology import anomaly, climatology, detrend

__all__ = ["anomaly", "climatology", "detrend"]
