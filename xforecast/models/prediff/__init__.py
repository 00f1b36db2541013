"""PreDiff: latent diffusion with knowledge control (Gao et al. 2023), and the parts that it is made of."""

from xforecast.models.prediff.adversary import AdversarialAutoencoder, AdversarialAutoencoderConfig
from xforecast.models.prediff.alignment import KnowledgeAlignment, KnowledgeAlignmentConfig
from xforecast.models.prediff.autoencoder import Autoencoder, AutoencoderConfig
from xforecast.models.prediff.config import DiffusionSampling, PreDiffConfig
from xforecast.models.prediff.denoiser import CuboidUNet, CuboidUNetConfig
from xforecast.models.prediff.model import PreDiff, SamplingReport
from xforecast.models.prediff.samplers import SAMPLERS
from xforecast.models.prediff.schedule import DiffusionLoss, NoiseSchedule, warming_average
from xforecast.models.prediff.stages import AlignmentStage, AutoencoderStage, DenoiserStage, TrainingStage

__all__ = [
    "SAMPLERS",
    "AdversarialAutoencoder",
    "AdversarialAutoencoderConfig",
    "AlignmentStage",
    "Autoencoder",
    "AutoencoderConfig",
    "AutoencoderStage",
    "CuboidUNet",
    "CuboidUNetConfig",
    "DenoiserStage",
    "DiffusionLoss",
    "DiffusionSampling",
    "KnowledgeAlignment",
    "KnowledgeAlignmentConfig",
    "NoiseSchedule",
    "PreDiff",
    "PreDiffConfig",
    "SamplingReport",
    "TrainingStage",
    "warming_average",
]
