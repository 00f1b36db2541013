"""Data sources; each gives a labelled, CF-compliant Dataset, lazy where the data are large."""

from xforecast.datasets.hadisst import hadisst
from xforecast.datasets.icar_enso import icar_enso, icar_enso_windows, window_indices
from xforecast.datasets.nbody import NBody, nbody_accelerations, nbody_mnist, nbody_trajectory
from xforecast.datasets.radar import (
    average_pixels,
    middle_cells,
    open_radar,
    rain_rate_from_amount,
    rain_rate_from_reflectivity,
    reflectivity_from_rain_rate,
    vil_code_from_vil,
    vil_from_vil_code,
)
from xforecast.datasets.samples import list_samples, sample
from xforecast.datasets.sequences import as_record
from xforecast.datasets.sevir import sevir, sevir_lr
from xforecast.datasets.sevir_windows import downsample, sevir_event, sevir_sequences
from xforecast.datasets.showers import showers

__all__ = [
    "NBody",
    "as_record",
    "average_pixels",
    "downsample",
    "hadisst",
    "icar_enso",
    "icar_enso_windows",
    "list_samples",
    "middle_cells",
    "nbody_accelerations",
    "nbody_mnist",
    "nbody_trajectory",
    "open_radar",
    "rain_rate_from_amount",
    "rain_rate_from_reflectivity",
    "reflectivity_from_rain_rate",
    "sample",
    "sevir",
    "sevir_event",
    "sevir_lr",
    "sevir_sequences",
    "showers",
    "vil_code_from_vil",
    "vil_from_vil_code",
    "window_indices",
]

_FOR_OTHER_PARTS = {"middle_cells"}


def __dir__() -> list[str]:
    return sorted({*__all__} - _FOR_OTHER_PARTS)
