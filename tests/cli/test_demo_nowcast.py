"""``xforecast demo nowcast``: on a file, a sample or made showers; what it averages and cuts it tells."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import xarray as xr

from xforecast import datasets
from xforecast.cli import main
from xforecast.cli.demo_nowcast import MODEL, nowcast_table
from xforecast.forecaster import Forecaster
from xforecast.forecaster.registry import IN_PACKAGE
from xforecast.models import AutoencoderConfig, CuboidUNetConfig, PreDiff, PreDiffConfig
from xforecast.models.prediff.schedule import DiffusionLoss
from xforecast.spec import DataSpec, Grid, Variable

pytest.importorskip("matplotlib")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A nowcaster of 16 x 16 pixels of 2 km that has learnt nothing."""
    torch.manual_seed(0)
    config = PreDiffConfig(
        autoencoder=AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4, blocks_per_level=1),
        denoiser=CuboidUNetConfig(history=3, horizon=4, grid=(8, 8), channels=4, base_channels=16, depths=(1,)),
        loss=DiffusionLoss(learned_uncertainty=False),
    )
    rain = Variable(
        "rain_rate", "mm h-1", ["rainfall_rate"], fill=0.0, valid_range=(0, 400), transform="log1p", transform_scale=0.2
    )
    spec = DataSpec([rain], Grid("projected", (16, 16), spacing=(2000.0, 2000.0)), "5 minutes", 3, 4)
    return Forecaster(PreDiff(config), spec, {"name": "tiny"}).save(tmp_path_factory.mktemp("tiny") / "tiny")


@pytest.fixture
def demo(tiny, tmp_path, monkeypatch, capsys):
    """Run it in an empty place; exit code and words."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XFORECAST_DATA", str(tmp_path / "nowhere"))
    monkeypatch.setenv("XFORECAST_CACHE", str(tmp_path / "cache"))

    def run(*arguments: str, model=tiny) -> tuple[int, str, str]:
        chosen = ["--model", str(model)] if model else []
        code = main(["demo", "nowcast", "--folder", "out", *chosen, *arguments])
        return code, *capsys.readouterr()

    return run


def test_offline_it_takes_made_showers(demo):
    code, out, err = demo()
    assert code == 0, err
    assert "made showers" in out
    assert "of the map, the middle 16 x 16 pixels" in out
    assert "observed" in out
    assert "out/nowcast.nc, out/nowcast.png, out/nowcast.gif" in out
    assert all(os.path.getsize(f"out/nowcast.{kind}") > 1000 for kind in ("nc", "png", "gif"))
    with xr.open_dataset("out/nowcast.nc") as fc:
        assert dict(fc.rain_rate.sizes) == {"sample": 8, "lead": 4, "y": 16, "x": 16}
        rows = [line.split() for line in out.splitlines() if line.strip().startswith(("5 ", "10 ", "15 ", "20 "))]
        means = fc.rain_rate.mean(("sample", "y", "x")).values
    np.testing.assert_allclose([float(row[1]) for row in rows], means, atol=0.006)


def test_of_a_file_the_newest_start_and_the_whole_map(demo):
    rain = datasets.showers(frames=9, size=(40, 36), spacing=1000.0)
    rain.to_netcdf("rain.nc")
    code, out, err = demo("--data", "rain.nc")
    assert code == 0, err
    assert "averaged: squares of 2 x 2 pixels of 1 km to 2 km" in out
    assert "from data to 2024-06-01T12:40" in out
    assert "observed" not in out
    with xr.open_dataset("out/nowcast.nc") as fc:
        assert (fc.sizes["y"], fc.sizes["x"]) == (20, 18)
        np.testing.assert_allclose(fc.x[:2], [1000, 3000])


def test_pixels_that_fit_are_left_as_they_are(demo):
    datasets.showers(frames=5, size=(16, 16)).to_netcdf("rain.nc")
    code, out, _ = demo("--data", "rain.nc")
    assert code == 0
    assert "averaged" not in out


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.isel(time=slice(None, None, 2)), "10 minutes, wanted 5 minutes"),
        (lambda ds: ds.isel(x=[0], y=[0]), "smaller than the model's window"),
        (lambda ds: ds.assign_coords(x=ds.x * 1.5, y=ds.y * 1.5), "spacing 3000 m, wanted 2000"),
        (lambda ds: ds.drop_isel(time=2), "frames"),
    ],
)
def test_data_that_do_not_fit(demo, change, words):
    ds = datasets.showers(frames=12, size=(16, 16))
    change(ds).to_netcdf("rain.nc")
    code, _, err = demo("--data", "rain.nc")
    assert code == 2
    assert words in err
    assert not os.path.exists("out")


def test_files_that_are_not_there(demo):
    code, _, err = demo("--data", "absent.nc")
    assert (code, "no such file" in err) == (2, True)
    code, _, err = demo("--data", "mch-2017-01-31")
    assert (code, "XFORECAST_DATA" in err) == (2, True)


@pytest.mark.skipif(MODEL in IN_PACKAGE, reason="the nowcaster is in the package")
def test_without_the_nowcaster_the_error_says_how_to_get_one(demo):
    code, _, err = demo(model=None)
    assert code == 2
    assert err.startswith("CheckpointError: 'prediff-radar' is not in this package")
    assert "xforecast train radar" in err


def test_the_other_demonstration_takes_no_model(capsys):
    assert main(["demo", "--model", "x"]) == 2
    assert "demo nowcast" in capsys.readouterr().err


def test_the_table():
    rate = xr.DataArray(
        np.zeros((4, 2, 3, 3)), dims=("sample", "lead", "y", "x"),
        coords={"lead": np.array([300, 600], "m8[s]").astype("m8[ns]")},
    )  # fmt: skip
    rate[0, 1, 0, 0] = 18.0
    table = nowcast_table(rate)
    assert list(table.index) == [5, 10]
    assert table.loc[10].tolist() == [0.5, 0.0, 2.0, "25%", "25%", "0%"]


# ------------------------------------------------------------------ rain


def test_showers_are_plausible_and_always_the_same():
    first, again, other = (datasets.showers(frames=6, seed=seed).rain_rate for seed in (0, 0, 1))
    xr.testing.assert_identical(first, again)
    assert not first.equals(other)
    assert float(first.min()) == 0
    assert 0.02 < float((first > 0.5).mean()) < 0.6
    pairs = first.values[1:].ravel(), first.values[:-1].ravel()
    assert np.corrcoef(*pairs)[0, 1] > 0.6


@pytest.mark.parametrize("order", [("time", "y", "x"), ("x", "time", "y")])
def test_averages_keep_the_water_and_the_holes(order):
    rain = datasets.showers(frames=2, size=(8, 10), spacing=1000.0).rain_rate.transpose(*order)
    coarse = datasets.average_pixels(rain, 2)
    assert coarse.dims == order
    assert coarse.attrs == rain.attrs
    np.testing.assert_allclose(coarse.mean(), rain.mean(), rtol=1e-5)
    holes = datasets.average_pixels(rain.where((rain.x != rain.x[0]) | (rain.y != rain.y[0])), 2)
    assert int(holes.isnull().sum()) == 2
    for factor in (0, 1.5, 20):
        with pytest.raises(ValueError, match="found"):
            datasets.average_pixels(rain, factor)
