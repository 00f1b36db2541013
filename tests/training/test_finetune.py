"""Fine-tuning: from the weights of a forecaster, to data like its own or unlike them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from trained import drifting, small

import xforecast as xf
from xforecast.errors import InvalidOption, XForecastWarning
from xforecast.models import Ensemble, MeanIntensity, PreDiff, PreDiffConfig
from xforecast.models.contract import weighted_mse

QUICK = {"device": "cpu", "progress": False, "valid": None}


@pytest.fixture(scope="module")
def trained():
    return xf.fit(drifting(), small(), history=4, horizon=2, steps=3, name="drift", **QUICK)


@pytest.fixture(scope="module")
def ensemble():
    return xf.fit(drifting(), small(), history=4, horizon=2, steps=1, members=2, name="two", **QUICK)


def still(forecaster, ds=None, **options):
    """Fine-tuned with a step so small that the weights stay where they started."""
    ds = drifting() if ds is None else ds
    return xf.fit(ds, forecaster, steps=1, learning_rate=1e-12, weight_decay=0.0, **QUICK | options)


def same(found: nn.Module, wanted: nn.Module, names=None) -> None:
    state = wanted.state_dict()
    for name in names or state:
        torch.testing.assert_close(found.state_dict()[name], state[name])


def test_training_starts_from_the_weights_and_leaves_them(trained, tmp_path):
    before = trained.digest
    with warnings.catch_warnings():
        warnings.simplefilter("error", XForecastWarning)
        tuned = still(trained)
        moved = xf.fit(drifting(), trained, steps=3, learning_rate=0.1, warmup=0.0, **QUICK)
    same(tuned.model, trained.model)
    assert tuned.spec == trained.spec
    assert tuned.name == "drift-tuned"
    assert tuned.card["started_from"]["weights_sha256"] == before
    assert tuned.card["started_from"]["reinitialised"] == []
    assert moved.digest != before
    assert xf.forecaster.Forecaster(trained.model, trained.spec).digest == before
    same(still(trained.save(tmp_path / "drift")).model, trained.model)


def test_the_spec_is_kept_where_the_data_fit(trained):
    louder = drifting() * 3 + 1
    louder.attrs = drifting().attrs
    assert still(trained, louder).spec == trained.spec
    assert xf.fit(louder, small(), steps=1, **QUICK).spec != trained.spec


def test_another_horizon_says_what_starts_anew(trained):
    with pytest.warns(XForecastWarning, match=r"weights of drift \(.*% of the numbers\).*made anew: .*decoder"):
        longer = still(trained, horizon=3)
    assert longer.spec.horizon == 3
    anew = longer.card["started_from"]["reinitialised"]
    assert anew
    same(longer.model, trained.model, trained.model.state_dict().keys() - set(anew))
    assert longer.forecast(drifting()).z.sizes["lead"] == 3


def test_another_region_keeps_normalisation_and_what_fits(trained):
    wider = xr.concat([drifting(), 5 + drifting().isel(x=slice(2))], "x")
    with pytest.warns(XForecastWarning, match="made anew"):
        moved = still(trained, wider)
    assert moved.spec.grid.shape == (4, 8)
    assert moved.spec.variables[0].scale == trained.spec.variables[0].scale
    assert moved.spec.variables[0].offset == trained.spec.variables[0].offset
    kept = trained.model.state_dict().keys() - set(moved.card["started_from"]["reinitialised"])
    assert len(kept) > len(trained.model.state_dict()) / 2
    same(moved.model, trained.model, kept)


def test_another_variable_is_normalised_by_itself(trained):
    two = xr.Dataset({"z": drifting(), "q": 7 + 2 * drifting()})
    two["q"].attrs = {"units": "kg m-2"}
    with (
        pytest.warns(XForecastWarning, match="q: not among the variables of drift"),
        pytest.warns(XForecastWarning, match="1 weight of drift .* stem"),
    ):
        both = still(trained, two, variables=["z", "q"], targets=["z"])
    assert both.spec.channels == 2
    assert both.spec["z"].scale == trained.spec["z"].scale
    assert both.spec["q"].offset == pytest.approx(float(two.q.mean()))
    assert both.card["started_from"]["normalised_anew"] == ["q"]
    assert list(both.forecast(two).data_vars) == ["z"]


def test_variables_keep_the_order_and_targets_that_the_weights_know():
    two = xr.Dataset({"z": drifting(), "q": (7 + 2 * drifting()).assign_attrs(units="kg m-2")})
    known = xf.fit(two, "UNet", history=4, horizon=2, steps=1, targets=["q"], **QUICK)
    turned = two[["z", "q"]].isel(x=slice(None, None, -1)).isel(y=slice(4))
    assert [variable.name for variable in known.spec.variables] == ["q", "z"]
    tuned = still(known, turned)
    assert [variable.name for variable in tuned.spec.variables] == ["q", "z"]
    assert tuned.spec.targets == ("q",)
    assert tuned.spec["q"].offset == known.spec["q"].offset


def test_data_of_another_kind_take_no_climatology_over():
    rain = drifting().rename("rain").assign_attrs(units="mm/h")
    monthly = drifting(48).assign_coords(time=xr.date_range("2000-01", periods=48, freq="MS"))
    seasonal = xf.fit(monthly, small(), history=4, horizon=2, steps=1, base=("2000", "2003"), **QUICK)
    assert seasonal.spec.variables[0].climatology is not None
    with pytest.warns(XForecastWarning, match="rain: not among the variables"):
        tuned = still(seasonal, rain)
    assert tuned.spec.variables[0].climatology is None


def test_an_ensemble_is_tuned_member_by_member(ensemble):
    tuned = still(ensemble)
    assert isinstance(tuned.model, Ensemble)
    assert tuned.model.size == 2
    for one, other in zip(tuned.model.networks, ensemble.model.networks, strict=True):
        same(one, other)
    same(still(ensemble, members=1).model, ensemble.model.networks[0])
    with pytest.raises(InvalidOption, match="at most 2"):
        still(ensemble, members=3)


def test_a_shipped_forecaster_is_tuned_by_name():
    lat, lon = np.arange(-30.0, 31, 5), np.arange(20.0, 301, 5)
    values = np.random.default_rng(0).normal(0, 0.5, (40, 13, 57)).astype(np.float32)
    time = xr.date_range("2000-01", periods=40, freq="MS")
    attrs = {"standard_name": "sea_surface_temperature_anomaly", "units": "K"}
    ds = xr.DataArray(values, {"time": time, "lat": lat, "lon": lon}, ("time", "lat", "lon"), name="ssta", attrs=attrs)
    shipped = xf.load("earthformer-enso")
    tuned = still("earthformer-enso", ds, members=1)
    same(tuned.model, shipped.model.networks[0])
    assert tuned.spec == shipped.spec
    assert tuned.card["licence"] == shipped.card["licence"]
    fc = tuned.forecast(ds.where(shipped.spec.mask))
    assert fc.ssta.sizes["lead"] == 18


def test_the_parts_of_a_prediff_start_from_its_own():
    ds = xr.DataArray(np.random.default_rng(0).random((20, 16, 16)), dims=("time", "y", "x"), name="rain")
    ds = ds.assign_coords(time=xr.date_range("2024-06-01", periods=20, freq="5min")).assign_attrs(units="mm/h")
    config = PreDiffConfig.of_size(history=2, horizon=2, grid=(16, 16))
    made = xf.fit(ds, config, steps=1, stages={"alignment": {"functional": MeanIntensity(0.0)}}, **QUICK)
    left = dict.fromkeys(made.model.abilities.parts)
    tuned = xf.fit(ds, made, stages=left, **QUICK)
    assert isinstance(tuned.model, PreDiff)
    same(tuned.model, made.model)


class Slope(nn.Module):
    """A module that is registered nowhere."""

    def __init__(self):
        super().__init__()
        self.slope = nn.Parameter(torch.tensor(0.7))

    def forward(self, x):
        return self.slope * x[:, -1:].expand(-1, 2, -1, -1, -1)

    def loss(self, x, y, weight=None):
        return weighted_mse(self(x), y, weight)


def test_a_module_of_one_s_own_is_copied():
    first = xf.fit(drifting(), Slope(), history=4, horizon=2, steps=1, learning_rate=1e-12, **QUICK)
    second = xf.fit(drifting(), first, steps=50, learning_rate=0.1, **QUICK)
    assert first.model.slope.item() == pytest.approx(0.7)
    assert second.model.slope.item() != pytest.approx(0.7, abs=0.01)


def test_weights_of_which_none_fits_are_refused(trained):
    from xforecast.models import LinearInverseModel
    from xforecast.training.finetune import Origin

    other = xf.fit(drifting(), "LinearInverseModel", history=1, horizon=2, valid=None).model
    assert isinstance(other, LinearInverseModel)
    with pytest.raises(InvalidOption, match="none does"):
        Origin(trained).give(nn.Linear(2, 2), 0)


def test_a_name_of_nothing_is_told():
    with pytest.raises(InvalidOption, match=r"Earthformer(.|\n)*earthformer-enso"):
        xf.fit(drifting(), "earthformer-ensu", **QUICK)
