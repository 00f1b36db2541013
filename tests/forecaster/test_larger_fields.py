"""Forecasts of fields that are larger than the window a model was trained on, labels and all.

Also guards `predictor.py`.
"""

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn

from synthetic import noise, persistence, radar_dataset, radar_spec, sst_dataset
from xforecast.errors import InvalidOption, SpecMismatch
from xforecast.forecaster import Forecaster
from xforecast.models import AutoencoderConfig, CuboidUNetConfig, Earthformer, EarthformerConfig, PreDiff, PreDiffConfig
from xforecast.models.prediff.schedule import DiffusionLoss, NoiseSchedule
from xforecast.spec import Variable

WINDOW = 8
RAIN = Variable(
    "rain", "mm/h", ["rainfall_rate"], fill=0.0, valid_range=(0.0, 300.0), transform="log1p", transform_scale=0.5,
)  # fmt: skip
SPEC = radar_spec(size=WINDOW).replace(variables=[RAIN])


def disturbed(model: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.7 * parameter[0].numel() ** -0.5)
    return model


@pytest.fixture(scope="module")
def prediff() -> Forecaster:
    config = PreDiffConfig(
        autoencoder=AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4, blocks_per_level=1),
        denoiser=CuboidUNetConfig(history=2, horizon=3, grid=(4, 4), channels=4, base_channels=16, depths=(1,)),
        schedule=NoiseSchedule(steps=50),
        loss=DiffusionLoss(learned_uncertainty=False),
    )
    return Forecaster(disturbed(PreDiff(config)), SPEC, {"name": "tiny-prediff"})


@pytest.fixture(scope="module")
def earthformer() -> Forecaster:
    config = EarthformerConfig(history=2, horizon=3, grid=(WINDOW, WINDOW), base_channels=8)
    return Forecaster(disturbed(Earthformer(config)), SPEC, {"name": "tiny-earthformer"})


@pytest.fixture(scope="module")
def rain() -> xr.Dataset:
    return radar_dataset(steps=5, size=19).isel(x=slice(13))


OPTIONS = {"steps": 4, "progress": False}


def test_the_whole_field_comes_back_under_its_own_labels(rain, prediff, earthformer):
    for forecaster, options in ((prediff, OPTIONS | {"samples": 2}), (earthformer, {})):
        fc = forecaster.forecast(rain, **options)
        assert dict(fc.rr.sizes) == {"sample": options.get("samples", 1), "lead": 3, "y": 19, "x": 13}
        np.testing.assert_array_equal(fc.y, rain.y)
        assert np.isfinite(fc.rr).all()


def test_a_check_tells_what_happens(rain, prediff, earthformer):
    told = repr(earthformer.check(rain))
    assert "19 x 13 cells, window of the model 8 x 8: forecast in 6 overlapping windows" in told
    assert "one field" in repr(prediff.check(rain))
    assert "window" not in repr(earthformer.check(rain.isel(y=slice(8), x=slice(8))))


def test_a_sample_never_changes(rain, prediff):
    options = OPTIONS | {"sampler": "dpm++sde", "init": "all"}
    whole = prediff.forecast(rain, samples=3, **options)
    for changed in (
        prediff.forecast(rain, samples=2, batch_size=1, **options),
        prediff.forecast(rain.chunk(time=2, x=5), samples=3, **options).compute(),
        prediff.forecast(rain.isel(y=slice(None, None, -1)), samples=3, **options),
    ):
        common = whole.rr.sel(sample=changed.sample, y=changed.y)
        np.testing.assert_allclose(changed.rr.transpose(*common.dims), common, rtol=2e-3, atol=1e-6)


def test_lazy_fields_stay_lazy(rain, earthformer):
    lazy = earthformer.forecast(rain.chunk(time=1), init="all")
    assert lazy.rr.chunks is not None
    np.testing.assert_allclose(lazy.rr.compute(), earthformer.forecast(rain, init="all").rr, rtol=1e-5, atol=1e-8)


