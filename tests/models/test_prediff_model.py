"""Autoencoder, denoiser, alignment network and the whole PreDiff: laws, any size, training of each part, sampling."""

import dataclasses
import json

import numpy as np
import official_prediff as official
import pytest
import torch
from torch import nn

from xforecast.errors import CheckpointError, InvalidOption
from xforecast.forecaster import Forecaster
from xforecast.models import (
    AdversarialAutoencoder,
    AdversarialAutoencoderConfig,
    Autoencoder,
    AutoencoderConfig,
    ConserveLast,
    CuboidUNet,
    CuboidUNetConfig,
    GlobalVectorConfig,
    KnowledgeAlignment,
    KnowledgeAlignmentConfig,
    MeanIntensity,
    NoiseSchedule,
    PreDiff,
    PreDiffConfig,
    Quirks,
    build,
    compat,
    count_parameters,
    describe,
    presets,
)
from xforecast.models.blocks.attention import BlockConfig
from xforecast.models.contract import ForecastModel, ProbabilisticModel
from xforecast.models.prediff.denoiser import ResidualBlock, TimeEmbedding
from xforecast.models.prediff.samplers import SAMPLERS
from xforecast.models.prediff.schedule import DiffusionLoss
from xforecast.spec import DataSpec, Grid, Variable

AUTOENCODER = AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4)
DENOISER = CuboidUNetConfig(history=3, horizon=2, grid=(4, 4), channels=4, base_channels=16, depths=(1, 1))
ALIGNMENT = KnowledgeAlignmentConfig(horizon=2, grid=(4, 4), channels=4, base_channels=16, depths=(1, 1))
CONFIG = PreDiffConfig(autoencoder=AUTOENCODER, denoiser=DENOISER, alignment=ALIGNMENT)


