"""The command line: files in, files out, messages on standard error, exit codes that scripts can use.

Also guards `doctor.py`.
"""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from synthetic import HORIZON, noise, persisted, persistence, sst_dataset
from xforecast import __version__
from xforecast.cli import main


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with data and a forecaster, in which the commands run."""
    sst_dataset().to_netcdf(tmp_path / "sst.nc")
    persistence().save(tmp_path / "tiny")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XFORECAST_CACHE", str(tmp_path / "cache"))
    return tmp_path


def run(capsys, *arguments):
    """Exit code, standard output, standard error."""
    code = main([str(argument) for argument in arguments])
    captured = capsys.readouterr()
    return code, captured.out, captured.err


def test_forecast_writes_a_file(place, capsys):
    code, out, err = run(capsys, "forecast", "sst.nc", "--model", "tiny", "-o", "fc.nc")
    assert (code, out, err) == (0, "wrote fc.nc\n", "")
    with xr.open_dataset("fc.nc") as fc:
        np.testing.assert_allclose(fc.sst.isel(sample=0), persisted(sst_dataset()), atol=1e-4)


@pytest.mark.parametrize(
    ("init", "starts"),
    [("all", 16), ("2000-06/2000-09", 4), ("2000-06,2001-02", 2), ("/2000-05", 3), ("2001-03/", 4)],
)
def test_forecasts_of_many_starts(init, starts, place, capsys):
    code, _, err = run(capsys, "forecast", "sst.nc", "--model", "tiny", "-o", "fc.nc", "--init", init, "--horizon", 2)
    assert code == 0
    assert err.count("Traceback") == 0
    with xr.open_dataset("fc.nc") as fc:
        assert dict(fc.sizes) == {"init": starts, "sample": 1, "lead": 2, "lat": 5, "lon": 8}


def test_many_starts_are_lazy_and_one_is_not(place, capsys, monkeypatch):
    seen = []
    import xforecast.forecaster as registry

    original = registry.forecast
    monkeypatch.setattr(
        registry,
        "forecast",
        lambda ds, *a, **k: seen.append(bool(ds.chunks)) or original(ds, *a, **k),
    )
    for init in ("all", "2000-06/2000-09", "2000-06,2000-07"):
        run(capsys, "forecast", "sst.nc", "--model", "tiny", "-o", "fc.nc", "--init", init)
    run(capsys, "forecast", "sst.nc", "--model", "tiny", "-o", "fc.nc", "--init", "2000-06")
    run(capsys, "forecast", "sst.nc", "--model", "tiny", "-o", "fc.nc")
    assert seen == [True, True, True, False, False]


def test_zarr_in_and_out(place, capsys):
    pytest.importorskip("zarr")
    sst_dataset().to_zarr("sst.zarr", zarr_format=2)
    code, _, err = run(capsys, "forecast", "sst.zarr", "--model", "tiny", "-o", "fc.zarr", "--init", "all")
    assert code == 0, err
    with xr.open_zarr("fc.zarr") as fc:
        assert fc.sizes["lead"] == HORIZON
        np.testing.assert_allclose(fc.sst.isel(init=-1, sample=0), persisted(sst_dataset()), atol=1e-4)


def test_names_of_variables(place, capsys):
    xr.open_dataset("sst.nc").rename(sst="field").drop_attrs().pipe(
        lambda ds: ds.assign(field=ds.field.assign_attrs(units="degC"))
    ).to_netcdf("field.nc")
    code, _, err = run(capsys, "forecast", "field.nc", "--model", "tiny", "-o", "fc.nc", "--variable", "sst=field")
    assert code == 0, err
    assert "field" in xr.open_dataset("fc.nc")
    with pytest.raises(SystemExit) as caught:
        main(["check", "field.nc", "--variable", "field"])
    assert caught.value.code == 2
    assert "NAME=NAME_IN_THE_FILE" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("sst.nc", "--model", "tiny", "-o", "fc.nc", "--init", "2030-01"), "SpecMismatch: the data do not fit"),
        (("sst.nc", "--model", "tiny", "-o", "fc.nc", "--samples", "3"), "InvalidOption: samples"),
        (("sst.nc", "--model", "tiny", "-o", "fc.nc", "--horizon", "40"), "InvalidOption: horizon"),
        (("sst.nc", "--model", "tiny", "-o", "fc.nc", "--device", "tpu9"), "InvalidOption: device"),
        (("sst.nc", "--model", "absent", "-o", "fc.nc"), "UnknownForecaster: found 'absent'"),
        (("absent.nc", "--model", "tiny", "-o", "fc.nc"), "DataFileError: absent.nc: no such file"),
        (("words.nc", "--model", "tiny", "-o", "fc.nc"), "DataFileError: words.nc cannot be read"),
        (("sst.nc", "--model", "tiny", "-o", "fc.txt"), "InvalidOption: path"),
        (("sst.nc", "--model", "broken", "-o", "fc.nc"), "CheckpointError:"),
    ],
)
def test_errors_that_a_person_can_mend(arguments, words, place, capsys):
    (place / "words.nc").write_text("no data")
    (place / "broken").mkdir()
    (place / "broken" / "forecaster.json").write_text("{")
    code, out, err = run(capsys, "forecast", *arguments)
    assert code == 2
    assert out == ""
    assert err.startswith(words), err
    assert "Traceback" not in err
    assert not (place / "fc.nc").exists()


def test_a_wrong_output_name_is_told_before_anything_is_computed(place, capsys, monkeypatch):
    monkeypatch.setattr("xforecast.forecaster.registry.forecast", lambda *_, **__: pytest.fail("it was computed"))
    assert run(capsys, "forecast", "sst.nc", "--model", "tiny", "-o", "fc.csv")[0] == 2


def test_warnings_stand_on_standard_error(place, capsys):
    holes = sst_dataset()
    holes.sst[:, 2, 2] = np.nan
    holes.to_netcdf("holes.nc")
    code, out, err = run(capsys, "forecast", "holes.nc", "--model", "tiny", "-o", "fc.nc")
    assert code == 0
    assert out == "wrote fc.nc\n"
    assert err.startswith("warning: mask: sst: ")
    assert ".py" not in err


def test_check(place, capsys):
    code, out, _ = run(capsys, "check", "sst.nc", "--model", "tiny")
    assert (code, out) == (0, "check against 'tiny-persistence': the data fit\n")
    sst_dataset().isel(lon=slice(4)).to_netcdf("part.nc")
    code, out, _ = run(capsys, "check", "part.nc", "--model", "tiny")
    assert code == 1
    assert "1 problem" in out
    assert "open the whole region" in out
    assert run(capsys, "check", "sst.nc", "--model", "tiny", "--init", "1999-01")[0] == 1


def test_models(place, capsys):
    code, out, _ = run(capsys, "models", "describe", "tiny")
    assert code == 0
    assert "Forecaster 'tiny-persistence'" in out
    code, _, err = run(capsys, "models", "describe")
    assert code == 2
    assert "no name given" in err
    code, _, err = run(capsys, "models", "fetch", "nonsense")
    assert code == 2
    assert "UnknownForecaster" in err
    code, _, err = run(capsys, "models", "fetch", "earthformer-sevir-official", "--from", "absent.pt")
    assert code == 2
    assert "cannot read absent.pt" in err


def test_the_list_of_models(place, capsys, monkeypatch):
    import xforecast.forecaster as registry

    monkeypatch.setattr(registry, "IN_PACKAGE", {})
    code, out, _ = run(capsys, "models")
    assert code == 0
    assert "earthformer-sevir-official" in out
    assert "13 -> 12 x 5 minutes" in out


def test_doctor(place, capsys):
    code, out, err = run(capsys, "doctor")
    assert (code, err) == (0, "")
    for words in (f"xforecast          {__version__}", "torch", "device", "extra regrid", "cache folder"):
        assert words in out
    assert str(place / "cache") in out


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["forecast", "sst.nc"], ["models", "burn"]])
def test_wrong_usage(arguments, capsys):
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2
    assert "usage: xforecast" in capsys.readouterr().err


def test_version_and_help(capsys):
    for option in ("--version", "--help"):
        with pytest.raises(SystemExit) as caught:
            main([option])
        assert caught.value.code == 0
    assert __version__ in capsys.readouterr().out


def test_samples_and_seed(place, capsys, monkeypatch):
    from xforecast.forecaster import registry

    monkeypatch.setattr(registry, "load", lambda name: noise())
    for seed, name in ((1, "a.nc"), (1, "b.nc"), (2, "c.nc")):
        assert run(capsys, "forecast", "sst.nc", "--model", "x", "-o", name, "--samples", 2, "--seed", seed)[0] == 0
    first, second, third = (xr.load_dataset(name).sst for name in ("a.nc", "b.nc", "c.nc"))
    assert first.sizes["sample"] == 2
    xr.testing.assert_identical(first, second)
    assert not first.equals(third)


def test_every_option_reaches_the_forecast(place, capsys, monkeypatch):
    import xforecast.forecaster
    from xforecast.cli.main import FORECAST_OPTIONS

    seen = {}
    monkeypatch.setattr(
        xforecast.forecaster, "forecast", lambda ds, model, **options: seen.update(options) or sst_dataset()
    )
    words = (
        "--init 2000-06 --base-period 1991/2020 --variable sst=tos --samples 3 --horizon 2 --seed 7 "
        "--constraint mean=2.5 --sampler ddim --steps 9 --strength 0.5 --eta 0.25 --guidance decoder "
        "--no-through-denoiser --sampling temperature=2 --device cpu --precision bfloat16 --batch-size 4 --no-progress"
    )
    assert run(capsys, "forecast", "sst.nc", "-o", "fc.nc", *words.split())[0] == 0
    assert seen.pop("constraint").target == 2.5
    assert seen == {
        "init": "2000-06", "base_period": ("1991", "2020"), "variables": {"sst": "tos"}, "samples": 3, "horizon": 2,
        "seed": 7, "sampler": "ddim", "steps": 9, "strength": 0.5, "eta": 0.25, "guidance": "decoder",
        "through_denoiser": False, "sampling": {"temperature": 2}, "device": "cpu", "precision": "bfloat16",
        "batch_size": 4, "progress": False,
    }  # fmt: skip
    assert seen.keys() | {"constraint", "climatology"} == FORECAST_OPTIONS.keys()
