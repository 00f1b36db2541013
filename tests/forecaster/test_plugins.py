"""Forecasters and models of other packages have names; broken ones warn and break nothing else."""

from __future__ import annotations

import subprocess
import sys
import textwrap

import pytest
import xarray as xr
from trained import drifting

import xforecast as xf
from synthetic import sst_dataset
from xforecast.errors import CheckpointError, UnknownForecaster, XForecastWarning
from xforecast.forecaster import plugins
from xforecast.models import MODELS, find_model

QUICK = {"device": "cpu", "progress": False}


@pytest.fixture
def other_package(tmp_path, monkeypatch, forecaster):
    """An installed package that brings forecasters, good and broken, and a model."""
    forecaster.save(tmp_path / "saved")
    (tmp_path / "brought_by_others.py").write_text(
        textwrap.dedent(f"""
        from pathlib import Path
        folder = Path({str(tmp_path / "saved")!r})
        nowhere = "/no/such/folder"
        def make():
            import xforecast
            return xforecast.load(folder)
        def broken():
            raise RuntimeError("the weights moved")
        """)
    )
    (tmp_path / "model_of_others.py").write_text(
        textwrap.dedent("""
        from dataclasses import dataclass
        import torch
        from xforecast.models import Config, register
        from xforecast.models.contract import weighted_mse
        @dataclass(frozen=True)
        class HalfConfig(Config):
            horizon: int
        class Half(torch.nn.Module):
            def __init__(self, config):
                super().__init__()
                self.config, self.factor = config, torch.nn.Parameter(torch.tensor(0.5))
            def forward(self, x):
                return self.factor * x[:, -1:].expand(-1, self.config.horizon, -1, -1, -1)
            def loss(self, x, y, weight=None):
                return weighted_mse(self(x), y, weight)
        register(Half, HalfConfig)
        """)
    )
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[xforecast.forecasters]\nby-folder = brought_by_others:folder\nby-function = brought_by_others:make\n"
        "broken = brought_by_others:broken\nabsent = brought_by_others:nowhere\ngone = no_such_module:x\n"
        "[xforecast.models]\nHalf = model_of_others\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    MODELS.pop("Half", None)
    for name in ("brought_by_others", "model_of_others"):
        sys.modules.pop(name, None)
    plugins._found.cache_clear()


def test_forecasters_of_other_packages_have_names(other_package, forecaster):
    ds = sst_dataset()
    for name in ("by-folder", "by-function"):
        assert xf.load(name).digest == forecaster.digest
        xr.testing.assert_equal(xf.forecast(ds, name).sst, forecaster.forecast(ds).sst)


def test_broken_ones_warn_and_do_not_break_the_rest(other_package):
    with pytest.warns(XForecastWarning, match="others") as told:
        listed = xf.list_models()
    assert {"by-folder", "by-function", "earthformer-enso"} <= set(listed.index)
    assert listed.loc["by-folder", "where"] == "in another package"
    assert not {"broken", "absent", "gone"} & set(listed.index)
    assert len(told) == 3
    with pytest.raises(CheckpointError, match=r"others.*the weights moved(.|\n)*remove that package"):
        xf.load("broken")
    with pytest.raises(CheckpointError, match="no/such/folder"):
        xf.load("absent")
    with pytest.raises(UnknownForecaster, match="did you mean 'by-folder'"):
        xf.load("by-foldr")


def test_models_of_other_packages_are_imported_when_they_are_needed(other_package):
    assert "model_of_others" not in sys.modules
    made = xf.fit(drifting(), "Half", history=4, horizon=2, steps=1, **QUICK)
    made.save(other_package / "half")
    program = f"import xforecast as xf; print(xf.load({str(other_package / 'half')!r}).digest)"
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=other_package, check=True
    )
    assert found.stdout.strip() == made.digest
    assert find_model("half") == "Half"
