"""Laws of the noise schedule and of the loss."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from xforecast.errors import InvalidOption
from xforecast.models import NoiseSchedule
from xforecast.models.prediff.schedule import SCHEDULES, DiffusionLoss

SCHEDULE = NoiseSchedule()


@pytest.mark.parametrize("kind", SCHEDULES)
@pytest.mark.parametrize("steps", [1, 5, 1000])
def test_noise_only_grows(kind, steps):
    schedule = NoiseSchedule(kind, steps=steps)
    kept = schedule.alphas_cumprod
    assert ((schedule.betas > 0) & (schedule.betas < 1)).all()
    assert (np.diff(kept) < 0).all()
    assert kept[0] < 1
    assert (kept > 0).all()
    assert (schedule.posterior_variance >= 0).all()
    assert (schedule.posterior_variance <= schedule.betas).all()
    assert np.isfinite(schedule.guidance_factor).all()


def test_largest_variance_is_beta():
    large = NoiseSchedule(large_variance=1.0)
    np.testing.assert_allclose(large.posterior_variance, large.betas, rtol=1e-12)


@given(st.lists(st.integers(0, 999), min_size=1, max_size=4), st.integers(0, 2**31))
def test_adding_noise_can_be_undone(steps, seed):
    draw = torch.Generator().manual_seed(seed)
    clean, noise = (torch.randn(len(steps), 2, 3, generator=draw, dtype=torch.float64) for _ in range(2))
    t = torch.tensor(steps)
    z = SCHEDULE.add_noise(clean, t, noise)
    torch.testing.assert_close(SCHEDULE.predict_clean(z, t, noise), clean)
    torch.testing.assert_close(SCHEDULE.predict_noise(z, t, clean), noise)


def test_posterior_is_that_of_the_two_steps():
    """Bayes: z_{t-1} given z_0, and z_t given z_{t-1}, both normal."""
    t = 300
    beta, before = SCHEDULE.betas[t], SCHEDULE.alphas_cumprod_prev[t]
    precision = 1 / (1 - before) + (1 - beta) / beta
    of_clean, of_noisy = (table[t] for table in SCHEDULE.posterior_mean_coefficients)
    assert SCHEDULE.posterior_variance[t] == pytest.approx(1 / precision)
    assert of_clean == pytest.approx(math.sqrt(before) / (1 - before) / precision)
    assert of_noisy == pytest.approx(math.sqrt(1 - beta) / beta / precision)


def test_schedule_is_data():
    assert NoiseSchedule.from_dict(NoiseSchedule("cosine", steps=10).to_dict()) == NoiseSchedule("cosine", steps=10)
    schedule = NoiseSchedule()
    assert schedule.betas is schedule.betas
    assert hash(schedule) == hash(NoiseSchedule())


@pytest.mark.parametrize(
    "options",
    [{"kind": "quadratic"}, {"steps": 0}, {"first_beta": 0.0}, {"last_beta": 1e-5}, {"large_variance": 2.0}],
)
def test_impossible_schedules_are_refused(options):
    with pytest.raises(InvalidOption):
        NoiseSchedule(**options)


def test_weighted_error_counts_what_has_weight():
    predicted, target = torch.ones(2, 1, 2, 2, 3), torch.zeros(2, 1, 2, 2, 3)
    target[:, :, 0] = -1
    weight = torch.zeros(1, 1, 2, 2, 1)
    weight[:, :, 0] = 5
    assert DiffusionLoss().error(predicted, target).tolist() == [2.5, 2.5]
    assert DiffusionLoss().error(predicted, target, weight).tolist() == [4.0, 4.0]
    assert DiffusionLoss("l1").error(predicted, target, weight).tolist() == [2.0, 2.0]
    assert DiffusionLoss().error(predicted, target, 0 * weight).tolist() == [0.0, 0.0]
