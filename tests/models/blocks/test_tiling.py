"""Windows of a larger field: they cover it, join without seams, and samples of PreDiff share one noise."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from xforecast.errors import InvalidOption
from xforecast.models import (
    AutoencoderConfig,
    CuboidUNetConfig,
    KnowledgeAlignmentConfig,
    MeanIntensity,
    PreDiff,
    PreDiffConfig,
)
from xforecast.models.blocks.tiling import Tiles, tiled
from xforecast.models.prediff.schedule import DiffusionLoss, NoiseSchedule

SIZES = [((16, 16), (16, 16)), ((17, 40), (16, 16)), ((100, 33), (16, 8)), ((9, 5), (4, 5)), ((5, 3), (2, 1)),
         ((3, 2), (1, 1)), ((384, 250), (128, 128))]  # fmt: skip


@pytest.mark.parametrize(("field", "window"), SIZES)
@pytest.mark.parametrize("factor", [1, 4])
def test_windows_cover_the_field_and_their_weights_sum_to_one(field, window, factor):
    tiles = Tiles(field, window, factor)
    total = torch.zeros(1, 1, factor * field[0], factor * field[1], 1)
    for part in tiles.cut(total):
        assert part.shape[2:4] == (factor * window[0], factor * window[1])
    ones = [torch.ones(1, 1, factor * window[0], factor * window[1], 1) for _ in tiles.corners]
    torch.testing.assert_close(tiles.join(ones), torch.ones_like(total))
    assert all(float(weight.min()) >= 0 for weight in tiles.weights)


@pytest.mark.parametrize(("field", "window"), SIZES)
def test_cut_and_joined_a_field_is_itself(field, window):
    x = torch.randn(2, 3, *field, 2)
    torch.testing.assert_close(tiled(lambda part: part, x, window), x)


def test_a_field_of_one_window_is_not_touched():
    x = torch.randn(1, 2, 8, 8, 1)
    assert torch.equal(tiled(torch.exp, x, (8, 8)), torch.exp(x))


def smoothed(x: torch.Tensor) -> torch.Tensor:
    """Means of 3 x 3 cells, zero beyond the edges."""
    fields = functional.avg_pool2d(x.flatten(0, 1).movedim(-1, 1), 3, stride=1, padding=1)
    return fields.movedim(1, -1).unflatten(0, x.shape[:2])


@pytest.mark.parametrize("field", [(16, 24), (37, 16), (60, 41)])
def test_edges_of_windows_do_not_reach_the_forecast(field):
    x = torch.rand(1, 2, *field, 1)
    torch.testing.assert_close(tiled(smoothed, x, (16, 16)), smoothed(x))


def test_weights_change_smoothly():
    weights = Tiles((384, 128), (128, 128)).weights
    assert max(float(weight.diff(dim=0).abs().max()) for weight in weights) < 0.15


def test_a_field_smaller_than_the_window():
    with pytest.raises(InvalidOption, match=r"at least the model's window \(8, 8\)"):
        Tiles((8, 7), (8, 8))


# ------------------------------------------------------------------ PreDiff

SIZE, FIELD = 16, (29, 40)
CONFIG = PreDiffConfig(
    autoencoder=AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4, blocks_per_level=1),
    denoiser=CuboidUNetConfig(history=2, horizon=2, grid=(8, 8), channels=4, base_channels=16, depths=(1,)),
    alignment=KnowledgeAlignmentConfig(horizon=2, grid=(8, 8), channels=4, base_channels=16, depths=(1,)),
    schedule=NoiseSchedule(steps=50),
    loss=DiffusionLoss(learned_uncertainty=False),
)


@pytest.fixture(scope="module")
def model() -> PreDiff:
    torch.manual_seed(0)
    made = PreDiff(CONFIG).eval()
    for parameter in made.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, std=0.7 * parameter[0].numel() ** -0.5)
    return made


def drawn(model: PreDiff, x: torch.Tensor, *samples: int, **options) -> torch.Tensor:
    generators = [torch.Generator().manual_seed(sample) for sample in samples]
    starts = torch.zeros(len(samples), dtype=torch.long)
    return model.sample(x, starts, torch.tensor(samples), generators, **{"steps": 4, **options})


@pytest.mark.parametrize("sampler", ["dpm++", "dpm++sde", "ddim", "ddpm"])
def test_a_sample_of_a_larger_field_does_not_depend_on_the_others(model, sampler):
    x = torch.rand(1, 2, *FIELD, 1)
    samples = drawn(model, x, 3, 1, 2, sampler=sampler)
    assert samples.shape == (3, 2, *FIELD, 1)
    torch.testing.assert_close(drawn(model, x, 1, sampler=sampler), samples[1:2], rtol=1e-3, atol=1e-4)
    context = model.encode_context(x)
    torch.testing.assert_close(drawn(model, x, 2, sampler=sampler, context=context), samples[2:], rtol=1e-3, atol=1e-4)


class Certain(nn.Module):
    """A denoiser that knows: every clean latent is a normal number times what the context says, place by place."""

    def __init__(self, schedule: NoiseSchedule):
        super().__init__()
        self.schedule = schedule

    def forward(self, z, t, context):
        kept = torch.from_numpy(self.schedule.alphas_cumprod)[t].to(z).reshape(-1, 1, 1, 1, 1)
        spread = context[:, -1:].expand_as(z).square() + 0.01
        return (1 - kept).sqrt() * z / (kept * spread + 1 - kept)


@pytest.fixture
def known(model):
    """A model whose denoiser works place by place, and whose latents are means of squares of pixels."""
    made = PreDiff(CONFIG).eval()
    made.denoiser = Certain(CONFIG.schedule)
    made.encode = lambda x, *, chunk=None: functional.avg_pool2d(
        functional.pad(x[..., 0].flatten(0, 1)[:, None], (0, -x.shape[3] % 2, 0, -x.shape[2] % 2), mode="replicate"), 2
    ).movedim(1, -1).unflatten(0, x.shape[:2]).expand(-1, -1, -1, -1, 4)  # fmt: skip
    made.autoencoder.decode = lambda z, *, grid=None, chunk=None: (
        z[..., :1].repeat_interleave(2, 2).repeat_interleave(2, 3)
    )
    return made


@pytest.mark.parametrize("sampler", ["dpm++", "dpm++sde", "ddim", "ddpm"])
def test_the_noise_is_that_of_the_whole_field_at_every_step(known, sampler):
    """What works place by place gives in windows what it gives at once, with the same random numbers."""
    x = torch.rand(1, 2, 28, 40, 1)
    whole = PreDiff(PreDiffConfig.from_dict({**CONFIG.to_dict(), "alignment": None}).fitted(
        history=2, horizon=2, grid=(28, 40)))  # fmt: skip
    whole.denoiser, whole.encode, whole.autoencoder.decode = known.denoiser, known.encode, known.autoencoder.decode
    windows, once = (drawn(one, x, 5, 6, sampler=sampler) for one in (known, whole))
    torch.testing.assert_close(windows, once, rtol=1e-4, atol=1e-5)


def test_there_are_no_seams(known):
    """Differences from pixel to pixel are no larger where windows begin and end, and the spread is the same."""
    x = torch.ones(1, 2, 16, 160, 1)
    samples = drawn(known, x, *range(64), steps=8)[..., 0]
    spread = samples.std(dim=(0, 1, 2))
    assert float(spread.max() / spread.min()) < 1.25
    edges = sorted({column for _, column in Tiles((8, 80), (8, 8), 2).corners} - {0})
    step = (samples[..., 1:] - samples[..., :-1]).square().mean(dim=(0, 1, 2))[1::2]  # between latents
    at = np.array(edges) // 2 - 1
    assert float(step[at].mean() / step.mean()) < 1.1


def test_a_constraint_holds_for_the_whole_field(model):
    x = torch.rand(1, 2, *FIELD, 1)
    free = drawn(model, x, 0)
    target = float(free.mean()) + 0.1
    options = {"constraint": MeanIntensity(target), "steps": 20, "report": True}
    forecast, report = drawn(model, x, 0, **options)
    assert abs(float(forecast.mean()) - target) < 0.3 * float(report.unguided)
    assert float(report.residual) == pytest.approx(abs(float(forecast.mean()) - target), abs=1e-4)
    with pytest.raises(InvalidOption, match=r"(?s)alignment network was trained on.*guidance='decoder'"):
        drawn(model, x, 0, **options | {"guidance": "network"})


def test_smaller_fields_are_refused(model):
    with pytest.raises(InvalidOption, match="16, 16"):
        drawn(model, torch.rand(1, 2, 16, 15, 1), 0)
