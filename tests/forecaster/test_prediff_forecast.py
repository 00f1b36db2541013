"""Samples and constraints from labels to labels: PreDiff behind the one flow."""

import dataclasses
import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

import xforecast as xf
from synthetic import persistence, radar_dataset, radar_spec
from xforecast.errors import InvalidOption, XForecastWarning
from xforecast.forecaster import Forecaster, devices
from xforecast.models import (
    AutoencoderConfig,
    ConserveLast,
    CuboidUNetConfig,
    MeanIntensity,
    PreDiff,
    PreDiffConfig,
    RegionTotal,
    UpperBound,
)
from xforecast.models.prediff.schedule import DiffusionLoss, NoiseSchedule
from xforecast.spec import Variable
from xforecast.training import align

SIZE = 8
CONFIG = PreDiffConfig(
    autoencoder=AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4, blocks_per_level=1),
    denoiser=CuboidUNetConfig(history=2, horizon=3, grid=(4, 4), channels=4, base_channels=16, depths=(1,)),
    schedule=NoiseSchedule(steps=50),
    loss=DiffusionLoss(learned_uncertainty=False),
    grid=(SIZE, SIZE),
)
QUICK = {"steps": 4, "progress": False, "device": "cpu"}


@pytest.fixture(scope="module")
def rain() -> xr.Dataset:
    return radar_dataset(steps=6, size=SIZE)


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    torch.manual_seed(0)
    model = PreDiff(CONFIG)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.7 * parameter[0].numel() ** -0.5)
    variable = Variable(
        "rain", "mm/h", ["rainfall_rate"], fill=0.0, valid_range=(0.0, 300.0), transform="log1p", transform_scale=0.5,
        offset=1.0, scale=1.0,
    )  # fmt: skip
    spec = radar_spec(size=SIZE).replace(variables=[variable])
    return Forecaster(model, spec, {"name": "tiny-prediff"})


def rates(forecast: xr.Dataset) -> xr.DataArray:
    """In the units of the spec, mm/h."""
    return forecast.rr * 3600


# ------------------------------------------------------------------ samples


def test_samples_are_labelled_and_differ(rain, forecaster):
    fc = rain.earthformer.forecast(forecaster, samples=3, **QUICK)
    assert fc.rr.dims == ("sample", "lead", "y", "x")
    assert fc.rr.attrs["units"] == "kg m-2 s-1"
    assert float(fc.rr.std("sample").mean()) > 0
    assert float(fc.rr.min()) >= 0
    assert fc.attrs["xforecast_sampler"] == "dpm++"
    assert fc.attrs["xforecast_steps"] == "4"
    assert "constraint_residual" not in fc


@pytest.mark.parametrize("sampler", ["dpm++", "dpm++sde", "ddim", "ddpm"])
def test_a_sample_never_changes(rain, forecaster, sampler):
    options = QUICK | {"sampler": sampler, "init": "all"}
    whole = forecaster.forecast(rain, samples=3, **options)
    for changed in (
        forecaster.forecast(rain, samples=2, **options),
        forecaster.forecast(rain, samples=3, batch_size=1, **options),
        forecaster.forecast(rain, samples=3, batch_size=4, **options),
        forecaster.forecast(rain.chunk(time=2), samples=3, **options).compute(),
        forecaster.forecast(rain.isel(y=slice(None, None, -1)), samples=3, **options),
    ):
        common = whole.rr.sel(sample=changed.sample, y=changed.y)
        np.testing.assert_allclose(changed.rr.transpose(*common.dims), common, rtol=2e-3, atol=1e-6)


def test_seeds_give_other_samples(rain, forecaster):
    first, second = (forecaster.forecast(rain, samples=1, seed=seed, **QUICK) for seed in (0, 1))
    assert not np.allclose(first.rr, second.rr)


def test_samples_are_no_copies_of_other_starts(rain, forecaster):
    fc = forecaster.forecast(rain, init="all", samples=2, **QUICK)
    assert fc.rr.dims == ("init", "sample", "lead", "y", "x")
    assert not np.allclose(fc.rr.isel(init=0), fc.rr.isel(init=1))


