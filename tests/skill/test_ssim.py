"""Structural similarity: laws, and torchmetrics as an oracle."""

import numpy as np
import pytest
import torch
import xarray as xr
from torchmetrics.functional.image import structural_similarity_index_measure

from xforecast import skill
from xforecast.errors import InvalidOption


@pytest.fixture(scope="module")
def maps():
    rng = np.random.default_rng(0)
    observed = rng.random((3, 4, 24, 20))
    forecast = np.clip(observed + rng.normal(0, 0.2, observed.shape), 0, 1)
    dims = ("init", "lead", "y", "x")
    return xr.DataArray(forecast, dims=dims), xr.DataArray(observed, dims=dims)


def test_a_perfect_forecast_scores_one_and_order_does_not_matter(maps):
    forecast, observed = maps
    assert skill.ssim(observed, observed).item() == pytest.approx(1)
    assert skill.ssim(forecast, observed).item() == pytest.approx(skill.ssim(observed, forecast).item())
    assert skill.ssim(forecast, observed).item() < 1


def test_units_do_not_matter(maps):
    forecast, observed = maps
    other = skill.ssim(255 * forecast, 255 * observed, 255.0).item()
    assert other == pytest.approx(skill.ssim(forecast, observed).item())


def test_against_torchmetrics(maps):
    forecast, observed = maps
    each = skill.ssim(forecast, observed, dim=())
    stacked = [torch.from_numpy(field.values.reshape(-1, 1, 24, 20)) for field in maps]
    theirs = structural_similarity_index_measure(*stacked, data_range=1.0, reduction="none")
    np.testing.assert_allclose(each.values.ravel(), theirs.numpy(), atol=1e-6)


def test_chunks_and_missing_values(maps):
    forecast, observed = maps
    lazy = skill.ssim(forecast.chunk(init=1, y=5), observed.chunk(lead=2))
    assert lazy.chunks is not None
    assert lazy.compute().item() == pytest.approx(skill.ssim(forecast, observed).item())
    holes = forecast.where(forecast > 0.01)
    assert np.isnan(skill.ssim(holes, observed).item())


def test_options_that_cannot_be(maps):
    with pytest.raises(InvalidOption, match="data_range"):
        skill.ssim(*maps, 0.0)
    with pytest.raises(InvalidOption, match="11 cells"):
        skill.ssim(*(field.isel(y=slice(8)) for field in maps))
