"""The fractions skill score."""

import numpy as np
import pytest
import xarray as xr

from xforecast import skill
from xforecast.errors import InvalidOption


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    observed = xr.DataArray(rng.gamma(1.0, 2.0, (4, 30, 32)), dims=("time", "y", "x"))
    return observed.roll(x=2), observed


def test_window_of_one_is_the_score_of_cells(maps):
    forecast, observed = maps
    f, o = (x >= 2.0 for x in maps)
    expected = 1 - (f ^ o).sum() / (f.sum() + o.sum())
    assert skill.fss(forecast, observed, 2.0, 1).item() == pytest.approx(expected.item())


def test_by_brute_force(maps):
    forecast, observed = (x.isel(time=0).values >= 2.0 for x in maps)
    half = 2
    fractions = []
    for event in (forecast, observed):
        padded = np.pad(event.astype(float), half)
        windows = np.lib.stride_tricks.sliding_window_view(padded, (5, 5))
        fractions.append(windows.mean((2, 3)))
    f, o = fractions
    expected = 1 - ((f - o) ** 2).sum() / (f**2 + o**2).sum()
    assert skill.fss(*(x.isel(time=0) for x in maps), 2.0, 5).item() == pytest.approx(expected)


def test_grows_with_the_window_up_to_the_asymptote(maps):
    scores = skill.fss(*maps, [1.0, 4.0], [1, 5, 15, 101])
    assert scores.dims == ("threshold", "window")
    assert (scores.diff("window") > 0).all()
    assert (scores.sel(window=101) > 0.99).all()


def test_as_another_package_has_it(maps):
    """That one takes windows within the map alone, so the map gets a margin without events."""
    spatial = pytest.importorskip("scores.spatial")
    padded = [x.pad(y=5, x=5, constant_values=0.0) for x in maps]
    options = {"event_threshold": 2.0, "window_size": (5, 5), "spatial_dims": ("y", "x")}
    theirs = spatial.fss_2d(*padded, **options)
    assert skill.fss(*padded, 2.0, 5).item() == pytest.approx(float(theirs))
    each = spatial.fss_2d(*padded, **options, preserve_dims=["time"])
    np.testing.assert_allclose(skill.fss(*padded, 2.0, 5, dim=()), each)


def test_missing_cells_hold_no_event(maps):
    forecast, observed = maps
    gone = (forecast.y > 10) & (forecast.y < 14)
    expected = skill.fss(forecast.where(~gone, -1.0), observed.where(~gone, -1.0), 2.0, 3)
    assert skill.fss(forecast.where(~gone), observed, 2.0, 3) == expected
    assert skill.fss(forecast, observed.where(~gone), 2.0, 3) == expected
    assert np.isnan(skill.fss(forecast, observed, 999.0, 3))


def test_weights_of_maps(maps):
    forecast, observed = maps
    weights = xr.DataArray([1.0, 2.0, 0.0, 0.0], dims="time")
    chosen = [0, 1, 1]
    expected = skill.fss(forecast.isel(time=chosen), observed.isel(time=chosen), 2.0, 3)
    assert skill.fss(forecast, observed, 2.0, 3, weights=weights).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("window", [0, -3, 1.5, [3, 0]])
def test_windows_are_positive_numbers_of_cells(maps, window):
    with pytest.raises(InvalidOption, match="window"):
        skill.fss(*maps, 1.0, window)
