"""Benchmarks: rows by name, nothing done twice, and costs without data.

Also guards `table.py` and `tasks.py`.
"""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import xarray as xr

import xforecast as xf
from xforecast import benchmark, datasets, skill
from xforecast.benchmark import runs
from xforecast.benchmark.tasks import TASKS, Experiment, Task
from xforecast.cli import main
from xforecast.errors import DataFileError, InvalidOption, MissingExtra, XForecastWarning

ROWS = {
    "persistence": {"model": "Persistence"},
    "UNet": {"model": "UNet", "channels": [4, 8], "centre": 8},
}


def moving_blobs(sequences: int, seed: int) -> xr.Dataset:
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :16]
    start, speed = rng.uniform(0, 16, (2, sequences, 2)) / [[[1]], [[8]]]
    places = start[:, None] + speed[:, None] * np.arange(6)[None, :, None]
    values = np.exp(-((y - places[..., 0, None, None]) ** 2 + (x - places[..., 1, None, None]) ** 2) / 8)
    ds = xr.Dataset({"frames": (("sequence", "time", "y", "x"), values.astype(np.float32), {"units": "1"})})
    return datasets.as_record(ds)


def load(path) -> Experiment:
    train, test = moving_blobs(8, 0), moving_blobs(4, 1)
    starts = list(test.time.values.reshape(4, 6)[:, 2])

    def score(fc):
        return {"MSE": float(skill.mse(fc.frames.mean("sample"), skill.align(fc, test.frames)))}

    return Experiment(train, test, starts, {"history": 3, "horizon": 3, "valid": None}, score)


@pytest.fixture
def task(monkeypatch):
    monkeypatch.setitem(TASKS, "blobs", Task("Moving blobs", "nothing", {"MSE": False}, load))
    stored = {"training": {"batch_size": 4}, "blobs": ROWS}
    monkeypatch.setattr(runs, "_stored", lambda: stored)
    return "blobs"


def test_by_default_what_needs_no_training(task, tmp_path):
    table = benchmark.run(task, tmp_path, tmp_path)
    assert list(table.frame.index) == ["persistence"]
    assert {"blobs.md", "blobs.csv", "blobs.png"} <= {file.name for file in tmp_path.iterdir()}


def test_a_row_whose_package_is_missing_is_left_out_or_refused_at_once(task, tmp_path, monkeypatch):
    monkeypatch.setitem(ROWS, "STEPS", {"model": "STEPS", "extra": "no_such_package"})
    assert list(benchmark.run(task, tmp_path, tmp_path).frame.index) == ["persistence"]
    with pytest.raises(MissingExtra, match=r"xforecast\[no_such_package\]"):
        benchmark.run(task, tmp_path, tmp_path, models="all", progress=False)
    assert not (tmp_path / "blobs" / "training" / "unet").exists()


def test_networks_are_trained_once_and_scored_once(task, tmp_path, monkeypatch):
    first = benchmark.run(task, tmp_path, tmp_path, models="all", minutes=0.01, progress=False)
    assert list(first.frame.index) == ["persistence", "UNet"]
    assert first.frame.loc["UNet", "parameters"] > 0
    assert np.isfinite(first.frame["MSE"]).all()

    def never(*args, **kwargs):
        raise AssertionError("done twice")

    monkeypatch.setattr(runs, "fit", never)
    monkeypatch.setattr(runs.Forecaster, "forecast", never)
    again = benchmark.run(task, tmp_path, tmp_path, progress=False)
    assert again.frame.equals(first.frame)
    kept = json.loads((tmp_path / "blobs" / "scores" / "unet.json").read_text())
    assert kept["row"]["MSE"] == first.frame.loc["UNet", "MSE"]


def test_a_forecaster_of_ones_own_is_a_row(task, tmp_path):
    own = xf.fit(moving_blobs(4, 2), "Persistence", history=3, horizon=3, valid=None, name="mine")
    folder = own.save(tmp_path / "mine")
    table = benchmark.run(task, tmp_path, tmp_path / "out", models=["persistence", str(folder)])
    assert table.frame.loc[str(folder), "MSE"] == pytest.approx(table.frame.loc["persistence", "MSE"], rel=1e-4)


