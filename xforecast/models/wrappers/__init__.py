"""Models that are made of another one: ensembles, and models that see rain in coordinates that move with it."""

from xforecast.models.wrappers.config import ConfigOfModel
from xforecast.models.wrappers.ensemble import Ensemble, EnsembleConfig
from xforecast.models.wrappers.moving import Moving, MovingConfig

__all__ = ["ConfigOfModel", "Ensemble", "EnsembleConfig", "Moving", "MovingConfig"]
