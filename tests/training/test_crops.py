"""Random crops for training: what may change, and what may not."""

import dataclasses

import numpy as np
import pytest
import torch

from synthetic import radar_spec
from xforecast.errors import TrainingError
from xforecast.training.crops import Crops, coarsened


def drifting(frames: int = 9, size: int = 20) -> np.ndarray:
    """A field whose every frame is brighter than the one before."""
    field = np.random.default_rng(0).gamma(0.5, 2.0, (size, size))
    return (field[None] + 100 * np.arange(frames)[:, None, None]).astype(np.float32)


@pytest.fixture
def crops() -> Crops:
    return Crops([drifting()], radar_spec(), count=40, coarsen=2, calibration=1.25)


def test_a_pair_is_always_the_same_and_pairs_differ(crops):
    assert all(torch.equal(*parts) for parts in zip(crops[3], crops[3], strict=True))
    assert not torch.equal(crops[3][0], crops[4][0])
    assert not torch.equal(crops[3][0], dataclasses.replace(crops, seed=1)[3][0])


def test_shapes_are_those_of_the_spec(crops):
    x, y = crops[0]
    assert x.shape == crops.spec.input_shape
    assert y.shape == crops.spec.target_shape
    assert x.dtype == y.dtype == torch.float32


def test_time_is_never_reversed(crops):
    for index in range(len(crops)):
        means = torch.cat(crops[index]).mean(dim=(1, 2, 3))
        assert (means.diff() > 0).all()


def test_all_frames_are_turned_and_scaled_alike(crops):
    ratios = []
    for index in range(len(crops)):
        frames = torch.cat(crops[index])[..., 0]
        first, last = frames[0], frames[-1]
        ratios.append(float((last - first).mean()) / 400)
        assert float((last - first).std()) < 1e-3
    assert min(ratios) >= 0.799
    assert max(ratios) <= 1.251
    assert max(ratios) - min(ratios) > 0.2


def test_every_orientation_occurs():
    ramp = np.broadcast_to(np.arange(12.0)[:, None] + 100 * np.arange(12.0), (9, 12, 12)).astype(np.float32)
    crops = Crops([ramp], radar_spec(size=12), count=60)
    corners = {
        tuple(np.argsort(crops[index][0][0, [0, 0, -1, -1], [0, -1, 0, -1], 0].numpy()).tolist()) for index in range(60)
    }
    assert len(corners) == 8


def test_what_is_missing_is_dry_in_the_history_and_missing_in_the_future():
    values = drifting()
    values[:, :3] = np.nan
    crops = Crops([values], radar_spec(), count=30, coarsen=2, coverage=0.5)
    pairs = [crops[index] for index in range(30)]
    assert all(x.isfinite().all() for x, _ in pairs)
    assert any(y.isnan().any() for _, y in pairs)
    full = dataclasses.replace(crops, coverage=1.0)
    assert all(full[index][1].isfinite().all() for index in range(30))


def test_sequences_that_cannot_give_a_pair_are_told():
    with pytest.raises(TrainingError, match="4 frames, wanted at least 5"):
        Crops([drifting(4)], radar_spec(), count=1)
    with pytest.raises(TrainingError, match="coverage"):
        Crops([np.full((9, 20, 20), np.nan, np.float32)], radar_spec(), count=1)[0]


def test_a_square_is_missing_where_a_cell_is():
    values = np.arange(32.0).reshape(2, 4, 4)
    values[0, 0, 0] = np.nan
    means = coarsened(values, 2)
    assert means.shape == (2, 2, 2)
    assert np.isnan(means).sum() == 1
    assert means[1].mean() == values[1].mean()