def awake(model):
    """With weights that are not zero, so that everything has an effect."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=parameter[0].numel() ** -0.5)
    return model.eval()


@pytest.fixture(scope="module")
def model():
    return awake(PreDiff(CONFIG))


def history(count=2, grid=(8, 8), channels=1):
    return torch.rand(count, 3, *grid, channels, generator=torch.Generator().manual_seed(4))


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


def draw(model, x, rows=(0, 0, 1), seeds=(1, 2, 3), **options):
    options = {"steps": 3, **options}
    return model.sample(x, torch.tensor(rows), torch.arange(len(rows)), generators(*seeds), **options)


# ------------------------------------------------------------------ released sizes


def test_released_sizes_and_names():
    with torch.device("meta"):
        model = PreDiff(presets.prediff_sevirlr())
    names = json.loads((official.DATA / "full_state_dict_keys.json").read_text())
    parts = {
        "vae": (model.autoencoder, 84_499_393),
        "unet": (model.denoiser, 136_817_538),
        "align": (model.alignment, 8_937_033),
    }
    for name, (part, size) in parts.items():
        assert count_parameters(part) == size
        found = {compat.official_name(key, official.KINDS[name]): list(v.shape) for key, v in part.state_dict().items()}
        wanted = {key: value["shape"] for key, value in names[name].items() if not key.endswith("position_index")}
        assert found == wanted


@pytest.mark.parametrize("name", ["vae_a", "unet_a_axial", "align_a"])
def test_weights_that_do_not_fit_are_told(name):
    kind, kwargs = official.KINDS[name.partition("_")[0]], official.arguments(name)
    state = official.state_of(kind, kwargs)
    first = next(iter(state))
    with pytest.raises(CheckpointError, match=f"missing     {first}"):
        compat.from_official(kind, kwargs, {key: value for key, value in state.items() if key != first})
    with pytest.raises(CheckpointError, match="unexpected  extra"):
        compat.from_official(kind, kwargs, {**state, "extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=f"misshapen   {first}"):
        compat.from_official(kind, kwargs, {**state, first: torch.zeros(1, 2, 3)})
    with pytest.raises(InvalidOption, match="width_of_it"):
        compat.from_official(kind, {**kwargs, "width_of_it": 3}, state)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vae_a", {"act_fn": "mish"}),
        ("vae_a", {"down_block_types": ["DownBlock2D"] * 3}),
        ("unet_a_axial", {"hierarchical_pos_embed": True}),
        ("unet_a_axial", {"target_shape": [2, 8, 9, 4]}),
        ("align_a", {"pool": "spatial"}),
    ],
)
def test_what_the_original_does_not_have_is_refused(name, changes):
    with pytest.raises(InvalidOption, match=next(iter(changes))):
        compat.translate_config(official.KINDS[name.partition("_")[0]], official.arguments(name) | changes)


# ------------------------------------------------------------------ autoencoder


def test_frames_are_taken_one_by_one():
    autoencoder, x = awake(Autoencoder(AUTOENCODER)), torch.rand(2, 5, 8, 12, 1)
    mean = autoencoder.encode(x).mean
    assert mean.shape == (2, 5, 4, 6, 4)
    torch.testing.assert_close(autoencoder.encode(x[1, 3][None]).mean[0], mean[1, 3], rtol=1e-4, atol=1e-5)
    for chunk in (1, 3, 100):
        torch.testing.assert_close(autoencoder.encode(x, chunk=chunk).mean, mean, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(autoencoder.decode(mean, chunk=chunk), autoencoder(x), rtol=1e-4, atol=1e-5)


def test_chunks_change_no_gradient():
    autoencoder, z = awake(Autoencoder(AUTOENCODER)), torch.randn(1, 5, 4, 4, 4, requires_grad=True)
    whole, pieces = (
        torch.autograd.grad(autoencoder.decode(z, chunk=chunk).square().sum(), z)[0] for chunk in (None, 2)
    )
    torch.testing.assert_close(pieces, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("grid", [(8, 8), (7, 10), (1, 1), (9, 5)])
def test_any_height_and_width(grid):
    autoencoder = Autoencoder(AUTOENCODER)
    x = torch.rand(1, 2, *grid, 1)
    assert autoencoder(x).shape == x.shape
    assert autoencoder.encode(x).mean.shape[2:4] == AUTOENCODER.latent_grid(grid)
    assert autoencoder.loss(x).isfinite()


def test_posterior_is_drawn_from():
    posterior = awake(Autoencoder(AUTOENCODER)).encode(torch.rand(1, 1, 8, 8, 1))
    same = [posterior.sample(*generators(5)) for _ in range(2)]
    assert torch.equal(*same)
    draws = torch.stack([posterior.sample(seed) for seed in generators(*range(2_000))])
    assert ((draws.mean(0) - posterior.mean) / posterior.std).abs().max() < 0.15
    assert (draws.std(0) / posterior.std - 1).abs().max() < 0.15


def test_loss_of_the_autoencoder():
    autoencoder, x = Autoencoder(AUTOENCODER), torch.rand(2, 3, 8, 8, 1)
    posterior = autoencoder.encode(x)
    error, divergence = autoencoder.loss_terms(x + 0.5, x, posterior)
    assert error.item() == pytest.approx(32.0)
    assert divergence.item() == pytest.approx(posterior.kl().mean().item())
    gap = x.clone()
    gap[:, :, :4] = torch.nan
    weight = gap.isfinite()
    known, _ = autoencoder.loss_terms(x + 0.5, gap, posterior, weight)
    assert known.item() == pytest.approx(32.0)  # a frame's worth of known cells
    mean = Autoencoder(dataclasses.replace(AUTOENCODER, reduction="mean"))
    assert [term.item() for term in mean.loss_terms(x + 0.5, x, posterior)] == pytest.approx(
        [0.5, posterior.kl().mean().item() / 64]
    )


def test_autoencoder_learns():
    torch.manual_seed(0)
    autoencoder = Autoencoder(dataclasses.replace(AUTOENCODER, reduction="mean"))
    optimiser = torch.optim.Adam(autoencoder.parameters(), 3e-3)
    wave = torch.sin(torch.linspace(0, 6, 8))
    x = (torch.rand(16, 1, 1, 1) * wave[None, :, None, None]).expand(-1, 8, 8, 1)
    losses = []
    for _ in range(60):
        optimiser.zero_grad()
        losses.append(autoencoder.loss(x))
        losses[-1].backward()
        optimiser.step()
    assert losses[-1] < 0.4 * losses[0]


def test_adversary_takes_part_from_its_start_and_shares_no_gradient():
    config = AdversarialAutoencoderConfig(autoencoder=AUTOENCODER, width=4, layers=1, start=2)
    both, x = AdversarialAutoencoder(config), torch.rand(2, 16, 16, 1)
    adversary = list(both.discriminator.parameters())
    for step in range(4):
        both.zero_grad()
        both.loss(x).backward()
        assert all((parameter.grad is not None) == (step >= 2) for parameter in adversary)
    both.zero_grad()
    made = both.autoencoder(x)
    both.discriminator.loss(x, made).backward()
    assert all(parameter.grad is None for parameter in both.autoencoder.parameters())
    both.zero_grad()
    both.discriminator.fooled(both.autoencoder(x)).backward()
    assert all(parameter.grad is None for parameter in adversary)
    assert all(parameter.grad is not None for parameter in both.autoencoder.decoder.parameters())
    steps = both.steps.item()
    both.eval().loss(x)
    assert both.steps.item() == steps == 4


# ------------------------------------------------------------------ networks of the latent


def test_new_networks_start_from_nothing():
    z, t, context = torch.randn(2, 2, 4, 4, 4), torch.tensor([3, 900]), torch.randn(2, 3, 4, 4, 4)
    assert (CuboidUNet(DENOISER)(z, t, context) == 0).all()
    x = torch.randn(1, 2, 3, 3, 8)
    assert torch.equal(ResidualBlock(8, 8)(x), x)


def test_time_is_told():
    denoiser, z, context = awake(CuboidUNet(DENOISER)), torch.randn(1, 2, 4, 4, 4), torch.randn(1, 3, 4, 4, 4)
    early, late = (denoiser(z, torch.tensor([t]), context) for t in (3, 900))
    assert not torch.allclose(early, late)
    embedding = TimeEmbedding(16, 32)(torch.arange(1000))
    assert torch.cdist(embedding, embedding).fill_diagonal_(1).min() > 0


def test_context_is_used_and_samples_are_apart():
    denoiser, z, context = awake(CuboidUNet(DENOISER)), torch.randn(2, 2, 4, 4, 4), torch.randn(2, 3, 4, 4, 4)
    t = torch.tensor([3, 900])
    out = denoiser(z, t, context)
    torch.testing.assert_close(denoiser(z[1:], t[1:], context[1:])[0], out[1], rtol=1e-4, atol=1e-5)
    assert not torch.allclose(denoiser(z, t, context + 1), out)


@pytest.mark.parametrize(
    "changes",
    [
        {"grid": (5, 7), "depths": (1, 1, 1)},
        {"grid": (5, 7), "cuboids": "video_swin_2x4", "block": BlockConfig(padding="ignore")},
        {"cuboids": ("axial", "full"), "channel_growth": 0.5},
        {"level_channels": (16, 24), "skip_connections": False, "time_scales": True, "upsample_kernel": 5},
        {
            "positions": "time+space",
            "global_vectors": GlobalVectorConfig(2, projections="separate", width_ratio=2),
        },
        {"feed_forward_each": False, "history": 1, "horizon": 5},
    ],
)
def test_any_shape_and_options(changes):
    config = dataclasses.replace(DENOISER, **changes)
    z = torch.randn(2, config.horizon, *config.grid, 4)
    context = torch.randn(2, config.history, *config.grid, 4)
    denoiser = awake(CuboidUNet(config))
    out = denoiser(z, torch.tensor([3, 900]), context)
    assert out.shape == z.shape
    out.square().mean().backward()
    unused = [name for name, p in denoiser.named_parameters() if p.grad is None]
    # Of the last block's global vectors nothing is left.
    assert all(name.startswith("decoder.blocks.0.0") for name in unused)
    assert CuboidUNetConfig.from_dict(config.to_dict()) == config


def test_alignment_reads_frames_or_the_whole():
    z, t = torch.randn(2, 2, 4, 4, 4), torch.tensor([3, 900])
    for changes, shape in {
        (): (2, 2, 1),
        (("output_frames", 1),): (2, 1, 1),
        (("output_channels", 3),): (2, 2, 3),
        (("per_frame", False),): (2, 1),
        (("global_vectors", GlobalVectorConfig(2)),): (2, 2, 1),
    }.items():
        network = awake(KnowledgeAlignment(dataclasses.replace(ALIGNMENT, **dict(changes))))
        out = network(z, t)
        assert out.shape == shape
        torch.testing.assert_close(network(z[1:], t[1:])[0], out[1], rtol=1e-4, atol=1e-5)
        with pytest.raises(InvalidOption, match="functional"):
            network.loss(z, t, torch.zeros(2, 7))


def test_tiled_global_vectors_are_those_of_other_samples():
    """What the original does: right for one sample, and for more only where all have the same vectors."""
    config = dataclasses.replace(ALIGNMENT, global_vectors=GlobalVectorConfig(2))
    ours = awake(KnowledgeAlignment(config))
    theirs = KnowledgeAlignment(dataclasses.replace(config, quirks=Quirks(tiled_global_vectors=True))).eval()
    theirs.load_state_dict(ours.state_dict())
    z, t = torch.randn(2, 2, 4, 4, 4), torch.tensor([3, 900])
    torch.testing.assert_close(theirs(z[:1], t[:1]), ours(z[:1], t[:1]))
    tiled, right = theirs(z, t), ours(z, t)
    torch.testing.assert_close(tiled[0, 0], right[0, 0])
    torch.testing.assert_close(tiled[1, 1], right[1, 1])
    assert not torch.allclose(tiled[0, 1], right[0, 1], atol=1e-6)


@pytest.mark.parametrize(
    "changes",
    [
        {"depths": ()},
        {"base_channels": 15},
        {"upsample_kernel": 2},
        {"downsample": (2, 2, 2)},
        {"cuboids": ("axial",) * 3},
    ],
)
def test_impossible_networks_are_refused(changes):
    with pytest.raises(InvalidOption):
        dataclasses.replace(DENOISER, **changes)


def test_wrong_shapes_are_told(model):
    with pytest.raises(InvalidOption, match="shape of cond"):
        model.denoiser(torch.zeros(1, 2, 4, 4, 4), torch.tensor([1]), torch.zeros(1, 2, 4, 4, 4))
    with pytest.raises(InvalidOption, match="shape of x"):
        model(torch.zeros(1, 3, 8, 7, 1))
    with pytest.raises(InvalidOption, match="shape of z"):
        model.autoencoder.decode(torch.zeros(1, 4, 4, 5))


# ------------------------------------------------------------------ the whole


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
    alone = draw(model, x[1:], rows=(0,), seeds=(3,), sampler=sampler)
    torch.testing.assert_close(alone[0], out[2], rtol=1e-3, atol=1e-4)
    turned = draw(model, x.flip(0), rows=(0, 1), seeds=(3, 1), sampler=sampler)
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
    draw(model, history(2), rows=(0, 0, 1, 1), seeds=range(4))
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
    alone = draw(model, x, rows=(1,), seeds=(3,), constraint=constraint, guidance=guidance, steps=5)
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
    ("options", "told"),
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
def test_impossible_sampling_is_refused(model, options, told):
    with pytest.raises(InvalidOption, match=told):
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
        torch.testing.assert_close(draw(one, history(1), rows=(0,), seeds=(1,)), wanted, rtol=1e-3, atol=1e-3)


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


def pairs():
    y = torch.rand(4, 2, 8, 8, 1)
    weight = torch.ones(4, 1, 8, 8, 1)
    weight[:, :, :2] = 0
    y[:, :, :2] = torch.nan
    return history(4), y, weight


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
            loss = model.stage(part, MeanIntensity(0.0).functional).loss(x, y, weight)
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
