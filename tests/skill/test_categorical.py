"""Events counted by hand, by other packages, and in awkward data.

Also guards `_counts.py`.
"""

import numpy as np
import pytest
import xarray as xr

from xforecast import skill
from xforecast.errors import InvalidOption


@pytest.fixture
def fields():
    rng = np.random.default_rng(0)
    truth = xr.DataArray(rng.gamma(1.0, 2.0, (6, 40, 40)), dims=("time", "y", "x"))
    return (truth * rng.lognormal(0, 0.4, truth.shape)).astype("f4"), truth.astype("f4")


def test_table_by_hand():
    forecast = xr.DataArray([5.0, 5.0, 5.0, 0.0, 0.0, 0.0, 0.0, np.nan, 5.0], dims="x")
    observed = xr.DataArray([5.0, 9.0, 0.0, 5.0, 0.0, 0.0, 0.0, 5.0, np.nan], dims="x")
    table = skill.contingency(forecast, observed, 5.0)
    assert [int(table[n]) for n in ("hits", "misses", "false_alarms", "correct_negatives")] == [2, 1, 1, 3]
    expected = {"csi": 0.5, "pod": 2 / 3, "far": 1 / 3, "success_ratio": 2 / 3, "frequency_bias": 1.0}
    expected["heidke"] = 2 * (2 * 3 - 1 * 1) / (3 * 4 + 3 * 4)
    for name, value in expected.items():
        assert getattr(skill, name)(forecast, observed, 5.0).item() == pytest.approx(value)
    assert table.hits.dtype == np.int64


def test_an_event_is_at_or_above_the_threshold():
    values = xr.DataArray(np.array([0.7, 0.7, 0.1], np.float32), dims="x")
    assert skill.contingency(values, values, 0.7).hits == 2  # though float32(0.7) is below 0.7
    whole = xr.DataArray(np.array([15, 16, 17], np.uint8), dims="x")
    assert skill.contingency(whole, whole, [15.5, 16, 300, -1]).hits.values.tolist() == [2, 2, 0, 3]


def test_zero_is_a_threshold_like_any_other():
    forecast, observed = xr.DataArray([-1.0, 0.0, 0.0005], dims="x"), xr.DataArray([0.0, 0.0, 0.0], dims="x")
    table = skill.contingency(forecast, observed, 0.0)
    assert [int(v) for v in table.values()] == [2, 1, 0, 0]


def test_no_events_give_nan_and_no_forecast_events_do_not():
    dry = xr.DataArray(np.zeros(5), dims="x")
    wet = dry + 1
    for name in ("csi", "pod", "far", "success_ratio", "frequency_bias", "heidke"):
        assert np.isnan(getattr(skill, name)(dry, dry, 1.0)), name
    assert skill.csi(dry, wet, 1.0) == 0.0
    assert skill.pod(dry, wet, 1.0) == 0.0
    assert np.isnan(skill.far(dry, wet, 1.0))
    assert skill.far(wet, dry, 1.0) == 1.0


def test_counts_are_summed_before_the_ratio(fields):
    forecast, observed = fields
    pooled = skill.csi(forecast, observed, 3.0)
    each = skill.csi(forecast, observed, 3.0, dim=("y", "x"))
    assert each.dims == ("time",)
    assert pooled.item() != pytest.approx(each.mean().item(), rel=1e-6)
    table = skill.contingency(forecast, observed, 3.0, dim=("y", "x")).sum()
    assert pooled.item() == pytest.approx((table.hits / (table.hits + table.misses + table.false_alarms)).item())
    assert skill.csi_mean(forecast, observed, [1.0, 3.0]) == skill.csi(forecast, observed, [1.0, 3.0]).mean()


@pytest.mark.parametrize("dim", [None, ("y", "x"), "time", ("time", "x"), "x"])
@pytest.mark.parametrize("holes", [0.0, 0.2])
def test_every_way_of_counting_counts_the_same(fields, dim, holes):
    """Few large cells are counted piece by piece, many small ones at once."""
    forecast, observed = (f.where(np.random.default_rng(k).random(f.shape) >= holes) for k, f in enumerate(fields))
    levels = [0.5, 2.0, 50.0]
    table = skill.contingency(forecast, observed, levels, dim=dim)
    dims = list(forecast.dims) if dim is None else dim
    for level in levels:
        f, o = forecast >= level, observed >= level
        valid = forecast.notnull() & observed.notnull()
        expected = {
            "hits": f & o & valid,
            "misses": ~f & o & valid,
            "false_alarms": f & ~o & valid,
            "correct_negatives": ~f & ~o & valid,
        }
        for name, where in expected.items():
            np.testing.assert_array_equal(table[name].sel(threshold=level), where.sum(dims))


