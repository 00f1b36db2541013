"""The command ``xforecast``."""

from xforecast.cli.main import main

__all__ = ["main"]
