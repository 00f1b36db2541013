"""The three trainings of PreDiff."""

import pytest
import torch
from small_prediff import CONFIG, pairs

from xforecast.errors import InvalidOption
from xforecast.models import (
    ConserveLast,
    MeanIntensity,
    PreDiff,
    count_parameters,
)


@pytest.mark.parametrize("part", ["autoencoder", "denoiser", "alignment"])
def test_each_stage_trains_its_part_only(part):
    torch.manual_seed(0)
    model = PreDiff(CONFIG)
    stage = model.stage(part, MeanIntensity(0.0).functional)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    optimiser = torch.optim.AdamW(stage.parameters(), 1e-2)
    for _ in range(3):
        optimiser.zero_grad()
        loss = stage.loss(*pairs())
        assert loss.isfinite()
        loss.backward()
        optimiser.step()
    changed = {
        name.partition(".")[0] for name, value in model.state_dict().items() if not torch.equal(value, before[name])
    }
    assert changed == {part} | ({"logvar"} if part == "denoiser" else set())
    assert count_parameters(stage) == count_parameters(getattr(model, part)) + (1000 if part == "denoiser" else 0)


def test_any_functional_can_be_learned():
    model, (x, y, weight) = PreDiff(CONFIG), pairs()
    for functional in (ConserveLast().functional, lambda frames: frames.square().sum(dim=(2, 3, 4))):
        assert model.stage("alignment", functional).loss(x, y, weight).isfinite()
    with pytest.raises(InvalidOption, match="functional"):
        model.stage("alignment", lambda frames: frames).loss(x, y, weight)


def test_a_stage_moves_with_its_model():
    model = PreDiff(CONFIG)
    stage = model.stage("denoiser").double()
    assert {value.dtype for value in model.state_dict().values()} == {torch.float64}
    assert stage.network.head.weight is model.denoiser.head.weight
