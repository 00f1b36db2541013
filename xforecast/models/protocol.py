"""The former name of :mod:`xforecast.models.contract`; everything that stood here is still found here."""

from xforecast.models.contract import *  # noqa: F403
from xforecast.models.contract import __all__ as _of_contract
from xforecast.models.wrappers import ConfigOfModel

__all__ = ["ConfigOfModel", *_of_contract]
