"""Networks that learn the expectation of a teacher."""

import numpy as np
import pytest
import torch
from torch import nn

from xforecast.models.contract import weighted_mse
from xforecast.training.imitation import Imitation, lead_weights
from xforecast.training.loop import train
from xforecast.training.options import TrainingOptions


class Decay(nn.Module):
    """Halves from lead to lead."""

    def forward(self, x):
        return torch.cat([x[:, -1:, ..., :1] * 0.5**lead for lead in (1, 2)], dim=1)


class Student(nn.Module):
    """One factor for each lead."""

    def __init__(self):
        super().__init__()
        self.factors = nn.Parameter(torch.zeros(2, 1, 1, 1))

    def forward(self, x):
        return x[:, -1:, ..., :1] * self.factors

    def loss(self, x, y, weight=None):
        return weighted_mse(self(x), y, weight)


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    series = torch.randn(3, 30, 2, 2, 1, generator=generator)
    observed = torch.randn(5, 4, 2, 2, 1, generator=generator) + 100
    return Imitation(Decay(), series, observed, torch.tensor([[True, True], [True, False]]), 64, share=0.5, noise=0.0)


def test_the_target_is_what_the_teacher_makes_of_that_very_history(pairs):
    for x, y in (pairs[index] for index in range(8)):
        torch.testing.assert_close(y, Decay()(x[None])[0])


def test_a_pair_depends_on_the_seed_and_its_number_alone(pairs):
    alone, together = pairs[7], pairs.__getitems__([3, 7])[1]
    torch.testing.assert_close(alone, together)
    other = Imitation(**{**vars(pairs), "seed": 1})
    assert any((pairs[k][0] != other[k][0]).any() for k in range(4))


def test_the_share_of_observed_histories_is_as_asked(pairs):
    observed = sum(float(pairs[index][0].mean()) > 50 for index in range(64))
    assert 20 <= observed <= 44
    none = Imitation(**{**vars(pairs), "share": 0.0})
    assert not any(float(none[index][0].mean()) > 50 for index in range(64))


def test_noise_falls_on_cells_with_values_only(pairs):
    quiet, noisy = pairs, Imitation(**{**vars(pairs), "noise": 1.0})
    changed = torch.stack([(quiet[k][0] != noisy[k][0]).float() for k in range(8)]).mean(dim=(0, 1))
    np.testing.assert_array_equal(changed[..., 0], [[1, 1], [1, 0]])


def test_lead_weights_make_leads_count_alike(pairs):
    weights = lead_weights(pairs, torch.ones(2, 2))
    assert weights.shape == (2, 1, 1, 1)
    assert weights.mean().item() == pytest.approx(1.0)
    assert (weights[1] / weights[0]).item() == pytest.approx(4.0)


def test_a_student_learns_its_teacher(pairs, tmp_path):
    student = Student()
    options = TrainingOptions(steps=300, batch_size=16, learning_rate=0.05, weight_decay=0.0)
    train(student, pairs, None, torch.ones(1), options, folder=tmp_path, progress=False)
    np.testing.assert_allclose(student.factors.detach().flatten(), [0.5, 0.25], atol=0.01)
