"""Published configurations, as functions that return a config.

Change one with :func:`dataclasses.replace`, and build it with the class: ``Earthformer(earthformer_enso())``.
"""

from __future__ import annotations

from typing import Any

from xforecast.models.blocks import ORIGINAL, ORIGINAL_LATENT, BlockConfig, GlobalVectorConfig, StemConfig
from xforecast.models.contract import check_choice
from xforecast.models.earthformer import DecoderConfig, EarthformerConfig, EncoderConfig
from xforecast.models.prediff import AutoencoderConfig, CuboidUNetConfig, KnowledgeAlignmentConfig, PreDiffConfig
from xforecast.models.presets.baselines import (
    convlstm_enso,
    convlstm_sevir,
    e3dlstm_enso,
    e3dlstm_sevir,
    phydnet_enso,
    phydnet_sevir,
    predrnn_enso,
    predrnn_sevir,
    rainformer_enso,
    rainformer_sevir,
    unet_enso,
    unet_sevir,
)

__all__ = [
    "convlstm_enso",
    "convlstm_sevir",
    "e3dlstm_enso",
    "e3dlstm_sevir",
    "earthformer_enso",
    "earthformer_nbody",
    "earthformer_sevir",
    "earthformer_sevirlr",
    "phydnet_enso",
    "phydnet_sevir",
    "prediff_sevirlr",
    "predrnn_enso",
    "predrnn_sevir",
    "rainformer_enso",
    "rainformer_sevir",
    "unet_enso",
    "unet_sevir",
]

VARIANTS = ("paper", "released")


def _published(depth: int, **options: Any) -> EarthformerConfig:
    """Configuration with what all published ones have in common."""
    return EarthformerConfig(
        encoder=EncoderConfig((depth, depth)),
        decoder=DecoderConfig((depth, depth)),
        block=BlockConfig(padding="zeros"),
        quirks=ORIGINAL,
        **options,
    )


def earthformer_sevir(variant: str = "paper", global_vectors: int = 8) -> EarthformerConfig:
    """Earthformer for SEVIR: 13 frames of 384 x 384 radar to the next 12, every 5 minutes (Gao et al. 2022).

    Parameters
    ----------
    variant : {"paper", "released"}
        Two blocks a level as in the paper, or one with separate projections of the global vectors as in the weights
        that the authors released.
    global_vectors : int
        Number of global vectors, 8 or 0 in the paper.

    Examples
    --------
    >>> earthformer_sevir().encoder.depths, earthformer_sevir("released").encoder.depths
    ((2, 2), (1, 1))
    """
    check_choice("variant", variant, VARIANTS)
    released = variant == "released"
    return _published(
        1 if released else 2,
        history=13,
        horizon=12,
        grid=(384, 384),
        base_channels=128,
        stem=StemConfig(scales=((1, 3, 3), (1, 2, 2), (1, 2, 2)), convolutions=(2, 2, 2), channels=(16, 64, 128)),
        global_vectors=GlobalVectorConfig(
            global_vectors, projections="separate" if released else "shared", self_attention=released
        ),
    )


def earthformer_sevirlr() -> EarthformerConfig:
    """Earthformer for SEVIR-LR: 7 frames of 128 x 128 radar to the next 6, every 10 minutes.

    Examples
    --------
    >>> earthformer_sevirlr().grid
    (128, 128)
    """
    return _published(
        1,
        history=7,
        horizon=6,
        grid=(128, 128),
        base_channels=64,
        stem=StemConfig(scales=((1, 1, 1), (1, 2, 2), (1, 2, 2)), convolutions=(2, 2, 2), channels=(4, 16, 64)),
        global_vectors=GlobalVectorConfig(0),
    )


def earthformer_enso(variant: str = "paper", global_vectors: int | None = None) -> EarthformerConfig:
    """Earthformer for ICAR-ENSO: 12 months of sea surface temperature to the next 14 (Gao et al. 2022).

    Parameters
    ----------
    variant : {"paper", "released"}
        Four blocks a level as in the paper, or one as in the weights that the authors released.
    global_vectors : int, optional
        Number of global vectors; if left out, 8 for the paper and 0 for the released weights.

    Examples
    --------
    >>> earthformer_enso().global_vectors.count, earthformer_enso("released").global_vectors.count
    (8, 0)
    """
    check_choice("variant", variant, VARIANTS)
    released = variant == "released"
    if global_vectors is None:
        global_vectors = 0 if released else 8
    return _published(
        1 if released else 4,
        history=12,
        horizon=14,
        grid=(24, 48),
        base_channels=64,
        stem=StemConfig(scales=((1, 1, 2),), convolutions=(2,), head_convolutions=(1,), norm_groups=16),
        global_vectors=GlobalVectorConfig(global_vectors),
    )


def earthformer_nbody(global_vectors: int = 0) -> EarthformerConfig:
    """Earthformer for N-body MNIST and Moving MNIST: 10 frames of 64 x 64 to the next 10 (Gao et al. 2022).

    Parameters
    ----------
    global_vectors : int
        Number of global vectors, 8 or 0 in the paper.

    Examples
    --------
    >>> earthformer_nbody().positions
    'time+space'
    """
    return _published(
        4,
        history=10,
        horizon=10,
        grid=(64, 64),
        base_channels=64,
        positions="time+space",
        stem=StemConfig(scales=((1, 2, 2),), convolutions=(2,), head_convolutions=(1,), norm_groups=16),
        global_vectors=GlobalVectorConfig(global_vectors),
    )


def prediff_sevirlr() -> PreDiffConfig:
    """PreDiff for SEVIR-LR: 7 frames of 128 x 128 radar to the next 6, every 10 minutes (Gao et al. 2023).

    Its parts are `autoencoder`, `denoiser` and `alignment`, the network for the anticipated mean intensity.

    Examples
    --------
    >>> prediff_sevirlr().frame_grid, prediff_sevirlr().denoiser.grids
    ((128, 128), ((13, 16, 16), (13, 8, 8)))
    """
    return PreDiffConfig(
        autoencoder=AutoencoderConfig(),
        denoiser=CuboidUNetConfig(history=7, horizon=6, grid=(16, 16), quirks=ORIGINAL_LATENT),
        alignment=KnowledgeAlignmentConfig(horizon=6, grid=(16, 16), output_frames=6, quirks=ORIGINAL_LATENT),
    )