def test_a_folder_is_for_one_data_set_and_one_seed(task, tmp_path):
    data, folder = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    (data / "a.nc").write_bytes(b"one")
    benchmark.run(task, data, folder)
    benchmark.run(task, data, folder)
    with pytest.raises(InvalidOption, match="another seed"):
        benchmark.run(task, data, folder, seed=1)
    (data / "a.nc").write_bytes(b"two")
    with pytest.raises(InvalidOption, match=r"results of another data'.*\n.*--folder"):
        benchmark.run(task, data, folder)


def test_a_network_of_another_length_is_kept_with_a_warning(task, tmp_path):
    first = benchmark.run(task, tmp_path, tmp_path, models="UNet", minutes=0.01, progress=False)
    with pytest.warns(XForecastWarning, match=r"UNet was trained here for 0.01 minutes and is kept"):
        again = benchmark.run(task, tmp_path, tmp_path, models="UNet", minutes=5)
    assert again.frame.equals(first.frame)
    with pytest.raises(InvalidOption, match="minutes"):
        benchmark.run(task, tmp_path, tmp_path, minutes=-1)


def test_models_beyond_the_rows_stay_in_the_table(task, tmp_path):
    benchmark.run(task, tmp_path, tmp_path, models=["DampedPersistence"], progress=False)
    assert list(benchmark.run(task, tmp_path, tmp_path).frame.index) == ["persistence", "DampedPersistence"]


def test_a_forecaster_that_has_seen_what_is_scored_is_reported(task, tmp_path, monkeypatch):
    own = xf.fit(moving_blobs(4, 2), "Persistence", history=3, horizon=3, valid=None, name="mine")
    folder = str(own.save(tmp_path / "mine"))
    later = dataclasses.replace(TASKS[task], load=lambda path: dataclasses.replace(load(path), unseen="1984-01-01"))
    monkeypatch.setitem(TASKS, "blobs", later)
    with pytest.warns(XForecastWarning, match="mine was trained on data to 2000-.* from 1984-01-01, it knew"):
        benchmark.run(task, tmp_path, tmp_path / "out", models=[folder])


def test_the_time_of_a_forecast_is_that_of_real_data(task, tmp_path, monkeypatch):
    seen, forward = [], xf.models.Persistence.forward
    monkeypatch.setattr(xf.models.Persistence, "forward", lambda model, x: seen.append(x) or forward(model, x))
    assert benchmark.run(task, tmp_path, tmp_path).frame.loc["persistence", "seconds"] > 0
    assert seen
    assert all(float(x.std()) > 0 for x in seen)


def test_files_that_do_not_fit_are_refused(tmp_path):
    np.savez(tmp_path / "other.npz", digits=np.zeros(3))
    for name in ("other.npz", "nothing.npz"):
        with pytest.raises(DataFileError, match=r"npz file of digits(.|\n)*numpy.savez"):
            benchmark.run("nbody", tmp_path / name, tmp_path)
    months = xr.date_range("1950-01", "2017-12", freq="MS")
    axes = {"time": months, "lat": np.arange(-30.0, 31, 2), "lon": np.arange(120.0, 130, 2)}
    sst = xr.DataArray(np.zeros([len(axis) for axis in axes.values()]), axes, name="sst")
    sst.to_netcdf(tmp_path / "coarse.nc")
    with pytest.raises(InvalidOption, match=r"every 5 degrees.*\n.*regrid"):
        benchmark.run("enso", tmp_path / "coarse.nc", tmp_path)
    sst.sel(time=slice("1990", None)).to_netcdf(tmp_path / "short.nc")
    with pytest.raises(InvalidOption, match="1990 to 2017"):
        benchmark.run("enso", tmp_path / "short.nc", tmp_path)


