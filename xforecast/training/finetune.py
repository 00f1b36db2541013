"""Training that starts from the weights of a forecaster."""

from __future__ import annotations

import copy
import os
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import xarray as xr
from torch import nn

from xforecast.cf import Ambiguous, find_variable
from xforecast.errors import InvalidOption, UnknownForecaster
from xforecast.forecaster import Forecaster, load
from xforecast.labels import Report, as_dataset, conform_record, fields_of, make_spec, names_of
from xforecast.models import MODELS, Ensemble, contract, find_model, name_of
from xforecast.spec import DataSpec, Variable

__all__ = ["Origin", "origin_of"]

NAMED = 4
"""Weights that a message names."""


def origin_of(model: Any) -> Origin | None:
    """The forecaster that training starts from, if `model` is one or names one.

    Parameters
    ----------
    model : str, path, Forecaster, Config or torch.nn.Module
        As in `xforecast.fit`.

    Raises
    ------
    InvalidOption
        A name of neither a model nor a forecaster.
    """
    if isinstance(model, Forecaster):
        return Origin(model)
    if not isinstance(model, str | os.PathLike) or (isinstance(model, str) and find_model(model)):
        return None
    try:
        return Origin(load(model))
    except UnknownForecaster as error:
        known = f"one of {', '.join(MODELS)}, a configuration, a module, or a forecaster to start from"
        raise InvalidOption("model", os.fspath(model), f"{known}: {error}", 'model="Earthformer"') from error


@dataclass
class Origin:
    """A forecaster that training starts from, and what of it could not be kept.

    Parameters
    ----------
    forecaster : Forecaster
        Left as it is.
    """

    forecaster: Forecaster
    reinitialised: list[str] = field(default_factory=list)
    normalised_anew: list[str] = field(default_factory=list)
    share: float = 0.0

    @property
    def networks(self) -> list[nn.Module]:
        """The networks that are trained: the members of an ensemble, or the one model."""
        model = self.forecaster.model
        return list(model.networks) if isinstance(model, Ensemble) else [model]

    @property
    def model(self) -> Any:
        """What a network like these is built from: its configuration, or a copy of a module of the user's own."""
        network = self.networks[0]
        return contract.config_of(network) if name_of(network) is not None else copy.deepcopy(network)

    def members(self, wanted: int | None) -> int:
        """How many networks to train."""
        count = len(self.networks)
        if wanted is not None and wanted > count:
            raise InvalidOption("members", wanted, f"at most {count}, as {self.forecaster.name} has", "leave it out")
        return wanted or count

    def spec(self, ds: xr.Dataset | xr.DataArray, train: slice | None, **wanted: Any) -> DataSpec:
        """The forecaster's own spec where the data fit it, else one of the data that keeps the normalisation.

        Parameters
        ----------
        ds : xarray.Dataset or xarray.DataArray
            The data to train on.
        train : slice, optional
            The training period.
        **wanted
            Options of `make_spec`; those that are left open are the forecaster's.
        """
        old = self.forecaster.spec
        lengths = {name: wanted.pop(name) or getattr(old, name) for name in ("history", "horizon")}
        if not any(wanted.values()) and _fits(ds, old):
            return old.replace(**lengths)
        data = as_dataset(ds)
        known = self._known(data)
        # In the forecaster's order, in which its weights know them.
        chosen = names_of(wanted["variables"]) or fields_of(data)
        own = [name for name in known.values() if name in chosen]
        wanted["variables"] = [*own, *(name for name in chosen if name not in own)]
        goals = [known[name] for name in old.targets if known.get(name) in chosen]
        wanted["targets"] = wanted["targets"] or goals or None
        base = next((variable.climatology.base for variable in old.variables if variable.climatology), None)
        wanted["base"] = wanted["base"] or (base if known else None)
        wanted["calendar"] = wanted["calendar"] or old.calendar
        new = make_spec(ds, **lengths, **wanted, train=train)
        return new.replace(variables=[self._normalised(variable) for variable in new.variables])

    def _known(self, ds: xr.Dataset) -> dict[str, str]:
        """Names in the data of the forecaster's variables that are there, by their names in its spec."""
        found = {}
        for variable in self.forecaster.spec.variables:
            with suppress(Ambiguous):
                if (name := find_variable(ds, variable)) is not None:
                    found[variable.name] = name
        return found

    def _normalised(self, variable: Variable) -> Variable:
        """The variable normalised as the weights know it, if they know it."""
        names = {variable.name, *variable.standard_names}
        for known in self.forecaster.spec.variables:
            same = names & {known.name, *known.standard_names, *known.aliases}
            if same and known.units == variable.units and known.anomaly == variable.anomaly:
                kept = ("offset", "scale", "transform", "transform_scale")
                return replace(variable, **{name: getattr(known, name) for name in kept})
        self.normalised_anew.append(variable.name)
        return variable

    def give(self, network: nn.Module, member: int) -> None:
        """Put the weights into a network, those of the same name and shape; the others keep their fresh values."""
        old, own = self.networks[member].state_dict(), network.state_dict()
        kept = {name: value for name, value in old.items() if name in own and own[name].shape == value.shape}
        if own and not kept:
            raise InvalidOption(
                "model", self.forecaster.name, "a forecaster with weights that fit these data; none does",
                "train from fresh weights",
            )  # fmt: skip
        network.load_state_dict({**own, **kept})
        self.reinitialised = sorted(own.keys() - kept.keys())
        self.share = sum(own[name].numel() for name in self.reinitialised) / max(
            sum(value.numel() for value in own.values()), 1
        )

    def warn(self) -> None:
        """Warn of what does not start from the forecaster."""
        report = Report(self.forecaster.name)
        if self.reinitialised:
            count = len(self.reinitialised)
            names = ", ".join(self.reinitialised[:NAMED]) + (", ..." if count > NAMED else "")
            report.warn(
                "fine-tuning",
                f"{count} {'weight' if count == 1 else 'weights'} of {self.forecaster.name} ({self.share:.1%} of the "
                f"numbers) not fit for the lengths, grid or variables of these data, made anew: {names}",
            )
        if self.normalised_anew:
            report.warn(
                "fine-tuning",
                f"{', '.join(self.normalised_anew)}: not among the variables of {self.forecaster.name}, or in other "
                "units; normalised by their own mean and deviation",
            )
        report.emit_warnings()

    def card(self) -> dict[str, Any]:
        """For the card of the new forecaster: where it comes from, and on what terms."""
        own = self.forecaster.card
        return {
            "title": f"{self.forecaster.name}, fine-tuned with xforecast.fit",
            "started_from": {
                "name": self.forecaster.name,
                "weights_sha256": self.forecaster.digest,
                "period": own.get("period", ""),
                "reinitialised": self.reinitialised,
                "normalised_anew": self.normalised_anew,
            },
            **{name: own[name] for name in ("licence", "references") if name in own},
        }


def _fits(ds: xr.Dataset | xr.DataArray, spec: DataSpec) -> bool:
    return not isinstance(conform_record(ds, spec), Report)
