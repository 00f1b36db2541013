"""Checkpoints that others published: where they are, and what data they take."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from xforecast.models import PreDiffConfig, presets
from xforecast.spec import DataSpec, Grid, Variable

__all__ = ["PUBLISHED", "Published"]


def _sevir_spec() -> DataSpec:
    vil = Variable(
        "vil",
        "1",
        ["atmosphere_cloud_liquid_water_content"],
        ["vil", "vil_code"],
        long_name="vertically integrated liquid, SEVIR code 0-255",
        scale=255.0,
        valid_range=(0.0, 255.0),
    )
    grid = Grid("projected", (384, 384), spacing=(1000.0, 1000.0), tolerance=0.05)
    return DataSpec([vil], grid, "5 minutes", history=13, horizon=12)


def _sevir_lr_spec() -> DataSpec:
    grid = Grid("projected", (128, 128), spacing=(3000.0, 3000.0), tolerance=0.05)
    return _sevir_spec().replace(grid=grid, time_step="10 minutes", history=7, horizon=6)


def _prediff_sevirlr() -> PreDiffConfig:
    """As released: without the uncertainty of the loss, and with an alignment network that knows VIL from 0 to 1, while
    constraints are in the codes of the spec, 0 to 255."""
    config = presets.prediff_sevirlr()
    assert config.alignment is not None
    alignment = replace(config.alignment, output_deviation=_sevir_lr_spec()["vil"].scale)
    return replace(config, alignment=alignment, loss=replace(config.loss, learned_uncertainty=False))


def _icar_enso_spec() -> DataSpec:
    least, most = -16.549121856689453, 10.198975563049316
    anomaly = Variable(
        "sst",
        "degC",
        ["sea_surface_temperature_anomaly"],
        ["ssta"],
        long_name="sea surface temperature anomaly of the ICAR-ENSO data",
        offset=least,
        scale=most - least,
        fill=0.0,
        valid_range=(-20.0, 20.0),
    )
    grid = Grid.latlon(np.arange(-55, 61, 5), np.arange(95, 331, 5))
    return DataSpec([anomaly], grid, "1 month", history=12, horizon=14)


@dataclass(frozen=True)
class Published:
    """A checkpoint that others published; fetched only on request, and converted once."""

    title: str
    files: Mapping[str, str]
    """Kind of `compat.from_official` -> address; a bare name where the published link has died."""
    config: Callable[[], Any]
    spec: Callable[[], DataSpec]
    period: str
    licence: str
    references: str
    optional: Collection[str] = ()
    """Kinds that the forecaster can do without."""


EARTHFORMER = "Gao et al. 2022: Earthformer: Exploring Space-Time Transformers for Earth System Forecasting. NeurIPS"
PREDIFF = "Gao et al. 2023: PreDiff: Precipitation Nowcasting with Latent Diffusion Models. NeurIPS"
BUCKET = "https://earthformer.s3.amazonaws.com/pretrained_checkpoints"

PUBLISHED = {
    "earthformer-sevir-official": Published(
        "Earthformer for SEVIR radar, as released by its authors",
        {"earthformer": f"{BUCKET}/earthformer_sevir.pt"},
        lambda: presets.earthformer_sevir(variant="released"),
        _sevir_spec,
        "to 2019-01-01",
        "Apache-2.0",
        EARTHFORMER,
    ),
    "earthformer-icar-enso-official": Published(
        "Earthformer for ICAR-ENSO sea surface temperature, as released by its authors",
        {"earthformer": f"{BUCKET}/earthformer_icarenso2021.pt"},
        lambda: presets.earthformer_enso(variant="released"),
        _icar_enso_spec,
        "CMIP5 and CMIP6 simulations",
        "Apache-2.0",
        EARTHFORMER,
    ),
    "prediff-sevirlr-official": Published(
        "PreDiff for SEVIR-LR radar, as released by its authors",
        {
            "prediff-vae": "pretrained_sevirlr_vae_8x8x64_v1.pt",
            "prediff-unet": "pretrained_sevirlr_earthformerunet_v1.pt",
            "prediff-alignment": "pretrained_sevirlr_alignment_avg_x_cuboid_v1.pt",
        },
        _prediff_sevirlr,
        _sevir_lr_spec,
        "to 2019-06-01",
        "Apache-2.0",
        PREDIFF,
        optional=("prediff-alignment",),
    ),
}
