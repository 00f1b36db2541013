"""Laws of the baseline networks: any length, grid and channels; gradients; what training does; what is refused.

Also guards `sizes.py`.
"""

import json

import pytest
import torch

from xforecast.errors import InvalidOption
from xforecast.models import MODELS, build, config_class, describe
from xforecast.models.contract import ForecastModel

SMALL = {
    "ConvLSTM": {"channels": (4, 6)},
    "E3DLSTM": {"channels": 4, "layers": 2},
    "PhyDNet": {"channels": 16, "filters": 7, "hidden": (8,)},
    "PredRNN": {"channels": 4, "layers": 2, "kernel": 3},
    "Rainformer": {"channels": 8, "heads": (2, 2), "head_channels": 4},
    "UNet": {"channels": (4, 6)},
}
NEXT_FRAME = ("E3DLSTM", "PhyDNet", "PredRNN")
SHAPES = {  # history, horizon, grid, input channels, output channels
    "usual": (3, 2, (8, 12), 1, 1),
    "one frame to many": (1, 4, (8, 8), 2, 2),
    "many frames to one": (4, 1, (8, 16), 3, 1),
}


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


# ------------------------------------------------------------------ all of them


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("name", SMALL)
def test_any_length_grid_and_channels(name, shape):
    model = small(name, *shape)
    x, y = pair(*shape)
    assert isinstance(model, ForecastModel)
    assert model(x).shape == y.shape
    loss = model.loss(x, y, torch.rand(y.shape[1], 1, 1, 1))
    loss.backward()
    assert loss.shape == ()
    assert all(value.grad is not None and value.grad.isfinite().all() for value in model.parameters())


@pytest.mark.parametrize("grid", [(5, 6), (6, 10), (7, 7)])
@pytest.mark.parametrize("name", SMALL)
def test_the_defaults_fit_any_grid(name, grid):
    """Depths, patches and windows are chosen by the grid; only the widths are given here."""
    options = {key: value for key, value in SMALL[name].items() if (name, key) != ("UNet", "channels")}
    config = config_class(name)(history=2, horizon=2, grid=grid, **options)
    with torch.no_grad():
        assert build(name, config).eval()(torch.randn(1, 2, *grid, 1)).shape == (1, 2, *grid, 1)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_a_sample_does_not_depend_on_the_others(name):
    model = small(name).eval()
    x, _ = pair(batch=3)
    torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_every_frame_of_the_history_counts(name):
    model = small(name).eval()
    x, _ = pair()
    for step in range(3):
        other = x.clone()
        other[:, step] += 1
        assert not torch.allclose(model(x), model(other), atol=1e-7), step


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_a_model_is_rebuilt_from_its_description(name):
    model = small(name).eval()
    other = build(**json.loads(json.dumps(describe(model)))).eval()
    assert other.config == model.config
    other.load_state_dict(model.state_dict())
    x, _ = pair()
    assert torch.equal(model(x), other(x))


@pytest.mark.parametrize("name", SMALL)
def test_the_same_seed_gives_the_same_loss(name):
    model = small(name)
    x, y = pair()
    losses = []
    for seed in (0, 0):
        torch.manual_seed(seed)
        losses.append(model.loss(x, y).item())
    assert losses[0] == losses[1]


@pytest.mark.parametrize("name", SMALL)
def test_missing_targets_count_nothing(name):
    model = small(name)
    x, y = pair()
    y[:, :, 2, 3] = torch.nan
    weight = y.isfinite().float()
    loss = model.loss(x, y, weight)
    loss.backward()
    assert loss.isfinite()
    assert all(value.grad.isfinite().all() for value in model.parameters())
    y = y.nan_to_num(0.0)
    with torch.no_grad():
        model.eval()
        torch.testing.assert_close(model.loss(x, y, weight), model.loss(x, y + 7 * (1 - weight), weight))


@pytest.mark.parametrize("name", SMALL)
@torch.no_grad()
def test_validation_is_the_error_of_the_forecast(name):
    model = small(name).eval()
    x, y = pair()
    torch.testing.assert_close(model.loss(x, y), (model(x) - y).square().mean())


@pytest.mark.parametrize("name", SMALL)
def test_a_few_steps_lower_the_loss(name):
    model = small(name)
    x, y = pair(batch=4)
    y = 0.5 * x[:, -1:].expand_as(y)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    before = model.eval().loss(x, y).item()
    for step in range(15):
        model.train()
        if hasattr(model, "at_step"):
            model.at_step(step, 15)
        optimiser.zero_grad()
        model.loss(x, y).backward()
        optimiser.step()
    assert model.eval().loss(x, y).item() < before


@pytest.mark.parametrize("name", SMALL)
def test_another_shape_is_reported(name):
    model = small(name)
    with pytest.raises(InvalidOption, match=r"\(2, 3, 8, 13, 1\)(.|\n)*8, 12, 1"):
        model(torch.zeros(2, 3, 8, 13, 1))


