"""PreDiff is trained part by part on labelled data, and taught quantities of one's own.

Also guards `align.py`.
"""

import dataclasses

import numpy as np
import pytest
import torch
import xarray as xr

import xforecast as xf
from xforecast.errors import CheckpointError, InvalidOption
from xforecast.models import (
    AutoencoderConfig,
    CuboidUNetConfig,
    MeanIntensity,
    MovingConfig,
    PersistenceConfig,
    PreDiff,
    PreDiffConfig,
)
from xforecast.models.prediff.schedule import DiffusionLoss, NoiseSchedule
from xforecast.training import align

TINY = PreDiffConfig(
    autoencoder=AutoencoderConfig(
        level_channels=(8, 16), latent_channels=4, norm_groups=4, blocks_per_level=1, reduction="mean"
    ),
    denoiser=CuboidUNetConfig(history=2, horizon=2, grid=(4, 4), channels=4, base_channels=16, depths=(1,)),
    schedule=NoiseSchedule(steps=20),
    loss=DiffusionLoss(learned_uncertainty=False),
)
QUICK = {"history": 2, "horizon": 2, "steps": 2, "batch_size": 4, "transform": ("log1p", 0.5), "progress": False}


@pytest.fixture(scope="module")
def rain() -> xr.Dataset:
    """Forty frames of a wet spot that drifts over an 8 x 8 grid."""
    frame, y, x = np.meshgrid(np.arange(40), np.arange(8), np.arange(8), indexing="ij")
    values = 8 * np.exp(-(((x - frame) % 8 - 4) ** 2 + (y - 4) ** 2) / 4)
    time = xr.date_range("2024-06-01", periods=40, freq="5min")
    metres = [("time", time), ("y", np.arange(8) * 2000.0), ("x", np.arange(8) * 2000.0)]
    field = xr.DataArray(values, metres, name="rain", attrs={"units": "mm/h", "standard_name": "rainfall_rate"})
    for axis in "yx":
        field[axis].attrs = {"standard_name": f"projection_{axis}_coordinate", "units": "m"}
    return field.to_dataset()


@pytest.fixture(scope="module")
def forecaster(rain):
    return xf.fit(rain, TINY, **QUICK)


def test_the_parts_are_trained_in_order_and_logged(rain, tmp_path):
    forecaster = xf.fit(rain, TINY, folder=tmp_path, **QUICK | {"batch_size": 32})
    folder = tmp_path / "member-0"
    assert sorted(part.name for part in folder.iterdir()) == ["autoencoder", "denoiser"]
    for part in ("autoencoder", "denoiser"):
        assert "valid_loss" in (folder / part / "log" / "metrics.csv").read_text()
        previews = sorted((folder / part / "log").glob("preview-*.npz"))
        assert previews
        with np.load(previews[-1]) as preview:
            assert preview["made"].shape == preview["observed"].shape
            assert np.isfinite(preview["made"]).all()
    assert forecaster.forecast(rain, samples=2).rain.dims == ("sample", "lead", "y", "x")


def test_the_scale_of_latents_comes_from_the_data(rain, forecaster):
    model = forecaster.model
    assert model.config.latent_scale != 1
    from xforecast.training.windows import windows_of

    series = windows_of(rain, forecaster.spec)[0].series
    latents = model.encode(torch.from_numpy(series)[None]).detach()
    assert float(latents.std()) == pytest.approx(1, abs=0.2)


def test_each_part_moves_only_its_own_weights(rain, forecaster):
    model = forecaster.model
    before = {key: value.clone() for key, value in model.state_dict().items()}
    stages = {"autoencoder": None, "denoiser": {"steps": 1, "warmup": 0.0}}
    again = xf.fit(rain, model, spec=forecaster.spec, stages=stages, progress=False)
    moved = {
        key.split(".")[0] for key, value in again.model.state_dict().items() if not torch.equal(value, before[key])
    }
    assert moved == {"denoiser"}


def test_training_lowers_the_error_of_the_autoencoder(rain):
    short, long = (
        xf.fit(rain, TINY, **QUICK | {"steps": steps, "learning_rate": 3e-3}, stages={"denoiser": None}, valid=0.2)
        for steps in (1, 80)
    )
    from xforecast.training.windows import windows_of

    frames = torch.from_numpy(windows_of(rain, short.spec)[0].series)[None]
    with torch.no_grad():
        errors = [(f.model.autoencoder(frames) - frames).abs().mean().item() for f in (short, long)]
    assert errors[1] < 0.7 * errors[0]


def test_an_adversary_takes_part_only_when_asked_for(rain, tmp_path):
    adversary = {"width": 8, "layers": 1, "start": 0}
    only = {"denoiser": None}
    plain = xf.fit(rain, TINY, stages=only, **QUICK)
    opposed = xf.fit(rain, TINY, folder=tmp_path, stages=only | {"autoencoder": {"adversary": adversary}}, **QUICK)
    assert plain.digest != opposed.digest
    assert plain.model.state_dict().keys() == opposed.model.state_dict().keys()


