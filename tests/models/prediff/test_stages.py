"""The three trainings of PreDiff."""

import pytest
import torch
from small_prediff import CONFIG, awake, pairs
from torch.utils.data import TensorDataset

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
    stage = model.stage(part, **({"functional": MeanIntensity(0.0).functional} if part == "alignment" else {}))
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


@pytest.mark.parametrize(
    ("part", "options", "words"),
    [
        ("encoder", {}, "one of autoencoder, denoiser, alignment"),
        ("autoencoder", {"functional": abs}, "give functional to the stage 'alignment'"),
        ("denoiser", {"adversary": {}}, "options among encoded_pairs"),
        ("denoiser", {"encoded_pairs": 0}, "encoded_pairs=1"),
        ("autoencoder", {"adversary": 3}, "adversary={}"),
        ("alignment", {}, "MeanIntensity"),
        ("alignment", {"functional": lambda field: field, "name": "all of it"}, "mean"),
    ],
)
def test_each_stage_has_its_own_options(part, options, words):
    with pytest.raises(InvalidOption, match=words):
        PreDiff(CONFIG).stage(part, **options)


def test_a_new_functional_makes_a_new_network_that_knows_its_scale():
    model, (x, y, _) = PreDiff(CONFIG), pairs()
    functional = MeanIntensity(0.0).functional
    stage = model.stage("alignment", functional=functional, name="mean of the frames")
    assert model.config.alignment.functional == "mean of the frames"
    stage.prepare(x, y)
    values = functional(y.nan_to_num())
    assert model.alignment.config.output_mean == pytest.approx(values.mean().item())
    assert model.alignment.config.output_deviation == pytest.approx(values.std().item())
    assert model.config.alignment is model.alignment.config


def test_pairs_are_encoded_once_and_give_the_loss_of_frames():
    model = awake(PreDiff(CONFIG))
    x, y, weight = pairs()
    stage = model.stage("denoiser", encoded_pairs=2)
    encoded = stage.encode_pairs(TensorDataset(x, y), weight)
    assert len(encoded) == 2
    context, target = encoded[0]
    torch.testing.assert_close(context.float(), model.encode(x[:1])[0], rtol=1e-2, atol=1e-2)
    losses = [stage.loss(context[None], target[None]) for _ in range(3)]
    assert all(loss.isfinite() for loss in losses)
    history_, observed, made = stage.preview(context[None], target[None]).values()
    assert history_.shape == x[:1].shape
    assert observed.shape == made.shape == y[:1].shape
