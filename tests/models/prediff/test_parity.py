"""The networks, the diffusion and the guidance of the original PreDiff, number by number."""

import math

import numpy as np
import official_prediff as official
import pytest
import torch
from official_prediff import difference, tensors, video
from safetensors.torch import load_file
from torch.optim.swa_utils import AveragedModel

from xforecast.models import Autoencoder, MeanIntensity, NoiseSchedule, PreDiff, PreDiffConfig, compat
from xforecast.models.blocks.tiling import Tiles
from xforecast.models.contract import load_strictly
from xforecast.models.prediff.adversary import PatchDiscriminator, adaptive_weight
from xforecast.models.prediff.autoencoder import Posterior
from xforecast.models.prediff.guidance import NetworkGuidance
from xforecast.models.prediff.latent import ResidualBlock, TimeEmbedding, sinusoid
from xforecast.models.prediff.samplers import ddim, dpm_solver, spaced_steps
from xforecast.models.prediff.schedule import DiffusionLoss, warming_average

UNETS = [
    "unet_a_axial",
    "unet_b_global_separate",
    "unet_c_global_shared",
    "unet_e_swin_nearest",
    "unet_g_mid_recipe",
]
SINGLE, CHAIN = 1e-5, 5e-5
big = pytest.mark.skipif(official.PARITY is None, reason="needs the folder of official numbers in XFORECAST_PARITY")


@pytest.fixture(autouse=True)
def _no_grad():
    with torch.no_grad():
        yield


@pytest.fixture(scope="module")
def denoiser():
    return official.network("unet_a_axial")


@pytest.fixture(scope="module")
def alignment():
    return official.network("align_a")


@pytest.fixture(scope="module")
def autoencoder():
    return official.network("vae_a")


def by_official_name(model, kind, values):
    """Values, one for each parameter of ours, by the name of the official parameter with underscores for dots."""
    names = (compat.official_name(name, kind).replace(".", "_") for name, _ in model.named_parameters())
    return dict(zip(names, values, strict=True))


def stored_gradients(case):
    """Gradients of a case by parameter."""
    found = {key.removeprefix("grad_"): value for key, value in case.items() if key.startswith("grad_")}
    assert found
    return found


# ------------------------------------------------------------------ autoencoder


def test_autoencoder(autoencoder):
    case = {name: video(value) if value.ndim == 4 else value for name, value in tensors("vae_a").items()}
    posterior = autoencoder.encode(case["x"])
    assert difference(torch.cat([posterior.mean, posterior.logvar], -1), case["moments"]) < SINGLE
    assert difference(posterior.mean, case["mean"]) < SINGLE
    assert difference(posterior.logvar, case["logvar_clamped"]) < SINGLE
    assert difference(posterior.std, case["std"]) < SINGLE
    assert difference(posterior.kl(), case["kl"]) < SINGLE
    assert difference(posterior.mean + posterior.std * case["noise"], case["z_sample"]) < SINGLE
    assert difference(-posterior.distribution().log_prob(case["z_sample"]), case["nll_of_z"]) < CHAIN
    assert difference(autoencoder(case["x"]), case["reconstruction_from_mode"]) < SINGLE
    assert difference(autoencoder.decode(case["z_in"]), case["decoded_z_in"]) < SINGLE


def test_autoencoder_takes_newer_names(autoencoder):
    state = official.state_of("prediff-vae", official.arguments("vae_a"))
    newer = {theirs: ours for ours, theirs in compat.prediff.NEWER_ATTENTION_KEYS.items()}
    renamed = {}
    for name, value in state.items():
        *front, part, last = name.split(".")
        attention = ".attentions.0" in name and part in newer
        renamed[".".join([*front, newer[part] if attention else part, last])] = value
    assert len(set(renamed) - set(state)) == 16
    prefixed = {f"first_stage_model.{name}": value for name, value in renamed.items()} | {"torch_nn_module.x": value}
    other = compat.from_official("prediff-vae", official.arguments("vae_a"), prefixed)
    x = video(tensors("vae_a")["x"])
    assert torch.equal(other(x), autoencoder(x))


@big
def test_released_autoencoder():
    case, model = tensors("vae_full_recipe"), official.network("vae_full_recipe")
    posterior = model.encode(video(case["x"]), chunk=1)
    assert difference(torch.cat([posterior.mean, posterior.logvar], -1), video(case["moments"])) < SINGLE
    assert difference(model.decode(video(case["z"])), video(case["decoded"])) < SINGLE


