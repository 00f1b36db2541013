"""Training: one `fit` for every model that owns its loss."""

from xforecast.training.fit import fit
from xforecast.training.options import TrainingOptions
from xforecast.training.stages import align

__all__ = ["TrainingOptions", "align", "fit"]
