"""Knowledge control: both ways of guidance, and what they do to distributions that are known."""

import math

import pytest
import torch

from xforecast.models import ConserveLast, MeanIntensity, NoiseSchedule, RegionTotal, UpperBound
from xforecast.models.constraints import as_constraint, violation
from xforecast.models.prediff.guidance import DecoderGuidance, NetworkGuidance
from xforecast.models.prediff.samplers import SAMPLERS, sample

SCHEDULE = NoiseSchedule()
SHAPE = (2, 3, 3, 1)  # time, height, width, channel


def noise_like(z, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(z.shape, generator=generator)


# ------------------------------------------------------------------ a normal distribution whose conditionals are known


@pytest.fixture(scope="module")
def normal():
    """Mean and covariance of 18 correlated numbers, and the exact denoiser."""
    draw = torch.Generator().manual_seed(3)
    size = math.prod(SHAPE)
    root = torch.randn(size, size, generator=draw, dtype=torch.float64) / size**0.5 + 0.3
    covariance, mean = (
        root @ root.T + 0.05 * torch.eye(size),
        torch.linspace(-1, 1, size, dtype=torch.float64),
    )
    values, vectors = torch.linalg.eigh(covariance)

    def denoise(z, t):
        kept = float(SCHEDULE.alphas_cumprod[t])
        deviation = (z.flatten(1) - math.sqrt(kept) * mean) @ vectors / (kept * values + 1 - kept)
        return (math.sqrt(1 - kept) * deviation @ vectors.T).reshape(z.shape)

    return mean, covariance, denoise


def start(count):
    return torch.randn(count, *SHAPE, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


@pytest.mark.parametrize(("sampler", "steps"), [("dpm++", 40), ("ddpm", 500), ("dpm++sde", 150)])
def test_samples_are_those_of_the_distribution_given_the_constraint(normal, sampler, steps):
    mean, covariance, denoise = normal
    target = 1.5
    guided = DecoderGuidance(denoise, SCHEDULE, MeanIntensity(target).residual)
    z = start(4_000)
    draw = torch.Generator().manual_seed(5)
    noise = lambda: torch.randn(z.shape, generator=draw, dtype=z.dtype)  # noqa: E731
    found = sample(guided, z, SCHEDULE, noise, sampler=sampler, steps=steps).flatten(1)
    a = torch.full_like(mean, 1 / len(mean))
    gain = covariance @ a / (a @ covariance @ a)
    wanted_mean = mean + gain * (target - a @ mean)
    wanted = covariance - torch.outer(gain, covariance @ a)
    assert (found @ a - target).abs().max() < 1e-6
    scale = covariance.diagonal().mean()
    assert (found.mean(0) - wanted_mean).abs().max() < 0.1 * scale.sqrt()
    assert (torch.cov(found.T) - wanted).abs().max() < 0.12 * scale


@pytest.mark.parametrize("through_denoiser", [True, False])
@pytest.mark.parametrize(
    "constraint",
    [
        MeanIntensity(2.0),
        MeanIntensity(torch.tensor([1.0, 2.0]), per_frame=True),
        RegionTotal(torch.eye(3), 10.0),
        UpperBound(0.5),
        ConserveLast(lambda field: field.square().mean(dim=(2, 3, 4)), target=torch.full((50, 1), 2.0)),
        lambda field: field.square().mean(dim=(1, 2, 3, 4)) - 4,
    ],
    ids=["mean", "mean of frames", "total", "bound", "energy", "function"],
)
def test_violation_falls(normal, constraint, through_denoiser):
    _, _, denoise = normal
    residual, z = as_constraint(constraint).residual, start(50)
    without = violation(residual(sample(denoise, z, SCHEDULE, None)))
    guided = DecoderGuidance(denoise, SCHEDULE, residual, through_denoiser=through_denoiser)
    found = violation(residual(sample(guided, z, SCHEDULE, None)))
    assert found.mean() < 0.1 * without.mean()
    assert torch.isfinite(found).all()
    assert len(guided.trace) == SAMPLERS["dpm++"].steps


def test_stronger_pulls_harder(normal):
    _, _, denoise = normal
    residual, z = MeanIntensity(3.0).residual, start(50)
    found = [
        violation(residual(sample(DecoderGuidance(denoise, SCHEDULE, residual, strength=s), z, SCHEDULE, None))).mean()
        for s in (0.0, 0.02, 0.1, 1.0)
    ]
    assert found == sorted(found, reverse=True)
    assert torch.equal(
        sample(DecoderGuidance(denoise, SCHEDULE, residual, strength=0.0), z, SCHEDULE, None),
        sample(denoise, z, SCHEDULE, None),
    )


def test_units_do_not_matter_through_the_decoder(normal):
    _, _, denoise = normal
    z = start(5)

    def drawn(factor):
        constraint = MeanIntensity(2.0 * factor, to_physical=lambda field: factor * field)
        return sample(DecoderGuidance(denoise, SCHEDULE, constraint.residual), z, SCHEDULE, None)

    torch.testing.assert_close(drawn(1000.0), drawn(1.0), rtol=1e-4, atol=1e-5)


def test_what_obeys_already_is_left_alone(normal):
    _, _, denoise = normal
    z = start(5)
    guided = DecoderGuidance(denoise, SCHEDULE, UpperBound(100.0).residual)
    torch.testing.assert_close(guided(z, 0), denoise(z, 0))


def test_with_a_cap_a_mean_of_exponentials_is_raised_everywhere():
    torch.manual_seed(0)
    z = torch.randn(3, 2, 8, 8, 1)
    z[:, :, 0, 0] = 4.0  # one value is most of the mean
    residual, decode = MeanIntensity(5.0, to_physical=torch.exp).residual, lambda z: 1.0 * z

    def after(cap):
        guided = DecoderGuidance(lambda z, t: torch.zeros_like(z), SCHEDULE, residual, decode, 0.5, cap=cap)
        steps = torch.full((3,), 400)
        before = SCHEDULE.predict_clean(z, steps, torch.zeros_like(z))
        return before, SCHEDULE.predict_clean(z, steps, guided(z, 400))

    before, free = after(None)
    _, capped = after(1.0)
    most = lambda moved: (moved - before).abs().amax(dim=(1, 2, 3, 4))  # noqa: E731
    assert (most(capped) < most(free)).all()
    assert (violation(residual(capped)) < violation(residual(before))).all()


def test_the_decoder_is_seen_through(normal):
    _, _, denoise = normal
    z, target = start(20), 5.0
    guided = DecoderGuidance(denoise, SCHEDULE, MeanIntensity(target).residual, decode=lambda z: torch.exp(z))
    found = sample(guided, z, SCHEDULE, None)
    assert (found.exp().mean(dim=(1, 2, 3, 4)) - target).abs().max() < 0.05 * target


def network_of(normal):
    """The exact expectation of every frame's mean given z_t: what a perfect alignment network says."""
    _, _, denoise = normal

    def network(z, t):
        noise = denoise(z, int(t[0]))
        return MeanIntensity(0.0).functional(SCHEDULE.predict_clean(z, t, noise))

    return network


@pytest.mark.parametrize("sampler", ["ddpm", "dpm++", "ddim"])
def test_network_moves_samples_towards_the_target(normal, sampler):
    _, _, denoise = normal
    z, constraint = start(200), MeanIntensity(1.5)
    draw = torch.Generator().manual_seed(5)
    noise = lambda: torch.randn(z.shape, generator=draw, dtype=z.dtype)  # noqa: E731
    without = sample(denoise, z, SCHEDULE, noise, sampler=sampler, steps=50)
    guided = NetworkGuidance(denoise, SCHEDULE, network_of(normal), constraint.compare, strength=0.5)
    found = sample(guided, z, SCHEDULE, noise, sampler=sampler, steps=50)
    before, after = (violation(constraint.residual(x)).mean() for x in (without, found))
    assert after < 0.7 * before
    assert len(guided.trace) == 50


def test_a_guided_sample_does_not_depend_on_its_batch(normal):
    _, _, denoise = normal
    z, compare = start(3), MeanIntensity(1.5).compare

    def drawn(z, **options):
        return sample(
            NetworkGuidance(denoise, SCHEDULE, network_of(normal), compare, 1.0, **options), z, SCHEDULE, None
        )

    torch.testing.assert_close(drawn(z)[1:2], drawn(z[1:2]))
    assert not torch.allclose(drawn(z, coupled=True)[1:2], drawn(z[1:2], coupled=True))
    residual = MeanIntensity(1.5).residual
    together = sample(DecoderGuidance(denoise, SCHEDULE, residual), z, SCHEDULE, None)
    torch.testing.assert_close(
        together[1:2], sample(DecoderGuidance(denoise, SCHEDULE, residual), z[1:2], SCHEDULE, None)
    )