def test_a_history_is_encoded_once_for_all_of_its_samples(rain, forecaster, monkeypatch):
    encoded = []
    original = PreDiff.encode_context

    def counted(self, x):
        encoded.append(len(x))
        return original(self, x)

    monkeypatch.setattr(PreDiff, "encode_context", counted)
    forecaster.forecast(rain, init="all", samples=3, batch_size=2, **QUICK)
    assert sum(encoded) == 5


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), RuntimeError("can't allocate memory: 12 bytes")])
def test_out_of_memory_halves_the_batch(rain, forecaster, monkeypatch, error):
    whole = forecaster.forecast(rain, samples=4, **QUICK)
    original, sizes = PreDiff.sample, []

    def small(self, x, rows, members, generators, **options):
        sizes.append(len(rows))
        if len(rows) > 1:
            raise error
        return original(self, x, rows, members, generators, **options)

    monkeypatch.setattr(PreDiff, "sample", small)
    halved = forecaster.forecast(rain, samples=4, batch_size=4, **QUICK)
    assert sizes == [4, 2, 1, 1, 1, 1]
    np.testing.assert_allclose(halved.rr, whole.rr, rtol=2e-3, atol=1e-6)


def test_other_errors_are_not_taken_for_lack_of_memory():
    def broken(batch):
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        devices.in_batches(broken, 4, 4)


def test_saved_and_loaded_it_forecasts_the_same(rain, forecaster, tmp_path):
    again = xf.load(forecaster.save(tmp_path / "saved"))
    options = {"samples": 2, **QUICK}
    xr.testing.assert_equal(again.forecast(rain, **options).rr, forecaster.forecast(rain, **options).rr)


# ------------------------------------------------------------------ constraints


def mean_rates(forecast: xr.Dataset) -> np.ndarray:
    return rates(forecast).mean(("lead", "y", "x")).values


