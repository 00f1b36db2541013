"""Knowledge alignment: teach a trained forecaster a quantity by which its samples can be steered."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.forecaster import Forecaster
from xforecast.models import Config, contract
from xforecast.training.fit import fit

__all__ = ["align_knowledge"]


def align_knowledge(
    forecaster: Forecaster,
    ds: xr.Dataset | xr.DataArray,
    functional: Callable[[torch.Tensor], torch.Tensor] | Any,
    *,
    name: str | None = None,
    network: Config | None = None,
    **options: Any,
) -> Forecaster:
    """Teach a forecaster a quantity of one's own, so that its samples can be steered by it.

    A new alignment network learns to estimate the quantity from a noisy latent; autoencoder and denoiser stay as they
    are.

    Parameters
    ----------
    forecaster : Forecaster
        Of a `PreDiff`.
    ds : xarray.Dataset or xarray.DataArray
        Data that fit the forecaster.
    functional : callable or Constraint
        The quantity: a torch function from physical fields (batch, time, y, x, channel), in the units of
        ``forecaster.spec``, to (batch, time, numbers) or (batch, numbers); or a constraint, whose functional it is.
    name : str, optional
        Of the quantity: constraints of that name are applied through the network. That of the functional by default.
    network : KnowledgeAlignmentConfig, optional
        The network; by default half as wide as the denoiser.
    **options
        Of `fit`: ``valid``, ``folder``, ``resume``, ``device``, ``epochs``, ``steps`` ...

    Returns
    -------
    Forecaster
        A new one; the one given is left as it is.

    Raises
    ------
    InvalidOption
        The forecaster's model has no alignment network, or the functional does not give such numbers.

    Examples
    --------
    >>> from xforecast.models import MeanIntensity, PreDiff, PreDiffConfig
    >>> from xforecast.spec import DataSpec, Grid, Variable
    >>> spec = DataSpec([Variable("rain", "mm/h")], Grid("pixel", (16, 16)), "5 minutes", history=2, horizon=2)
    >>> forecaster = Forecaster(PreDiff(PreDiffConfig.of_size(history=2, horizon=2, grid=(16, 16))), spec)
    >>> rng, time = torch.Generator().manual_seed(0), xr.date_range("2024-06-01", periods=8, freq="5min")
    >>> rain = xr.DataArray(torch.rand(8, 16, 16, generator=rng).numpy(), dims=("time", "y", "x"), name="rain")
    >>> rain = rain.assign_coords(time=time).assign_attrs(units="mm/h")
    >>> able = align_knowledge(forecaster, rain, MeanIntensity(0.0), steps=1, valid=None, progress=False)
    >>> able.model.alignment.config.functional
    'mean_intensity'
    """
    if "alignment" not in contract.abilities_of(forecaster.model).parts:
        raise InvalidOption(
            "forecaster", forecaster.name, "a PreDiff that is not in moving coordinates: alignment networks see fields "
            "before they are moved", "constraint= works without a network, guidance='decoder'",
        )  # fmt: skip
    model = copy.deepcopy(forecaster.model)
    own: dict[str, Any] = {"functional": functional, "name": name}
    if network is not None:
        own["network"] = network
    stages: dict[str, Any] = dict.fromkeys(contract.abilities_of(model).parts) | {"alignment": own}
    taught = fit(ds, model, spec=forecaster.spec, stages=stages, name=forecaster.name, **options)
    card = {**forecaster.card, "alignment": model.alignment.config.functional}  # type: ignore[union-attr]
    return Forecaster(taught.model, taught.spec, card)
