"""provisional"""

from xforecast.cf.coordinates import find_dimension
from xforecast.cf.download import cache_folder, download
from xforecast.cf.variables import Ambiguous, find_axis, find_variable, is_anomaly, wants_anomaly

__all__ = [
    "Ambiguous",
    "cache_folder",
    "download",
    "find_axis",
    "find_dimension",
    "find_variable",
    "is_anomaly",
    "wants_anomaly",
]