def test_in_the_middle_of_a_window_it_is_the_forecast_of_that_window(rain, earthformer):
    whole = earthformer.forecast(rain.isel(y=slice(8)))
    corner = earthformer.forecast(rain.isel(y=slice(8), x=slice(8)))
    np.testing.assert_allclose(whole.rr.isel(x=slice(3)), corner.rr.isel(x=slice(3)), rtol=1e-5)


def test_a_model_that_takes_any_field_gets_it_whole(rain):
    fc = persistence(SPEC).forecast(rain)
    np.testing.assert_allclose(fc.rr.isel(sample=0, lead=-1), rain.rr.isel(time=-1), rtol=1e-4)


def test_what_is_missing_stays_missing(rain, prediff):
    holes = rain.assign(rr=rain.rr.where((rain.x > 2) | (rain.y > 15)))
    fc = prediff.forecast(holes, samples=1, **OPTIONS)
    np.testing.assert_array_equal(fc.rr.isnull().any(("sample", "lead")), holes.rr.isnull().all("time"))


# ------------------------------------------------------------------ what is refused


def test_a_field_smaller_than_the_window(rain, prediff):
    for small in (rain.isel(x=slice(7)), rain.isel(x=[0], y=[0])):
        with pytest.raises(
            SpecMismatch, match=r"(?s)smaller than the model's window, wanted at least 8.*larger window"
        ):
            prediff.forecast(small, **OPTIONS)


def test_samples_that_are_drawn_window_by_window_do_not_fit_together(rain):
    forecaster = noise(SPEC)
    with pytest.raises(SpecMismatch, match=r"(?s)19 x 13 cells.*does not fit that for the next.*a window of 8 x 8"):
        forecaster.forecast(rain)
    with pytest.raises(InvalidOption, match="shape"):
        forecaster.predict(np.ones((1, 2, 19, 13, 1)))


def test_a_model_of_one_place_takes_no_other(forecaster):
    wider = sst_dataset().pad(lon=(0, 2), mode="edge").assign_coords(lon=np.arange(160.0, 206.0, 5.0))
    assert forecaster.forecast(wider).sst.sizes["lon"] == 8
    with pytest.raises(InvalidOption, match="shape"):
        forecaster.predict(np.ones((1, 3, 6, 9, 1)))


WRONG = {
    "cadence": (lambda ds: ds.isel(time=slice(None, None, 2)), "10 minutes, wanted 5 minutes"),
    "reflectivity": (lambda ds: ds.assign(rr=ds.rr.assign_attrs(units="dBZ")), "rain_rate_from_reflectivity"),
    "reflectivity called rate": (
        lambda ds: ds.assign(rr=(ds.rr * 0 - 32).assign_attrs(ds.rr.attrs)),
        "wanted 0 to 300",
    ),
    "nothing but holes": (lambda ds: ds.assign(rr=ds.rr * np.nan), "have no value"),
    "finer pixels": (
        lambda ds: ds.assign_coords(x=ds.x / 2, y=ds.y / 2),
        r"500 m, wanted 1000\s+-> .*average_pixels\(.*, 2\)",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_input_is_told(rain, prediff, case):
    change, words = WRONG[case]
    changed = change(rain)
    changed["rr"].attrs = {**rain.rr.attrs, **changed.rr.attrs}
    with pytest.raises(SpecMismatch, match=words):
        prediff.forecast(changed, **OPTIONS)


def test_no_samples(rain, prediff):
    for samples in (0, -1, 1.5):
        with pytest.raises(InvalidOption, match="samples: found"):
            prediff.forecast(rain, samples=samples, **OPTIONS)


def test_dry_fields_and_holes_give_finite_rates(rain, prediff):
    dry = rain.assign(rr=(rain.rr * 0).assign_attrs(rain.rr.attrs))
    fc = prediff.forecast(dry, samples=2, **OPTIONS)
    assert np.isfinite(fc.rr).all()
    assert float(fc.rr.min()) >= 0
