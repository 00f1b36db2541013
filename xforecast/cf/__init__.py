"""What CF conventions and usual practice say of variables, axes, units and files."""

from xforecast.cf import units
from xforecast.cf.coordinates import (
    AXES,
    Ambiguous,
    axis_coordinate,
    coordinate,
    degrees,
    dimension,
    find_axis,
    find_coordinate,
    find_dimension,
    find_valid_time,
    has_dates,
    in_degrees,
    keywords,
    kinds_of,
    named_like,
    with_index,
)
from xforecast.cf.dates import counts_months, month_number, target_months, undated, valid_times
from xforecast.cf.download import cache_folder, download
from xforecast.cf.files import check_name, open_data, write
from xforecast.cf.units import compatible, conversion, known
from xforecast.cf.variables import find_variable, is_anomaly, only_variable, wants_anomaly

__all__ = [
    "AXES",
    "Ambiguous",
    "axis_coordinate",
    "cache_folder",
    "check_name",
    "compatible",
    "conversion",
    "coordinate",
    "counts_months",
    "degrees",
    "dimension",
    "download",
    "find_axis",
    "find_coordinate",
    "find_dimension",
    "find_valid_time",
    "find_variable",
    "has_dates",
    "in_degrees",
    "is_anomaly",
    "keywords",
    "kinds_of",
    "known",
    "month_number",
    "named_like",
    "only_variable",
    "open_data",
    "target_months",
    "undated",
    "units",
    "valid_times",
    "wants_anomaly",
    "with_index",
    "write",
]


def __dir__() -> list[str]:
    return sorted(__all__)