def test_a_part_has_options_of_its_own(rain, tmp_path):
    xf.fit(rain, TINY, folder=tmp_path, stages={"autoencoder": {"steps": 4}}, **QUICK)
    last = [
        torch.load(tmp_path / "member-0" / part / "last.ckpt", weights_only=True)
        for part in ("autoencoder", "denoiser")
    ]
    assert [stored["global_step"] for stored in last] == [4, 2]
    assert ["averaging_state" in stored for stored in last] == [False, True]


def test_a_broken_training_goes_on_with_the_part_it_broke_in(rain, tmp_path, monkeypatch):
    options = {**QUICK, "steps": 12, "batch_size": 8, "stages": {"alignment": {"functional": MeanIntensity(0.0)}}}
    whole = xf.fit(rain, TINY, folder=tmp_path / "whole", **options)

    class PulledPlugError(Exception):
        pass

    from xforecast.training import loop

    step, trained = loop._Learner.training_step, []

    def interrupted(self, batch, index):
        trained.append(self.model.part)
        if self.model.part == "denoiser" and self.global_step == 9:
            raise PulledPlugError
        return step(self, batch, index)

    monkeypatch.setattr(loop._Learner, "training_step", interrupted)
    with pytest.raises(PulledPlugError):
        xf.fit(rain, TINY, folder=tmp_path / "broken", **options)
    monkeypatch.undo()
    assert set(trained) == {"autoencoder", "denoiser"}
    resumed = xf.fit(rain, TINY, folder=tmp_path / "broken", resume=True, **options)
    assert resumed.model.config == whole.model.config
    for key, value in whole.model.state_dict().items():
        torch.testing.assert_close(resumed.model.state_dict()[key], value)


def test_what_is_finished_is_read_and_not_trained(rain, tmp_path, monkeypatch):
    first = xf.fit(rain, TINY, folder=tmp_path, **QUICK)
    from xforecast.training import loop

    monkeypatch.setattr(loop, "train", lambda *_, **__: pytest.fail("trained again"))
    assert xf.fit(rain, TINY, folder=tmp_path, resume=True, **QUICK).digest == first.digest


def test_latents_encoded_once_give_the_loss_of_the_frames(rain, forecaster):
    from xforecast.training.windows import windows_of

    windows, _ = windows_of(rain, forecaster.spec)
    windows.truth[:, 0] = np.nan
    model = PreDiff(forecaster.model.config)
    model.load_state_dict(forecaster.model.state_dict())
    stage = model.stage("denoiser", encoded_pairs=6)
    model.autoencoder.encoder.head.convolution.weight.data[4:] = 0  # the drawn latent is the mean
    model.autoencoder.encoder.moments.weight.data[4:] = 0
    model.autoencoder.encoder.moments.bias.data[4:] = -30
    weight = torch.ones(1, 1, 8, 8, 1)
    encoded = stage.encode_pairs(windows, weight)
    assert len(encoded) == 6
    pairs = [windows[number * len(windows) // 6] for number in range(6)]
    x, y = (torch.stack(parts) for parts in zip(*pairs, strict=True))
    context, target = (torch.stack(parts) for parts in zip(*[encoded[k] for k in range(6)], strict=True))
    losses = []
    for part, args in (
        (stage, (context, target, None)),
        (model.stage("denoiser"), (x, y, weight * y.isfinite())),
    ):
        noise, t = torch.randn(6, 2, 4, 4, 4, generator=torch.Generator().manual_seed(0)), torch.arange(6)
        model._draw_steps = lambda count, t=t: t
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn_like", lambda like, noise=noise: noise)
            losses.append(part.loss(*args).item())
    assert losses[0] == pytest.approx(losses[1], rel=2e-2)


# ------------------------------------------------------------------ a quantity of one's own


def peak(forecast: torch.Tensor) -> torch.Tensor:
    """Largest value of every frame in the west."""
    return forecast[:, :, :, :4].amax(dim=(2, 3, 4))[..., None]


def test_a_forecaster_is_taught_a_quantity(rain, forecaster, tmp_path):
    before = forecaster.digest
    options = {"steps": 200, "learning_rate": 3e-3, "batch_size": 16, "warmup": 0.1, "valid": None}
    able = align(forecaster, rain, peak, progress=False, **options)
    assert forecaster.digest == before
    assert able.model.alignment.config.functional == "peak"
    for key, value in forecaster.model.state_dict().items():
        assert torch.equal(able.model.state_dict()[key], value)
    from xforecast.training.windows import windows_of

    windows, _ = windows_of(rain, able.spec)
    y = torch.from_numpy(windows.truth[:20].reshape(10, 2, 8, 8, 1))
    wanted = peak(able.spec.to_physical(y))
    with torch.no_grad():
        estimate = able.model.alignment(able.model.encode(y), torch.zeros(10, dtype=torch.long))
    assert estimate.shape == wanted.shape
    assert float((estimate - wanted).square().mean()) < 0.7 * float(wanted.var())
    again = xf.load(able.save(tmp_path / "able"))
    assert again.digest == able.digest
    assert again.card["alignment"] == "peak"


def test_the_network_works_on_departures_in_standard_deviations(rain, forecaster):
    able = align(forecaster, rain, lambda field: 1e4 * peak(field), name="peak", steps=1, progress=False)
    config = able.model.alignment.config
    assert config.output_mean > 1e3
    assert config.output_deviation > 1
    z = torch.zeros(1, 2, 4, 4, 4)
    with torch.no_grad():
        estimate = able.model.alignment(z, torch.tensor([3]))
    assert float(estimate.mean()) == pytest.approx(config.output_mean, abs=5 * config.output_deviation)


def test_a_number_for_the_whole_sequence(rain, forecaster):
    able = align(forecaster, rain, lambda field: field.mean(dim=(1, 2, 3)), name="mean", steps=1, progress=False)
    assert not able.model.alignment.config.per_frame


# ------------------------------------------------------------------ refusals


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"stages": {"encoder": {}}}, "encoder.*autoencoder"),
        ({"stages": {"denoiser": {"step": 3}}}, "denoiser"),
        ({"stages": {"alignment": {}}}, "functional"),
        (
            {
                "stages": {
                    "alignment": {"functional": lambda field: field},
                }
            },
            "functional",
        ),
        ({"stages": {"denoiser": {"adversary": {}}}}, "autoencoder"),
        ({"stages": {"autoencoder": {"encoded_pairs": 3}}}, "encoded_pairs"),
        ({"members": 2}, "members"),
        ({"calendar": ["diurnal"]}, "channels"),
    ],
)
def test_what_cannot_work_is_told(rain, options, words):
    with pytest.raises(InvalidOption, match=words):
        xf.fit(rain, TINY, **QUICK | options)


