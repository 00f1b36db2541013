"""The forecast obeys the public contract, and stays itself when it is written and opened again."""

from __future__ import annotations

import netCDF4
import numpy as np
import pytest
import xarray as xr

import xforecast as xf
from synthetic import noise, persistence, radar_dataset, radar_spec, sst_dataset, sst_spec
from xforecast.cf.files import open_data, write
from xforecast.errors import DataFileError, InvalidOption


def sst_forecast(init="all", **options):
    return noise().forecast(sst_dataset(), init=init, samples=2, **options)


def radar_forecast(init="all"):
    return persistence(radar_spec()).forecast(radar_dataset(), init=init)


def noleap_forecast(init="all"):
    return persistence().forecast(sst_dataset().convert_calendar("noleap", use_cftime=True), init=init)


FORECASTS = {"sst": sst_forecast, "radar": radar_forecast, "noleap": noleap_forecast}


def test_dims_names_and_dates():
    fc = sst_forecast()
    assert isinstance(fc, xr.Dataset)
    assert fc.sst.dims == ("init", "sample", "lead", "lat", "lon")
    assert fc.sst.dtype == np.float32
    assert isinstance(fc.sst.data, np.ndarray)
    np.testing.assert_array_equal(fc.init, sst_dataset().time[2:])
    np.testing.assert_array_equal(fc.sample, [0, 1])
    np.testing.assert_array_equal(fc.lead, [1, 2, 3, 4])
    assert fc.valid_time.dims == ("init", "lead")
    assert fc.valid_time.values[0, 0] == np.datetime64("2000-04-01")
    newest = sst_forecast(init=None)
    assert newest.sst.dims == ("sample", "lead", "lat", "lon")
    assert newest.init.ndim == 0
    assert newest.valid_time.dims == ("lead",)
    assert sst_forecast(init=["2001-02"]).sst.dims[0] == "init"
    np.testing.assert_array_equal(newest.sst, sst_forecast(init="2001-06").sst)


def test_a_shorter_horizon_is_the_beginning_of_the_longer():
    xr.testing.assert_equal(sst_forecast(horizon=2), sst_forecast().isel(lead=slice(2)))


def test_cf_attributes():
    fc = radar_forecast()
    assert fc.init.attrs["standard_name"] == "forecast_reference_time"
    assert fc.lead.attrs["standard_name"] == "forecast_period"
    assert fc.lead.dtype == "timedelta64[ns]"
    assert fc.lead.values[0] == np.timedelta64(5, "m")
    assert fc.sample.attrs["standard_name"] == "realization"
    assert fc.valid_time.attrs["standard_name"] == "time"
    assert fc.rr.attrs == radar_dataset().rr.attrs
    assert sst_forecast().lead.attrs["units"] == "months"
    assert sst_forecast().sst.attrs["cell_methods"] == "time: mean"


def test_provenance():
    forecaster = persistence(references="A paper")
    fc = forecaster.forecast(sst_dataset(), seed=7)
    assert fc.attrs["Conventions"].startswith("CF-1.")
    assert fc.attrs["title"] == "made for tests"
    assert fc.attrs["xforecast_model"] == "tiny-persistence"
    assert fc.attrs["xforecast_weights_sha256"] == forecaster.digest
    assert fc.attrs["xforecast_seed"] == 7
    assert fc.attrs["xforecast_version"] == xf.__version__
    assert fc.attrs["references"] == "A paper"
    first, second = fc.attrs["history"].splitlines()
    assert "forecast(model='tiny-persistence', seed=7)" in first
    assert second == "made"


def test_the_digest_tells_models_and_specs_apart():
    import torch

    changed = noise()
    with torch.no_grad():
        changed.model.spread += 1e-6
    digests = {persistence().digest, noise().digest, changed.digest, persistence(sst_spec(horizon=3)).digest}
    assert len(digests) == 4
    assert persistence().digest == persistence(title="another title").digest


# ------------------------------------------------------------------ files


def opened(path):
    return xr.open_dataset(path, engine="zarr" if path.suffix == ".zarr" else None, decode_coords="all")


@pytest.mark.parametrize("name", FORECASTS)
@pytest.mark.parametrize("init", [None, "all"], ids=["one", "many"])
@pytest.mark.parametrize("how", ["write .nc", "write .zarr", "to_netcdf"])
def test_written_and_opened_again(name, init, how, tmp_path):
    if "zarr" in how:
        pytest.importorskip("zarr")
    fc = FORECASTS[name](init=init)
    path = tmp_path / ("fc.zarr" if "zarr" in how else "fc.nc")
    assert (fc.to_netcdf(path) or path) == path if how == "to_netcdf" else write(fc, path) == path
    with opened(path) as again:
        assert dict(again.sizes) == dict(fc.sizes)
        for own in fc.data_vars:
            np.testing.assert_array_equal(again[own], fc[own])
        for own in fc.coords:
            np.testing.assert_array_equal(again[own], fc[own])
            assert again[own].dtype.kind == fc[own].dtype.kind
        kept = dict(fc.attrs.items())
        assert {key: again.attrs[key] for key in kept} == kept
        main = next(own for own in fc.data_vars if "sample" in fc[own].dims)
        assert again[main].attrs["units"] == fc[main].attrs["units"]
        assert again[main].dtype == np.float32
        assert again.lead.attrs["standard_name"] == "forecast_period"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_other_tools_read_it(tmp_path):
    path = write(sst_forecast(), tmp_path / "fc.nc")
    with netCDF4.Dataset(path) as raw:
        assert raw.Conventions == "CF-1.11"
        assert raw["sst"].dimensions == ("init", "sample", "lead", "lat", "lon")
        assert raw["sst"].units == "degC"
        assert raw["lead"].units == "months"
        assert list(raw["lead"][:]) == [1, 2, 3, 4]
        assert raw["valid_time"].standard_name == "time"
        assert " since " in raw["init"].units
        assert set(raw["sst"].coordinates.split()) == {"valid_time"}
        np.testing.assert_array_equal(np.ma.filled(raw["sst"][:], np.nan), sst_forecast().sst)
    path = write(radar_forecast(), tmp_path / "radar.nc")
    with netCDF4.Dataset(path) as raw:
        assert raw["lead"].units.startswith(("minutes", "seconds"))
        assert raw["rr"].grid_mapping == "crs"
        assert raw["crs"].grid_mapping_name == "polar_stereographic"
        assert raw["x"].bounds == "x_bnds"
        assert {"lat", "lon", "valid_time"} <= set(raw["rr"].coordinates.split())


