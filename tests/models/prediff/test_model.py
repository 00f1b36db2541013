"""Laws of PreDiff: sampling, guidance, any size, its loss, and where it runs.

Also guards `config.py`, `latent.py`.
"""

import dataclasses
import json

import numpy as np
import pytest
import torch
from small_prediff import ALIGNMENT, AUTOENCODER, CONFIG, DENOISER, awake, draw, history, pairs
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.forecaster import Forecaster
from xforecast.models import (
    ConserveLast,
    MeanIntensity,
    NoiseSchedule,
    PreDiff,
    PreDiffConfig,
    build,
    describe,
)
from xforecast.models.contract import ForecastModel, ProbabilisticModel
from xforecast.models.prediff.samplers import SAMPLERS
from xforecast.models.prediff.schedule import DiffusionLoss
from xforecast.spec import DataSpec, Grid, Variable


@pytest.fixture(scope="module")
def model():
    return awake(PreDiff(CONFIG))


def test_wrong_shapes_are_reported(model):
    with pytest.raises(InvalidOption, match="shape of cond"):
        model.denoiser(torch.zeros(1, 2, 4, 4, 4), torch.tensor([1]), torch.zeros(1, 2, 4, 4, 4))
    with pytest.raises(InvalidOption, match="shape of x"):
        model(torch.zeros(1, 3, 8, 7, 1))
    with pytest.raises(InvalidOption, match="shape of z"):
        model.autoencoder.decode(torch.zeros(1, 4, 4, 5))


# ------------------------------------------------------------------ sampling


def test_model_keeps_the_contract(model):
    assert isinstance(model, ForecastModel)
    assert isinstance(model, ProbabilisticModel)
    other = build(**json.loads(json.dumps(describe(model))))
    assert other.config == model.config
    other.load_state_dict(model.state_dict())


def test_forward_is_the_same_for_the_same_history(model):
    x = history(2)
    out = model(x)
    assert out.shape == (2, 2, 8, 8, 1)
    assert torch.equal(out, model(x))
    torch.testing.assert_close(model(x[1:])[0], out[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sample_depends_on_its_history_and_generator_alone(model, sampler):
    x = history(2)
    out = draw(model, x, sampler=sampler)
    assert out.shape == (3, 2, 8, 8, 1)
    alone = draw(model, x[1:], starts=(0,), seeds=(3,), sampler=sampler)
    torch.testing.assert_close(alone[0], out[2], rtol=1e-3, atol=1e-4)
    turned = draw(model, x.flip(0), starts=(0, 1), seeds=(3, 1), sampler=sampler)
    torch.testing.assert_close(turned, out[[2, 0]], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(out[0], out[1])


def test_chunks_change_nothing(model):
    x = history(2)
    for constraint in (None, MeanIntensity(0.5)):
        whole, pieces = (draw(model, x, chunk=chunk, constraint=constraint, guidance="decoder") for chunk in (None, 1))
        torch.testing.assert_close(pieces, whole, rtol=1e-3, atol=1e-4)


def test_context_is_encoded_once(model, monkeypatch):
    seen = []
    encode = model.autoencoder.encode
    monkeypatch.setattr(model.autoencoder, "encode", lambda x, **options: seen.append(x.shape) or encode(x, **options))
    draw(model, history(2), starts=(0, 0, 1, 1), seeds=range(4))
    assert seen == [(2, 3, 8, 8, 1)]


def test_steps_are_calls_of_the_denoiser(model, monkeypatch):
    calls = []
    forward = model.denoiser.forward
    monkeypatch.setattr(model.denoiser, "forward", lambda *inputs: calls.append(1) or forward(*inputs))
    draw(model, history(2), steps=None)
    assert len(calls) == 20
    calls.clear()
    draw(model, history(2), sampler="ddim", steps=7)
    assert len(calls) == 7


def test_guidance_that_does_not_pull_changes_nothing(model):
    x = history(2)
    free = draw(model, x)
    for guidance in ("network", "decoder"):
        assert torch.equal(draw(model, x, constraint=MeanIntensity(0.5), guidance=guidance, strength=0.0), free)
    assert torch.equal(draw(model, x, constraint=MeanIntensity(0.5, strength=0.0)), free)


@pytest.mark.parametrize("guidance", ["network", "decoder"])
def test_guided_samples(model, guidance):
    x, constraint = history(2), MeanIntensity(0.5)
    out, report = draw(model, x, constraint=constraint, guidance=guidance, steps=5, report=True)
    torch.testing.assert_close(report.residual, constraint.residual(out).abs()[:, 0])
    assert report.trace.shape == (3, 5)
    assert not torch.equal(out, draw(model, x, steps=5))
    alone = draw(model, x, starts=(1,), seeds=(3,), constraint=constraint, guidance=guidance, steps=5)
    torch.testing.assert_close(alone[0], out[2], rtol=1e-3, atol=1e-3)
    if guidance == "decoder":
        free = constraint.residual(draw(model, x, steps=5)).abs()[:, 0]
        assert (report.residual < 0.3 * free).all()


def test_the_way_of_guidance_is_chosen_by_the_functional(model):
    x = history(2)

    def same(constraint, guidance):
        return torch.equal(
            draw(model, x, constraint=constraint), draw(model, x, constraint=constraint, guidance=guidance)
        )

    assert same(MeanIntensity(0.5), "network")
    assert same(ConserveLast(), "decoder")
    assert same(ConserveLast(name="mean_intensity"), "network")
    assert same(lambda forecast: forecast.mean(dim=(1, 2, 3, 4)) - 0.5, "decoder")


def test_constraints_of_the_latent(model):
    class Centred:
        space = "latent"

        def residual(self, latent):
            assert latent.shape[1:] == (2, 4, 4, 4)
            return latent.mean(dim=(1, 2, 3, 4)) - 1.0

    _, report = draw(model, history(2), constraint=Centred(), report=True, steps=5)
    assert (report.residual < 0.1).all()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"sampler": "euler"}, "sampler"),
        ({"steps": 0}, "steps"),
        ({"eta": -0.1}, "eta"),
        ({"report": True}, "report"),
        ({"constraint": 0.5}, "constraint"),
        ({"constraint": MeanIntensity(0.5), "guidance": "both"}, "guidance"),
        ({"constraint": lambda x: x, "guidance": "network"}, "constraint"),
    ],
)
def test_impossible_sampling_is_refused(model, options, words):
    with pytest.raises(InvalidOption, match=words):
        draw(model, history(2), **options)


