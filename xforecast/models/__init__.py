"""Models: torch modules that map a history to a forecast, ``(batch, time, height, width, channel)``.

A model is built from its frozen configuration, ``Earthformer(EarthformerConfig(...))``, and rebuilt from its name and
the configuration's dictionary: ``build(**describe(model))``. :mod:`~xforecast.models.presets` has the published
configurations, :mod:`~xforecast.models.compat` reads the originals' weights, and
:mod:`~xforecast.models.contract` states what all models have in common.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models import compat, contract, cost, presets, protocol
from xforecast.models.baselines.climatology import (
    Climatology,
    ClimatologyConfig,
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
from xforecast.models.blocks.attention import BlockConfig, GlobalVectorConfig, Quirks
from xforecast.models.blocks.patterns import CrossCuboid, Cuboid
from xforecast.models.blocks.resample import StemConfig
from xforecast.models.contract import Config, check_choice, count_parameters
from xforecast.models.earthformer import (
    DecoderConfig,
    Earthformer,
    EarthformerConfig,
    EncoderConfig,
    describe_cuboids,
)
from xforecast.models.prediff.adversary import AdversarialAutoencoder, AdversarialAutoencoderConfig
from xforecast.models.prediff.alignment import KnowledgeAlignment, KnowledgeAlignmentConfig
from xforecast.models.prediff.autoencoder import Autoencoder, AutoencoderConfig
from xforecast.models.prediff.denoiser import CuboidUNet, CuboidUNetConfig
from xforecast.models.prediff.guidance import ConserveLast, Constraint, MeanIntensity, RegionTotal, UpperBound
from xforecast.models.prediff.model import PreDiff, PreDiffConfig
from xforecast.models.prediff.schedule import DiffusionLoss, NoiseSchedule
from xforecast.models.wrappers.ensemble import Ensemble, EnsembleConfig
from xforecast.models.wrappers.moving import Moving, MovingConfig

__all__ = [
    "E3DLSTM",
    "MODELS",
    "STEPS",
    "AdversarialAutoencoder",
    "AdversarialAutoencoderConfig",
    "Autoencoder",
    "AutoencoderConfig",
    "BlockConfig",
    "Climatology",
    "ClimatologyConfig",
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
    "SamplingSchedule",
    "StemConfig",
    "UNet",
    "UNetConfig",
    "UpperBound",
    "build",
    "compat",
    "config_class",
    "configure",
    "contract",
    "cost",
    "count_parameters",
    "describe",
    "describe_cuboids",
    "find_config",
    "find_model",
    "learns",
    "presets",
    "protocol",
    "register",
]

MODELS: dict[str, tuple[type[nn.Module], type[Config]]] = {
    "Climatology": (Climatology, ClimatologyConfig),
    "ConvLSTM": (ConvLSTM, ConvLSTMConfig),
    "DampedPersistence": (DampedPersistence, DampedPersistenceConfig),
    "E3DLSTM": (E3DLSTM, E3DLSTMConfig),
    "Earthformer": (Earthformer, EarthformerConfig),
    "Ensemble": (Ensemble, EnsembleConfig),
    "Extrapolation": (Extrapolation, ExtrapolationConfig),
    "LinearInverseModel": (LinearInverseModel, LinearInverseModelConfig),
    "Moving": (Moving, MovingConfig),
    "Persistence": (Persistence, PersistenceConfig),
    "PhyDNet": (PhyDNet, PhyDNetConfig),
    "PreDiff": (PreDiff, PreDiffConfig),
    "PredRNN": (PredRNN, PredRNNConfig),
    "Rainformer": (Rainformer, RainformerConfig),
    "STEPS": (STEPS, STEPSConfig),
    "UNet": (UNet, UNetConfig),
}
"""Every model by name: its class and the class of its configuration."""


GROUP = "xforecast.models"
"""Entry points of other packages: the name of a model, and the module that registers it when it is imported."""


def register(kind: type[nn.Module], config: type[Config]) -> type[nn.Module]:
    """Make a model of one's own known by the name of its class, so that forecasters of it are saved and loaded.

    Parameters
    ----------
    kind : type of torch.nn.Module
        Built by ``kind(config)``, which it keeps as ``config``; has ``forward`` and ``loss``, see
        :mod:`xforecast.models.contract`.
    config : type of Config
        A frozen dataclass. Those of its fields that are called ``history``, ``horizon``, ``grid``, ``input_channels``
        and ``output_channels`` are set by `xforecast.fit` to those of the data.

    Returns
    -------
    type
        The class, so that this can be used again in a notebook: a class of the same name in the same module replaces
        the one before.

    Raises
    ------
    InvalidOption
        No such class, or a name that another model has.

    Examples
    --------
    >>> import torch
    >>> from dataclasses import dataclass
    >>> @dataclass(frozen=True)
    ... class MeanConfig(Config):
    ...     horizon: int = 1
    >>> class Mean(nn.Module):
    ...     def __init__(self, config):
    ...         super().__init__()
    ...         self.config = config
    ...     def forward(self, x):
    ...         return x.mean(1, keepdim=True).expand(-1, self.config.horizon, -1, -1, -1)
    ...     def loss(self, x, y, weight=None):
    ...         return protocol.weighted_mse(self(x), y, weight)
    >>> _ = register(Mean, MeanConfig)
    >>> build("Mean", {"horizon": 3})(torch.ones(1, 2, 4, 4, 1)).shape
    torch.Size([1, 3, 4, 4, 1])
    >>> _ = MODELS.pop("Mean")
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module) and hasattr(kind, "loss")):
        raise InvalidOption("kind", kind, "a class of torch.nn.Module with a method loss(x, y, weight)")
    if not (isinstance(config, type) and issubclass(config, Config)):
        raise InvalidOption("config", config, "a frozen dataclass that derives from xforecast.models.Config")
    name = kind.__name__
    taken = MODELS.get(name)
    if taken is not None and taken[0].__module__ != kind.__module__:
        raise InvalidOption("kind", name, f"a name other than that of {taken[0].__module__}.{name}", "rename the class")
    MODELS[name] = (kind, config)
    return kind


