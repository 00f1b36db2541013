"""Models to compare with: references without learning, linear models, and the networks of the papers."""

from xforecast.models.baselines.climatology import (
    ClimatologyForecast,
    ClimatologyForecastConfig,
    DampedPersistence,
    DampedPersistenceConfig,
)
from xforecast.models.baselines.convlstm import ConvLSTM, ConvLSTMConfig
from xforecast.models.baselines.e3d_lstm import E3DLSTM, E3DLSTMConfig
from xforecast.models.baselines.linear_inverse import LinearInverseModel, LinearInverseModelConfig
from xforecast.models.baselines.persistence import Persistence, PersistenceConfig
from xforecast.models.baselines.phydnet import PhyDNet, PhyDNetConfig
from xforecast.models.baselines.predrnn import PredRNN, PredRNNConfig
from xforecast.models.baselines.radar_extrapolation import STEPS, Extrapolation, ExtrapolationConfig, STEPSConfig
from xforecast.models.baselines.rainformer import Rainformer, RainformerConfig
from xforecast.models.baselines.recurrent import SamplingSchedule
from xforecast.models.baselines.unet import UNet, UNetConfig

__all__ = [
    "E3DLSTM",
    "STEPS",
    "ClimatologyForecast",
    "ClimatologyForecastConfig",
    "ConvLSTM",
    "ConvLSTMConfig",
    "DampedPersistence",
    "DampedPersistenceConfig",
    "E3DLSTMConfig",
    "Extrapolation",
    "ExtrapolationConfig",
    "LinearInverseModel",
    "LinearInverseModelConfig",
    "Persistence",
    "PersistenceConfig",
    "PhyDNet",
    "PhyDNetConfig",
    "PredRNN",
    "PredRNNConfig",
    "Rainformer",
    "RainformerConfig",
    "STEPSConfig",
    "SamplingSchedule",
    "UNet",
    "UNetConfig",
]
