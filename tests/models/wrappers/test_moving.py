"""Motion and models that move with it: known motions are found, coordinates go there and back, nothing else changes.

Also guards `config.py`, `fading.py`, `motion.py`.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xforecast.errors import InvalidOption
from xforecast.forecaster import Forecaster
from xforecast.models import (
    AutoencoderConfig,
    ConvLSTMConfig,
    CuboidUNetConfig,
    EarthformerConfig,
    MeanIntensity,
    Moving,
    MovingConfig,
    PersistenceConfig,
    PreDiffConfig,
    build,
    config_class,
)
from xforecast.models.wrappers.motion import displacements, estimate_motion, softened, warp
from xforecast.models.wrappers.moving import Fading
from xforecast.spec import DataSpec, Grid, Variable


def texture(y: torch.Tensor, x: torch.Tensor) -> torch.Tensor:
    """Blobs of several sizes that are known everywhere."""
    rng = np.random.default_rng(0)
    waves = [(*rng.uniform(-0.4, 0.4, 2), rng.uniform(0, 6.28)) for _ in range(12)]
    return sum(torch.sin(a * y + b * x + c) for a, b, c in waves)


def drifting(motion: tuple[float, float], frames: int, size: int = 64) -> torch.Tensor:
    """(1, time, height, width, 1), moving steadily."""
    y, x = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    return torch.stack([texture(y - motion[0] * t, x - motion[1] * t) for t in range(frames)])[None, ..., None]


def persistence(horizon: int = 4) -> Moving:
    return Moving(MovingConfig("Persistence", PersistenceConfig(horizon=horizon))).eval()


def prediff(start: str = "none") -> Moving:
    config = PreDiffConfig(
        autoencoder=AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4),
        denoiser=CuboidUNetConfig(history=3, horizon=2, grid=(8, 8), channels=4, base_channels=16, depths=(1,)),
    )
    torch.manual_seed(0)
    return Moving(MovingConfig("PreDiff", config, start=start)).eval()


# ------------------------------------------------------------------ motion


@settings(deadline=None, max_examples=15)
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_a_steady_motion_is_found(along_y, along_x):
    found = estimate_motion(drifting((along_y, along_x), 5)[..., 0])
    assert found.mean((0, 2, 3)).numpy() == pytest.approx([along_y, along_x], abs=0.02)


def test_a_turning_field_moves_differently_at_each_place():
    size, angle = 192, 0.015
    y, x = torch.meshgrid(torch.arange(float(size)), torch.arange(float(size)), indexing="ij")
    y, x = y - size / 2, x - size / 2
    turned = [texture(np.cos(a) * y - np.sin(a) * x, np.sin(a) * y + np.cos(a) * x) for a in angle * np.arange(5)]
    found = estimate_motion(torch.stack(turned)[None])[0]
    truth = torch.stack([-angle * x, angle * y]) * -1
    middle = (slice(None), slice(32, -32), slice(32, -32))
    assert (found - truth)[middle].abs().mean() < 0.35 * truth[middle].abs().mean()


def test_nothing_to_be_seen_does_not_move():
    assert (estimate_motion(torch.zeros(2, 3, 32, 32)) == 0).all()
    assert estimate_motion(torch.zeros(1, 2, 3, 5)).shape == (1, 2, 3, 5)
    with pytest.raises(InvalidOption, match="two frames or more"):
        estimate_motion(torch.zeros(1, 1, 32, 32))


def test_paths_there_and_back_cancel():
    y, x = torch.meshgrid(torch.arange(32.0), torch.arange(32.0), indexing="ij")
    motion = torch.stack([0.03 * (x - 16), -0.03 * (y - 16)])[None]  # a rotation
    ahead, back = displacements(motion, 5), displacements(motion, -5)
    there = warp(back[:, -1:].movedim(2, -1), ahead[:, -1:], mode="bilinear").movedim(-1, 2)
    assert (ahead[:, -1:] + there)[..., 8:-8, 8:-8].abs().max() < 0.05


@pytest.mark.parametrize("mode", ["bicubic", "bilinear"])
def test_whole_cells_are_moved_exactly(mode):
    field = torch.rand(2, 1, 6, 7, 3, generator=torch.Generator().manual_seed(0))
    displacement = torch.zeros(2, 1, 2, 6, 7)
    displacement[:, :, 1] = 2.0
    moved = warp(field, displacement, mode=mode)
    torch.testing.assert_close(moved[:, :, :, :5], field[:, :, :, 2:], atol=1e-5, rtol=0)


def test_values_stay_in_their_range():
    field = (torch.rand(1, 1, 16, 16, 1, generator=torch.Generator().manual_seed(0)) > 0.7).float()
    moved = warp(field, torch.full((1, 1, 2, 16, 16), 0.4))
    assert moved.min() >= 0
    assert moved.max() <= 1


# ------------------------------------------------------------------ models


def test_persistence_that_moves_is_an_extrapolation():
    frames = drifting((0.7, -1.3), 9)
    error = (persistence()(frames[:, :5]) - frames[:, 5:])[:, :, 12:-12, 12:-12]
    still = (frames[:, 4:5] - frames[:, 5:])[:, :, 12:-12, 12:-12]
    assert error.abs().mean() < 0.15 * still.abs().mean()


def test_targets_and_forecasts_are_inverse():
    frames, moving = drifting((1.2, 0.4), 9), persistence()
    motion = moving.motion(frames[:, :5])
    there = moving.targets(frames[:, 5:], motion)
    assert there.isnan().any()  # what has left
    back = moving.scattered(torch.where(there.isnan(), 0.0, there), motion)
    torch.testing.assert_close(back[:, :, 16:-16, 16:-16], frames[:, 5:, 16:-16, 16:-16], atol=0.1, rtol=0)


def test_what_comes_from_beyond_is_smooth_and_the_rest_is_moved_as_it_is():
    field = torch.rand(1, 1, 48, 48, 1, generator=torch.Generator().manual_seed(0))
    east = torch.stack([torch.zeros(1, 1, 48, 48), torch.full((1, 1, 48, 48), -24.0)], dim=2)
    moved = warp(field, east)
    soft = softened(moved, east)
    torch.testing.assert_close(soft[..., 24:, :], moved[..., 24:, :])
    roughness = (soft[..., :24, :] - moved.mean()).std(dim=(0, 1, 2, 4))
    assert roughness[0] < 0.1 * roughness[23]
    torch.testing.assert_close(softened(torch.ones_like(field), east), torch.ones_like(field))


def test_a_field_at_rest_is_left_as_it_is():
    x = drifting((0, 0), 3)
    moving = persistence()
    torch.testing.assert_close(moving.gathered(x, moving.motion(x)), x, atol=1e-3, rtol=0)


def test_the_first_guess_is_the_last_frame():
    inner = EarthformerConfig(history=3, horizon=2, grid=(16, 16), base_channels=8)
    moving = Moving(MovingConfig("Earthformer", inner, start="last")).eval()
    x = drifting((0.5, 0.5), 3, 16)
    torch.testing.assert_close(moving(x), persistence(2)(x))


def test_a_fading_start_smooths_more_with_lead_and_keeps_what_is_constant():
    fading = Fading(4)
    frame = drifting((0, 0), 1)[:, 0]
    roughness = fading(frame).detach().diff(dim=3).square().mean((0, 2, 3, 4))
    assert (roughness.diff() < 0).all()
    torch.testing.assert_close(fading(torch.full((1, 40, 40, 2), -0.7)), torch.full((1, 4, 40, 40, 2), -0.7))
    with torch.no_grad():
        fading.log_widths.fill_(-5.0)
    torch.testing.assert_close(fading(frame)[:, 0], frame, atol=1e-4, rtol=0)


def test_the_loss_sees_only_what_is_known():
    frames, moving = drifting((0.8, 0.6), 9), persistence()
    x, y = frames[:, :5], frames[:, 5:].clone()
    assert moving.loss(x, y) < 0.01 * y.square().mean()
    weight = torch.ones_like(y)
    weight[:, :, :, 30:] = 0
    holes = torch.where(weight == 0, torch.nan, y + 1.0)
    torch.testing.assert_close(moving.loss(x, holes, weight), torch.tensor(1.0), atol=0.1, rtol=0)


def test_emphasis_counts_large_values_more():
    frames = drifting((0.8, 0.6), 9)
    x, y = frames[:, :5], frames[:, 5:]
    wrong = torch.where(y > 2, y + 1, y)
    plain, hard = (
        Moving(MovingConfig("Persistence", PersistenceConfig(horizon=4), emphasis=emphasis)).loss(x, wrong)
        for emphasis in (0.0, 1.0)
    )
    assert hard > 2 * plain


def test_samples_are_moved_and_constraints_hold_where_the_rain_will_be():
    moving, x = prediff(), drifting((0.5, 1.0), 3, 16).expand(2, -1, -1, -1, -1)
    starts, samples = torch.tensor([0, 0, 1]), torch.tensor([0, 1, 0])

    def sources():
        return [torch.Generator().manual_seed(number) for number in range(3)]

    plain = moving.sample(x, starts, samples, sources(), steps=3)
    moving_frame = moving.network.sample(moving.gathered(x, moving.motion(x)), starts, samples, sources(), steps=3)
    torch.testing.assert_close(plain, moving.scattered(moving_frame, moving.motion(x)[starts]))
    context = moving.encode_context(x)
    torch.testing.assert_close(moving.sample(x, starts, samples, sources(), steps=3, context=context), plain)
    drawn, report = moving.sample(x, starts, samples, sources(), steps=3, constraint=MeanIntensity(0.3), report=True)
    torch.testing.assert_close(report.residual, (drawn.mean((1, 2, 3, 4)) - 0.3).abs())
    torch.testing.assert_close(report.unguided, (plain.mean((1, 2, 3, 4)) - 0.3).abs())


@pytest.mark.parametrize("start", ["last", "fading"])
def test_of_a_dry_map_nothing_is_known_to_come(start):
    torch.manual_seed(0)
    config = EarthformerConfig(history=3, horizon=2, grid=(16, 16), base_channels=16)
    moving = Moving(MovingConfig("Earthformer", config, start=start)).eval()
    torch.nn.init.normal_(moving.network.head.projection.weight)
    dry, wet = torch.full((1, 3, 16, 16, 1), -0.9), drifting((0, 1), 3, 16)
    with torch.no_grad():
        assert torch.equal(moving(dry), dry[:, :2])
        both = moving(torch.cat([dry, wet]))
        assert torch.equal(both[:1], dry[:, :2])
        torch.testing.assert_close(both[1:], moving(wet))
    assert not torch.allclose(moving(wet)[:, :1], wet[:, -1:], atol=1e-3)


def test_detail_that_lasts_is_added_to_every_sample():
    moving, x = prediff("detail"), drifting((0.5, 1.0), 3, 16)
    drawn = {}
    for share in (0.0, 0.5):
        with torch.no_grad():
            moving.detail.fill_(share)
        sources = [torch.Generator().manual_seed(0), torch.Generator().manual_seed(1)]
        drawn[share] = moving.sample(x, torch.zeros(2, dtype=torch.long), torch.arange(2), sources, steps=2)
    lost = (x[:, -1:] - moving.network.reconstruct(x[:, -1:])).detach().expand(-1, 2, -1, -1, -1)
    added = moving.scattered(drawn[0.0] * 0 + 0.5 * lost, moving.motion(x).expand(2, -1, -1, -1))
    torch.testing.assert_close(drawn[0.5] - drawn[0.0], added, atol=0.3, rtol=0.1)  # moved by cubic pieces, and clipped


def test_how_long_detail_lasts_is_learnt():
    moving = prediff("detail")
    generator = torch.Generator().manual_seed(0)
    frames = [torch.randn(16, 16, 1, generator=generator) for _ in range(3)]
    moving.learn_detail([(torch.stack(frames[::-1]), torch.stack([frames[0], torch.full_like(frames[0], torch.nan)]))])
    assert moving.detail.detach().tolist() == pytest.approx([1.0, 0.0], abs=1e-5)


def test_half_precision_does_not_move_the_places():
    field, displacement = drifting((0, 0), 1, 384), torch.full((1, 1, 2, 384, 384), 0.3)
    with torch.autocast("cpu", torch.bfloat16):
        half = warp(field.bfloat16(), displacement)
    assert half.dtype == torch.bfloat16
    assert (half.float() - warp(field, displacement)).square().mean().sqrt() < 0.02 * field.std()


def test_what_is_beside_a_hole_is_made_of_what_is_known():
    moving = persistence(1)
    frames = drifting((0.5, 0.5), 6)
    y = frames[:, 5:].clone() + 3
    y[:, :, 10::7, 10::7] = torch.nan
    motion = torch.full((1, 2, 64, 64), 0.5)
    holed, whole = moving.targets(y, motion), moving.targets(frames[:, 5:] + 3, motion)
    known = holed.isfinite()
    assert known.float().mean() < 0.95
    assert (holed - whole)[known].abs().max() < 0.2


def test_schedules_of_the_model_are_those_of_the_training():
    inner = ConvLSTMConfig(history=2, horizon=2, grid=(8, 8), channels=(4,))
    moving = Moving(MovingConfig("ConvLSTM", inner))
    assert hasattr(moving, "at_step") == hasattr(moving.network, "at_step")


def test_narrow_fields_do_not_move_across():
    assert (persistence(2)(torch.rand(1, 3, 1, 32, 1)).isfinite()).all()


def test_a_field_a_little_larger_than_an_odd_grid_is_sampled_whole():
    config = PreDiffConfig(
        autoencoder=AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4),
        denoiser=CuboidUNetConfig(history=3, horizon=2, grid=(8, 8), channels=4, base_channels=16, depths=(1,)),
        grid=(15, 16),
    )
    moving, x = Moving(MovingConfig("PreDiff", config, start="detail")), drifting((0.5, 0.5), 3, 16)
    drawn = moving.sample(x, torch.tensor([0]), torch.tensor([0]), [torch.Generator().manual_seed(0)], steps=2)
    assert drawn.shape == (1, 2, 16, 16, 1)


def test_larger_fields_of_samples_are_reconstructed_in_windows():
    network = prediff().network
    frames = drifting((0, 0), 2, 40)
    whole = network.reconstruct(frames)
    assert whole.shape == frames.shape
    torch.testing.assert_close(network.reconstruct(frames[:, :1]), whole[:, :1])


def test_larger_fields_are_forecast_whole():
    inner = EarthformerConfig(history=3, horizon=2, grid=(16, 16), base_channels=8)
    moving = Moving(MovingConfig("Earthformer", inner)).eval()
    assert moving(drifting((0.5, 0.5), 3, 40)).shape == (1, 2, 40, 40, 1)


def test_it_is_saved_and_loaded(tmp_path):
    spec = DataSpec([Variable("rain", "mm h-1")], Grid("pixel", (16, 16)), "5 minutes", history=3, horizon=2)
    first = Forecaster(prediff(), spec)
    assert not first.deterministic
    again = Forecaster.load(first.save(tmp_path / "moving"))
    x = np.random.default_rng(0).random((1, 3, 16, 16, 1))
    np.testing.assert_array_equal(first.predict(x, 2, steps=3), again.predict(x, 2, steps=3))
    assert again.digest == first.digest
    assert Forecaster(persistence(2), spec).deterministic


def test_options_that_cannot_be_are_reported():
    with pytest.raises(InvalidOption, match="one of none, last, fading, detail"):
        MovingConfig("Persistence", PersistenceConfig(horizon=2), start="first")
    with pytest.raises(InvalidOption, match="one of none, last, fading for Persistence"):
        MovingConfig("Persistence", PersistenceConfig(horizon=2), start="detail")
    with pytest.raises(InvalidOption, match="one of none, detail for PreDiff"):
        prediff("last")
    size = {"history": 3, "horizon": 2}
    for model, options in {"LinearInverseModel": {**size, "grid": (8, 8)}, "Extrapolation": size}.items():
        config = config_class(model)(**options)
        with pytest.raises(InvalidOption, match="learns by gradient"):
            MovingConfig(model, config)
    with pytest.raises(InvalidOption, match="finite number"):
        MovingConfig("Persistence", PersistenceConfig(horizon=2), emphasis=float("nan"))
    with pytest.raises(InvalidOption, match="2 or more"):
        MovingConfig("Earthformer", EarthformerConfig(history=1, horizon=1, grid=(16, 16)))
    with pytest.raises(InvalidOption, match="decoder"):
        prediff().check_sampling(guidance="network")
    with pytest.raises(InvalidOption, match="'detail'"):
        prediff().learn_detail([])
    with pytest.raises(InvalidOption, match="PersistenceConfig for Persistence"):
        MovingConfig("Persistence", EarthformerConfig(history=2, horizon=1, grid=(16, 16)))
    config = MovingConfig("Persistence", PersistenceConfig(horizon=2), start="last")
    assert MovingConfig.from_dict(config.to_dict()) == config
    assert build("Moving", config.to_dict()).config == config


# ------------------------------------------------------------------ motion is estimated once


@pytest.fixture
def estimated(monkeypatch):
    """Histories of which the motion was estimated, in their order."""
    seen = []

    def counted(frames):
        seen.extend(frames.clone())
        return estimate_motion(frames)

    monkeypatch.setattr("xforecast.models.wrappers.moving.estimate_motion", counted)
    return seen


def rain(starts: int) -> np.ndarray:
    """Different histories, (start, time, height, width, channel)."""
    return torch.cat([drifting((0.2 * k, 1 - 0.3 * k), 3, 16) for k in range(starts)]).numpy()


@pytest.mark.parametrize("start", ["none", "detail"])
@pytest.mark.parametrize("batch_size", [1, 2, 3, 100])
def test_motion_is_estimated_once_for_each_start(start, batch_size, estimated):
    spec = DataSpec([Variable("rain", "mm h-1")], Grid("pixel", (16, 16)), "5 minutes", history=3, horizon=2)
    x = rain(3)
    Forecaster(prediff(start), spec).predict(x, 3, steps=2, batch_size=batch_size)
    assert len(estimated) == 3
    torch.testing.assert_close(torch.stack(estimated), torch.from_numpy(x[..., 0]))


@pytest.mark.parametrize("start", ["none", "detail"])
def test_samples_are_those_that_each_batch_would_estimate_the_motion_of(start):
    moving, x = prediff(start), torch.from_numpy(rain(2))
    starts, samples = torch.tensor([0, 0, 1, 1]), torch.tensor([0, 1, 0, 1])

    def drawn(**options):
        sources = [torch.Generator().manual_seed(number) for number in range(4)]
        return moving.sample(x, starts, samples, sources, steps=2, **options)

    assert torch.equal(drawn(context=moving.encode_context(x)), drawn(context=None))


def test_a_forecast_in_batches_has_the_same_samples_as_one_without_shared_motion():
    spec = DataSpec([Variable("rain", "mm h-1")], Grid("pixel", (16, 16)), "5 minutes", history=3, horizon=2)
    shared, alone = Forecaster(prediff(), spec), Forecaster(prediff(), spec)
    alone.model.abilities = replace(alone.model.abilities, shares_context=False)
    x = rain(3)
    wanted = alone.predict(x, 2, steps=2, batch_size=100)
    np.testing.assert_array_equal(shared.predict(x, 2, steps=2, batch_size=100), wanted)
    np.testing.assert_allclose(shared.predict(x, 2, steps=2, batch_size=3), wanted, rtol=1e-4, atol=1e-5)


def test_the_configuration_is_one_object_until_something_is_learnt():
    moving = prediff()
    first = moving.config
    assert moving.config is first
    moving(drifting((0.5, 0.5), 3, 16))
    assert moving.config is first
    moving.network.set_latent_scale(2.0)
    second = moving.config
    assert second.config.latent_scale == 2.0
    assert moving.config is second
    assert replace(second, config=first.config) == first


def test_parts_are_trained_as_those_of_the_model():
    moving = prediff()
    assert moving.abilities.parts == ("autoencoder", "denoiser")
    stage = moving.stage("denoiser")
    assert stage.model is moving.network
    x, y, _ = moving.moved(drifting((0.5, 0.5), 3, 16), drifting((0.5, 0.5), 5, 16)[:, 3:])
    assert stage.loss(x, torch.where(y.isnan(), 0.0, y), y.isfinite().float()).isfinite()
