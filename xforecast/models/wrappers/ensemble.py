"""An ensemble of independently trained networks of one configuration."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models.catalogue import build, describe, register
from xforecast.models.contract import Abilities, abilities_of, check_positive
from xforecast.models.wrappers.config import ConfigOfModel

__all__ = ["Ensemble", "EnsembleConfig"]


@dataclass(frozen=True)
class EnsembleConfig(ConfigOfModel):
    """Which networks an :class:`Ensemble` has.

    Parameters
    ----------
    model : str
        A name in :data:`xforecast.models.MODELS`.
    config : Config
        Configuration of every network.
    size : int
        Number of networks.

    Examples
    --------
    >>> from xforecast.models import PersistenceConfig
    >>> EnsembleConfig.from_dict({"model": "Persistence", "config": {"horizon": 3}, "size": 2}).config.horizon
    3
    """

    size: int

    def validate(self) -> None:
        super().validate()
        check_positive("size", self.size)

    @property
    def summary(self) -> str:
        return f"{self.size} {self.model}"


class Ensemble(nn.Module):
    """Networks of one configuration, each with weights of its own; sample k of a forecast comes from network k.

    Parameters
    ----------
    config : EnsembleConfig
        Sizes and options of the model.

    Attributes
    ----------
    size : int
        Number of networks.
    networks : ModuleList
        The networks.

    Examples
    --------
    >>> from xforecast.models import EarthformerConfig
    >>> config = EarthformerConfig(history=2, horizon=1, grid=(4, 4), base_channels=8)
    >>> ensemble = Ensemble(EnsembleConfig("Earthformer", config, size=3))
    >>> ensemble(torch.zeros(1, 2, 4, 4, 1)).shape
    torch.Size([1, 1, 4, 4, 1])
    """

    def __init__(self, config: EnsembleConfig):
        super().__init__()
        self.config = config
        self.size = config.size
        self.networks = nn.ModuleList(build(config.model, config.config) for _ in range(config.size))
        bound = abilities_of(self.networks[0]).bound_to_places
        self.abilities = Abilities(samples=config.size, bound_to_places=bound)

    @classmethod
    def of(cls, networks: Sequence[nn.Module]) -> Ensemble:
        """An ensemble with the weights of networks of one configuration."""
        first = networks[0]
        ensemble = cls(EnsembleConfig(describe(first)["model"], first.config, size=len(networks)))  # type: ignore[arg-type]
        for place, network in zip(ensemble.networks, networks, strict=True):
            place.load_state_dict(network.state_dict())
        return ensemble

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Mean forecast of the networks, (batch, horizon, height, width, channel)."""
        return torch.stack([network(x) for network in self.networks]).mean(dim=0)

    def loss(self, x: torch.Tensor, y: torch.Tensor, weight: torch.Tensor | None = None) -> torch.Tensor:
        """Mean of the networks' own losses: each learns as if it were alone."""
        losses = [network.loss(x, y, weight) for network in self.networks]  # type: ignore[operator]
        return torch.stack(losses).mean()

    def sample(
        self,
        x: torch.Tensor,
        starts: torch.Tensor,
        samples: torch.Tensor,
        generators: Sequence[torch.Generator],
    ) -> torch.Tensor:
        """Sample k of a start is the forecast of network k.

        Parameters and result are those of :meth:`xforecast.models.contract.ProbabilisticModel.sample`.

        Raises
        ------
        InvalidOption
            For the number of a sample that is larger than that of the last network.
        """
        if len(samples) and int(samples.max()) >= self.size:
            raise InvalidOption(
                "samples", int(samples.max()) + 1, f"at most {self.size}, one for each network",
                f"samples={self.size}",
            )  # fmt: skip
        order, forecasts = [], []
        for sample in samples.unique().tolist():
            chosen = (samples == sample).nonzero()[:, 0]
            needed, place = starts[chosen].unique(return_inverse=True)
            forecasts.append(self.networks[sample](x[needed.to(x.device)])[place.to(x.device)])
            order.append(chosen)
        return torch.cat(forecasts)[torch.cat(order).argsort().to(x.device)]


register(Ensemble, EnsembleConfig)
