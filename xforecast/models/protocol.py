"""The former name of :mod:`xforecast.models.contract`."""

from xforecast.models.contract import *  # noqa: F403
from xforecast.models.contract import __all__ as __all__
