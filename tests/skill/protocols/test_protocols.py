"""The papers' scores, against numbers from the papers' own programs.

Guards `_icar_enso.py`, `_prediff.py`, `_sevir.py`, `_vil.py`.
"""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import load_file

from xforecast.errors import InvalidOption
from xforecast.skill import nino34_weighted_mean, protocols

DATA = Path(__file__).parents[2] / "data" / "skill"


@pytest.fixture(scope="module")
def enso():
    return load_file(DATA / "enso.safetensors"), json.loads((DATA / "enso.json").read_text())


def on_full_grid(crop):
    """The stored rows 8:15 and columns 17:32 in their place on the 24 x 48 grid."""
    field = np.zeros((*crop.shape[:2], 24, 48, 1), np.float32)
    field[:, :, 8:15, 17:32, 0] = crop
    return field


def with_labels(crop):
    coords = {"lat": np.arange(-15.0, 16.0, 5.0), "lon": np.arange(180.0, 251.0, 5.0)}
    return xr.DataArray(crop, dims=("init", "lead", "lat", "lon"), coords=coords)


@pytest.mark.parametrize("layout", [on_full_grid, with_labels])
def test_icar_enso_gives_the_papers_numbers(enso, layout):
    fields, expected = enso
    scores = protocols.icar_enso(layout(fields["pred_norm"]), layout(fields["sst_norm"]), fields["nino_true"])
    np.testing.assert_allclose(scores.correlation, expected["per_lead_corr"], rtol=1e-6)
    np.testing.assert_allclose(scores.nino34_mean, expected["C_Nino34_M"], rtol=1e-6)
    np.testing.assert_allclose(scores.nino34_weighted_mean, expected["C_Nino34_WM"], rtol=1e-6)
    np.testing.assert_allclose(scores.nino34_rmse, expected["nino_rmse_mean"], rtol=1e-6)
    error = layout(fields["pred_norm"]).astype("f8") - layout(fields["sst_norm"])
    np.testing.assert_allclose(scores.mse, (error**2).mean(), rtol=1e-12)
    np.testing.assert_allclose(scores.mae, abs(error).mean(), rtol=1e-12)
    assert scores.nino34_rmse.attrs["units"] == "degC"


def test_icar_enso_takes_the_target_from_the_field_and_degrees(enso):
    fields, _ = enso
    p, t = (with_labels(fields[k]).astype("f8") for k in ("pred_norm", "sst_norm"))
    low, high = -16.549121856689453, 10.198975563049316
    given = protocols.icar_enso(p, t)
    np.testing.assert_allclose(
        protocols.icar_enso(p, t, fields["nino_from_raw"]).nino34_rmse, given.nino34_rmse, rtol=1e-5
    )
    degrees = protocols.icar_enso(p * (high - low) + low, t * (high - low) + low, normalised=False)
    xr.testing.assert_allclose(degrees, given)
    samples = protocols.icar_enso(xr.concat([p + 0.01, p - 0.01], "sample"), t)
    xr.testing.assert_allclose(samples, given)


def test_icar_enso_refuses_other_layouts():
    with pytest.raises(InvalidOption, match="24, 48"):
        protocols.icar_enso(np.zeros((2, 14, 13, 72)), np.zeros((2, 14, 13, 72)))
    good = np.zeros((2, 14, 24, 48))
    with pytest.raises(InvalidOption, match="sequences by windows"):
        protocols.icar_enso(good, good, np.zeros((2, 14)))


def test_lead_weights_of_24_leads(enso):
    _, expected = enso
    skill = np.eye(24)
    weights = [24 * nino34_weighted_mean(xr.DataArray(row, dims="lead")).item() for row in skill]
    np.testing.assert_allclose(weights, expected["default_weights_24"], rtol=1e-6)


# --- SEVIR


@pytest.fixture(scope="module")
def vil():
    return load_file(DATA / "sevir_skill.safetensors"), json.loads((DATA / "sevir_skill.json").read_text())


def joined(fields, name, batches=(0, 1, 2)):
    return np.concatenate([fields[f"{name}.{k}"] for k in batches])


def assert_published(scores, expected):
    """Dict of threshold -> score -> value (or list over leads), and "avg", against ours."""
    for key, values in expected.items():
        for name, value in values.items():
            ours = scores[f"{name}_mean"] if key == "avg" else scores[name].sel(threshold=float(key))
            np.testing.assert_allclose(ours, value, rtol=1e-6, err_msg=f"{name} at {key}")


@pytest.mark.parametrize("mode", ["0", "1", "2"])
def test_sevir_gives_the_papers_counts_and_scores(vil, mode):
    fields, expected = vil
    scores = protocols.sevir(joined(fields, "pred"), joined(fields, "target"), mode=mode)
    wanted = expected[f"mode{mode}"]
    for ours, theirs in (("hits", "hits"), ("misses", "misses"), ("false_alarms", "fas")):
        np.testing.assert_array_equal(scores[ours].transpose("threshold", ...), wanted[theirs])
        assert scores[ours].dtype == np.int64
    assert_published(scores, wanted["scores"])


