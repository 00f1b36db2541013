"""Earthformer as a whole: published sizes, any shape, laws, training."""

import json
from dataclasses import replace

import official
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from xforecast.errors import InvalidOption
from xforecast.models import (
    BlockConfig,
    CrossCuboid,
    Cuboid,
    DecoderConfig,
    Earthformer,
    EarthformerConfig,
    EncoderConfig,
    GlobalVectorConfig,
    Quirks,
    StemConfig,
    describe_cuboids,
    presets,
)
from xforecast.models.blocks.patterns import SELF_PATTERNS

QUIET = BlockConfig(heads=2, attention_dropout=0, projection_dropout=0, feed_forward_dropout=0)
SMALL = EarthformerConfig(history=3, horizon=2, grid=(6, 7), base_channels=8, block=QUIET)


# ------------------------------------------------------------------ configurations


@st.composite
def configs(draw, largest=9):
    levels = draw(st.integers(1, 3))
    count = draw(st.sampled_from([0, 2]))
    ratio = draw(st.integers(1, 2))
    depths = st.tuples(*[st.integers(1, 2)] * levels)
    return EarthformerConfig(
        history=draw(st.integers(1, 4)),
        horizon=draw(st.integers(1, 4)),
        grid=draw(st.tuples(st.integers(1, largest), st.integers(3, largest))),
        input_channels=draw(st.integers(1, 3)),
        output_channels=draw(st.integers(1, 3)),
        base_channels=4,
        channel_growth=draw(st.sampled_from([0.5, 1.0])),
        downsample=draw(st.sampled_from([(1, 2, 2), (2, 2, 1), (1, 1, 3)])),
        positions=draw(st.sampled_from(["time+height+width", "time+space"])),
        stem=draw(
            st.sampled_from([StemConfig(), StemConfig(((2, 1, 2), (1, 2, 1)), (1, 2), (6, 4), norm_groups=16)])
        ),
        encoder=EncoderConfig(
            draw(depths),
            draw(st.sampled_from(["axial", "video_swin_2x4", (Cuboid((2, 3, 2), shift=(1, 1, 1)),)])),
            draw(st.booleans()),
        ),
        decoder=DecoderConfig(
            draw(depths),
            ("axial",) * levels,
            draw(st.sampled_from(["cross_1x1", "cross_4x4_heter", (CrossCuboid((2, 3), temporal_chunks=2),)])),
            cross_start_level=draw(st.integers(0, levels - 1)),
            cross_last_frames=draw(st.sampled_from([None, 2])),
            self_attention_first=draw(st.booleans()),
            initial_forecast=draw(st.sampled_from(["zeros", "nearest", "last", "mean"])),
            position_each_level=draw(st.booleans()),
        ),
        block=replace(
            QUIET,
            padding=draw(st.sampled_from(["ignore", "zeros", "nearest"])),
            norm=draw(st.sampled_from(["layer_norm", "rms_norm"])),
            gated=draw(st.booleans()),
        ),
        global_vectors=GlobalVectorConfig(
            count,
            "separate" if ratio > 1 else draw(st.sampled_from(["shared", "separate"])),
            draw(st.booleans()),
            ratio,
            feed_forward=draw(st.booleans()),
            decoder_self_attention=draw(st.booleans()),
            decoder_cross_attention=draw(st.booleans()),
        ),
        quirks=Quirks(*draw(st.tuples(*[st.booleans()] * 3))),
    )  # fmt: skip


@given(configs())
def test_a_configuration_survives_json(config):
    text = json.dumps(config.to_dict())
    assert EarthformerConfig.from_dict(json.loads(text)) == config
    assert hash(config) == hash(EarthformerConfig.from_dict(json.loads(text)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"history": 0}, "history"),
        ({"grid": (4,)}, "grid"),
        ({"positions": "t+hw"}, "positions"),
        ({"base_channels": 9}, "multiple of 2 heads"),
        ({"level_channels": (8, 9)}, "multiple of 2 heads"),
        ({"level_channels": (16, 16)}, "begin with base_channels"),
        ({"level_channels": (8,)}, "2 widths"),
        ({"encoder": EncoderConfig((1,))}, "decoder.depths"),
        ({"encoder": EncoderConfig((1, 1), "axiall")}, "axial"),
        ({"encoder": EncoderConfig((1, 1), ("axial",) * 3)}, "encoder.cuboids"),
        ({"decoder": DecoderConfig((1, 1), cross_start_level=2)}, "cross_start_level"),
        ({"stem": StemConfig(channels=(4,))}, "stem.channels"),
    ],
)
def test_configurations_that_cannot_work_are_reported(change, message):
    with pytest.raises(InvalidOption, match=message):
        replace(SMALL, **change)


