"""``xforecast demo`` forecasts from a file of one's own, prints the outlook and writes both files."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xforecast as xf
from xforecast.cli import main
from xforecast.errors import InvalidOption


def tropical(years: int) -> xr.Dataset:
    """Monthly SST on the model's grid, with a little noise about its climatology."""
    spec = xf.load("earthformer-enso").spec
    time = xr.date_range("2010-01", periods=12 * years, freq="MS")
    values = spec["sst"].climatology.values[time.month.values - 1]
    noise = np.random.default_rng(0).normal(0, 0.3, (len(time), 1, 1))
    attrs = {"standard_name": "sea_surface_temperature", "units": "degC"}
    coords = {"time": time, "lat": list(spec.grid.y), "lon": list(spec.grid.x)}
    return xr.Dataset({"sst": (("time", "lat", "lon"), values + noise, attrs)}, coords)


def test_an_outlook_from_a_file(tmp_path, capsys, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    tropical(4).to_netcdf("sst.nc")
    assert main(["demo", "--data", "sst.nc", "--folder", "out"]) == 0
    printed = capsys.readouterr().out
    assert "Nino3.4 outlook from data to" in printed
    assert "anomalies from the normal 2010-2013" in printed
    assert (tmp_path / "out" / "forecast.png").stat().st_size > 10_000
    with xr.open_dataset(tmp_path / "out" / "forecast.nc") as fc:
        assert np.isfinite(fc.sst).any()


def test_a_file_without_sea_surface_temperature(tmp_path, capsys):
    tropical(4).rename(sst="rain").drop_attrs().to_netcdf(tmp_path / "other.nc")
    assert main(["demo", "--data", str(tmp_path / "other.nc"), "--folder", str(tmp_path / "out")]) == 2
    assert InvalidOption.__name__ in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
