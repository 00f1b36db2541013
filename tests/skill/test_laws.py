"""What holds of every score: chunks, labels, missing values and attributes make no difference that they should not.

Also guards `_facts.py` and `_lazy.py` and `_pairs.py` and `_pieces.py` and `_reduce.py`.
"""

import numpy as np
import pytest
import xarray as xr

from xforecast import skill
from xforecast.errors import InvalidOption

SINGLE = {
    "mse": {},
    "mae": {},
    "rmse": {},
    "bias": {},
    "correlation": {},
    "csi": {"threshold": [2.0, 4.0]},
    "csi_mean": {"threshold": [2.0, 4.0]},
    "pod": {"threshold": [2.0, 4.0]},
    "far": {"threshold": [2.0, 4.0]},
    "success_ratio": {"threshold": [2.0, 4.0]},
    "frequency_bias": {"threshold": [2.0, 4.0]},
    "heidke": {"threshold": [2.0, 4.0]},
    "fss": {"threshold": [2.0, 4.0], "window": 3},
}
ENSEMBLE = {
    "crps": {},
    "brier": {"threshold": [2.0, 4.0]},
}
PARTS = {  # scores of several parts
    "contingency": {"threshold": [2.0, 4.0]},
    "rank_histogram": {},
    "spread_skill": {},
    "reliability": {"threshold": 2.0},
    "roc": {"threshold": 2.0},
}
SCORES = SINGLE | ENSEMBLE
EVERY = SCORES | PARTS


def make(samples=5, seed=0):
    rng = np.random.default_rng(seed)
    coords = {
        "init": xr.date_range("2000-01-01", periods=4),
        "sample": ("sample", np.arange(samples), {"standard_name": "realization"}),
        "lead": ("lead", np.array([1, 2], "timedelta64[h]").astype("timedelta64[ns]")),
        "y": ("y", np.arange(8.0), {"axis": "Y"}),
        "x": ("x", np.arange(9.0), {"axis": "X"}),
    }
    truth = rng.gamma(2.0, 1.5, (4, 2, 8, 9))
    forecast = truth[:, None] + rng.normal(0, 1.0, (4, samples, 2, 8, 9))
    attrs = {
        "units": "mm h-1",
        "standard_name": "rainfall_rate",
        "long_name": "rain rate",
        "_FillValue": -1.0,
    }
    forecast = xr.DataArray(
        forecast, coords=coords, dims=("init", "sample", "lead", "y", "x"), attrs=attrs, name="rain"
    )
    observed = xr.DataArray(truth, coords={k: v for k, v in coords.items() if k != "sample"}, attrs=attrs, name="rain")
    return forecast, observed


@pytest.fixture
def data():
    return make()


def call(name, forecast, observed, **options):
    return getattr(skill, name)(forecast, observed, **EVERY[name], **options)


def assert_same(a, b, rtol=1e-9):
    xr.testing.assert_allclose(a, b, rtol=rtol)


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("dim", [None, ("init", "y", "x"), "lead"])
def test_chunks_make_no_difference_and_nothing_is_computed(data, name, dim):
    forecast, observed = data
    if name == "fss" and dim == "lead":
        dim = ("lead", "y", "x")
    eager = call(name, forecast, observed, dim=dim)
    lazy = call(name, forecast.chunk(init=3, sample=3, y=5), observed.chunk(lead=1, x=5), dim=dim)
    parts = lazy.values() if isinstance(lazy, xr.Dataset) else [lazy]
    assert all(part.chunks is not None for part in parts)
    assert_same(lazy.compute(), eager)
    half = call(name, forecast.chunk(init=2), observed, dim=dim)  # one lazy, one not
    assert_same(half.compute(), eager)


@pytest.mark.parametrize("name", EVERY)
def test_order_of_dimensions_and_of_members_makes_no_difference(data, name):
    forecast, observed = data
    score = call(name, forecast, observed)
    assert_same(call(name, forecast.transpose("x", "sample", "y", "init", "lead"), observed), score)
    assert_same(call(name, forecast.isel(sample=[3, 1, 4, 0, 2]), observed), score)


@pytest.mark.parametrize("name", [n for n in EVERY if n != "fss"])  # a map keeps the place of what is missing
def test_missing_pairs_are_left_out_together(data, name):
    forecast, observed = data
    gone = xr.DataArray(np.arange(8) % 3 == 1, coords={"y": observed.y})
    kept = ~gone.values
    expected = call(name, forecast.isel(y=kept), observed.isel(y=kept))
    assert_same(call(name, forecast, observed.where(~gone)), expected)
    assert_same(call(name, forecast.where(~gone), observed), expected)
    one_member = forecast.where(~(gone & (forecast.sample == 2)))
    assert_same(call(name, one_member, observed), expected)


