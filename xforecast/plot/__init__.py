"""Pictures of forecasts and scores, with titles, units and dates from the attributes.

They need matplotlib (extra ``plot``, which has cartopy for coastlines too).
"""

from xforecast.plot.curves import skill_by_lead, skill_by_threshold
from xforecast.plot.maps import animate, maps
from xforecast.plot.probability import rank_diagram, reliability_diagram, roc_curve
from xforecast.plot.seasons import season_by_lead
from xforecast.plot.series import plume
from xforecast.plot.style import date_words, pyplot

rank_histogram = rank_diagram
"""The earlier name."""

__all__ = [
    "animate",
    "date_words",
    "maps",
    "plume",
    "pyplot",
    "rank_diagram",
    "rank_histogram",
    "reliability_diagram",
    "roc_curve",
    "season_by_lead",
    "skill_by_lead",
    "skill_by_threshold",
]

_FOR_OTHER_PARTS = {"date_words", "pyplot"}
_EARLIER_NAMES = {"rank_histogram"}


def __dir__() -> list[str]:
    return sorted({*__all__} - _FOR_OTHER_PARTS - _EARLIER_NAMES)
