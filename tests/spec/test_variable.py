"""Skewed variables are transformed for the network, and come back in their units."""

import json

import numpy as np
import pytest
import torch
import xarray as xr

import xforecast as xf
from synthetic import persistence, radar_dataset, radar_spec
from xforecast.errors import InvalidOption
from xforecast.spec import TRANSFORMS, Climatology, DataSpec, Variable


def rain(transform: str, **changes) -> Variable:
    options = {"transform": transform, "transform_scale": 0.1, "offset": 0.7, "scale": 1.3, **changes}
    return Variable("rain", "mm/h", ["rainfall_rate"], **options)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_the_inverse_undoes_the_transform(name):
    values = np.concatenate([[0.0], np.geomspace(0.101, 300, 50)])
    there = rain(name).to_network(values)
    assert (np.diff(there) > 0).all()
    np.testing.assert_allclose(rain(name).to_physical(there), values, atol=1e-12)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_nothing_negative_comes_back_and_missing_stays_missing(name):
    back = rain(name).to_physical(np.array([-5.0, -0.6, 0.0, np.nan]))
    assert (back[:3] >= 0).all()
    assert np.isnan(back[3])
    there = rain(name).to_network(np.array([-1.0, 0.0, np.nan]))
    assert there[0] == there[1]
    assert np.isnan(there[2])


@pytest.mark.parametrize("name", [*TRANSFORMS, None])
def test_tensors_are_as_arrays_and_keep_their_gradient(name):
    variable = rain(name)
    inside = np.random.default_rng(0).normal(0.5, 0.5, (3, 4))
    tensor = torch.from_numpy(inside).requires_grad_()
    physical = variable.to_physical(tensor)
    np.testing.assert_allclose(physical.detach(), variable.to_physical(inside))
    np.testing.assert_allclose(variable.to_network(physical.detach()), variable.to_network(physical.detach().numpy()))
    physical.sum().backward()
    assert torch.isfinite(tensor.grad).all()
    assert (tensor.grad > 0).any()


def test_it_survives_json_and_is_shown():
    spec = radar_spec().replace(variables=[rain("log1p")])
    assert DataSpec.from_json(spec.to_json()) == spec
    assert spec != radar_spec()
    assert "log(1 + value / 0.1)" in repr(spec)


def test_a_spec_without_the_fields_can_be_read():
    stored = json.loads(radar_spec().to_json())
    for variable in stored["variables"]:
        del variable["transform"], variable["transform_scale"]
    assert DataSpec.from_dict(stored) == radar_spec()


@pytest.mark.parametrize(
    "options",
    [
        {"transform": "log"},
        {"transform_scale": 0.0},
        {"transform_scale": np.nan},
        {"climatology": Climatology(("2000", "2001"), np.zeros((12, 2, 2)))},
    ],
)
def test_transforms_that_cannot_work_are_refused(options):
    with pytest.raises(InvalidOption):
        rain(**{"transform": "log1p", **options})


@pytest.mark.parametrize("name", TRANSFORMS)
def test_persistence_in_the_network_is_persistence_of_the_data(name, tmp_path):
    ds = radar_dataset()
    spec = radar_spec().replace(variables=[rain(name, transform_scale=1e-3)])
    forecaster = persistence(spec)
    fc = forecaster.forecast(ds)
    np.testing.assert_allclose(fc.rr.isel(sample=0, lead=-1), ds.rr.isel(time=-1), rtol=1e-4, atol=3e-7)
    again = xf.load(forecaster.save(tmp_path / "saved"))
    assert again.spec == spec
    xr.testing.assert_equal(again.forecast(ds).rr, fc.rr)


def test_all_targets_of_a_field_become_physical():
    second = Variable("sst", "degC", offset=20.0, scale=5.0)
    spec = radar_spec().replace(variables=[rain("log1p"), second], targets=["sst", "rain"])
    values = np.random.default_rng(0).normal(1, 0.3, (2, 3, 6, 6, 2))
    physical = spec.to_physical(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(physical[..., 0], second.to_physical(values[..., 0]))
    np.testing.assert_allclose(physical[..., 1], rain("log1p").to_physical(values[..., 1]))
    with pytest.raises(InvalidOption, match="sst, rain"):
        spec.to_physical(values[..., :1])
