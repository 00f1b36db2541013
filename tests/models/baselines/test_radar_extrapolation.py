"""Extrapolation and STEPS of radar rain: known motion, no rain, samples of their own.

Also guards `_pysteps.py`.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import xforecast as xf
from xforecast.errors import InvalidOption, MissingExtra
from xforecast.models import build, describe
from xforecast.models.baselines.radar_extrapolation import STEPS, Extrapolation, ExtrapolationConfig, STEPSConfig

pytest.importorskip("pysteps")
SIZE, SHIFT = 96, 3


@pytest.fixture(scope="module")
def moving():
    """Showers that move 3 pixels a step to the right, (1, 12, height, width, 1)."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:SIZE, : 2 * SIZE]
    centres = np.stack([rng.uniform(5, SIZE - 5, 30), rng.uniform(0, 2 * SIZE, 30)], axis=1)
    showers = [20 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 2 / rng.uniform(2, 5) ** 2) for cy, cx in centres]
    field = np.where(np.sum(showers, 0) > 0.2, np.sum(showers, 0), 0)
    frames = [field[:, SIZE // 2 + 10 - SHIFT * k :][:, :SIZE] for k in range(12)]
    return torch.from_numpy(np.stack(frames)[None, ..., None].astype(np.float32))


def draw(model, x, samples, seed=0):
    generators = [torch.Generator().manual_seed(seed + sample) for sample in samples]
    return model.sample(x, torch.zeros(len(samples), dtype=torch.long), torch.tensor(samples), generators)


def test_uniform_motion_is_continued(moving):
    forecast = Extrapolation(ExtrapolationConfig(history=4, horizon=4))(moving[:, :4])
    inside = (slice(None), slice(None), slice(20, -20), slice(40, -20))
    error = (forecast - moving[:, 4:8])[inside]
    held = (moving[:, 3:4] - moving[:, 4:8])[inside]
    assert torch.isfinite(error).all()
    assert float(error.square().mean()) < 0.15 * float(held.square().mean())
    assert torch.isnan(forecast[:, -1, :, 0]).any()  # where the rain came from is unknown


def test_they_take_rain_rates_as_they_are_and_know_the_pixel_from_the_data(moving):
    ds = xr.Dataset(
        {"rain_rate": (("time", "y", "x"), moving[0, ..., 0].numpy(), {"units": "mm/h"})},
        coords={
            "time": xr.date_range("2024-06-01", periods=12, freq="10min"),
            "y": ("y", 2000.0 * np.arange(SIZE), {"units": "m", "standard_name": "projection_y_coordinate"}),
            "x": ("x", 2000.0 * np.arange(SIZE), {"units": "m", "standard_name": "projection_x_coordinate"}),
        },
    )
    steps = xf.fit(ds, "STEPS", history=4, horizon=2, valid=None)
    assert (steps.model.config.minutes, steps.model.config.kilometres) == (10.0, 2.0)
    fc = steps.forecast(ds, samples=2)
    assert fc.rain_rate.dims == ("sample", "lead", "y", "x")
    extrapolation = xf.fit(ds, "Extrapolation", history=4, horizon=2, valid=None, transform="log1p")
    wanted = extrapolation.model(moving[:, -4:])[0, ..., 0]
    np.testing.assert_allclose(extrapolation.forecast(ds).rain_rate.isel(sample=0), wanted, rtol=1e-5)


@pytest.mark.parametrize(("units", "factor"), [("kg m-2 s-1", 1 / 3600), ("m s-1", 1 / 3.6e6)])
def test_rates_in_any_unit_are_moved_alike(moving, units, factor):
    frames = {"time": xr.date_range("2024-06-01", periods=12, freq="5min")}
    rate = xr.DataArray(moving[0, ..., 0].numpy(), frames, ("time", "y", "x"), "rr", {"units": "mm/h"})
    other = (rate.astype(float) * factor).assign_attrs(units=units)
    wanted, found = (
        xf.fit(rain, "Extrapolation", history=4, horizon=2, valid=None).forecast(rain).rr for rain in (rate, other)
    )
    assert float(wanted.max()) > 1
    np.testing.assert_allclose(found / factor, wanted, rtol=1e-4, atol=1e-4)


def test_what_is_no_rate_is_refused(moving):
    frames = {"time": xr.date_range("2024-06-01", periods=12, freq="5min")}
    echo = xr.DataArray(moving[0, ..., 0].numpy(), frames, ("time", "y", "x"), "echo", {"units": "dBZ"})
    with pytest.raises(InvalidOption, match=r"dBZ.*mm h-1\n.*open_radar"):
        xf.fit(echo, "STEPS", history=4, horizon=2, valid=None)


def test_no_rain_stays_no_rain():
    dry = torch.zeros(2, 3, 32, 32, 1)
    assert float(Extrapolation(ExtrapolationConfig(history=3, horizon=2))(dry).abs().max()) == 0
    assert float(draw(STEPS(STEPSConfig(history=3, horizon=2)), dry, [0]).abs().max()) == 0


def test_a_sample_does_not_depend_on_the_others(moving):
    model = STEPS(STEPSConfig(history=4, horizon=2, cascade_levels=4))
    several, one = draw(model, moving[:, :4], [0, 1, 2]), draw(model, moving[:, :4], [2])
    np.testing.assert_array_equal(several[2], one[0])
    assert not np.array_equal(several[0], several[1], equal_nan=True)
    assert bool((several.nan_to_num() >= 0).all())


def test_it_is_built_again_from_its_description():
    model = build(**describe(STEPS(STEPSConfig(history=4, horizon=2, kilometres=2.0))))
    assert model.config.kilometres == 2.0


@pytest.mark.parametrize(
    "options", [{"history": 2}, {"threshold": 0.0}, {"kilometres": 0.0}, {"cascade_levels": 1}, {"minutes": -5.0}]
)
def test_options_that_cannot_be(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        STEPSConfig(**{"history": 3, "horizon": 2, **options})


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pysteps", None)
    with pytest.raises(MissingExtra, match="pysteps"):
        Extrapolation(ExtrapolationConfig(history=3, horizon=1))


@pytest.fixture
def version_2(tmp_path, monkeypatch):
    """A site folder in which pySTEPS 2 is installed, before all others."""
    info = tmp_path / "pysteps-2.0.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: pysteps\nVersion: 2.0.0\n")
    monkeypatch.syspath_prepend(tmp_path)


def test_a_version_that_takes_no_arrays_is_refused_with_the_line_that_helps(version_2, moving):
    with pytest.raises(MissingExtra, match=r"found version 2\.0\.0, wanted <2\n  -> pip install 'pysteps<2'"):
        Extrapolation(ExtrapolationConfig(history=3, horizon=1))


def test_all_calls_of_pysteps_stand_in_one_file():
    package = Path(xf.__file__).parent
    callers = [
        file.name for file in package.rglob("*.py") if re.search(r"(import|require\(f?.)\s*pysteps", file.read_text())
    ]
    assert callers == ["_pysteps.py"]
