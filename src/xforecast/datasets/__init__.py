"""Data sources; each gives a labelled, CF-compliant Dataset."""

from xforecast.datasets.hadisst import hadisst

__all__ = ["hadisst"]
