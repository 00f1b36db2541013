"""Forecasts from the xarray Dataset in your notebook."""

from xforecast._version import __version__

__all__ = ["__version__"]