def test_models_without_parts_have_no_stages(rain):
    with pytest.raises(InvalidOption, match="as a whole"):
        xf.fit(rain, "Persistence", history=2, horizon=2, stages={"denoiser": {}})


def test_only_a_prediff_can_be_taught(rain):
    persistence = xf.fit(rain, "Persistence", history=2, horizon=2)
    with pytest.raises(InvalidOption, match="PreDiff"):
        align(persistence, rain, peak)


def test_a_prediff_by_name_has_a_moderate_size(rain):
    model = xf.fit(rain, "PreDiff", **QUICK | {"steps": 1}, stages={"denoiser": None}).model
    assert isinstance(model, PreDiff)
    assert model.config.frame_grid == (8, 8)
    assert dataclasses.replace(model.config, latent_scale=1.0) == PreDiffConfig.of_size(
        history=2, horizon=2, grid=(8, 8)
    )


def test_one_that_moves_learns_in_parts_too(rain):
    moving = xf.fit(rain, MovingConfig("PreDiff", TINY, start="detail"), **QUICK)
    assert (moving.model.detail != 0).all()
    assert moving.model.abilities.parts == ("autoencoder", "denoiser")
    assert moving.model.config.config.latent_scale == moving.model.network.config.latent_scale != 1
    fc = moving.forecast(rain, samples=3, steps=2, constraint=MeanIntensity(1.0))
    assert dict(fc.rain.sizes) == {"sample": 3, "lead": 2, "y": 8, "x": 8}
    assert fc.constraint_residual.dims == ("sample", "guided")
    with pytest.raises(InvalidOption, match="PreDiff"):
        align(moving, rain, peak)  # its frames are elsewhere


def test_parts_are_taken_over_in_the_same_coordinates_only(rain, tmp_path):
    options = QUICK | {"folder": tmp_path, "resume": True}
    xf.fit(rain, TINY, **options)
    with pytest.raises(CheckpointError, match="moving coordinates"):
        xf.fit(rain, MovingConfig("PreDiff", TINY), **options)


def test_a_model_that_moves_is_trained_as_a_whole(rain):
    moving = xf.fit(rain, "moving", **QUICK)
    assert moving.deterministic
    assert moving.forecast(rain).rain.sizes["lead"] == 2


def test_moved_pairs_are_missing_where_nothing_is_known(rain):
    from xforecast.training.stages import MovedPairs
    from xforecast.training.windows import windows_of

    moving = xf.fit(rain, MovingConfig("Persistence", PersistenceConfig(horizon=2)), history=2, horizon=2)
    pairs = MovedPairs(windows_of(rain, moving.spec)[0], moving.model, torch.ones(1))
    x, y = pairs[3]
    assert x.isfinite().all()
    assert len(pairs) == 37
    assert 0 < y.isnan().float().mean() < 0.5
