"""Configuration of a model that is made of another one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from xforecast.errors import InvalidOption
from xforecast.models.catalogue import config_class
from xforecast.models.contract import Config

__all__ = ["ConfigOfModel"]


@dataclass(frozen=True)
class ConfigOfModel(Config):
    """Base of the configurations of models that are made of another one.

    Parameters
    ----------
    model : str
        A name in :data:`xforecast.models.MODELS`.
    config : Config
        Configuration of that model.
    """

    model: str
    config: Config

    def validate(self) -> None:
        wanted = config_class(self.model)
        if not isinstance(self.config, wanted):
            remedy = f"xforecast.models.{wanted.__name__}(...)"
            raise InvalidOption("config", type(self.config).__name__, f"{wanted.__name__} for {self.model}", remedy)

    @property
    def lengths(self) -> tuple[int | None, int | None]:
        return self.config.lengths

    @property
    def frame_grid(self) -> tuple[int, int] | None:
        return self.config.frame_grid

    @property
    def summary(self) -> str:
        return self.model

    def fitted_to(self, shape: Mapping[str, Any]) -> Self:
        return replace(self, config=self.config.fitted_to(shape))

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:
        if isinstance(values.get("config"), Mapping) and "model" in values:
            config = config_class(values["model"]).from_dict(values["config"])
            values = {**values, "config": config}
        return super().from_dict(values)
