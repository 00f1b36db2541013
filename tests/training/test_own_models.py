"""Architectures of other people: through fit, forecast, files and benchmark, and by entry point."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from torch import nn
from trained import drifting

import xforecast as xf
from synthetic import sst_dataset
from xforecast import benchmark
from xforecast.errors import CheckpointError, InvalidOption, UnknownForecaster, XForecastWarning
from xforecast.forecaster import plugins
from xforecast.models import MODELS, Config, Ensemble, find_model, register
from xforecast.models.contract import weighted_mse

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "own_architecture.rst"
QUICK = {"device": "cpu", "progress": False}


def example() -> str:
    """The first block of code of the guide."""
    lines = GUIDE.read_text().split(".. code-block:: python\n")[1].splitlines()
    block = lines[: next(k for k, line in enumerate(lines) if line and not line.startswith("   "))]
    return textwrap.dedent("\n".join(block))


@pytest.fixture
def lag_mixer():
    """The model of the guide, known by its name for the length of a test."""
    space: dict = {"__name__": "guide"}
    exec(compile(example(), str(GUIDE), "exec", dont_inherit=True), space)
    yield space["LagMixer"]
    MODELS.pop("LagMixer")


def test_the_example_has_ten_lines_of_model():
    lines = [line for line in example().splitlines() if line]
    start = next(k for k, line in enumerate(lines) if line.startswith("class LagMixer("))
    model = [line for line in lines[start:] if line.startswith(("class", "    "))]
    assert len(model) <= 10


def test_the_guide_s_model_goes_all_the_way(lag_mixer, tmp_path):
    made = xf.fit(drifting(), "lagmixer", history=8, horizon=4, steps=300, learning_rate=0.05, **QUICK)
    assert type(made.model) is lag_mixer
    assert made.model.config.history == 8
    fc = made.forecast(drifting(), init=drifting().time.values[25:31])
    truth = xf.skill.align(fc, drifting())
    assert float(xf.skill.rmse(fc.z, truth)) < 0.2 * float(drifting().std())
    again = xf.load(made.save(tmp_path / "mixer"))
    xr.testing.assert_equal(again.forecast(drifting()), made.forecast(drifting()))
    two = xf.fit(drifting(), made.model.config, history=8, horizon=4, steps=1, members=2, **QUICK)
    assert isinstance(two.model, Ensemble)
    assert xf.load(two.save(tmp_path / "two")).digest == two.digest


def test_it_is_a_row_of_a_benchmark(lag_mixer, tmp_path, monkeypatch):
    from xforecast import skill
    from xforecast.benchmark import runs
    from xforecast.benchmark.tasks import TASKS, Experiment, Task

    def load(path):
        data = drifting().to_dataset()

        def score(fc):
            return {"MSE": float(skill.mse(fc.z.mean("sample"), skill.align(fc, data.z)))}

        options = {"history": 4, "horizon": 2, "valid": None}
        return Experiment(data, data, list(data.time.values[30:34]), options, score)

    monkeypatch.setitem(TASKS, "drift", Task("Drift", "nothing", {"MSE": False}, load))
    monkeypatch.setattr(runs, "_stored", lambda: {"training": {"batch_size": 4}, "drift": {}})
    table = benchmark.run("drift", tmp_path, tmp_path, models=["LagMixer", "Persistence"], minutes=0.001, **QUICK)
    assert list(table.frame.index) == ["LagMixer", "Persistence"]
    assert np.isfinite(table.frame["MSE"]).all()


@dataclass(frozen=True)
class NothingConfig(Config):
    """Of nothing."""


def test_what_is_no_model_is_not_registered():
    class Silent(nn.Module):
        """Without a loss."""

    class Persistence(nn.Module):
        """A name that is taken."""

        def loss(self, x, y, weight=None):
            return weighted_mse(x, y, weight)

    with pytest.raises(InvalidOption, match="loss"):
        register(Silent, NothingConfig)
    with pytest.raises(InvalidOption, match="Config"):
        register(Persistence, dict)
    with pytest.raises(InvalidOption, match="rename"):
        register(Persistence, NothingConfig)


# ------------------------------------------------------------------ entry points


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
    plugins._fetched.cache_clear()


def test_forecasters_of_other_packages_have_names(other_package, forecaster):
    ds = sst_dataset()
    for name in ("by-folder", "by-function"):
        assert xf.load(name).digest == forecaster.digest
        xr.testing.assert_equal(xf.forecast(ds, name).sst, forecaster.forecast(ds).sst)


def test_broken_ones_warn_and_do_not_break_the_rest(other_package):
    with pytest.warns(XForecastWarning, match="others") as told:
        listed = xf.list_models()
    assert {"by-folder", "by-function", "earthformer-enso"} <= set(listed.index)
    assert listed.loc["by-folder", "where"] == "another package"
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


def test_a_module_without_configuration_forecasts_and_is_not_saved(tmp_path):
    class Last(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.tensor(1.0))

        def forward(self, x):
            return self.factor * x[:, -1:]

        def loss(self, x, y, weight=None):
            return weighted_mse(self(x), y, weight)

    made = xf.fit(drifting(), Last(), history=2, horizon=1, steps=1, **QUICK)
    assert made.forecast(drifting()).z.sizes["lead"] == 1
    with pytest.raises(CheckpointError, match="Last"):
        made.save(tmp_path / "last")
