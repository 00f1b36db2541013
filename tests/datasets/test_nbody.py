"""N-body MNIST: laws of motion first, then the published numbers."""

from dataclasses import replace
from pathlib import Path

import dask
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file

from xforecast.datasets import NBody, nbody_accelerations, nbody_mnist, nbody_trajectory
from xforecast.datasets.nbody import _crop
from xforecast.errors import DataFileError, InvalidOption

PUBLISHED = load_file(Path(__file__).parents[1] / "data" / "datasets" / "nbody.safetensors")
DIGITS = PUBLISHED["digits_X"].reshape(-1, 28, 28)
DRAWS = {name.removeprefix("replay."): draw for name, draw in PUBLISHED.items() if name.startswith("replay.")}
SMALL = NBody(frames=6, size=16, simulation_size=64, substeps=2, initial_speed=1.5)
FREE = replace(SMALL, gravity=0.0)
WIDE = NBody(simulation_size=4000, maximum_speed=np.inf, frames=20, gravity=0.5)


def square(side=10):
    digit = np.zeros((1, 28, 28), np.uint8)
    digit[0, 5 : 5 + side, 9 : 9 + side] = 255
    return digit


def centres(frames):
    """Of brightness, in (x, y) pixels."""
    weight = frames.sum((-2, -1))
    y, x = np.mgrid[: frames.shape[-2], : frames.shape[-1]]
    return np.stack([(frames * x).sum((-2, -1)) / weight, (frames * y).sum((-2, -1)) / weight], axis=-1)


# ------------------------------------------------------------------ motion


@pytest.mark.parametrize("law", ["r0", "r1", "r2"])
@given(data=st.data())
@settings(max_examples=20, deadline=None)
def test_attraction_is_mutual_and_the_same_everywhere(law, data):
    place = st.floats(0, 100)
    positions = np.array(data.draw(st.lists(st.tuples(place, place), min_size=2, max_size=5)))
    world = NBody(law=law)
    pull = nbody_accelerations(positions, world)
    np.testing.assert_allclose(pull.sum(0), 0, atol=1e-12)
    np.testing.assert_allclose(nbody_accelerations(positions + 7, world), pull, atol=1e-12)
    np.testing.assert_allclose(nbody_accelerations(positions[::-1], world), pull[::-1], atol=1e-12)


def test_two_bodies_by_hand():
    """At distance 30 with softening 40 the softened distance is 50."""
    positions = np.array([[0.0, 0.0], [30.0, 0.0]])
    for law, power in (("r0", 1), ("r1", 2), ("r2", 3)):
        pull = nbody_accelerations(positions, NBody(law=law, softening=40.0, gravity=2.0))
        np.testing.assert_allclose(pull, [[60 / 50**power, 0], [-60 / 50**power, 0]])


def test_bodies_at_one_place_do_not_pull():
    assert (nbody_accelerations(np.zeros((3, 2)), NBody(softening=0.0)) == 0).all()


def test_without_attraction_digits_go_straight():
    start, velocity = np.array([[20.0, 30.0], [25.0, 10.0]]), np.array([[0.5, -0.25], [0.0, 1.0]])
    path = nbody_trajectory(start, velocity, np.full((2, 2), 8), FREE)
    np.testing.assert_allclose(path, start + np.arange(len(path))[:, None, None] * velocity, atol=1e-5)


def test_a_bounce_turns_one_component_and_leaves_the_other():
    world = replace(FREE, maximum_speed=10.0)
    path = nbody_trajectory(np.array([[41.0, 20.0]]), np.array([[5.0, 1.0]]), np.array([[8, 8]]), world)[:, 0]
    np.testing.assert_allclose(path[:5], [[41, 20], [46, 21], [50, 22], [45, 23], [40, 24]])