def test_sevir_labels_lazy_layouts_and_scale(vil):
    fields, expected = vil
    p, t = joined(fields, "pred"), joined(fields, "target")
    bare = protocols.sevir(p, t, mode="1")
    dims = ("init", "lead", "y", "x")
    labelled = [xr.DataArray(x[..., 0], dims=dims, attrs={"units": "1"}) for x in (p, t)]
    xr.testing.assert_allclose(protocols.sevir(*labelled, mode="1"), bare)
    lazy = protocols.sevir(*(x.chunk(init=2, y=5) for x in labelled), mode="1")
    assert lazy.csi.chunks is not None
    xr.testing.assert_allclose(lazy.compute(), bare)
    xr.testing.assert_allclose(protocols.sevir(p * 255, t * 255, mode="1", normalised=False), bare, rtol=1e-6)
    turned = [np.moveaxis(x[..., 0], 1, -1) for x in (fields["pred.0"], fields["target.0"])]
    assert_published(protocols.sevir(*turned, layout="NHWT"), expected["NHWT_batch0_mode0"]["scores"])
    with pytest.raises(InvalidOption, match="layout"):
        protocols.sevir(p, t, layout="NTHW")
    with pytest.raises(InvalidOption, match="mode"):
        protocols.sevir(p, t, mode="3")


def test_sevir_without_events_and_with_false_alarms_alone(vil):
    _, expected = vil
    zero, one = (np.full((1, 5, 4, 4, 1), value, np.float32) for value in (0, 1))
    assert_published(protocols.sevir(zero, zero), expected["all_zero_mode0"]["scores"])
    assert_published(protocols.sevir(one, zero), expected["all_false_alarm_mode0"]["scores"])


def test_sevir_errors_are_those_of_unit_scale(vil):
    fields, expected = vil
    scores = protocols.sevir(joined(fields, "pred", (0, 2)), joined(fields, "target", (0, 2)))
    for name in ("mse", "mae"):
        np.testing.assert_allclose(scores[name], expected["mse_mae_batches_0_and_2"][name], rtol=1e-6)


def test_threshold_of_219_survives_the_unit_scale():
    raw = np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16, 1)
    scores = protocols.sevir(raw * np.float32(1 / 255), raw * np.float32(1 / 255))
    np.testing.assert_array_equal(scores.hits, [256 - t for t in (16, 74, 133, 160, 181, 219)])


# --- PreDiff


@pytest.fixture(scope="module")
def radar():
    return load_file(DATA / "skill_scores.io.safetensors"), json.loads(
        (DATA / "skill_scores.expected.json").read_text()
    )


@pytest.mark.parametrize("mode", ["0", "1", "2"])
def test_prediff_gives_the_papers_counts_and_scores(radar, mode):
    fields, expected = radar
    p, t = (np.concatenate([fields[f"{name}_1"], fields[f"{name}_2"]]) for name in ("pred", "target"))
    scores = protocols.prediff(p, t, mode=mode)
    for pool, name in ((1, "sevir"), (4, "sevir_pool4"), (16, "sevir_pool16")):
        one = scores.sel(pool=pool)
        assert_published(one, expected[f"{name}/mode{mode}"])
        for ours, theirs in (("hits", "hits"), ("misses", "misses"), ("false_alarms", "fas")):
            np.testing.assert_array_equal(one[ours].transpose("threshold", ...), fields[f"{name}/mode{mode}/{theirs}"])


def test_prediff_leaves_nan_out(radar):
    fields, _ = radar
    scores = protocols.prediff(fields["pred_nan"], fields["target_nan"]).sel(pool=1)
    for ours, theirs in (("hits", "hits"), ("misses", "misses"), ("false_alarms", "fas")):
        np.testing.assert_array_equal(scores[ours], fields[f"nan/{theirs}"])


def test_prediff_crps_and_samples():
    fields = load_file(DATA / "crps.io.safetensors")
    expected = json.loads((DATA / "crps.config.json").read_text())
    ensemble, target = fields["ensemble"], fields["target"]
    wide = [np.repeat(np.repeat(x, 2, -3), 2, -2) for x in (ensemble, target)]  # to be pooled by 16
    scores = protocols.prediff(*wide)
    np.testing.assert_allclose(scores.crps, expected["mean_nrg"], rtol=1e-6)
    mean = protocols.prediff(wide[0].mean(0, dtype="f8"), wide[1])
    xr.testing.assert_allclose(scores.csi, mean.csi)
    each = protocols.prediff(*wide, samples="each")
    np.testing.assert_array_equal(each.hits, sum(protocols.prediff(member, wide[1]).hits for member in wide[0]))
