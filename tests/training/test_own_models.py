"""Architectures of other people: through fit, forecast, files and benchmark, and by entry point."""

from __future__ import annotations

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
from xforecast import benchmark
from xforecast.errors import CheckpointError, InvalidOption
from xforecast.models import MODELS, Config, Ensemble, register
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
