"""Schedule and weight decay: laws, and the published recipe's numbers."""

import json
from pathlib import Path

import pytest
import torch
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models import Earthformer
from xforecast.models.presets import earthformer_sevir
from xforecast.training import TrainingOptions
from xforecast.training.options import decay_groups, learning_rate_factor

DATA = Path(__file__).parents[1] / "data" / "training"
SCHEDULES = json.loads((DATA / "lr_schedule.json").read_text())


@pytest.mark.parametrize("case", SCHEDULES)
def test_learning_rate_is_the_published_schedule(case):
    setting = dict(pair.split("=") for pair in case.split(","))
    total, stored = int(setting["total"]), SCHEDULES[case]["lr_at_step"]
    factors = [
        learning_rate_factor(
            step,
            total,
            float(setting["warmup_pct"]),
            float(setting["min_lr_ratio"]),
            float(setting["warmup_min_lr_ratio"]),
        )
        for step in range(min(total, len(stored)))
    ]
    assert [float(setting["lr"]) * factor for factor in factors] == pytest.approx(stored[: len(factors)], rel=1e-9)


def test_learning_rate_rises_then_falls_to_the_stated_end():
    factors = [learning_rate_factor(step, 100, 0.3, 0.01) for step in range(101)]
    assert factors[0] == 0
    assert max(factors) == factors[30] == 1
    assert factors[:31] == sorted(factors[:31])
    assert factors[30:] == sorted(factors[30:], reverse=True)
    assert factors[-1] == pytest.approx(0.01)


def test_no_warmup_starts_at_the_full_rate():
    assert learning_rate_factor(0, 10, 0.0, 0.0) == 1.0


def test_weight_decay_groups_are_as_large_as_the_published_ones():
    published = json.loads((DATA / "weight_decay_groups_sevir.json").read_text())
    with torch.device("meta"):
        model = Earthformer(earthformer_sevir("released"))
    decay, free = decay_groups(model, 0.1)
    assert (len(decay["params"]), len(free["params"])) == (len(published["decay"]), len(published["no_decay"]))
    assert (decay["weight_decay"], free["weight_decay"]) == (0.1, 0.0)


def test_biases_and_layer_norms_do_not_decay():
    model = nn.Sequential(nn.Linear(2, 3), nn.LayerNorm(3))
    decay, free = decay_groups(model, 1.0)
    assert [tuple(parameter.shape) for parameter in decay["params"]] == [(3, 2)]
    assert len(free["params"]) == 3


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"warmup": 1.0},
        {"average": 1.0},
        {"precision": "float8"},
        {"patience": 0},
        {"steps": 0},
    ],
)
def test_values_that_cannot_work_are_refused(wrong):
    with pytest.raises(InvalidOption, match=next(iter(wrong))):
        TrainingOptions(**wrong)


def test_unknown_options_are_refused_with_a_suggestion():
    with pytest.raises(InvalidOption, match="learning_rate"):
        TrainingOptions.from_dict({"learning_rat": 1e-3})