@given(seed=st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_centres_stay_between_the_walls_and_speeds_below_the_limit(seed):
    generator = np.random.default_rng(seed)
    sizes = generator.integers(5, 20, (3, 2))
    start = generator.random((3, 2)) * (64 - sizes)
    path = nbody_trajectory(start, generator.normal(0, 3, (3, 2)), sizes, replace(SMALL, gravity=1.0))
    centre = path[1:] + sizes / 2
    assert (centre >= 10 - 1e-4).all()
    assert (centre <= 54 + 1e-4).all()
    assert np.abs(np.diff(path[1:], axis=0)).max() <= 2.0 + 1e-4


@pytest.mark.parametrize(("law", "gravity"), [("r0", 0.5), ("r1", 10.0), ("r2", 300.0)])
def test_momentum_is_conserved_away_from_walls(law, gravity):
    generator = np.random.default_rng(4)
    start, velocity = 2000 + 50 * generator.random((4, 2)), generator.normal(0, 1, (4, 2))
    path = nbody_trajectory(start, velocity, np.full((4, 2), 20), replace(WIDE, law=law, gravity=gravity)).astype(float)
    momentum = np.diff(path, axis=0).sum(1)
    np.testing.assert_allclose(momentum, np.broadcast_to(velocity.sum(0), momentum.shape), atol=4e-3)
    assert np.abs(np.diff(path, axis=0)[-1] - velocity).max() > 0.1


def test_energy_is_conserved_away_from_walls():
    """Under the law r0 the potential of a pair is G times its softened distance."""
    world = replace(WIDE, gravity=0.05, softening=10.0)
    start = np.array([[1990.0, 2000.0], [2020.0, 2010.0], [2000.0, 2035.0]])
    path = nbody_trajectory(start, np.zeros((3, 2)), np.full((3, 2), 20), world).astype(float)
    velocity = (path[2:] - path[:-2]) / 2
    apart = path[1:-1, :, None] - path[1:-1, None]
    potential = 0.05 * np.sqrt((apart**2).sum(-1) + 100).sum((1, 2)) / 2
    kinetic = (velocity**2).sum((1, 2)) / 2
    assert np.ptp(kinetic + potential) < 0.01 * np.ptp(kinetic)


# ------------------------------------------------------------------ the Dataset


def test_a_sequence_depends_on_the_seed_and_its_number_alone():
    few, many = (nbody_mnist(count, DIGITS, seed=3, world=SMALL) for count in (2, 5))
    np.testing.assert_array_equal(few.frames, many.frames.isel(sequence=slice(2)))
    np.testing.assert_array_equal(many.frames.isel(sequence=4), many.frames.chunk(sequence=5).isel(sequence=4))
    other = nbody_mnist(2, DIGITS, seed=4, world=SMALL)
    assert not np.allclose(few.frames.isel(sequence=1), other.frames.isel(sequence=1))
    assert not np.allclose(few.frames.isel(sequence=0), few.frames.isel(sequence=1))


def test_nothing_is_made_before_it_is_asked_for(monkeypatch):
    made = []

    def count(position, *rest):
        made.append(position)
        return np.repeat(position[None], FREE.frames * FREE.substeps, 0)

    monkeypatch.setattr("xforecast.datasets.nbody.nbody_trajectory", count, raising=True)
    ds = nbody_mnist(50, DIGITS, world=FREE)
    assert dask.is_dask_collection(ds.frames)
    assert not made
    ds.frames.isel(sequence=[7, 9]).compute(scheduler="single-threaded")
    assert len(made) == 2


def test_labels():
    ds = nbody_mnist(2, DIGITS, world=SMALL)
    assert ds.frames.dims == ("sequence", "time", "y", "x")
    assert ds.frames.shape == (2, 6, 16, 16)
    assert ds.frames.attrs["units"] == "1"
    values = ds.frames.values
    assert values.dtype == np.float32
    assert 0 <= values.min() < 0.01 < 0.5 < values.max() <= 1
    assert len(np.unique(np.diff(ds.time))) == 1


def test_frames_move_as_the_digit_does():
    """Half a pixel of the simulation is one of the frames; the reduction blurs by a tenth of one."""
    world = replace(FREE, digits=1, simulation_size=64, size=32)
    draws = {
        "digit_indices": np.zeros((1, 1), int),
        "affine_transforms_multipliers": np.array([[[0.3, 0.6]]]),
        "init_velocity_angle": np.array([[np.pi / 6]]),
        "init_velocity_magnitude": np.array([[0.8]]),
    }
    middle = centres(nbody_mnist(None, square(), draws=draws, world=world).frames.values.astype(float))[0]
    step = 0.8 * world.substeps / 2 * np.array([np.cos(np.pi / 6), np.sin(np.pi / 6)])
    np.testing.assert_allclose(np.diff(middle, axis=0), np.broadcast_to(step, (5, 2)), atol=0.15)


def test_published_accelerations():
    for law in ("r0", "r1", "r2"):
        pull = nbody_accelerations(PUBLISHED["acc.pos"], NBody(law=law))
        np.testing.assert_allclose(pull, PUBLISHED[f"acc.{law}"], atol=1e-12)


def test_published_trajectory():
    crops = [_crop(digit) for digit in DIGITS]
    np.testing.assert_array_equal([crop.shape for crop in crops], PUBLISHED["cropped_shapes"])
    full = replace(NBody(), frames=100, substeps=1, size=128)
    frames = nbody_mnist(1, DIGITS, draws=DRAWS, world=full).frames.isel(sequence=0).values * 255
    np.testing.assert_allclose(centres(frames), PUBLISHED["raw_sample0_centroid_xy"], atol=1e-3)
    np.testing.assert_allclose(frames[[0, 1, 5, 25, 50, 99]], PUBLISHED["raw128_sample0_frames"], atol=1e-3)


def test_published_frames():
    """The originals are drawn by OpenCV; the difference is that of float32 arithmetic."""
    frames = nbody_mnist(2, DIGITS, draws=DRAWS).frames.isel(time=slice(None, None, 2))
    np.testing.assert_allclose(frames, PUBLISHED["seq_64"][..., 0], atol=1e-5)


def test_draws_from_a_file(tmp_path):
    np.savez(tmp_path / "nbody_test.npz", **DRAWS)
    from_file = nbody_mnist(1, DIGITS, draws=tmp_path / "nbody_test.npz")
    np.testing.assert_array_equal(from_file.frames, nbody_mnist(1, DIGITS, draws=DRAWS).frames)
    whole = (tmp_path / "nbody_test.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataFileError, match=r"cut\.npz"):
        nbody_mnist(1, DIGITS, draws=tmp_path / "cut.npz")
    with pytest.raises(DataFileError, match=r"none\.npz"):
        nbody_mnist(1, DIGITS, draws=tmp_path / "none.npz")


def test_what_cannot_be_made_is_told(monkeypatch):
    with pytest.raises(DataFileError, match="scale_variation"):
        nbody_mnist(1, DIGITS, draws={**DRAWS, "scale_variation": np.full((3, 3), 1.5)})
    with pytest.raises(DataFileError, match="init_velocity_angle"):
        nbody_mnist(1, DIGITS, draws={name: DRAWS[name] for name in DRAWS if name != "init_velocity_angle"})
    with pytest.raises(DataFileError, match="digit 11, wanted one of the 4"):
        nbody_mnist(None, DIGITS[:4], draws=DRAWS)
    with pytest.raises(InvalidOption, match="digits"):
        nbody_mnist(1, DIGITS[0])
    with pytest.raises(InvalidOption, match="law"):
        NBody(law="r3")
    monkeypatch.delenv("XFORECAST_DATA", raising=False)
    with pytest.raises(DataFileError, match=r"pass digits=.*XFORECAST_DATA"):
        nbody_mnist(1)