def test_the_table_marks_the_best(task):
    rows = {"a": {"MSE": 2.0, "parameters": 5}, "b": {"MSE": 1.0, "parameters": 1234567}}
    table = benchmark.Table.of(task, rows)
    assert table.best == {"MSE": "b"}
    assert "**1.000**" in table.markdown()
    assert "1,234,567" in repr(table)


def test_unknown_tasks_and_rows_are_refused(task, tmp_path):
    with pytest.raises(InvalidOption, match="one of blobs, enso"):
        benchmark.run("chess", tmp_path)
    with pytest.raises(InvalidOption, match="UNett"):
        benchmark.run(task, tmp_path, tmp_path, models=["UNett"])
    with pytest.raises(InvalidOption, match="--data"):
        benchmark.costs("enso")


@pytest.mark.parametrize(("task", "rows"), [("sevir", 8), ("icar-enso", 8), ("nbody", 2)])
def test_costs_need_no_data_and_the_papers_stand_beside(task, rows):
    table = benchmark.costs(task)
    assert len(table.frame) == rows
    assert (table.frame["MACs (G)"] > 0).all()
    assert int(table.frame.loc["Earthformer w/o global", "parameters"]) in (13_075_029, 6_601_293, 6_702_109)


def test_published_numbers_agree_with_the_counted_parameters():
    for task in ("sevir", "icar-enso"):
        printed = benchmark.Table.of(task, {"x": {}}, paper=True).published
        counted = benchmark.costs(task).frame["parameters"] / 1e6
        for name in counted.index.drop("Rainformer"):  # theirs has weights that nothing uses
            assert float(counted[name]) == pytest.approx(float(printed.loc[name, "parameters (M)"]), rel=0.02)


PRINTED = [
    ("sevir", "Earthformer", "CSI-219", "0.1791"),
    ("sevir", "Persistence", "MSE (1e-3)", "11.5338"),
    ("sevir", "PredRNN", "CSI-M", "0.4080"),
    ("sevir", "Rainformer", "CSI-181", "0.1670"),
    ("icar-enso", "PredRNN", "C-Nino3.4-WM", "1.910"),
    ("icar-enso", "Earthformer w/o global", "MSE (1e-4)", "2.550"),
    ("icar-enso", "Persistence", "operations (G)", "not printed"),
]


@pytest.mark.parametrize(("task", "row", "column", "text"), PRINTED)
def test_published_numbers_are_shown_digit_by_digit(task, row, column, text):
    table = benchmark.Table.of(task, {"x": {}}, paper=True)
    assert table.published.loc[row, column] == text
    assert text in repr(table)


@pytest.mark.parametrize("task", ["sevir", "icar-enso"])
def test_every_published_number_has_a_column_of_ours_and_names_its_source(task):
    table = benchmark.Table.of(task, {"x": {}}, paper=True)
    scores = table.published.columns.drop(["parameters (M)", "operations (G)", "source"])
    assert set(scores) <= set(TASKS[task].columns)
    assert all(source in repr(table) and source in table._published_markdown() for source in table.published["source"])
    assert "recalled" not in repr(table)


def test_a_benchmark_without_a_published_table_says_so():
    assert "no table of a paper" in repr(benchmark.costs("nbody", paper=True))


@pytest.mark.parametrize("task", TASKS)
def test_every_row_names_a_model_or_a_forecaster(task):
    for options in runs._rows(task).values():
        if "preset" in options:
            assert isinstance(runs._config(options, {}), xf.models.Config)
        elif "forecaster" in options:
            assert xf.load(options["forecaster"])
        else:
            assert options["model"] in xf.models.MODELS


@pytest.mark.parametrize("task", ["sevir", "icar-enso"])
def test_every_row_of_the_papers_is_a_row(task):
    assert set(benchmark.Table.of(task, {"x": {}}, paper=True).published.index) <= set(runs._rows(task))


def test_on_the_command_line(capsys):
    assert main(["benchmark", "icar-enso", "--paper"]) in (0, None)
    out = capsys.readouterr().out
    assert "12,062,254" in out
    assert "0.3221" in out  # C-Nino3.4-M of persistence