def test_posterior():
    case = {name: video(value) if value.ndim == 4 else value for name, value in tensors("gaussian").items()}
    posterior = Posterior.of_moments(case["params"])
    for name, value in {"mean": posterior.mean, "logvar": posterior.logvar, "std": posterior.std}.items():
        assert difference(value, case[name]) < SINGLE
    assert difference(posterior.kl(), case["kl_std_normal"]) < SINGLE
    first, second = (Posterior.of_moments(case[name]) for name in ("q_params", "q2_params"))
    assert difference(first.kl(), case["q_kl_std_normal"]) < SINGLE
    between = torch.distributions.kl_divergence(first.distribution(), second.distribution())
    assert difference(between, case["q_kl_q2"]) < SINGLE
    assert difference(-first.distribution().log_prob(case["sample_x"]), case["q_nll"]) < SINGLE


@pytest.mark.parametrize("mode", ["eval", "train"])
def test_adversary(autoencoder, mode):
    case, scores = tensors("vae_loss"), official.expected("vae_loss")
    x, noise = video(case["x"]), video(case["noise"])

    def discriminator():
        model = PatchDiscriminator(1)
        state = {
            name: value if name.endswith(("running_mean", "running_var", "num_batches_tracked"))
            else official.made(name, tuple(value.shape), "disc.")
            for name, value in model.state_dict().items()
        }  # fmt: skip
        model.load_state_dict(state)
        return model.train(mode == "train")

    with torch.enable_grad():
        model = Autoencoder(autoencoder.config)
        model.load_state_dict(autoencoder.state_dict())
        posterior = model.encode(x)
        made = model.decode(posterior.mean + posterior.std * noise)
        error, divergence = model.loss_terms(made, x, posterior)
        adversary = discriminator()
        fooled = adversary.fooled(made)
        weight = 0.5 * adaptive_weight(error, fooled, model.decoder.head.convolution.weight)
        total = error + 1e-6 * divergence + weight * fooled
        total.backward()
    assert all(parameter.grad is None for parameter in adversary.parameters())
    assert difference(made, video(case["reconstruction"])) < SINGLE
    found = {
        "nll_loss": error,
        "kl_loss": divergence,
        "g_loss": fooled,
        "d_weight": weight,
        "total_loss": total,
    }
    wanted = scores[f"{mode}/step50001/opt0"]
    for name, value in found.items():
        # The factor is a ratio of gradients that differ by orders of magnitude.
        assert value.item() == pytest.approx(wanted[f"s/{name}"], rel=1e-4), name
    before = scores[f"{mode}/step0/opt0"]["s/total_loss"]
    assert (error + 1e-6 * divergence).item() == pytest.approx(before, rel=1e-5)
    of_adversary = discriminator().loss(x, made).item()
    assert of_adversary == pytest.approx(scores[f"{mode}/step50001/opt1"]["s/disc_loss"], rel=1e-5)
    found = by_official_name(model, "prediff-vae", [parameter.grad for parameter in model.parameters()])
    for key, wanted in stored_gradients(case).items():
        if mode == "train":
            assert difference(found[key], wanted) < 1e-4, key


# ------------------------------------------------------------------ networks of the latent


def test_time_embedding():
    case = tensors("time_embed")
    for channels in (8, 17, 128, 256):
        # At step 999 an angle has an error of a unit in the last place of the exponential.
        assert difference(sinusoid(case["t"], channels), case[f"sinusoid_{channels}"]) < CHAIN
    model = TimeEmbedding(16, 64)
    rename = dict(
        zip(
            model.state_dict(),
            ("layer.0.weight", "layer.0.bias", "layer.2.weight", "layer.2.bias"),
            strict=True,
        )
    )
    load_strictly(
        model,
        {k: official.made(k, tuple(model.state_dict()[n].shape)) for n, k in rename.items()},
        rename=rename.get,
    )
    assert difference(model(case["t"]), case["layer_out_16_64"]) < SINGLE


