"""The papers' scores, against numbers from the papers' own programs."""

import json
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from safetensors.numpy import load_file

from xforecast.errors import InvalidOption
from xforecast.skill import nino34_weighted_mean, protocols

DATA = Path(__file__).parents[1] / "data" / "skill"


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