def test_cf_xarray_finds_everything():
    pytest.importorskip("cf_xarray")
    fc = sst_forecast()
    for key, name in {
        "realization": "sample", "forecast_reference_time": "init", "forecast_period": "lead", "time": "valid_time",
        "latitude": "lat", "longitude": "lon",
    }.items():  # fmt: skip
        assert fc.cf[key].name == name
    assert fc.cf["sea_surface_temperature"].name == "sst"
    radar = radar_forecast()
    assert radar.cf["projection_x_coordinate"].name == "x"
    assert radar.cf["latitude"].dims == ("y", "x")


@pytest.mark.parametrize("decode_coords", [True, "all"])
def test_grid_mapping_bounds_and_two_dimensional_coordinates_come_back(decode_coords, tmp_path):
    radar_dataset().to_netcdf(tmp_path / "radar.nc")
    with xr.open_dataset(tmp_path / "radar.nc", decode_coords=decode_coords) as ds:
        fc = persistence(radar_spec()).forecast(ds)
        write(fc, tmp_path / "fc.nc")
    with xr.open_dataset(tmp_path / "fc.nc", decode_coords="all") as again:
        plain = radar_dataset()
        assert again.rr.encoding["grid_mapping"] == "crs"
        assert again.crs.attrs["earth_radius"] == 6371000.0
        assert again.x.encoding["bounds"] == "x_bnds"
        np.testing.assert_array_equal(again.x_bnds, plain.x_bnds)
        for name in ("lat", "lon"):
            np.testing.assert_array_equal(again[name], plain[name])
            assert again[name].attrs == plain[name].attrs


def test_coordinates_that_would_be_taken_for_the_forecasts_own_are_left_out():
    ds = sst_dataset().expand_dims(number=[0])
    ds["number"].attrs["standard_name"] = "realization"
    ds = ds.assign_coords(run=((), np.datetime64("1999-01-01"), {"standard_name": "forecast_reference_time"}))
    fc = persistence().forecast(ds)
    assert fc.cf["realization"].name == "sample"
    assert fc.cf["forecast_reference_time"].name == "init"


def test_a_forecast_of_a_forecasters_own_output_file_is_refused():
    from xforecast.errors import SpecMismatch

    with pytest.raises(SpecMismatch):
        persistence().forecast(sst_forecast())


def test_accessor_and_function_are_one(forecaster, sst):
    wanted = forecaster.forecast(sst, seed=3)
    for fc in (
        sst.earthformer.forecast(forecaster, seed=3),
        sst.sst.earthformer.forecast(forecaster, seed=3),
        xf.forecast(sst, forecaster, seed=3),
    ):
        xr.testing.assert_equal(fc, wanted)
    assert repr(sst.earthformer.check(forecaster)) == repr(xf.check(sst, forecaster))


def test_writing_replaces_whole_files_only(tmp_path, monkeypatch):
    path = write(sst_forecast(init=None), tmp_path / "deep" / "fc.nc")
    before = path.read_bytes()

    def fail(*_, **__):
        raise OSError("no space left")

    monkeypatch.setattr(xr.Dataset, "to_netcdf", fail)
    with pytest.raises(OSError, match="no space left"):
        write(sst_forecast(), path)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["fc.nc"]


@pytest.mark.parametrize("name", ["fc.txt", "fc", "fc.zarr.zip"])
def test_names_that_cannot_be_written(name, tmp_path):
    with pytest.raises(InvalidOption, match=r"ends in \.nc"):
        write(sst_forecast(init=None), tmp_path / name)


def test_a_folder_is_not_taken_for_a_file(tmp_path):
    (tmp_path / "years.nc").mkdir()
    (tmp_path / "years.nc" / "precious").touch()
    with pytest.raises(InvalidOption, match=r"ends in \.nc"):
        write(sst_forecast(init=None), tmp_path / "years.nc")
    assert (tmp_path / "years.nc" / "precious").exists()


def test_files_that_cannot_be_opened(tmp_path):
    with pytest.raises(DataFileError, match="no such file"):
        open_data(tmp_path / "absent.nc")
    path = write(sst_forecast(), tmp_path / "fc.nc")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataFileError, match="cannot be read"):
        open_data(path)
    (tmp_path / "words.nc").write_text("not data")
    with pytest.raises(DataFileError, match="cannot be read"):
        open_data(tmp_path / "words.nc")
    (tmp_path / "empty.zarr").mkdir()
    with pytest.raises(DataFileError, match="cannot be read"):
        open_data(tmp_path / "empty.zarr")