@pytest.mark.parametrize("name", SCORES)
def test_nothing_to_score_is_nan(data, name):
    forecast, observed = data
    assert call(name, forecast, observed * np.nan).isnull().all()
    assert call(name, forecast * np.nan, observed).isnull().all()


@pytest.mark.parametrize("name", SCORES)
def test_attributes_are_the_scores_own(data, name):
    forecast, observed = data
    facts = skill.SCORES[name]
    score = call(name, forecast, observed)
    assert score.name == name
    assert score.dtype == np.float64
    units = {"1": "1", "data": "mm h-1", "data2": "(mm h-1)2"}[facts.units]
    assert score.attrs["units"] == units
    assert score.attrs["long_name"] == facts.long_name
    assert set(score.attrs) <= {"units", "long_name", "comment"}
    assert forecast.attrs["standard_name"] == "rainfall_rate"  # as it was handed in


@pytest.mark.parametrize("name", SCORES)
def test_perfect_forecasts_are_perfect_and_others_within_range(data, name):
    forecast, observed = data
    facts = skill.SCORES[name]
    perfect = observed.expand_dims(sample=3)
    np.testing.assert_allclose(call(name, perfect, observed), facts.perfect, atol=1e-12)
    low, high = facts.range
    score = call(name, forecast, observed, dim=("init", "y", "x"))
    assert ((score >= low) & (score <= high)).all()
    assert (score != facts.perfect).any()


@pytest.mark.parametrize("name", EVERY)
def test_datasets_score_the_variables_that_both_have(data, name):
    forecast, observed = data
    f = xr.Dataset({"rain": forecast, "wind": 2 * forecast, "extra": forecast})
    o = xr.Dataset({"wind": 2 * observed, "rain": observed})
    scores = call(name, f, o)
    assert isinstance(scores, xr.Dataset)
    single = call(name, forecast, observed)
    if isinstance(single, xr.Dataset):
        assert_same(scores.sel(variable="rain", drop=True), single)
    else:
        assert set(scores.data_vars) == {"rain", "wind"}
        xr.testing.assert_identical(scores.rain, single.rename("rain"))
    xr.testing.assert_identical(call(name, f, observed), call(name, forecast, observed))
    with pytest.raises(InvalidOption, match="variables"):
        call(name, f[["extra"]], o)


@pytest.mark.parametrize("name", [n for n in EVERY if n != "fss"])
def test_weights(data, name):
    """Integer weights are repetitions, and equal ones make no difference."""
    forecast, observed = data
    score = call(name, forecast, observed)
    ones = xr.ones_like(observed.y)
    if name not in ("contingency", "rank_histogram", "reliability"):
        assert_same(call(name, forecast, observed, weights=5 * ones), score)
    twice = xr.where(observed.y < 3, 2.0, 1.0)
    repeat = np.r_[:3, :8]
    expected = call(name, forecast.isel(y=repeat), observed.isel(y=repeat))
    weighted = call(name, forecast, observed, weights=twice)
    assert_same(weighted, expected.astype(float) if isinstance(expected, xr.Dataset) else expected)
    lazy = call(name, forecast.chunk(init=1, y=3), observed.chunk(y=3), weights=twice)
    assert_same(lazy.compute(), weighted)


@pytest.mark.parametrize("name", EVERY)
def test_types_of_numbers_make_no_difference(data, name):
    """Integers, float32 and the byte order of files."""
    forecast, observed = (x.round() + 100 for x in data)
    options = {
        k: ([102.0, 104.0] if isinstance(v, list) else 102.0) for k, v in EVERY[name].items() if k == "threshold"
    }
    if name == "fss":
        options["window"] = 3
    expected = getattr(skill, name)(forecast, observed, **options)
    for dtype in ("uint8", "int16", "float32", ">f4"):
        score = getattr(skill, name)(forecast.astype(dtype), observed.astype(dtype), **options)
        assert_same(score, expected, rtol=1e-6)


def test_thresholds_give_a_dimension_or_a_scalar_coordinate(data):
    forecast, observed = data
    for name in ("csi", "pod", "far", "success_ratio", "frequency_bias", "heidke", "brier"):
        score = getattr(skill, name)
        many = score(forecast, observed, threshold=[1.0, 2.0, 3.0])
        assert many.dims == ("threshold",)
        assert many.threshold.attrs["units"] == "mm h-1"
        one = score(forecast, observed, threshold=2.0)
        assert one.dims == ()
        assert one.threshold == 2.0
        assert one.item() == many.sel(threshold=2.0).item()
        disordered = score(forecast, observed, threshold=np.array([3.0, 1.0]))
        np.testing.assert_array_equal(disordered, many.sel(threshold=[3.0, 1.0]))


