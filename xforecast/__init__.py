"""Forecasts from the xarray Dataset in your notebook.

Importing this package registers the accessor ``.earthformer``; torch is imported on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from xforecast import _former, errors
from xforecast import accessor as _accessor  # noqa: F401 - registers .earthformer
from xforecast._version import __version__

if TYPE_CHECKING:
    from xforecast import benchmark, climatology, datasets, models, plot, skill, training
    from xforecast.forecaster import Forecaster, check, forecast, list_models, load, regrid
    from xforecast.spec import Climatology, DataSpec, Grid, Variable
    from xforecast.training.fit import fit

_HOMES = {
    "Climatology": "xforecast.spec",
    "DataSpec": "xforecast.spec",
    "Forecaster": "xforecast.forecaster",
    "Grid": "xforecast.spec",
    "Variable": "xforecast.spec",
    "check": "xforecast.forecaster",
    "fit": "xforecast.training",
    "forecast": "xforecast.forecaster",
    "list_models": "xforecast.forecaster",
    "load": "xforecast.forecaster",
    "regrid": "xforecast.forecaster",
}
_MODULES = ("benchmark", "climatology", "datasets", "models", "plot", "skill", "training")

__all__ = [
    "Climatology",
    "DataSpec",
    "Forecaster",
    "Grid",
    "Variable",
    "__version__",
    "benchmark",
    "check",
    "climatology",
    "datasets",
    "errors",
    "fit",
    "forecast",
    "list_models",
    "load",
    "models",
    "plot",
    "regrid",
    "skill",
    "training",
]


_former.install()


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    if name in _MODULES:
        return import_module(f"xforecast.{name}")
    raise AttributeError(f"module 'xforecast' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
