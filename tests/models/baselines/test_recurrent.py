"""Recurrent baselines: patches, the roll from frame to frame, and which frames are true in training."""

import dataclasses

import pytest
import torch

from xforecast.errors import InvalidOption
from xforecast.models import SamplingSchedule, build, config_class, describe
from xforecast.models.baselines.recurrent import NextFrameModel, joined_clip, patches, unpatches

SMALL = {
    "ConvLSTM": {"channels": (4, 6)},
    "E3DLSTM": {"channels": 4, "layers": 2},
    "PhyDNet": {"channels": 16, "filters": 7, "hidden": (8,)},
    "PredRNN": {"channels": 4, "layers": 2, "kernel": 3},
    "Rainformer": {"channels": 8, "heads": (2, 2), "head_channels": 4},
    "UNet": {"channels": (4, 6)},
}


NEXT_FRAME = ("E3DLSTM", "PhyDNet", "PredRNN")


def small(name, history=3, horizon=2, grid=(8, 12), inputs=1, outputs=1, **options):
    return build(
        name,
        config_class(name)(
            history=history, horizon=horizon, grid=grid, input_channels=inputs, output_channels=outputs,
            **{**SMALL[name], **options},
        ),
    )  # fmt: skip


def pair(history=3, horizon=2, grid=(8, 12), inputs=1, outputs=1, batch=2):
    return torch.randn(batch, history, *grid, inputs), torch.randn(batch, horizon, *grid, outputs)


def test_patches_are_undone():
    x = torch.arange(2 * 3 * 4 * 6 * 5).reshape(2, 3, 4, 6, 5)
    assert torch.equal(unpatches(patches(x, 2), 2), x)
    assert patches(x, 2)[0, 0, :, 0, 0].tolist() == x[0, 0, :2, :2].flatten().tolist()  # row, column, channel


@pytest.mark.parametrize(
    ("kind", "time", "past", "future"),
    [
        ("none", 0.0, 1.0, 0.0),
        ("scheduled", 0.0, 1.0, 1.0),
        ("scheduled", 0.5, 1.0, 0.2),
        ("scheduled", 0.9, 1.0, 0.0),
        ("teacher_forcing", 0.3125, 1.0, 0.5),
        ("reverse", 0.1, 0.5, 0.5),
        ("reverse", 0.375, 1 - 0.5 * 2.718281828**-1, 0.4),
        ("reverse", 0.625, 1.0, 0.0),
    ],
)
def test_sampling_follows_its_schedule(kind, time, past, future):
    schedule = SamplingSchedule(kind)
    assert schedule.probabilities(time) == pytest.approx((past, future))
    drawn = schedule.draw(4000, 3, 4, time)
    assert drawn.shape == (4000, 6)
    assert drawn[:, 0].all()
    if kind != "teacher_forcing":
        assert drawn[:, 1:3].float().mean().item() == pytest.approx(past, abs=0.03)
        assert drawn[:, 3:].float().mean().item() == pytest.approx(future, abs=0.03)


def test_teacher_forcing_is_for_whole_batches():
    schedule = SamplingSchedule("teacher_forcing", start=0.0, end=1.0)
    draws = torch.stack([schedule.draw(5, 2, 3, 0.5)[:, 2:] for _ in range(400)]).flatten(1)
    assert ((draws == draws[:, :1]).all(1)).all()
    assert draws[:, 0].float().mean().item() == pytest.approx(0.5, abs=0.1)


def test_a_schedule_that_cannot_be_is_reported():
    with pytest.raises(InvalidOption, match="did you mean 'reverse'"):
        SamplingSchedule("revers")
    with pytest.raises(InvalidOption, match="start < end"):
        SamplingSchedule(start=0.5, end=0.5)


@pytest.mark.parametrize("name", NEXT_FRAME)
@torch.no_grad()
def test_the_forecast_is_the_roll_that_sees_no_future(name):
    model = small(name, horizon=3, sampling=SamplingSchedule("none"))
    assert isinstance(model, NextFrameModel)
    x, y = pair(horizon=3)
    frames, known, _ = joined_clip(x, y, None)
    use = known[:, :-1] & model.config.sampling.draw(2, 3, 3, 0.0)[:, :, None, None, None]
    torch.testing.assert_close(model.roll(frames[:, :-1], use)[0], model.roll(x)[0])
    torch.testing.assert_close(model.roll(x)[0][:, -3:], model(x))


@pytest.mark.parametrize("name", NEXT_FRAME)
@torch.no_grad()
def test_true_frames_replace_predictions(name):
    """Fed with the truth, prediction k is the first forecast from the history that ends there."""
    model = small(name, history=2, horizon=3)
    clip = torch.randn(2, 4, 8, 12, 1)
    fed, _ = model.roll(clip, torch.ones_like(clip, dtype=torch.bool))
    longer = build(**{**describe(model), "config": dataclasses.replace(model.config, history=4, horizon=1)})
    longer.load_state_dict(model.state_dict())
    torch.testing.assert_close(fed[:, -1:], longer(clip))


@pytest.mark.parametrize("name", NEXT_FRAME)
def test_the_training_loss_depends_on_the_time(name):
    model = small(name, history=2, horizon=6)
    x, y = pair(2, 6)
    with torch.no_grad():
        at = {}
        for step in (0, 100):
            torch.manual_seed(0)
            model.at_step(step, 100)
            at[step] = model.loss(x, y).item()
    assert at[0] != at[100]


def test_the_model_knows_the_step_of_the_training(tmp_path):
    pytest.importorskip("lightning")
    from xforecast.training.loop import train
    from xforecast.training.options import TrainingOptions

    model = small("PredRNN", sampling=SamplingSchedule("scheduled"))
    heard = []
    model.at_step = lambda step, total: heard.append((step, total))
    data = torch.utils.data.TensorDataset(*pair(batch=4))
    options = TrainingOptions(steps=3, batch_size=2, accumulate=2)
    train(model, data, None, torch.ones(1), options, folder=tmp_path, device="cpu", progress=False)
    assert heard == [(0, 3), (0, 3), (1, 3), (1, 3), (2, 3), (2, 3)]


def test_unknown_cells_and_channels_of_the_future_are_not_fed():
    x, y = torch.zeros(1, 2, 1, 2, 2), torch.ones(1, 3, 1, 2, 1)
    y[:, :, 0, 1] = torch.nan
    frames, known, weight = joined_clip(x, y, y.isfinite().float())
    assert frames.shape == (1, 5, 1, 2, 2)
    assert known[:, :2].all()
    assert known[0, 2:, 0].tolist() == [[[True, False], [False, False]]] * 3
    assert weight[0, :2, 0].tolist() == [[[1.0, 1.0], [0.0, 0.0]]] * 2
    assert weight[0, 2:, 0].tolist() == [[[1.0, 0.0], [0.0, 0.0]]] * 3
