"""What networks are built from: layers, cuboid attention and its patterns, resampling, windows of larger fields."""

from xforecast.models.blocks.config import (
    CHECKPOINTS,
    ORIGINAL,
    ORIGINAL_LATENT,
    BlockConfig,
    GlobalVectorConfig,
    Quirks,
)
from xforecast.models.blocks.cross_attention import CrossAttentionBlock, CuboidCrossAttention
from xforecast.models.blocks.cuboid import Partition
from xforecast.models.blocks.layers import (
    ACTIVATIONS,
    POSITIONS,
    Initialisation,
    PositionEmbedding,
    attend,
    linear,
    recomputing_layers,
)
from xforecast.models.blocks.patterns import (
    CrossCuboid,
    Cuboid,
    Triple,
    cross_cuboids,
    cuboids_at_level,
    self_cuboids,
)
from xforecast.models.blocks.resample import (
    Head,
    PatchMerging,
    Stem,
    StemConfig,
    Upsample,
    in_two_steps,
    level_channels,
    level_grids,
    resize_and_convolve,
    resize_nearest,
)
from xforecast.models.blocks.self_attention import CuboidSelfAttention, SelfAttentionBlock
from xforecast.models.blocks.tiling import Tiles, tiled

__all__ = [
    "ACTIVATIONS",
    "CHECKPOINTS",
    "ORIGINAL",
    "ORIGINAL_LATENT",
    "POSITIONS",
    "BlockConfig",
    "CrossAttentionBlock",
    "CrossCuboid",
    "Cuboid",
    "CuboidCrossAttention",
    "CuboidSelfAttention",
    "GlobalVectorConfig",
    "Head",
    "Initialisation",
    "Partition",
    "PatchMerging",
    "PositionEmbedding",
    "Quirks",
    "SelfAttentionBlock",
    "Stem",
    "StemConfig",
    "Tiles",
    "Triple",
    "Upsample",
    "attend",
    "cross_cuboids",
    "cuboids_at_level",
    "in_two_steps",
    "level_channels",
    "level_grids",
    "linear",
    "recomputing_layers",
    "resize_and_convolve",
    "resize_nearest",
    "self_cuboids",
    "tiled",
]
