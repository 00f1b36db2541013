"""Samplers and steps: laws, distributions whose score is known, and the schedulers of diffusers."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xforecast.errors import InvalidOption
from xforecast.models import NoiseSchedule
from xforecast.models.prediff.samplers import SAMPLERS, ddim, dpm_solver, sample, sample_noise, spaced_steps

MEAN = torch.tensor([2.0, -1.0, 0.5])
VARIANCE = torch.tensor([4.0, 1.0, 0.25])
SCHEDULE = NoiseSchedule()


def normal(z, t, schedule=SCHEDULE):
    """The exact denoiser of a normal distribution, independent in each place."""
    kept = float(schedule.alphas_cumprod[t])
    return math.sqrt(1 - kept) * (z - math.sqrt(kept) * MEAN) / (kept * VARIANCE + 1 - kept)


def noise_like(z, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(z.shape, generator=generator)


def generators(*seeds):
    return [torch.Generator().manual_seed(seed) for seed in seeds]


# ------------------------------------------------------------------ steps


@given(st.integers(1, 300), st.data(), st.sampled_from(["trailing", "linspace", "leading"]))
def test_steps_fall_and_are_of_the_schedule(total, data, spacing):
    count = data.draw(st.integers(1, total))
    steps = spaced_steps(count, total, spacing)
    assert all(a > b for a, b in pairwise(steps))
    assert steps[-1] >= 0
    assert len(steps) == count
    if spacing != "leading":
        assert steps[0] == total - 1


@pytest.mark.parametrize(("count", "total"), [(0, 10), (11, 10), (2.5, 10)])
def test_impossible_numbers_of_steps_are_refused(count, total):
    with pytest.raises(InvalidOption, match="steps"):
        spaced_steps(count, total)


# ------------------------------------------------------------------ known distributions


@pytest.mark.parametrize("steps", [1, 3, 7, 20, 999, 1000])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_one_possible_answer_is_found_in_any_number_of_steps(sampler, steps):
    answer = torch.tensor([[3.0, -2.0]])

    def denoise(z, t):
        kept = float(SCHEDULE.alphas_cumprod[t])
        return (z - math.sqrt(kept) * answer) / math.sqrt(1 - kept)

    start = torch.tensor([[0.3, 1.5]])
    found = sample(denoise, start, SCHEDULE, noise_like(start), sampler=sampler, steps=steps)
    torch.testing.assert_close(found, answer, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize(
    ("sampler", "steps", "off"),
    [
        ("ddpm", 1000, 0.03),
        ("ddim", 200, 0.03),
        ("dpm++", 30, 0.03),
        ("dpm++sde", 100, 0.05),
        ("dpm++", 100, 0.02),
    ],
)
def test_normal_distribution_is_sampled(sampler, steps, off):
    kept = float(SCHEDULE.alphas_cumprod[-1])  # not quite zero, so that the start is not quite standard normal
    start = torch.randn(20_000, 3, generator=torch.Generator().manual_seed(1))
    start = math.sqrt(kept) * MEAN + (kept * VARIANCE + 1 - kept).sqrt() * start
    found = sample(normal, start, SCHEDULE, noise_like(start), sampler=sampler, steps=steps)
    deviation = VARIANCE.sqrt()
    assert ((found.mean(0) - MEAN).abs() < off * deviation + 0.01).all()
    assert ((found.std(0) / deviation - 1).abs() < off).all()
    assert (torch.corrcoef(found.T) - torch.eye(3)).abs().max() < 0.04


@pytest.mark.parametrize("large_variance", [0.0, 1.0])
def test_either_variance_samples_in_many_steps(large_variance):
    schedule = NoiseSchedule(large_variance=large_variance)
    start = torch.randn(5_000, 3, generator=torch.Generator().manual_seed(1))
    found = sample(normal, start, schedule, noise_like(start), sampler="ddpm")
    assert ((found.std(0)[:2] / VARIANCE.sqrt()[:2] - 1).abs() < 0.05).all()


@pytest.mark.parametrize(("solve", "order"), [(ddim, 1), (dpm_solver, 2)])
def test_error_falls_with_the_order_of_the_solver(solve, order):
    """The flow of a normal distribution is known: it scales deviations from the mean."""
    start = torch.tensor([[1.0, -0.5, 2.0]], dtype=torch.float64)

    def flow(first):
        kept = float(SCHEDULE.alphas_cumprod[first])
        spread = (VARIANCE / (kept * VARIANCE + 1 - kept)).sqrt()
        return MEAN + spread * (start - math.sqrt(kept) * MEAN)

    def error(count):
        # Equal steps in the logarithm of signal to noise, between steps where it is smooth.
        snr = np.log(SCHEDULE.alphas_cumprod / (1 - SCHEDULE.alphas_cumprod))
        line = np.linspace(snr[900], snr[20], count + 1)
        steps = [int(np.abs(snr - value).argmin()) for value in line]
        *_, before_last, _ = solve(normal, start, SCHEDULE, steps, noise=None)
        kept = float(SCHEDULE.alphas_cumprod[steps[-1]])
        spread = ((kept * VARIANCE + 1 - kept) / VARIANCE).sqrt()
        wanted = math.sqrt(kept) * MEAN + spread * (flow(steps[0]) - MEAN)
        return (before_last - wanted).abs().max().item()

    ratio = error(10) / error(40)
    assert ratio > 0.5 * 4**order


def test_no_new_noise_means_no_randomness():
    start = torch.randn(4, 3)
    for sampler in ("ddim", "dpm++"):
        first, second = (sample(normal, start, SCHEDULE, None, sampler=sampler, steps=9) for _ in range(2))
        assert torch.equal(first, second)


def test_share_of_new_noise_connects_the_samplers():
    start = torch.randn(4, 3)

    def drawn(sampler, **options):
        return sample(normal, start, SCHEDULE, noise_like(start), sampler=sampler, **{"steps": 20, **options})

    assert torch.equal(drawn("ddim", eta=1.0), drawn("ddpm"))
    assert torch.equal(drawn("dpm++", eta=1.0), drawn("dpm++sde", steps=20))
    assert not torch.allclose(drawn("ddim", eta=0.5), drawn("ddim"))


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_sample_does_not_depend_on_its_batch(sampler):
    def drawn(*seeds):
        noise = sample_noise(generators(*seeds), (3,))
        return sample(normal, noise(), SCHEDULE, noise, sampler=sampler, steps=12)

    together = drawn(7, 8, 9)
    torch.testing.assert_close(drawn(9), together[2:], rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(drawn(9, 7), together[[2, 0]], rtol=1e-6, atol=1e-6)
    assert not torch.allclose(together[0], together[1])


def test_default_steps_fit_a_short_schedule():
    short = NoiseSchedule(steps=5)
    calls = []

    def denoise(z, t):
        calls.append(t)
        return torch.zeros_like(z)

    sample(denoise, torch.zeros(1, 3), short, None)
    assert calls == [4, 3, 2, 1, 0]


@pytest.mark.parametrize("options", [{"sampler": "dpm"}, {"eta": 1.5}, {"steps": 1001}, {"steps": -1}])
def test_impossible_options_are_refused(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        sample(normal, torch.zeros(1, 3), SCHEDULE, None, **options)


# ------------------------------------------------------------------ another implementation

DIFFUSERS = {
    "ddim": ("DDIMScheduler", {"clip_sample": False, "timestep_spacing": "trailing"}, [10, 25, 100]),
    "dpm++": (
        "DPMSolverMultistepScheduler",
        {"timestep_spacing": "linspace", "final_sigmas_type": "zero"},
        [5, 17, 20],
    ),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("sampler", "steps"), [(name, n) for name, (*_, counts) in DIFFUSERS.items() for n in counts])
def test_same_as_the_schedulers_of_diffusers(sampler, steps):
    diffusers = pytest.importorskip("diffusers")
    kind, options, _ = DIFFUSERS[sampler]
    scheduler = getattr(diffusers, kind)(trained_betas=SCHEDULE.betas, prediction_type="epsilon", **options)
    scheduler.set_timesteps(steps)
    start = torch.randn(2, 3)
    z = start
    for t in scheduler.timesteps:
        z = scheduler.step(normal(z, int(t)), t, z).prev_sample
    found = sample(normal, start, SCHEDULE, None, sampler=sampler, steps=steps)
    torch.testing.assert_close(found, z, rtol=1e-4, atol=1e-4)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_same_noise_as_in_diffusers():
    diffusers = pytest.importorskip("diffusers")
    options = {
        "algorithm_type": "sde-dpmsolver++",
        "timestep_spacing": "linspace",
        "final_sigmas_type": "zero",
    }
    scheduler = diffusers.DPMSolverMultistepScheduler(trained_betas=SCHEDULE.betas, **options)
    scheduler.set_timesteps(15)
    start = torch.randn(2, 3)
    z, noise = start, noise_like(start)
    for t in scheduler.timesteps:
        z = scheduler.step(normal(z, int(t)), t, z, variance_noise=noise()).prev_sample
    found = sample(normal, start, SCHEDULE, noise_like(start), sampler="dpm++sde", steps=15)
    torch.testing.assert_close(found, z, rtol=1e-4, atol=1e-4)