def test_samples_are_averaged_or_scored_each(data):
    forecast, observed = data
    for name in SINGLE:
        assert_same(call(name, forecast, observed), call(name, forecast.mean("sample"), observed))
        each = call(name, forecast, observed, samples="each", dim=("init", "lead", "y", "x"))
        assert each.sizes["sample"] == 5
        assert_same(each.isel(sample=3, drop=True), call(name, forecast.isel(sample=3, drop=True), observed))
        assert each.attrs["comment"] == "of each sample"
        one = forecast.isel(sample=[2])
        assert_same(call(name, one, observed), call(name, forecast.isel(sample=2, drop=True), observed))
    pooled = skill.mse(forecast, observed, samples="each")
    assert pooled.item() == pytest.approx(((forecast - observed) ** 2).mean().item())
    assert_same(skill.mse(forecast, observed, dim=["sample", "init", "lead", "y", "x"]), pooled)
    with pytest.raises(InvalidOption, match="samples"):
        skill.mse(forecast, observed, samples="median")


def test_the_sample_dimension_is_found_by_its_standard_name(data):
    forecast, observed = data
    renamed = forecast.rename(sample="realisation_number")
    assert_same(skill.crps(renamed, observed), skill.crps(forecast, observed))
    assert_same(skill.rmse(renamed, observed), skill.rmse(forecast, observed))
    numbered = forecast.drop_vars("sample").rename(sample="case")
    numbered = numbered.assign_coords(number=("case", np.arange(5), {"standard_name": "realization"}))
    assert_same(skill.crps(numbered, observed), skill.crps(forecast, observed))
    bare = forecast.drop_vars("sample").rename(sample="member")
    assert_same(skill.crps(bare, observed), skill.crps(forecast, observed))


def test_maps_with_two_dimensional_latitudes(data):
    forecast, observed = (x.drop_vars(["y", "x"]) for x in data)
    lat = xr.DataArray(np.zeros((8, 9)), dims=("y", "x"), attrs={"standard_name": "latitude"})
    curved = forecast.assign_coords(lat=lat, lon=lat.assign_attrs(standard_name="longitude"))
    for name, options in (("fss", {"window": 3}), ("csi", {"pool": 2})):
        score = getattr(skill, name)
        assert_same(score(curved, observed, 2.0, **options), score(forecast, observed, 2.0, **options))


def test_bare_arrays(data):
    forecast, observed = (x.mean("sample") if "sample" in x.dims else x for x in data)
    assert skill.rmse(forecast.values, observed.values).item() == pytest.approx(skill.rmse(forecast, observed).item())
    assert_same(skill.rmse(forecast, observed.values, dim="x"), skill.rmse(forecast, observed, dim="x"))
    assert skill.mae([1.0, 2.0], [1.0, 4.0]).item() == 1.0


def test_what_does_not_match_is_told(data):
    forecast, observed = data
    with pytest.raises(InvalidOption, match="'z'"):
        skill.mse(forecast, observed, dim="z")
    with pytest.raises(InvalidOption, match="values or sizes of y"):
        skill.mse(forecast, observed.assign_coords(y=observed.y + 0.5))
    with pytest.raises(InvalidOption, match="values or sizes of x"):
        skill.mse(forecast, observed.isel(x=slice(5)))
    with pytest.raises(InvalidOption, match="dimensions"):
        skill.mse(forecast.isel(y=0), observed)
    for name in EVERY:
        if name != "fss":
            with pytest.raises(InvalidOption, match="values or sizes of y"):
                call(name, forecast, observed, weights=xr.ones_like(observed.y).isel(y=slice(3)))


@pytest.mark.parametrize("name", EVERY)
def test_inputs_are_left_as_they_were(data, name):
    forecast, observed = data
    before = forecast.copy(deep=True), observed.copy(deep=True)
    forecast = forecast.transpose("init", "lead", "y", "x", "sample").copy()
    call(name, forecast, observed)
    xr.testing.assert_identical(forecast, before[0].transpose(*forecast.dims))
    xr.testing.assert_identical(observed, before[1])


def test_public_names_and_facts():
    assert sorted(skill.__all__, key=str.lower) == sorted(set(skill.__all__), key=str.lower)
    for name in skill.__all__:
        assert getattr(skill, name).__doc__ or name == "SCORES"
    assert set(skill.SCORES) <= set(skill.__all__)
