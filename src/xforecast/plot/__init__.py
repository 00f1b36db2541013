"""Pictures of forecasts, with titles, units and dates from the attributes (extra ``plot``, or matplotlib alone)."""

from xforecast.plot.maps import maps
from xforecast.plot.series import plume, skill_by_lead

__all__ = ["maps", "plume", "skill_by_lead"]