@pytest.mark.parametrize("guidance", ["decoder"])
def test_a_constraint_is_in_physical_units_and_the_forecast_tells_the_residual(rain, forecaster, guidance):
    options = QUICK | {"samples": 3, "steps": 20}
    free = mean_rates(forecaster.forecast(rain, **options))
    target = float(free.mean() * 1.3)
    fc = forecaster.forecast(rain, constraint=MeanIntensity(target), guidance=guidance, **options)
    residual = fc.constraint_residual
    assert residual.dims == ("sample", "guided")
    np.testing.assert_allclose(residual.sel(guided=False), abs(free - target), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(residual.sel(guided=True), abs(mean_rates(fc) - target), rtol=1e-3, atol=1e-4)
    assert (residual.sel(guided=True) < 0.3 * residual.sel(guided=False).max()).all()
    assert "MeanIntensity" in fc.attrs["xforecast_constraint"]


def test_equivalent_units_of_the_data_change_nothing(rain, forecaster):
    in_mm = rain.assign(rr=(rain.rr * 3600).assign_attrs({**rain.rr.attrs, "units": "mm/h"}))
    options = QUICK | {"samples": 2, "constraint": MeanIntensity(3.0)}
    first, second = (forecaster.forecast(ds, **options) for ds in (rain, in_mm))
    np.testing.assert_allclose(3600 * first.rr, second.rr, rtol=2e-3, atol=1e-3)
    np.testing.assert_allclose(first.constraint_residual, second.constraint_residual, rtol=1e-3)


def test_lazy_data_have_a_lazy_residual(rain, forecaster):
    options = QUICK | {"samples": 2, "init": "all", "constraint": MeanIntensity(3.0)}
    lazy = forecaster.forecast(rain.chunk(time=3), **options)
    assert lazy.constraint_residual.chunks is not None
    eager = forecaster.forecast(rain, **options)
    assert eager.constraint_residual.dims == ("init", "sample", "guided")
    np.testing.assert_allclose(lazy.constraint_residual.compute(), eager.constraint_residual, rtol=2e-3, atol=1e-4)


def test_a_constraint_may_be_any_function_of_the_physical_field(rain, forecaster):
    seen = []

    def driest(field: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(field.shape))
        assert float(field.detach().min()) >= 0
        return field.mean(dim=(2, 3, 4)) - 1.0

    fc = forecaster.forecast(rain, samples=2, constraint=driest, **QUICK)
    assert set(seen) == {(2, 3, SIZE, SIZE, 1)}
    wanted = np.linalg.norm(rates(fc).mean(("y", "x")) - 1.0, axis=-1)
    np.testing.assert_allclose(fc.constraint_residual.sel(guided=True), wanted, rtol=1e-3)


def test_what_is_conserved_is_the_last_observed_rate(rain, forecaster):
    fc = forecaster.forecast(rain, samples=2, constraint=ConserveLast(), **QUICK | {"steps": 20})
    observed = float(3600 * rain.rr.isel(time=-1).mean())
    departures = rates(fc).mean(("y", "x")) - observed
    np.testing.assert_allclose(
        fc.constraint_residual.sel(guided=True), np.linalg.norm(departures, axis=-1), rtol=1e-3, atol=1e-4
    )
    assert (fc.constraint_residual.sel(guided=True) < fc.constraint_residual.sel(guided=False)).all()


def test_an_upper_bound_brings_the_rate_down(rain, forecaster):
    free = rates(forecaster.forecast(rain, samples=2, **QUICK))
    limit = float(free.quantile(0.9))
    fc = forecaster.forecast(rain, samples=2, constraint=UpperBound(limit), **QUICK | {"steps": 20})
    excess = (rates(fc) - limit).clip(min=0)
    np.testing.assert_allclose(
        fc.constraint_residual.sel(guided=True), np.sqrt((excess**2).sum(("lead", "y", "x"))), rtol=1e-3, atol=1e-3
    )


REGIONS = {
    "slices of x and y": {"x": slice(0, 3), "y": slice(4, 7)},
    "slices either way round": {"x": slice(3, 0), "y": slice(7, 4)},
    "two-dimensional lat and lon": {"lon": slice(5.0, 5.031), "lat": slice(50.039, None)},
}


@pytest.mark.parametrize("region", [*REGIONS, "a labelled array", "a labelled array upside down"])
def test_a_region_is_stated_with_labels(rain, forecaster, region):
    inside = (rain.x <= 3) & (rain.y >= 4)
    mask = REGIONS.get(region, inside.astype(float))
    if region.endswith("upside down"):
        mask = mask.isel(y=slice(None, None, -1), x=slice(None, None, -1))
    fc = forecaster.forecast(rain, samples=2, constraint=RegionTotal(mask, 100.0), **QUICK)
    total = rates(fc).where(inside).sum(("lead", "y", "x"))
    np.testing.assert_allclose(fc.constraint_residual.sel(guided=True), abs(total - 100.0), rtol=1e-3, atol=1e-2)


def test_limits_may_differ_from_cell_to_cell(rain, forecaster):
    limit = xr.ones_like(rain.rr.isel(time=0, drop=True)) * (1 + rain.x)
    fc = forecaster.forecast(rain, samples=1, constraint=UpperBound(limit), **QUICK)
    excess = (rates(fc) - limit).clip(min=0)
    wanted = np.sqrt((excess**2).sum(("lead", "y", "x")))
    np.testing.assert_allclose(fc.constraint_residual.sel(guided=True), wanted, rtol=1e-3, atol=1e-3)


def test_a_network_taught_on_the_data_steers(rain, forecaster):
    record = radar_dataset(steps=30, size=SIZE)
    able = align(forecaster, record, MeanIntensity(0.0), steps=2, progress=False, device="cpu")
    fc = able.forecast(rain, samples=2, constraint=MeanIntensity(5.0), guidance="network", **QUICK)
    assert np.isfinite(fc.constraint_residual).all()
    free = able.forecast(rain, samples=2, **QUICK)
    assert not np.allclose(fc.rr, free.rr)


def test_a_target_out_of_reach_is_told(rain, forecaster):
    with pytest.warns(XForecastWarning, match="2 of 2 samples do not reach it"):
        forecaster.forecast(rain, samples=2, constraint=MeanIntensity(300.0), strength=0.01, **QUICK)
    with pytest.raises(InvalidOption, match="within reach"):
        forecaster.forecast(rain, samples=2, constraint=MeanIntensity(1e9), **QUICK)


def test_a_target_that_is_reached_is_not(rain, forecaster):
    options = QUICK | {"samples": 2, "steps": 20}
    usual = float(mean_rates(forecaster.forecast(rain, **options)).mean())
    with warnings.catch_warnings():
        warnings.simplefilter("error", XForecastWarning)
        forecaster.forecast(rain, constraint=MeanIntensity(usual), **options)
        forecaster.forecast(rain, constraint=UpperBound(1e6), **options)


# ------------------------------------------------------------------ refusals


@dataclasses.dataclass(frozen=True)
class Nonsense:
    """No residual."""


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"samples": 0}, "samples"),
        ({"samples": -1}, "samples"),
        ({"samples": 2.5}, "samples"),
        ({"steps": 0}, "steps"),
        ({"steps": 51}, "at most the schedule's 50"),
        ({"sampler": "euler"}, "dpm"),
        ({"eta": 2.0}, "eta"),
        ({"strength": -1.0}, "strength"),
        ({"strength": float("nan")}, "strength"),
        ({"constraint": Nonsense()}, "residual"),
        ({"constraint": 3}, "residual"),
        ({"constraint": MeanIntensity(1.0), "guidance": "network"}, "align"),
        ({"constraint": MeanIntensity}, "residual"),
        ({"constraint": lambda rate: rate.mean() - 1.0}, "one for each sample"),
        ({"constraint": lambda rate: rate.detach().mean(dim=(1, 2, 3, 4))}, "without gradient"),
        ({"strength": 2.0}, "a constraint to go with it"),
        ({"guidance": "decoder"}, "a constraint to go with it"),
        ({"constraint": MeanIntensity([1.0, 2.0, 3.0, 4.0, 5.0])}, "target"),
        ({"constraint": RegionTotal({"lat": slice(80, 90)}, 1.0)}, "lat from 50"),
        ({"constraint": RegionTotal({"north": slice(80, 90)}, 1.0)}, "north"),
        ({"constraint": RegionTotal({"x": 3}, 1.0)}, "slice"),
        ({"constraint": RegionTotal(np.ones((3, 3)), 1.0)}, "mask"),
        ({"constraint": RegionTotal(xr.DataArray(np.ones((3, 3)), dims=("y", "x")), 1.0)}, "mask"),
        ({"constraint": RegionTotal(xr.DataArray(np.ones(3), dims="z"), 1.0)}, "z"),
    ],
)
def test_nonsense_is_told(rain, forecaster, options, words):
    with pytest.raises(InvalidOption, match=words):
        forecaster.forecast(rain, **QUICK | options)


