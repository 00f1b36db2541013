"""What networks are built from: layers, cuboid attention and its patterns, resampling, windows of larger fields."""

from xforecast.models.blocks.attention import BlockConfig, GlobalVectorConfig, Quirks, recomputing_layers
from xforecast.models.blocks.patterns import CrossCuboid, Cuboid
from xforecast.models.blocks.resample import StemConfig
from xforecast.models.blocks.tiling import Tiles, tiled

__all__ = [
    "BlockConfig",
    "CrossCuboid",
    "Cuboid",
    "GlobalVectorConfig",
    "Quirks",
    "StemConfig",
    "Tiles",
    "recomputing_layers",
    "tiled",
]
