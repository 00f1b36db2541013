"""From labelled data to what a model takes, and back: checks, repairs, windows, and labels on the forecast."""

from xforecast.labels.climatology import anomaly, detrend, monthly_climatology
from xforecast.labels.conform import conform, conform_record
from xforecast.labels.conformed import Conformed, label
from xforecast.labels.describe import arrays_of, fields_of, make_spec, names_of, time_axis
from xforecast.labels.regions import region_weights
from xforecast.labels.regridding import to_grid
from xforecast.labels.report import Finding, Report
from xforecast.labels.starts import Starts, date_text
from xforecast.labels.values import check_values
from xforecast.labels.variables import as_dataset
from xforecast.labels.way_back import Source, valid_times
from xforecast.labels.windows import windows

__all__ = [
    "Conformed",
    "Finding",
    "Report",
    "Source",
    "Starts",
    "anomaly",
    "arrays_of",
    "as_dataset",
    "check_values",
    "conform",
    "conform_record",
    "date_text",
    "detrend",
    "fields_of",
    "label",
    "make_spec",
    "monthly_climatology",
    "names_of",
    "region_weights",
    "time_axis",
    "to_grid",
    "valid_times",
    "windows",
]
