"""Scores exactly as the papers define them, quirks included.

For anything but a comparison with published numbers, use the scores of `xforecast.skill`.
"""

from xforecast.skill.protocols._icar_enso import icar_enso
from xforecast.skill.protocols._prediff import prediff
from xforecast.skill.protocols._sevir import sevir

__all__ = ["icar_enso", "prediff", "sevir"]