REFUSED = {
    "UNet": [
        ({"grid": (8, 13), "channels": (4, 4)}, "multiples of 4"),
        ({"centre": 0}, "centre"),
        ({"grid": (8,)}, "2 integers"),
    ],
    "ConvLSTM": [
        ({"grid": (9, 12), "strides": (3, 2)}, r"\(9, 12\), wanted multiples of 6"),
        ({"kernels": (4, 3)}, "odd"),
        ({"kernels": (3,)}, "2 values"),
        ({"transposed_kernels": (1, 4), "strides": (2, 2)}, "at least the strides"),
        ({"channels": ()}, "at least one level"),
    ],
    "PredRNN": [
        ({"patch": 5}, "multiples of 5"),
        ({"outputs": 2}, "at most input_channels = 1"),
        ({"decoupling": -1.0}, "0 or more"),
        ({"horizon": 0}, "horizon"),
    ],
    "PhyDNet": [
        ({"channels": 20}, "multiple of 16"),
        ({"filters": 8}, "multiple of it"),
        ({"activation": "tanh"}, "sigmoid"),
        ({"grid": (9, 12), "strides": (2, 1, 2)}, "multiples of 4"),
    ],
    "E3DLSTM": [
        ({"patch": 5}, "multiples of 5"),
        ({"kernel": (5, 5)}, "3 integers"),
        ({"memory": "pap"}, "one of paper, official"),
    ],
    "Rainformer": [
        ({"window": 5}, "divisor of every level's grid"),
        ({"factors": (3, 2)}, "multiples of 6"),
        ({"factors": (2,)}, "2 values"),
        ({"channels": 6, "factors": (4, 1)}, "factor 4 squared"),
    ],
}


@pytest.mark.parametrize(
    ("name", "options", "message"), [(name, *case) for name, cases in REFUSED.items() for case in cases]
)
def test_what_an_architecture_does_not_allow_is_reported(name, options, message):
    with pytest.raises(InvalidOption, match=message):
        small(name, **options)


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_the_forward_pass_compiles_without_a_break(name):
    model = small(name).eval()
    x, _ = pair()
    with torch.no_grad():
        expected = model(x)
        torch._dynamo.reset()
        found = torch.compile(model, backend="eager", fullgraph=True)(x)
    torch.testing.assert_close(found, expected)


# ------------------------------------------------------------------ their own losses


def test_decoupling_is_less_for_orthogonal_increments():
    model = small("PredRNN", decoupling=0.1)
    a = torch.randn(2, 4, 2, 3)
    assert model._similarity(a, a).item() == pytest.approx(1.0, abs=1e-5)
    with torch.no_grad():
        model.adapter.weight.copy_(torch.eye(4)[..., None, None])
    left, right = a.clone(), a.clone()
    left[..., 0], right[..., 1:] = 0, 0
    assert model._similarity(left, right).item() == pytest.approx(0.0, abs=1e-6)


def test_the_adapter_of_predrnn_only_trains():
    with_adapter, x = small("PredRNN", decoupling=0.1), pair()[0]
    without = small("PredRNN")
    without.load_state_dict({k: v for k, v in with_adapter.state_dict().items() if "adapter" not in k})
    with torch.no_grad():
        assert torch.equal(with_adapter.eval()(x), without.eval()(x))
    assert with_adapter.train().roll(x)[1].coupling > 0
    assert with_adapter.eval().roll(x)[1].coupling == 0


def test_free_running_physics_leave_the_observation_out():
    model = small("PhyDNet").physics
    p, h = torch.randn(1, 32, 4, 5), torch.randn(1, 32, 4, 5)
    with torch.no_grad():
        assert torch.equal(model(p, h, correct=False), model(2 * p, h, correct=False))
        model.gain.bias.fill_(-100.0)  # a gain of zero
        torch.testing.assert_close(model(p, h), model(p, h, correct=False))
        free, corrected = small("PhyDNet", free_run=True).eval(), small("PhyDNet").eval()
        corrected.load_state_dict(free.state_dict())
        x, _ = pair()
        torch.testing.assert_close(free(x)[:, :1], corrected(x)[:, :1])
        assert not torch.allclose(free(x)[:, 1:], corrected(x)[:, 1:])


def test_a_sigmoid_keeps_frames_between_zero_and_one():
    with torch.no_grad():
        forecast = small("PhyDNet", activation="sigmoid")(10 * pair()[0])
    assert 0 <= forecast.min() <= forecast.max() <= 1


def test_the_official_memory_stays_at_zero():
    models = {memory: small("E3DLSTM", memory=memory) for memory in ("paper", "official")}
    with torch.no_grad():
        memory = {kind: model.roll(pair()[0])[1].memory for kind, model in models.items()}
    assert (memory["official"] == 0).all()
    assert (memory["paper"] != 0).any()


def test_peepholes_start_without_effect():
    plain, with_peepholes = small("ConvLSTM"), small("ConvLSTM", peephole=True)
    with_peepholes.load_state_dict(plain.state_dict(), strict=False)
    x, _ = pair()
    with torch.no_grad():
        torch.testing.assert_close(with_peepholes(x), plain(x))
        for cell in with_peepholes.encoder:
            cell.peephole["o"].fill_(1.0)
        assert not torch.allclose(with_peepholes(x), plain(x))


def test_shifted_windows_do_not_join_what_is_apart():
    """The last row and the first are neighbours in a cyclic shift, and do not see one another."""
    from xforecast.models.baselines.rainformer import _WindowAttention

    attention = _WindowAttention(4, (4, 4), 2, 4, 4, 2)
    x = torch.randn(1, 4, 4, 4)
    other = x.clone()
    other[:, 2:] += 1
    with torch.no_grad():
        torch.testing.assert_close(attention(x)[:, :2], attention(other)[:, :2])


def test_every_published_baseline_has_a_name():
    assert set(SMALL) | {"Persistence", "DampedPersistence", "Climatology", "LinearInverseModel"} <= set(MODELS)


@pytest.mark.parametrize("name", SMALL)
def test_half_precision_is_nearly_the_same(name):
    model = small(name)
    x, y = pair()
    losses = []
    for enabled in (False, True):
        torch.manual_seed(0)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            losses.append(model.loss(x, y))
    losses[1].backward()
    torch.testing.assert_close(losses[1].float(), losses[0], rtol=0.03, atol=0.0)
    assert all(value.grad.isfinite().all() for value in model.parameters())