@pytest.mark.parametrize(
    "options", [{"upsample_kernel": 2}, {"initial_forecast": "first"}, {"depths": (0,)}, {"cross_last_frames": 0}]
)
def test_decoders_that_cannot_work_are_reported(options):
    with pytest.raises(InvalidOption, match=next(iter(options))):
        DecoderConfig(**options)


def test_unknown_and_missing_options_are_reported_at_once():
    stored = SMALL.to_dict()
    stored["horizons"] = stored.pop("horizon")
    with pytest.raises(InvalidOption, match=r"horizons(.|\n)*'horizon'(.|\n)*did you mean horizon"):
        EarthformerConfig.from_dict(stored)


def test_level_widths_are_the_official_ones():
    for case in official.read_json("units/shapes.json")["block_units"]:
        config = replace(
            SMALL,
            base_channels=case["base_units"],
            channel_growth=case["scale_alpha"],
            downsample=case["downsample"],
            encoder=EncoderConfig((1,) * case["n"]),
            decoder=DecoderConfig((1,) * case["n"]),
        )
        assert list(config.channels) == case["block_units"]


def test_cuboids_of_the_decoder_span_the_horizon_or_as_in_the_original_the_history():
    for quirk, frames in ((False, 14), (True, 12)):
        config = replace(presets.earthformer_enso(), quirks=Quirks(decoder_cuboids_from_history=quirk))
        assert config.decoder_cuboids(0)[0].size == (frames, 1, 1)


def test_the_cuboids_of_a_configuration_can_be_read():
    text = describe_cuboids(replace(SMALL, encoder=EncoderConfig((1, 1), "video_swin_2x4")))
    assert "encoder on (3, 3, 4): (2, 3, 3) (2, 3, 3) shift (1, 0, 1)" in text


# ------------------------------------------------------------------ forward


@settings(max_examples=40)
@given(configs())
@torch.no_grad()
def test_any_shape_and_any_options_work_and_samples_do_not_see_one_another(config):
    model = Earthformer(config).eval()
    x = torch.randn(3, config.history, *config.grid, config.input_channels)
    y = model(x)
    assert y.shape == (3, config.horizon, *config.grid, config.output_channels)
    assert y.isfinite().all()
    torch.testing.assert_close(model(x[1:2]), y[1:2], atol=1e-4, rtol=1e-3)


@pytest.mark.parametrize("name", sorted(SELF_PATTERNS))
@torch.no_grad()
def test_every_pattern_works(name):
    encoder = EncoderConfig((1, 1), name)
    decoder = DecoderConfig((1, 1), name, self_attention_first=True)
    model = Earthformer(replace(SMALL, encoder=encoder, decoder=decoder))
    assert model(torch.randn(1, 3, 6, 7, 1)).isfinite().all()


def test_a_wrong_shape_is_reported():
    model = Earthformer(SMALL)
    with pytest.raises(InvalidOption, match=r"\(batch, 3, 6, 7, 1\)"):
        model(torch.zeros(1, 3, 6, 6, 1))
    with pytest.raises(InvalidOption, match="shape of x"):
        model(torch.zeros(3, 6, 7, 1))


def test_the_state_has_parameters_only():
    model = Earthformer(replace(SMALL, encoder=EncoderConfig((1, 1), "video_swin_2x2")))
    assert set(model.state_dict()) == {name for name, _ in model.named_parameters()}


# ------------------------------------------------------------------ training


@settings(max_examples=20)
@given(configs(largest=5))
def test_the_gradient_reaches_every_weight_that_can_matter(config):
    config = replace(config, history=3, grid=(4, 5), horizon=2)
    model = Earthformer(config)
    model(torch.randn(2, 3, 4, 5, config.input_channels)).square().sum().backward()
    missing = {name for name, p in model.named_parameters() if p.grad is None}
    if not (config.global_vectors.decoder_self_attention or config.global_vectors.decoder_cross_attention):
        # After the last attention to the global vectors, nothing depends on their update.
        last = f"encoder.levels.{config.levels - 1}.{config.encoder.depths[-1] - 1}."
        missing = {name for name in missing if not name.startswith(last) or "vector" not in name}
    missing = {name for name in missing if "vector" not in name}
    assert not missing
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_the_decoder_gives_gradients_to_all_global_vectors():
    config = replace(
        SMALL,
        global_vectors=GlobalVectorConfig(2, decoder_self_attention=True, decoder_cross_attention=True),
        decoder=DecoderConfig((2, 2)),
    )
    model = Earthformer(config)
    model(torch.randn(1, 3, 6, 7, 1)).sum().backward()
    missing = {name for name, p in model.named_parameters() if p.grad is None}
    assert all(name.startswith("decoder.self_blocks") for name in missing)


