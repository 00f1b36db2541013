"""Training: one `fit` for every model that owns its loss."""

from xforecast.training.align import align_knowledge
from xforecast.training.fit import fit
from xforecast.training.options import TrainingOptions

align = align_knowledge
"""The earlier name."""

__all__ = ["TrainingOptions", "align", "align_knowledge", "fit"]


def __dir__() -> list[str]:
    return sorted({*__all__} - {"align"})
