"""Training: one `fit` for every model that owns its loss."""

from xforecast.training.fit import fit
from xforecast.training.options import TrainingOptions

__all__ = ["TrainingOptions", "fit"]
