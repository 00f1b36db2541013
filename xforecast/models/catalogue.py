"""Every model by name. A model's file enters the model here; the catalogue itself imports none."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.contract import Config, check_choice, config_of, has_loss

__all__ = [
    "MODELS",
    "build",
    "config_class",
    "configure",
    "describe",
    "find_config",
    "find_model",
    "name_of",
    "register",
]

MODELS: dict[str, tuple[type[nn.Module], type[Config]]] = {}
"""Every model by name: its class and the class of its configuration."""

GROUP = "xforecast.models"
"""Entry points of other packages: the name of a model, and the module that registers it when it is imported."""


def register(kind: type[nn.Module], config: type[Config], name: str | None = None) -> type[nn.Module]:
    """Make a model known by a name, so that forecasters of it are saved and loaded.

    Parameters
    ----------
    kind : type of torch.nn.Module
        Built by ``kind(config)``, which it keeps as ``config``; has ``forward`` and ``loss``, see
        :mod:`xforecast.models.contract`.
    config : type of Config
        The class of its configuration, a frozen dataclass.
    name : str, optional
        The name of the model; by default that of the class.

    Returns
    -------
    type
        The class, so that this can be used again in a notebook: a class of the same name in the same module replaces
        the one before.

    Raises
    ------
    InvalidOption
        If these are no such classes, or another model has the name.

    Examples
    --------
    >>> import torch
    >>> from dataclasses import dataclass
    >>> from xforecast.models.contract import weighted_mse
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
    ...         return weighted_mse(self(x), y, weight)
    >>> _ = register(Mean, MeanConfig)
    >>> build("Mean", {"horizon": 3})(torch.ones(1, 2, 4, 4, 1)).shape
    torch.Size([1, 3, 4, 4, 1])
    >>> _ = MODELS.pop("Mean")
    """
    if not (isinstance(kind, type) and issubclass(kind, nn.Module) and has_loss(kind)):
        wanted = "a class of torch.nn.Module with a method loss(x, y, weight)"
        raise InvalidOption("kind", kind, wanted, "pass the class itself, not an object of it")
    if not (isinstance(config, type) and issubclass(config, Config)):
        wanted = "a frozen dataclass that derives from xforecast.models.Config"
        raise InvalidOption(
            "config", config, wanted, "class MyConfig(xforecast.models.Config): ... with @dataclass(frozen=True)"
        )
    name = name or kind.__name__
    known = MODELS.get(name)
    if known is not None and known[0].__module__ != kind.__module__:
        raise InvalidOption("kind", name, f"a name other than that of {known[0].__module__}.{name}", "rename the class")
    MODELS[name] = (kind, config)
    return kind


def find_model(name: str) -> str | None:
    """The name of a model as it is registered; a model of another package is imported first.

    Parameters
    ----------
    name : str
        The name in upper or lower case, with or without hyphens and spaces.

    Examples
    --------
    >>> import xforecast.models
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
    """The name of the model that a configuration belongs to.

    Examples
    --------
    >>> from xforecast.models import PersistenceConfig
    >>> find_config(PersistenceConfig(horizon=3))
    'Persistence'
    """
    return next((name for name, (_, known) in MODELS.items() if type(config) is known), None)


def name_of(model: nn.Module) -> str | None:
    """The name that the class of a model is registered under, if it is.

    Examples
    --------
    >>> name_of(nn.Linear(1, 1)) is None
    True
    """
    own = type(model)
    same = (name for name, (kind, _) in MODELS.items() if kind is own)
    # A class that was registered anew in a notebook is another object of the same name.
    alike = (
        name
        for name, (kind, _) in MODELS.items()
        if (kind.__module__, kind.__qualname__) == (own.__module__, own.__qualname__)
    )
    return next(same, None) or next(alike, None)


def _entry(model: str) -> tuple[type[nn.Module], type[Config]]:
    name = model if model in MODELS else find_model(str(model))
    check_choice("model", name or model, MODELS)
    return MODELS[name or model]


def config_class(model: str) -> type[Config]:
    """Class of the configuration of a model.

    Examples
    --------
    >>> import xforecast.models
    >>> config_class("Earthformer").__name__
    'EarthformerConfig'
    """
    return _entry(model)[1]


def configure(model: str | Config, shape: Mapping[str, Any], options: Mapping[str, Any] | None = None) -> Config:
    """The configuration of a model for data of some shape.

    Parameters
    ----------
    model : str or Config
        The name of a model, or a configuration, whose other fields stay.
    shape : mapping
        ``history``, ``horizon``, ``grid``, ``input_channels``, ``output_channels`` and what else the data decide; a
        configuration takes those that are fields of it.
    options : mapping, optional
        Other fields of the configuration, for a model that is given by name. A field that is left out has the model's
        default, or, for a model that has sizes to choose from, the size that goes with the grid.

    Raises
    ------
    InvalidOption
        For an unknown name or fields that cannot work.

    Examples
    --------
    >>> import xforecast.models
    >>> shape = {"history": 4, "horizon": 3, "grid": (16, 24), "input_channels": 2, "output_channels": 1}
    >>> configure("ConvLSTM", shape, {"channels": [8, 16]}).grid
    (16, 24)
    """
    if isinstance(model, Config):
        return model.fitted_to(shape)
    return config_class(model).for_data(shape, options)


def build(model: str, config: Config | Mapping[str, Any]) -> nn.Module:
    """Build a model with fresh weights from its name and its configuration, or the dictionary of it.

    Raises
    ------
    InvalidOption
        For an unknown name or a configuration that cannot work.

    Examples
    --------
    >>> import xforecast.models
    >>> build("Persistence", {"horizon": 3}).config.horizon
    3
    """
    kind, wanted = _entry(model)
    if isinstance(config, Mapping):
        config = wanted.from_dict(config)
    if not isinstance(config, wanted):
        remedy = f"xforecast.models.{wanted.__name__}(...)"
        raise InvalidOption("config", type(config).__name__, f"{wanted.__name__} for {model}", remedy)
    return kind(config)


def describe(model: nn.Module) -> dict[str, Any]:
    """Name and configuration of a model, from which :func:`build` makes another with fresh weights.

    Examples
    --------
    >>> from xforecast.models import Persistence, PersistenceConfig
    >>> describe(Persistence(PersistenceConfig(horizon=3, output_channels=1)))
    {'model': 'Persistence', 'config': {'horizon': 3, 'output_channels': 1}}
    """
    name, config = name_of(model) or type(model).__name__, config_of(model)
    check_choice("model", name, MODELS)
    return {"model": name, "config": None if config is None else config.to_dict()}
