"""Forecasters: a trained model with the data that it takes, by name, in a folder, on any device, eager or lazy."""

from xforecast.forecaster.forecaster import CONFIG_FILE, Forecaster

__all__ = ["CONFIG_FILE", "Forecaster"]
