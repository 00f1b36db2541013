"""Forecasters: a trained model with the data that it takes, by name, in a folder, on any device, eager or lazy."""

from xforecast.forecaster.devices import pick_device
from xforecast.forecaster.fetch import fetch
from xforecast.forecaster.folder import CONFIG_FILE
from xforecast.forecaster.forecaster import Forecaster
from xforecast.forecaster.listing import list_models
from xforecast.forecaster.options import ForecastOptions
from xforecast.forecaster.overview import overview
from xforecast.forecaster.predictor import Predictor
from xforecast.forecaster.randomness import generator
from xforecast.forecaster.registry import IN_PACKAGE, check, forecast, load, regrid

__all__ = [
    "CONFIG_FILE",
    "IN_PACKAGE",
    "ForecastOptions",
    "Forecaster",
    "Predictor",
    "check",
    "fetch",
    "forecast",
    "generator",
    "list_models",
    "load",
    "overview",
    "pick_device",
    "regrid",
]