def test_large_maps_in_any_memory_layout():
    rng = np.random.default_rng(0)
    forecast, observed = (xr.DataArray(rng.random((3, 300, 301), "f4"), dims=("time", "y", "x")) for _ in range(2))
    forecast[1, 10:20, 5] = np.nan
    table = skill.contingency(forecast, observed, [0.2, 0.9], dim=("y", "x"))
    turned = forecast.transpose("x", "time", "y").copy()
    xr.testing.assert_identical(skill.contingency(turned, observed, [0.2, 0.9], dim=("y", "x")), table)
    flipped = skill.contingency(forecast[:, ::-1], observed[:, ::-1], [0.2, 0.9], dim=("y", "x"))
    xr.testing.assert_identical(flipped, table)
    pairs = table.hits + table.misses + table.false_alarms + table.correct_negatives
    assert pairs.sum("time").values.tolist() == [3 * 300 * 301 - 10] * 2


def test_as_other_packages_have_it(fields):
    scores = pytest.importorskip("scores.categorical")
    forecast, observed = fields
    operator = scores.ThresholdEventOperator()
    names = {
        "csi": "critical_success_index",
        "pod": "probability_of_detection",
        "far": "false_alarm_ratio",
        "success_ratio": "success_ratio",
        "frequency_bias": "frequency_bias",
        "heidke": "heidke_skill_score",
    }
    levels = [0.5, 2.0, 6.0]
    for level in levels:
        manager = operator.make_contingency_manager(forecast, observed, event_threshold=level)
        basic = manager.transform(reduce_dims=["y", "x"])
        for name, theirs in names.items():
            ours = getattr(skill, name)(forecast, observed, levels, dim=("y", "x")).sel(threshold=level)
            np.testing.assert_allclose(ours, getattr(basic, theirs)(), rtol=1e-12, err_msg=name)


def test_max_pool(fields):
    forecast, observed = fields
    pooled = skill.max_pool(forecast, 4)
    blocks = forecast.values.reshape(6, 10, 4, 10, 4).max((2, 4))
    np.testing.assert_array_equal(pooled, blocks)
    assert pooled.dtype == forecast.dtype
    assert skill.max_pool(forecast, 1) is forecast
    assert skill.max_pool(forecast, 16).shape == (6, 2, 2)  # what fills no square is left out
    holed = forecast.where((forecast.y != 5) | (forecast.x != 6))
    assert skill.max_pool(holed, 4).isnull().sum() == 6
    assert skill.max_pool(forecast.chunk(time=1), 4).chunks is not None
    by_pool = skill.csi(forecast, observed, [2.0, 4.0], pool=4)
    xr.testing.assert_allclose(by_pool, skill.csi(pooled, skill.max_pool(observed, 4), [2.0, 4.0]))
    with pytest.raises(InvalidOption, match="pool"):
        skill.csi(forecast, observed, 1.0, pool=0)


def test_thresholds_must_be_numbers(fields):
    for bad in ([], np.nan, [1.0, np.nan], [[1.0, 2.0]]):
        with pytest.raises(InvalidOption, match="threshold"):
            skill.csi(*fields, bad)


def test_memory_does_not_grow_with_thresholds(fields):
    """No temporary as large as the data is made, however many thresholds there are."""
    import tracemalloc

    rng = np.random.default_rng(0)
    forecast, observed = (xr.DataArray(rng.random((10, 500, 500), "f4"), dims=("time", "y", "x")) for _ in range(2))

    def peak(levels):
        tracemalloc.start()
        skill.csi(forecast, observed, levels)
        top = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return top

    peak([0.5])
    assert peak(np.linspace(0, 1, 50)) < peak([0.5]) + 200_000
    assert peak([0.5]) < forecast.nbytes / 5
