"""Scores exactly as the papers define them, quirks included.

For anything but a comparison with published numbers, use the scores of `xforecast.skill`.
"""

from xforecast.skill.protocols._icar_enso import icar_enso

__all__ = ["icar_enso"]
