"""provisional"""

from xforecast.labels.conform import Conformed, as_dataset, conform
from xforecast.labels.regions import region_weights
from xforecast.labels.regridding import to_grid
from xforecast.labels.report import Report
from xforecast.labels.values import check_values
from xforecast.labels.windows import label, windows, with_residual

__all__ = [
    "Conformed",
    "Report",
    "as_dataset",
    "check_values",
    "conform",
    "label",
    "region_weights",
    "to_grid",
    "windows",
    "with_residual",
]