def test_a_few_steps_lower_the_loss():
    model = Earthformer(SMALL)
    optimiser = torch.optim.AdamW(model.parameters(), lr=3e-3)
    x = torch.randn(4, 3, 6, 7, 1)
    y = x[:, :2].roll(1, 2)
    losses = []
    for _ in range(15):
        optimiser.zero_grad()
        loss = model.loss(x, y)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.8 * losses[0]


@pytest.mark.parametrize("checkpoint", ["feed_forward", "all"])
def test_recomputing_activations_changes_no_number(checkpoint):
    vectors = GlobalVectorConfig(2, feed_forward=True, decoder_self_attention=True, decoder_cross_attention=True)
    block = replace(QUIET, attention_dropout=0.3, feed_forward_dropout=0.3)
    x, y = torch.randn(2, 3, 6, 7, 1), torch.randn(2, 2, 6, 7, 1)
    gradients = []
    for how in ("none", checkpoint):
        torch.manual_seed(1)
        model = Earthformer(replace(SMALL, block=replace(block, checkpoint=how), global_vectors=vectors))
        torch.manual_seed(2)
        model.loss(x, y).backward()
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*gradients, atol=1e-6, rtol=1e-5)


def test_bfloat16_gives_the_forecast_to_its_precision():
    cuboids = ("video_swin_2x2", "axial")
    model = Earthformer(replace(SMALL, encoder=EncoderConfig((1, 1), cuboids)))
    x, y = torch.randn(2, 3, 6, 7, 1), torch.randn(2, 2, 6, 7, 1)
    with torch.autocast("cpu", torch.bfloat16):
        found = model(x)
        model.loss(x, y).backward()
    torch.testing.assert_close(found.float(), model(x), atol=0.15, rtol=0.1)
    assert all(p.grad.isfinite().all() for p in model.parameters() if p.grad is not None)


def test_it_compiles_to_one_graph():
    vectors = GlobalVectorConfig(2, decoder_self_attention=True, decoder_cross_attention=True)
    config = replace(SMALL, encoder=EncoderConfig((1,), "video_swin_2x2"), decoder=DecoderConfig((1,), "axial"))
    model = Earthformer(replace(config, global_vectors=vectors))
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    x = torch.randn(2, 3, 6, 7, 1)
    torch.testing.assert_close(compiled(x), model(x))
    compiled(x).sum().backward()


def test_the_loss_is_the_weighted_mean_square():
    model = Earthformer(SMALL)
    x, y = torch.randn(2, 3, 6, 7, 1), torch.randn(2, 2, 6, 7, 1)
    torch.testing.assert_close(model.loss(x, y), torch.nn.functional.mse_loss(model(x), y))
    weight = torch.rand(6, 7, 1)
    torch.testing.assert_close(
        model.loss(x, y, weight), ((model(x) - y) ** 2 * weight).mean() / weight.mean(), rtol=1e-5, atol=0
    )


def test_relative_amplitude_makes_the_forecast_scale_with_the_history():
    config = EarthformerConfig(
        history=3, horizon=2, grid=(4, 5), input_channels=2, base_channels=16, relative_amplitude=True
    )
    model = Earthformer(config).eval()
    x = torch.randn(2, 3, 4, 5, 2)
    larger = x * torch.tensor([7.0, 1.0])
    torch.testing.assert_close(model(larger), 7 * model(x), rtol=1e-4, atol=1e-5)
    assert model(torch.cat([torch.zeros_like(x[..., :1]), x[..., 1:]], dim=-1)).abs().max() < 1e-4


@pytest.mark.parametrize("kind", ["last", "mean", "nearest"])
def test_initial_positions_make_the_leads_differ(kind):
    decoder = DecoderConfig((1,), initial_forecast=kind, initial_positions=True)
    config = EarthformerConfig(
        history=1, horizon=3, grid=(4, 5), base_channels=16, encoder=EncoderConfig((1,)), decoder=decoder,
        position_spread=0.5, global_vectors=GlobalVectorConfig(0), positions="time+space",
    )  # fmt: skip
    first, second = Earthformer(config).eval()(torch.randn(1, 1, 4, 5, 1))[0, :2]
    assert (first - second).abs().max() > 1e-3
    bare = replace(config, decoder=replace(decoder, initial_positions=False))
    names = {name for name, _ in Earthformer(config).named_parameters()}
    assert names - {name for name, _ in Earthformer(bare).named_parameters()} == {
        "initial_forecast.position.time", "initial_forecast.position.space"
    }  # fmt: skip