@pytest.mark.parametrize("name", ["proj", "add", "grp"])
def test_residual_block(name):
    case, options = tensors("time_embed"), official.config("time_embed")[name]
    model = ResidualBlock(
        options["channels"],
        options["out_channels"],
        time_channels=options["emb_channels"] if options["use_embed"] else None,
        scales=options["use_scale_shift_norm"],
    )
    flat = options["dims"] == 2

    def weight(key, shape):
        if not flat or len(shape) < 5:
            return official.made(key, shape, f"resblock_{name}.")
        value = torch.zeros(shape)  # a convolution of one frame
        value[:, :, shape[2] // 2] = official.made(key, (*shape[:2], *shape[3:]), f"resblock_{name}.")
        return value

    def rename(key):
        return compat.official_name(key, "prediff-unet")

    load_strictly(
        model,
        {rename(k): weight(rename(k), tuple(v.shape)) for k, v in model.state_dict().items()},
        rename=rename,
    )
    x, y = case[f"resblock_{name}.x"], case[f"resblock_{name}.y"]
    x, y = (value[:, :, None] if flat else value for value in (x, y))
    assert difference(model(video(x), case["emb"]), video(y)) < SINGLE


@pytest.mark.parametrize("name", UNETS)
def test_denoiser(name):
    case = tensors(name)
    assert difference(official.network(name)(case["x"], case["t"], case["cond"]), case["out"]) < SINGLE


@big
def test_released_denoiser():
    case = tensors("unet_full_recipe")
    assert difference(official.network("unet_full_recipe")(case["x"], case["t"], case["cond"]), case["out"]) < SINGLE


def test_gradients_of_the_denoiser(denoiser):
    case, wanted = tensors("unet_a_axial"), load_file(official.DATA / "unet_a_axial.grads.io.safetensors")
    inputs = {name: case[name].clone().requires_grad_() for name in ("x", "cond")}
    with torch.enable_grad():
        loss = (denoiser(inputs["x"], case["t"], inputs["cond"]) * wanted["loss_weight"]).mean()
        found = torch.autograd.grad(loss, [*inputs.values(), *denoiser.parameters()])
    assert loss.item() == pytest.approx(wanted["loss"].item(), rel=1e-5)
    names = [
        *inputs,
        *(compat.official_name(name, "prediff-unet") for name, _ in denoiser.named_parameters()),
    ]
    wanted = {name: wanted[f"grad_{name}" if name in inputs else f"grad/{name}"] for name in names}
    largest = max(value.abs().max() for value in wanted.values())
    for name, gradient in zip(names, found, strict=True):
        error = (gradient - wanted[name]).abs().max()  # a bias before a normalisation has a gradient of zero
        assert error < CHAIN * wanted[name].abs().max() + 1e-6 * largest, name


def shift(network, z, t, target, *, coupled=True, scale=50.0):
    guided = NetworkGuidance(
        None,
        NoiseSchedule(),
        lambda z, _: network(z, t),
        MeanIntensity(target).compare,
        scale,
        coupled=coupled,
    )
    return guided.shift(z, 0), guided.trace[0]


@pytest.mark.parametrize("name", ["align_a", "align_c_noseq"])
def test_alignment(name):
    case = tensors(name)
    assert difference(official.network(name)(case["zt"], case["t"]), case["out"]) < SINGLE


def test_shift_by_alignment(alignment):
    case = tensors("align_a")
    z, t, target = case["zt"], case["t"], case["avg_x_gt"]
    found, distance = shift(alignment, z, t, target)
    assert distance.norm().item() == pytest.approx(case["objective_norm"].item(), rel=1e-5)
    assert difference(found, case["mean_shift"]) < CHAIN
    assert difference(shift(alignment, z, t, 0.5)[0], case["mean_shift_float_target_0p5"]) < CHAIN
    for coupled in (True, False):  # the same for one sample
        alone, _ = shift(alignment, z[:1], t[:1], target[:1], coupled=coupled)
        assert difference(alone, case["mean_shift_first_sample_alone"]) < CHAIN
    by_sample, _ = shift(alignment, z, t, target, coupled=False)
    assert difference(by_sample[:1], case["mean_shift_first_sample_alone"]) < CHAIN


@big
def test_released_alignment():
    case, model = tensors("align_full_recipe"), official.network("align_full_recipe")
    assert difference(model(case["zt"], case["t"]), case["out"]) < SINGLE
    assert difference(shift(model, case["zt"], case["t"], case["avg_x_gt"])[0], case["mean_shift"]) < CHAIN


def test_what_the_alignment_learns(alignment):
    case = tensors("align_objective")
    assert difference(MeanIntensity(0.0).functional(case["x"]), case["avg"]) < SINGLE
    case = tensors("align_loss")
    target = MeanIntensity(0.0).functional(case["x_pixels"])
    assert difference(target, case["target"]) < SINGLE
    assert difference(alignment(case["zt"], case["t"]), case["pred"]) < SINGLE
    assert alignment.loss(case["zt"], case["t"], target).item() == pytest.approx(case["loss_l2"].item(), rel=1e-5)


# ------------------------------------------------------------------ diffusion

SCHEDULES = {
    "linear_1000": NoiseSchedule(),
    "linear_50": NoiseSchedule(steps=50),
    "linear_5": NoiseSchedule(steps=5),
    "cosine_1000": NoiseSchedule("cosine"),
    "sqrt_linear_1000": NoiseSchedule("linear"),
    "sqrt_1000": NoiseSchedule("sqrt"),
    "linear_1000_vpost0p3": NoiseSchedule(large_variance=0.3),
    "linear_1000_x0": NoiseSchedule(),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(name):
    case, schedule = tensors("schedule"), SCHEDULES[name]
    kept = schedule.alphas_cumprod
    tables = {
        "betas": schedule.betas,
        "alphas_cumprod": kept,
        "alphas_cumprod_prev": schedule.alphas_cumprod_prev,
        "sqrt_alphas_cumprod": np.sqrt(kept),
        "sqrt_one_minus_alphas_cumprod": np.sqrt(1 - kept),
        "log_one_minus_alphas_cumprod": np.log(1 - kept),
        "sqrt_recip_alphas_cumprod": np.sqrt(1 / kept),
        "sqrt_recipm1_alphas_cumprod": np.sqrt(1 / kept - 1),
        "posterior_variance": schedule.posterior_variance,
        "posterior_log_variance_clipped": schedule.posterior_log_variance,
        "posterior_mean_coef1": schedule.posterior_mean_coefficients[0],
        "posterior_mean_coef2": schedule.posterior_mean_coefficients[1],
    }
    for table, values in tables.items():
        np.testing.assert_allclose(values, case[f"{name}/{table}"], rtol=2e-7, atol=1e-38, err_msg=table)
    weights = schedule.bound_weights("clean" if name.endswith("x0") else "noise")
    np.testing.assert_allclose(weights, case[f"{name}/lvlb_weights"], rtol=5e-4)  # made in float32
    if name in tensors("schedule_f64"):
        np.testing.assert_allclose(schedule.betas, tensors("schedule_f64")[name], rtol=1e-11)


def test_one_ancestral_step(denoiser, alignment):
    case, schedule = tensors("p_sample"), NoiseSchedule()
    z, t, context, noise = (case[name] for name in ("zt", "t", "zc", "noise"))
    eps = denoiser(z, t, context)
    assert difference(eps, case["eps"]) < SINGLE
    assert difference(schedule.predict_clean(z, t, eps), case["z_recon"]) < SINGLE

    def step(eps, noise):
        rows = []
        for row, step in enumerate(t.tolist()):
            steps = [step, step - 1] if step else [0]
            solve = ddim(
                lambda z, t, row=row: eps[row : row + 1],
                z[row : row + 1],
                schedule,
                steps,
                lambda row=row: noise[row],
                1.0,
            )
            rows.append(next(solve))
        return torch.cat(rows)

    silent = torch.zeros_like(noise)
    assert difference(step(eps, silent), case["model_mean"]) < SINGLE
    assert difference(step(eps, noise), case["sample"]) < SINGLE
    assert difference(step(eps, 0.5 * noise), case["sample_temperature_0p5"]) < SINGLE
    clipped = schedule.predict_clean(z, t, eps).clamp(-1, 1)
    assert difference(clipped, case["z_recon_clip"]) < 2e-4  # clipped after a multiplication by 37
    of_clipped = schedule.predict_noise(z, t, clipped)
    assert difference(step(of_clipped, silent), case["model_mean_clip"]) < SINGLE
    assert difference(step(of_clipped, noise), case["sample_clip"]) < SINGLE
    assert difference(step(schedule.predict_noise(z, t, eps), noise), case["sample_x0_param"]) < SINGLE

    gradient, _ = shift(alignment, z, t, case["avg_x_gt"])
    assert difference(gradient, case["align_gradient"]) < CHAIN
    guided = eps + schedule.at(schedule.guidance_factor, t, z) * gradient
    assert difference(step(guided, silent), case["aligned_mean"]) < SINGLE
    assert difference(step(guided, noise), case["sample_aligned"]) < SINGLE

    assert difference(schedule.add_noise(z, t, noise), case["q_sample"]) < SINGLE
    of_clean, of_noisy = (schedule.at(table, t, z) for table in schedule.posterior_mean_coefficients)
    log_variance = schedule.at(schedule.posterior_log_variance, t, z)
    assert difference(log_variance, case["posterior_log_variance"]) < SINGLE
    assert difference(log_variance, case["q_posterior_logvar"]) < SINGLE
    assert difference(of_clean * z + of_noisy * noise, case["q_posterior_mean"]) < SINGLE


@pytest.mark.parametrize("name", ["chain5_plain", "chain5_aligned", "chain1000_first5_of_schedule"])
def test_from_history_to_forecast(name, autoencoder, denoiser, alignment):
    case, options = tensors(name), official.config(name)
    schedule = NoiseSchedule(steps=options["timesteps"])
    model = PreDiff(PreDiffConfig(autoencoder=autoencoder.config, denoiser=denoiser.config, schedule=schedule))
    model.autoencoder, model.denoiser = autoencoder, denoiser
    context = model.encode(case["y"])
    assert difference(context, case["zc"]) < SINGLE
    denoise = model._denoiser_for(context[:, None], Tiles(denoiser.config.grid, denoiser.config.grid))
    if options["align"]:
        compare = MeanIntensity(case["avg_x_gt"]).compare
        denoise = NetworkGuidance(denoise, schedule, alignment, compare, options["guide_scale"], coupled=True)
    noises = iter(case["noises"])
    latents = list(ddim(denoise, case["x_T"], schedule, [4, 3, 2, 1, 0], lambda: next(noises), 1.0))
    for latent, wanted in zip(latents, case["steps"], strict=True):
        assert difference(latent, wanted) < CHAIN
    assert difference(model.decode(latents[-1]), case["decoded"]) < CHAIN
    shown = [case["x_T"], *latents[::2]]
    for latent, wanted in zip(shown, case["intermediates_decoded"], strict=True):
        assert difference(model.decode(latent), wanted) < CHAIN


@pytest.mark.parametrize("guided", [False, True])
@pytest.mark.parametrize(
    ("name", "solve", "spacing"),
    [
        ("ddim_leading", ddim, "leading"),
        ("ddim_trailing", ddim, "trailing"),
        ("dpmpp_2m", dpm_solver, "linspace"),
    ],
)
def test_few_steps_as_in_diffusers(name, solve, spacing, guided, denoiser, alignment):
    case, schedule = tensors("samplers_diffusers"), NoiseSchedule()
    steps = spaced_steps(10, 1000, spacing)
    assert steps == case[f"{name}/timesteps"].tolist()

    def denoise(z, t):
        return 0.25 * denoiser(z, torch.full((len(z),), t), case["zc"])

    if guided:
        denoise = NetworkGuidance(
            denoise, schedule, alignment, MeanIntensity(case["avg_x_gt"]).compare, 400.0, coupled=True
        )
    *_, found = solve(denoise, case["x_T"], schedule, steps, noise=None)
    assert difference(found, case[f"{name}/{'guided' if guided else 'plain'}"]) < CHAIN


def test_loss_of_the_denoiser(autoencoder, denoiser):
    case = tensors("p_losses")

    def loss(**options):
        config = PreDiffConfig(autoencoder=autoencoder.config, denoiser=denoiser.config, loss=DiffusionLoss(**options))
        model = PreDiff(config)
        model.denoiser = denoiser
        model.logvar.data.copy_(case["logvar"])
        with torch.enable_grad():
            value = model.diffusion_loss(case["z0"], case["zc"], case["t"], case["noise"])
            of_logvar, *gradients = torch.autograd.grad(value, [model.logvar, *denoiser.parameters()])
        return value.item(), by_official_name(denoiser, "prediff-unet", gradients) | {"logvar": of_logvar}

    value, gradients = loss()
    assert value == pytest.approx(case["loss"].item(), rel=1e-5)
    for key, wanted in stored_gradients(case).items():
        assert difference(gradients[key], wanted) < CHAIN, key
    value, *_ = loss(norm="l1", simple_weight=0.7, bound_weight=1e-3)
    assert value == pytest.approx(case["loss_l1_elbo"].item(), rel=1e-5)


def test_average_of_weights():
    case, model = tensors("ema"), torch.nn.Linear(3, 2)
    model.load_state_dict({name: case[f"init/{name}"] for name in ("weight", "bias")})
    averaged = AveragedModel(model, avg_fn=warming_average())
    averaged.n_averaged.fill_(1)  # the initial weights are the first
    for update in range(1, 13):
        model.load_state_dict({name: case[f"step{update}/{name}"] for name in ("weight", "bias")})
        averaged.update_parameters(model)
        for name in ("weight", "bias"):
            assert difference(getattr(averaged.module, name), case[f"step{update}/ema_{name}"]) < SINGLE


def test_guidance_factor_of_the_paper():
    factor = NoiseSchedule().guidance_factor
    wanted = {999: 6.997, 500: 10.745, 100: 7.264, 10: 2.961, 1: 0.987}
    assert {t: round(float(factor[t]), 3) for t in wanted} == wanted
    assert factor.argmax() == 434
    assert math.isclose(factor[0], 0, abs_tol=1e-6)
