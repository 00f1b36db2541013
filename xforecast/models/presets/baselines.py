"""Configurations of the networks to which the papers compare, for SEVIR and for ICAR-ENSO.

SEVIR is 13 frames of 384 x 384 radar, from 0 to 1, to the next 12; ICAR-ENSO 12 months of 24 x 48 sea surface
temperature to the next 14. The comparison is that of Gao et al. (2022), Earthformer, NeurIPS. Numbers of parameters
are the published ones, but for ConvLSTM, where they are within 2 %.
"""

from __future__ import annotations

from typing import Any

from xforecast.models.baselines import (
    ConvLSTMConfig,
    E3DLSTMConfig,
    PhyDNetConfig,
    PredRNNConfig,
    RainformerConfig,
    UNetConfig,
)

__all__ = [
    "convlstm_enso",
    "convlstm_sevir",
    "e3dlstm_enso",
    "e3dlstm_sevir",
    "phydnet_enso",
    "phydnet_sevir",
    "predrnn_enso",
    "predrnn_sevir",
    "rainformer_enso",
    "rainformer_sevir",
    "unet_enso",
    "unet_sevir",
]

SEVIR: dict[str, Any] = {"history": 13, "horizon": 12, "grid": (384, 384)}
ENSO: dict[str, Any] = {"history": 12, "horizon": 14, "grid": (24, 48)}


def unet_sevir() -> UNetConfig:
    """UNet for SEVIR: four levels, as its authors have it.

    Examples
    --------
    >>> unet_sevir().channels
    (32, 64, 128, 256)
    """
    return UNetConfig(**SEVIR, channels=(32, 64, 128, 256), centre=1024)


def unet_enso() -> UNetConfig:
    """UNet for ICAR-ENSO: three levels, as many as the grid can be halved.

    Examples
    --------
    >>> unet_enso().channels
    (32, 64, 128)
    """
    return UNetConfig(**ENSO, channels=(32, 64, 128), centre=1024)


def convlstm_sevir() -> ConvLSTMConfig:
    """ConvLSTM for SEVIR: cells on grids of 128, 64 and 32.

    Examples
    --------
    >>> convlstm_sevir().steps
    (3, 2, 2)
    """
    return ConvLSTMConfig(
        **SEVIR, channels=(96, 112, 256), strides=(3, 2, 2), kernels=(7, 5, 3), transposed_kernels=(6, 4, 4), head=16
    )


def convlstm_enso() -> ConvLSTMConfig:
    """ConvLSTM for ICAR-ENSO: cells on grids of 12 x 24, 6 x 12 and 3 x 6.

    Examples
    --------
    >>> convlstm_enso().steps
    (2, 2, 2)
    """
    return ConvLSTMConfig(
        **ENSO, channels=(96, 112, 256), strides=(2, 2, 2), kernels=(7, 5, 3), transposed_kernels=(6, 4, 4), head=96
    )


def predrnn_sevir() -> PredRNNConfig:
    """PredRNN for SEVIR: four layers of 128 on 12 x 12 patches of 32 x 32.

    Examples
    --------
    >>> predrnn_sevir().patch
    32
    """
    return PredRNNConfig(**SEVIR, channels=128, layers=4, kernel=5, patch=32)


def predrnn_enso() -> PredRNNConfig:
    """PredRNN for ICAR-ENSO: four layers of 128 on 6 x 12 patches of 4 x 4.

    Examples
    --------
    >>> predrnn_enso().patch
    4
    """
    return PredRNNConfig(**ENSO, channels=128, layers=4, kernel=5, patch=4)


def phydnet_sevir() -> PhyDNetConfig:
    """PhyDNet for SEVIR: a latent grid of 48 x 48, frames from 0 to 1 by a sigmoid.

    Examples
    --------
    >>> phydnet_sevir().hidden
    (256, 256, 256)
    """
    return PhyDNetConfig(**SEVIR, strides=(2, 2, 2), hidden=(256, 256, 256), activation="sigmoid")


def phydnet_enso() -> PhyDNetConfig:
    """PhyDNet for ICAR-ENSO: a latent grid of 6 x 12, frames of either sign.

    Examples
    --------
    >>> phydnet_enso().activation
    'identity'
    """
    return PhyDNetConfig(**ENSO, strides=(2, 1, 2), hidden=(128, 128))


def e3dlstm_sevir() -> E3DLSTMConfig:
    """E3D-LSTM for SEVIR: four layers of 64 on 12 x 12 patches of 32 x 32.

    Examples
    --------
    >>> e3dlstm_sevir().memory
    'paper'
    """
    return E3DLSTMConfig(**SEVIR, channels=64, layers=4, patch=32)


def e3dlstm_enso() -> E3DLSTMConfig:
    """E3D-LSTM for ICAR-ENSO: four layers of 64 on 6 x 12 patches of 4 x 4.

    Examples
    --------
    >>> e3dlstm_enso().window
    2
    """
    return E3DLSTMConfig(**ENSO, channels=64, layers=4, patch=4)


def rainformer_sevir(legacy_unused: bool = False) -> RainformerConfig:
    """Rainformer for SEVIR.

    Parameters
    ----------
    legacy_unused : bool
        Count as published, with the weights that the authors' code allocates and never uses: 184.0 million
        parameters, and 107.1 without.

    Examples
    --------
    >>> rainformer_sevir().grids
    ((192, 192), (96, 96), (48, 48), (24, 24))
    """
    return RainformerConfig(
        **SEVIR,
        channels=64,
        factors=(2, 2, 2, 2),
        heads=(3, 6, 12, 24),
        window=12,
        legacy_unused=legacy_unused,
    )


def rainformer_enso(legacy_unused: bool = False) -> RainformerConfig:
    """Rainformer for ICAR-ENSO.

    Parameters
    ----------
    legacy_unused : bool
        Count as published, with the weights that the authors' code allocates and never uses: 19.2 million
        parameters, and 13.6 without.

    Examples
    --------
    >>> rainformer_enso().grids
    ((24, 48), (12, 24), (6, 12), (3, 6))
    """
    return RainformerConfig(
        **ENSO, channels=32, factors=(1, 2, 2, 2), heads=(4, 4, 8, 16), window=3, legacy_unused=legacy_unused
    )
