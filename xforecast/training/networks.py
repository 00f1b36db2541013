"""The network that a training starts with, and how it is trained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from xforecast.errors import InvalidOption, require
from xforecast.models import (
    MODELS,
    Config,
    build,
    config_class,
    configure,
    contract,
    describe,
    find_config,
    find_model,
    name_of,
)
from xforecast.spec import DataSpec
from xforecast.training.options import TrainingOptions
from xforecast.training.prepare import Prepared

__all__ = ["network_for", "train_network"]


def network_for(model: Any, spec: DataSpec, *, fresh: bool) -> nn.Module:
    """A network for data of a spec; the user's own module itself, unless a fresh one is wanted."""
    if isinstance(model, nn.Module):
        if not fresh:
            contract.check_shapes(model, spec)
            return model
        if name_of(model) is None:
            wanted = f"1 for a {type(model).__name__}, which cannot be built anew"
            raise InvalidOption("members", "several", wanted, "members=1, or xforecast.models.register(...) its class")
        return build(**describe(model))
    if isinstance(model, Config):
        name = find_config(model)
        if name is None:
            raise InvalidOption(
                "model", type(model).__name__, f"a configuration of {', '.join(MODELS)}",
                "xforecast.models.register(model class, configuration class) makes another one known",
            )  # fmt: skip
        _check_channels(model, spec)
        return build(name, configure(model, _shape(spec)))
    name = find_model(model) if isinstance(model, str) else None
    if name is None:
        wanted = f"one of {', '.join(MODELS)}, a configuration or a module"
        raise InvalidOption("model", model, wanted, 'model="Earthformer"')
    _check_channels(config_class(name), spec)
    return build(name, configure(name, _shape(spec)))


def _check_channels(config: Config | type[Config], spec: DataSpec) -> None:
    """Some models forecast all that they see."""
    if config.same_channels and spec.channels != len(spec.targets):
        raise InvalidOption(
            "variables, calendar", f"{spec.channels} channels in, {len(spec.targets)} out", "as many out as in for a "
            "model that encodes both alike", "leave calendar= and targets= out",
        )  # fmt: skip


def _shape(spec: DataSpec) -> dict[str, Any]:
    """What the data decide, by the names that configurations have for it."""
    decided: dict[str, Any] = {
        "history": spec.history,
        "horizon": spec.horizon,
        "grid": spec.grid.shape,
        "input_channels": spec.channels,
        "output_channels": len(spec.targets),
    }
    if not spec.step.monthly:
        decided["minutes"] = spec.step.seconds / 60
    if spec.grid.kind == "projected" and spec.grid.x is not None and len(spec.grid.x) > 1:
        decided["kilometres"] = abs(spec.grid.x[1] - spec.grid.x[0]) / 1000
    return decided


def train_network(network: nn.Module, prepared: Prepared, options: TrainingOptions, run: Mapping[str, Any]) -> None:
    """Train a network by gradient, in closed form, or not at all, as its abilities ask for."""
    if contract.abilities_of(network).closed_form:
        series = torch.from_numpy(prepared.pairs.regular_series())
        network.fit_series(series, prepared.weight[0, 0])  # type: ignore[operator]
        return
    if not contract.learns(network):
        return
    require("lightning", extra="train", purpose="training")
    from xforecast.training.loop import train

    train(network, prepared.pairs, prepared.held_out, prepared.weight, options, **run)