def test_network_guidance_needs_a_network():
    without = PreDiff(dataclasses.replace(CONFIG, alignment=None)).eval()
    with pytest.raises(InvalidOption, match="alignment"):
        draw(without, history(2), constraint=MeanIntensity(0.5), guidance="network")
    with pytest.raises(InvalidOption, match="alignment"):
        without.stage("alignment", MeanIntensity(0.5).functional)


def test_either_prediction_gives_the_same_samples(model):
    class Same(nn.Module):
        """Says the noise or the clean latent for data that are always one."""

        def __init__(self, prediction):
            super().__init__()
            self.prediction = prediction

        def forward(self, z, t, context):
            ones = torch.ones_like(z)
            return ones if self.prediction == "clean" else NoiseSchedule().predict_noise(z, t, ones)

    for prediction in ("noise", "clean"):
        one = PreDiff(dataclasses.replace(CONFIG, prediction=prediction, latent_scale=2.0)).eval()
        one.denoiser = Same(prediction)
        wanted = one.autoencoder.decode(torch.full((1, 2, 4, 4, 4), 0.5))
        torch.testing.assert_close(draw(one, history(1), starts=(0,), seeds=(1,)), wanted, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("grid", [(7, 10), (8, 8)])
def test_data_of_any_size(grid):
    config = CONFIG.fitted(history=3, horizon=2, grid=grid, channels=2)
    assert PreDiffConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    model, x = PreDiff(config), history(2, grid, channels=2)
    y = torch.rand(2, 2, *grid, 2)
    assert draw(model.eval(), x).shape == (3, 2, *grid, 2)
    weight = torch.ones(1, 1, *grid, 1)
    assert model.loss(x, y, weight).isfinite()


@pytest.mark.parametrize(
    "changes",
    [
        {"latent_scale": 0.0},
        {"prediction": "velocity"},
        {"grid": (20, 20)},
        {"alignment": dataclasses.replace(ALIGNMENT, horizon=3)},
        {"denoiser": dataclasses.replace(DENOISER, channels=5)},
        {"autoencoder": dataclasses.replace(AUTOENCODER, output_channels=2)},
    ],
)
def test_parts_that_do_not_fit_are_refused(changes):
    with pytest.raises(InvalidOption):
        dataclasses.replace(CONFIG, **changes)


# ------------------------------------------------------------------ training


def test_missing_targets_do_not_count():
    model = awake(PreDiff(dataclasses.replace(CONFIG, loss=DiffusionLoss(learned_uncertainty=False))))
    x, y, weight = pairs()

    def loss(y):
        torch.manual_seed(1)
        return model.loss(x, y, weight)

    assert torch.equal(loss(y), loss(torch.where(weight == 0, 1e6, y)))
    assert loss(y).isfinite()


def test_uncertainty_is_learned_where_the_error_is_known():
    """At the best log variance, error / exp(s) + s is least: s is the logarithm of the error."""
    model = awake(PreDiff(CONFIG))
    clean, context, noise = torch.randn(1, 2, 4, 4, 4), torch.randn(1, 3, 4, 4, 4), torch.randn(1, 2, 4, 4, 4)
    t = torch.tensor([400])
    error = (model.denoiser(model.config.schedule.add_noise(clean, t, noise), t, context) - noise).square().mean()
    with torch.no_grad():
        model.logvar[400] = error.log()
    loss = model.diffusion_loss(clean, context, t, noise)
    assert loss.item() == pytest.approx(1 + error.log().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(loss, model.logvar)
    assert gradient.abs().max() < 1e-5


def test_latent_scale_makes_the_variance_one():
    model, frames = awake(PreDiff(CONFIG)), torch.rand(4, 3, 8, 8, 1)
    scale = model.estimate_latent_scale(frames)
    scaled = PreDiff(dataclasses.replace(CONFIG, latent_scale=scale)).eval()
    scaled.load_state_dict(model.state_dict())
    assert scaled.encode(frames).std().item() == pytest.approx(1.0)
    torch.testing.assert_close(scaled.decode(scaled.encode(frames)), model.autoencoder(frames), rtol=1e-3, atol=1e-4)


# ------------------------------------------------------------------ where it runs


@pytest.mark.parametrize("constraint", [None, MeanIntensity(0.5)])
@pytest.mark.parametrize("guidance", ["network", "decoder"])
def test_sampling_in_inference_mode_and_bfloat16(model, constraint, guidance):
    with torch.inference_mode():
        x = history(2).clone()
        exact = draw(model, x, constraint=constraint, guidance=guidance)
        with torch.autocast("cpu", torch.bfloat16):
            rough = draw(model, x, constraint=constraint, guidance=guidance)
    assert (exact - rough).abs().mean() < 0.1 * exact.std()


def test_training_in_bfloat16(model):
    x, y, weight = pairs()
    with torch.autocast("cpu", torch.bfloat16):
        for part in ("autoencoder", "denoiser", "alignment"):
            options = {"functional": MeanIntensity(0.0).functional} if part == "alignment" else {}
            loss = model.stage(part, **options).loss(x, y, weight)
            assert loss.dtype == torch.float32
            assert loss.isfinite()


def test_networks_compile(model):
    z, t, context = torch.randn(1, 2, 4, 4, 4), torch.tensor([3]), torch.randn(1, 3, 4, 4, 4)
    compiled = torch.compile(model.denoiser, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(z, t, context), model.denoiser(z, t, context))


def test_forecaster_samples(model):
    spec = DataSpec([Variable("rain", "mm/h")], Grid("pixel", (8, 8)), "10 min", history=3, horizon=2)
    forecaster = Forecaster(model, spec)
    x = history(2).numpy()
    options = {"steps": 3, "constraint": MeanIntensity(0.5), "sampler": "ddim"}
    found = forecaster.predict(x, samples=3, seed=1, **options)
    assert found.shape == (2, 3, 2, 8, 8, 1)
    again = forecaster.predict(x, samples=[2], seed=1, batch_size=1, **options)
    np.testing.assert_allclose(again[:, 0], found[:, 2], rtol=1e-3, atol=1e-3)


def test_forecaster_is_saved_whole(model, tmp_path):
    spec = DataSpec([Variable("rain", "mm/h")], Grid("pixel", (8, 8)), "10 min", history=3, horizon=2)
    forecaster = Forecaster(model, spec)
    loaded = Forecaster.load(forecaster.save(tmp_path / "prediff"))
    x = history(1).numpy()
    np.testing.assert_array_equal(loaded.predict(x, steps=2), forecaster.predict(x, steps=2))