def test_options_are_checked_before_lazy_data_are_computed(rain, forecaster):
    with pytest.raises(InvalidOption, match="sampler"):
        forecaster.forecast(rain.chunk(time=2), sampler="euler", progress=False)


def test_a_deterministic_model_has_no_constraint(rain):
    with pytest.raises(InvalidOption, match="does not sample"):
        persistence(radar_spec(size=SIZE)).forecast(rain, constraint=MeanIntensity(1.0))


def test_reflectivity_given_as_rate_is_told(rain, forecaster):
    decibels = rain.assign(rr=rain.rr.copy(data=np.full(rain.rr.shape, -32.0)).assign_attrs(
        {**rain.rr.attrs, "units": "mm/h"}))  # fmt: skip
    with pytest.raises(xf.errors.SpecMismatch, match="wanted 0 to 300"):
        forecaster.forecast(decibels, **QUICK)


def test_holes_are_dry_and_a_field_of_zeros_can_be_forecast(rain, forecaster):
    with pytest.warns(XForecastWarning, match="same value everywhere"):
        fc = forecaster.forecast(rain.assign(rr=rain.rr.copy(data=np.zeros(rain.rr.shape))), **QUICK)
    assert np.isfinite(fc.rr).all()
    holes = rain.rr.copy()
    holes[:, 2, 3] = np.nan
    with pytest.warns(XForecastWarning, match="missing"):
        fc = forecaster.forecast(rain.assign(rr=holes), **QUICK)
    assert bool(fc.rr.isel(y=2, x=3).isnull().all())
