"""Models: torch modules that map a history to a forecast, ``(batch, time, height, width, channel)``.

A model is built from its frozen configuration, ``Earthformer(EarthformerConfig(...))``, and rebuilt from its name and
the configuration's dictionary: ``build(**describe(model))``. :mod:`~xforecast.models.presets` has the published
configurations, :mod:`~xforecast.models.compat` reads the originals' weights, and
:mod:`~xforecast.models.contract` states what all models have in common.
"""

from __future__ import annotations

from xforecast.models import catalogue, compat, constraints, contract, cost, presets, protocol
from xforecast.models.baselines import (
    E3DLSTM,
    STEPS,
    ClimatologyForecast,
    ClimatologyForecastConfig,
    ConvLSTM,
    ConvLSTMConfig,
    DampedPersistence,
    DampedPersistenceConfig,
    E3DLSTMConfig,
    Extrapolation,
    ExtrapolationConfig,
    LinearInverseModel,
    LinearInverseModelConfig,
    Persistence,
    PersistenceConfig,
    PhyDNet,
    PhyDNetConfig,
    PredRNN,
    PredRNNConfig,
    Rainformer,
    RainformerConfig,
    SamplingSchedule,
    STEPSConfig,
    UNet,
    UNetConfig,
)
from xforecast.models.blocks import BlockConfig, CrossCuboid, Cuboid, GlobalVectorConfig, Quirks, StemConfig
from xforecast.models.catalogue import (
    MODELS,
    build,
    config_class,
    configure,
    describe,
    find_config,
    find_model,
    name_of,
    register,
)
from xforecast.models.check import ModelReport, check_model
from xforecast.models.constraints import ConserveLast, Constraint, MeanIntensity, RegionTotal, UpperBound
from xforecast.models.contract import (
    Abilities,
    Config,
    SamplingOptions,
    abilities_of,
    config_of,
    count_parameters,
    draws_samples,
    learns,
    weighted_mse,
)
from xforecast.models.earthformer import (
    DecoderConfig,
    Earthformer,
    EarthformerConfig,
    EncoderConfig,
    describe_cuboids,
)
from xforecast.models.prediff import (
    AdversarialAutoencoder,
    AdversarialAutoencoderConfig,
    Autoencoder,
    AutoencoderConfig,
    CuboidUNet,
    CuboidUNetConfig,
    DiffusionLoss,
    DiffusionSampling,
    KnowledgeAlignment,
    KnowledgeAlignmentConfig,
    NoiseSchedule,
    PreDiff,
    PreDiffConfig,
)
from xforecast.models.wrappers import Ensemble, EnsembleConfig, Moving, MovingConfig

Climatology, ClimatologyConfig = ClimatologyForecast, ClimatologyForecastConfig
_EARLIER_NAMES = {"Climatology", "ClimatologyConfig", "protocol"}

__all__ = [
    "E3DLSTM",
    "MODELS",
    "STEPS",
    "Abilities",
    "AdversarialAutoencoder",
    "AdversarialAutoencoderConfig",
    "Autoencoder",
    "AutoencoderConfig",
    "BlockConfig",
    "Climatology",
    "ClimatologyConfig",
    "ClimatologyForecast",
    "ClimatologyForecastConfig",
    "Config",
    "ConserveLast",
    "Constraint",
    "ConvLSTM",
    "ConvLSTMConfig",
    "CrossCuboid",
    "Cuboid",
    "CuboidUNet",
    "CuboidUNetConfig",
    "DampedPersistence",
    "DampedPersistenceConfig",
    "DecoderConfig",
    "DiffusionLoss",
    "DiffusionSampling",
    "E3DLSTMConfig",
    "Earthformer",
    "EarthformerConfig",
    "EncoderConfig",
    "Ensemble",
    "EnsembleConfig",
    "Extrapolation",
    "ExtrapolationConfig",
    "GlobalVectorConfig",
    "KnowledgeAlignment",
    "KnowledgeAlignmentConfig",
    "LinearInverseModel",
    "LinearInverseModelConfig",
    "MeanIntensity",
    "ModelReport",
    "Moving",
    "MovingConfig",
    "NoiseSchedule",
    "Persistence",
    "PersistenceConfig",
    "PhyDNet",
    "PhyDNetConfig",
    "PreDiff",
    "PreDiffConfig",
    "PredRNN",
    "PredRNNConfig",
    "Quirks",
    "Rainformer",
    "RainformerConfig",
    "RegionTotal",
    "STEPSConfig",
    "SamplingOptions",
    "SamplingSchedule",
    "StemConfig",
    "UNet",
    "UNetConfig",
    "UpperBound",
    "abilities_of",
    "build",
    "catalogue",
    "check_model",
    "compat",
    "config_class",
    "config_of",
    "configure",
    "constraints",
    "contract",
    "cost",
    "count_parameters",
    "describe",
    "describe_cuboids",
    "draws_samples",
    "find_config",
    "find_model",
    "learns",
    "name_of",
    "presets",
    "protocol",
    "register",
    "weighted_mse",
]


def __dir__() -> list[str]:
    """Offer the public names only to those who look for one."""
    return sorted({*__all__} - _EARLIER_NAMES)