def find_model(name: str) -> str | None:
    """The name of a model as it is registered, in any case, with or without hyphens and spaces; that of another package
    is imported first.

    Examples
    --------
    >>> find_model("earthformer"), find_model("E3D-LSTM"), find_model("no such model")
    ('Earthformer', 'E3DLSTM', None)
    """
    wanted = _plainly(name)
    if wanted not in map(_plainly, MODELS):
        for entry in entry_points(group=GROUP):
            if _plainly(entry.name) == wanted:
                entry.load()
    return next((model for model in MODELS if _plainly(model) == wanted), None)


def _plainly(name: str) -> str:
    return name.lower().replace("-", "").replace(" ", "")


def find_config(config: Config) -> str | None:
    """The name of the model that a configuration is of.

    Examples
    --------
    >>> find_config(PersistenceConfig(horizon=3))
    'Persistence'
    """
    return next((name for name, (_, known) in MODELS.items() if type(config) is known), None)


def config_class(model: str) -> type[Config]:
    """Class of a model's configuration.

    Examples
    --------
    >>> config_class("Earthformer").__name__
    'EarthformerConfig'
    """
    if model not in MODELS:
        find_model(str(model))
    check_choice("model", model, MODELS)
    return MODELS[model][1]


def configure(model: str | Config, shape: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Config:
    """The configuration of a model for data of some shape.

    Parameters
    ----------
    model : str or Config
        A name in `MODELS`, or a configuration, whose other fields stay.
    shape : mapping
        ``history``, ``horizon``, ``grid``, ``input_channels``, ``output_channels`` and what else the data decide; a
        configuration takes those that are fields of it.
    options : mapping, optional
        Other fields, for a name. What is not given is the model's default, or, for a model that has sizes to choose
        from, the size that goes with the grid.

    Raises
    ------
    InvalidOption
        For an unknown name or fields that cannot work.

    Examples
    --------
    >>> shape = {"history": 4, "horizon": 3, "grid": (16, 24), "input_channels": 2, "output_channels": 1}
    >>> configure("ConvLSTM", shape, {"channels": [8, 16]}).grid
    (16, 24)
    """
    kind: Any = config_class(model) if isinstance(model, str) else type(model)
    size = {key: shape[key] for key in ("history", "horizon", "grid")} | {"channels": shape["input_channels"]}
    decided = {key: value for key, value in shape.items() if key in kind.__dataclass_fields__}
    if not isinstance(model, str):
        return model.fitted(**size) if hasattr(model, "fitted") else dataclasses.replace(model, **decided)
    if hasattr(kind, "of_size") and not options:
        return kind.of_size(**size)
    return kind.from_dict({**decided, **(options or {})})


def build(model: str, config: Config | Mapping[str, Any]) -> nn.Module:
    """Build a model with fresh weights from its name and its configuration, or the dictionary of it.

    Raises
    ------
    InvalidOption
        For an unknown name or a configuration that cannot work.

    Examples
    --------
    >>> build("Persistence", {"horizon": 3}).config.horizon
    3
    """
    wanted = config_class(model)
    if isinstance(config, Mapping):
        config = wanted.from_dict(config)
    if not isinstance(config, wanted):
        raise InvalidOption("config", type(config).__name__, f"{wanted.__name__} for {model}")
    return MODELS[model][0](config)


def learns(model: nn.Module) -> bool:
    """Whether a model is trained by gradient: not one in closed form, nor one without weights.

    Examples
    --------
    >>> learns(Persistence(PersistenceConfig(horizon=3)))
    False
    """
    return not hasattr(model, "fit_series") and any(weight.requires_grad for weight in model.parameters())


def describe(model: nn.Module) -> dict[str, Any]:
    """Name and configuration of a model, from which :func:`build` makes another with fresh weights.

    Examples
    --------
    >>> describe(Persistence(PersistenceConfig(horizon=3, output_channels=1)))
    {'model': 'Persistence', 'config': {'horizon': 3, 'output_channels': 1}}
    """
    name = next((name for name, (kind, _) in MODELS.items() if type(model) is kind), type(model).__name__)
    check_choice("model", name, MODELS)
    return {"model": name, "config": model.config.to_dict()}  # type: ignore[union-attr, operator]
