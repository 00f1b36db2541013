"""Numbers of the reference codes: the stored weights, loaded strictly, give the stored outputs.

Also guards `convlstm.py`, `e3d_lstm.py`, `phydnet.py`, `predrnn.py`, `rainformer.py`, `unet.py`.
"""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from xforecast.models.baselines.convlstm import ConvLSTM, ConvLSTMCell, ConvLSTMConfig
from xforecast.models.baselines.e3d_lstm import E3DLSTM, E3DLSTMConfig, EideticLSTMCell, tokens
from xforecast.models.baselines.phydnet import (
    PhyCell,
    PhyDNet,
    PhyDNetConfig,
    kernel_moments,
    moment_loss,
    moment_matrix,
)
from xforecast.models.baselines.predrnn import PredRNN, PredRNNConfig, SpatiotemporalLSTMCell
from xforecast.models.baselines.rainformer import FeatureBalance, _Expand, _Merge
from xforecast.models.baselines.unet import UNet, UNetConfig

DATA = Path(__file__).parents[2] / "data" / "baselines"


class Fixture:
    """One file; every weight has to be asked for."""

    def __init__(self, name):
        self.tensors = load_file(DATA / f"{name}.safetensors")
        self.left = {key.removeprefix("weight.") for key in self.tensors if key.startswith("weight.")}

    def __getitem__(self, key):
        return self.tensors[key]

    def weight(self, name):
        self.left.discard(name)
        return self.tensors[f"weight.{name}"]


def close(found, expected):
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=2e-5)


def put(target, value):
    with torch.no_grad():
        target.copy_(value.reshape(target.shape))


def fill(fixture, module, names):
    """Fill every parameter and buffer of a module; `names` maps those of the module to those of the file."""
    state = {key: value for key, value in module.state_dict().items() if not key.endswith("num_batches_tracked")}
    for key, value in state.items():
        put(value, fixture.weight(names(key)))
    assert not fixture.left


def channels_last(x_BTCHW):
    return x_BTCHW.movedim(2, -1)


# ------------------------------------------------------------------ ConvLSTM


def convlstm_cell(fixture, **options):
    cell = ConvLSTMCell(3, 5, 3, **options)
    for gate in cell.GATES:
        put(cell.from_input.kernels()[gate], fixture.weight(f"W_x{gate}"))
        put(cell.from_hidden.kernels()[gate], fixture.weight(f"W_h{gate}"))
        put(cell.from_input.biases()[gate], fixture.weight(f"b_{gate}"))
    for gate, peephole in cell.peephole.items():
        put(peephole, fixture.weight(f"w_c{gate}"))
    assert not fixture.left
    return cell


@torch.no_grad()
def test_convlstm_cell():
    fixture = Fixture("convlstm_cell")
    cell, state = convlstm_cell(fixture), (fixture["in.h"], fixture["in.c"])
    for suffix in ("", "2"):
        state = cell(cell.from_input(fixture[f"in.x{suffix}"]), state)
        close(state[0], fixture[f"out.h{suffix}"])
        close(state[1], fixture[f"out.c{suffix}"])


@torch.no_grad()
def test_convlstm_cell_with_peepholes():
    fixture = Fixture("convlstm_cell_peephole")
    cell = convlstm_cell(fixture, peephole_grid=(7, 6))
    hidden, (h, c) = cell.run(fixture["in.x_seq"].transpose(0, 1), (fixture["in.h"], fixture["in.c"]))
    close(hidden.transpose(0, 1), fixture["out.h_seq"])
    close(h, fixture["out.h"])
    close(c, fixture["out.c"])


def put_joint(cell, fixture, kernel, bias, order):
    """A kernel over [x, h] with gates in another order."""
    inputs = cell.from_input.convolution.in_channels
    for gate, part, shift in zip(order, fixture.weight(kernel).chunk(4), fixture.weight(bias).chunk(4), strict=True):
        put(cell.from_input.kernels()[gate], part[:, :inputs])
        put(cell.from_hidden.kernels()[gate], part[:, inputs:])
        put(cell.from_input.biases()[gate], shift)


@torch.no_grad()
def test_convlstm_network():
    fixture = Fixture("convlstm_encoder_forecaster")
    model = ConvLSTM(
        ConvLSTMConfig(
            history=3, horizon=2, grid=(24, 24), channels=(4, 6, 6), convolution_channels=(3, 6, 6),
            kernels=(3, 3, 3), strides=(2, 2, 2), transposed_kernels=(4, 4, 4), head=3, head_convolution=True,
        )
    )  # fmt: skip

    def put_layer(layer, name):
        put(layer.weight, fixture.weight(f"{name}.W"))
        put(layer.bias, fixture.weight(f"{name}.b"))

    for level in (1, 2, 3):
        put_layer(model.down[level - 1][0], f"enc.{level}.conv{level}_leaky_1")
        put_layer(model.up[level - 1][0], f"fore.{level}.deconv{4 - level}_leaky_1")
        put_joint(model.encoder[level - 1], fixture, f"enc.{level}.cell.W", f"enc.{level}.cell.b", "ifgo")
        put_joint(model.forecaster[level - 1], fixture, f"fore.{level}.cell.W", f"fore.{level}.cell.b", "ifgo")
    put_layer(model.head[0], "fore.1.conv3_leaky_2")
    put_layer(model.head[2], "fore.1.conv3_3")
    assert not fixture.left
    frames = fixture["in.frames_TNCHW"].transpose(0, 1)
    close(model(channels_last(frames)), channels_last(fixture["out.frames_TNCHW"].transpose(0, 1)))


# ------------------------------------------------------------------ PredRNN

OF_GATE = {"i": "i", "f": "f", "g": "g", "o": "o", "i_m": "i2", "f_m": "f2", "g_m": "g2"}


def put_spatiotemporal(cell, fixture, prefix=""):
    for gate, name in OF_GATE.items():
        for source, gates in (("x", cell.from_input), ("h", cell.from_hidden), ("m", cell.from_memory)):
            if gate in gates.names:
                put(gates.kernels()[gate], fixture.weight(f"{prefix}W_{source}{name}"))
    put(cell.from_cells.convolution.weight, torch.cat([fixture.weight(f"{prefix}W_{k}o") for k in "cm"], dim=1))
    put(cell.output.weight, fixture.weight(f"{prefix}W_1x1"))


@pytest.mark.parametrize("norm", [False, True])
@torch.no_grad()
def test_spatiotemporal_lstm_cell(norm):
    fixture = Fixture("st_lstm_cell_layernorm" if norm else "st_lstm_cell")
    cell = SpatiotemporalLSTMCell(3, 4, 5, (6, 6) if norm else None)
    put_spatiotemporal(cell, fixture)
    if norm:
        for gates, name in (
            (cell.from_input, "ln_x"),
            (cell.from_hidden, "ln_h"),
            (cell.from_memory, "ln_m"),
            (cell.from_cells, "ln_o"),
        ):
            put(gates.norm.weight, fixture.weight(f"{name}.gamma"))
            put(gates.norm.bias, fixture.weight(f"{name}.beta"))
    assert not fixture.left
    h, c, m, _ = cell(cell.from_input(fixture["in.x"]), fixture["in.h"], fixture["in.c"], fixture["in.m"])
    close(h, fixture["out.h"])
    close(c, fixture["out.c"])
    close(m, fixture["out.m"])


@torch.no_grad()
def test_predrnn_network():
    fixture = Fixture("predrnn_net")
    model = PredRNN(
        PredRNNConfig(
            history=3, horizon=3, grid=(6, 6), input_channels=4, output_channels=4, channels=5, layers=3, kernel=3,
            patch=1,
        )
    )  # fmt: skip
    for layer, cell in enumerate(model.cells):
        put_spatiotemporal(cell, fixture, f"cell{layer}.")
    put(model.head.weight, fixture.weight("out.W"))
    assert not fixture.left
    frames = fixture["in.frames_NTHWC"]
    use = torch.ones(2, 5, 6, 6, 4, dtype=torch.bool)
    use[:, 3:] = fixture["in.use_true_NTHWC"].bool()
    predictions, _ = model.roll(frames[:, :-1], use)
    close(predictions, fixture["out.next_frames_NTHWC"])
    close(model.error(predictions, frames[:, 1:])[None], fixture["out.loss"])


# ------------------------------------------------------------------ PhyDNet


@torch.no_grad()
def test_physical_cell_and_moments():
    fixture = Fixture("phycell")
    cell = PhyCell(6, 14)
    for layer, name in (
        (cell.derivatives, "F.conv1.{}"), (cell.norm, "F.gn.{}"), (cell.combine, "F.conv2.{}"),
    ):  # fmt: skip
        words = ("gamma", "beta") if layer is cell.norm else ("W", "b")
        put(layer.weight, fixture.weight(name.format(words[0])))
        put(layer.bias, fixture.weight(name.format(words[1])))
    put(cell.gain.weight, torch.cat([fixture.weight("K.W_x"), fixture.weight("K.W_h")], dim=1))
    put(cell.gain.bias, fixture.weight("K.b"))
    assert not fixture.left
    x, h = fixture["in.x"], fixture["in.h"]
    close(cell(x, h), fixture["out.h"])
    close(cell(x, h, correct=False) - h, fixture["mid.phi"])
    close(cell.gain(torch.cat([x, h], dim=1)).sigmoid(), fixture["mid.K"])
    close(kernel_moments(cell.derivatives.weight).float(), fixture["moments.out"])
    close(moment_loss(cell.derivatives.weight)[None], fixture["moments.loss"])


@pytest.mark.parametrize("size", [3, 5, 7])
def test_moments_of_kernels(size):
    stored = {key: torch.from_numpy(value) for key, value in np.load(DATA / "k2m_moments.npz").items()}
    kernels, moments = stored[f"kernel{size}"], stored[f"moments{size}"]
    torch.testing.assert_close(kernel_moments(kernels), moments)
    inverse = torch.linalg.inv(moment_matrix(size))
    torch.testing.assert_close(inverse @ moments @ inverse.T, kernels)
    if size == 7:
        torch.testing.assert_close(inverse @ moments @ inverse.T, stored["back7"])


@torch.no_grad()
def test_phydnet_network():
    fixture = Fixture("phydnet_net")
    model = PhyDNet(
        PhyDNetConfig(history=4, horizon=3, grid=(24, 20), channels=16, filters=14, hidden=(12,), activation="sigmoid")
    )
    stacks = {
        "encoder_E": model.encoder, "encoder_Ep": model.encode_physics, "encoder_Er": model.encode_residual,
        "decoder_Dp": model.decode_physics, "decoder_Dr": model.decode_residual, "decoder_D": model.decoder,
    }  # fmt: skip
    layers = {
        "phycell.F.conv1": model.physics.derivatives, "phycell.F.gn": model.physics.norm,
        "phycell.F.conv2": model.physics.combine, "phycell.convgate": model.physics.gain,
    }  # fmt: skip
    for name, stack in stacks.items():
        for number, block in enumerate(stack, start=1):
            level = f"{name}.{'c' if 'encoder' in name else 'upc'}{number}"
            if isinstance(block, nn.Sequential):
                layers |= {f"{level}.main.{part}": block[part] for part in (0, 1)}
            else:
                layers[level] = block
    for name, layer in layers.items():
        put(layer.weight, fixture.weight(f"{name}.weight"))
        put(layer.bias, fixture.weight(f"{name}.bias"))
    for number, cell in enumerate(model.residual):
        name = f"convcell.cell_list.{number}.conv"
        put_joint(cell, fixture, f"{name}.weight", f"{name}.bias", "ifog")
    assert not fixture.left
    predictions, state = model.roll(channels_last(fixture["in.frames"]))
    close(predictions, channels_last(torch.cat([fixture["out.recon_next"], fixture["out.forecast"]], dim=1)))
    close(model.frame(model.decode_physics(state.physics)), fixture["out.last_phys_only"])
    close(model.frame(model.decode_residual(state.residual[-1][0])), fixture["out.last_conv_only"])


# ------------------------------------------------------------------ E3D-LSTM

STACKS = {
    "x": ("i", "g", "r", "o", "i_m", "g_m", "f_m"),
    "h": ("i", "g", "r", "o"),
    "m": ("i_m", "f_m", "g_m", "m"),
}
"""Gates in the file, in their order."""


def put_eidetic(cell, fixture, prefix=""):
    for source, gates in (("x", cell.from_input), ("h", cell.from_hidden), ("m", cell.from_memory)):
        for own, name in (
            (gates.convolution.weight, f"W_{source}"),
            (gates.convolution.bias, f"b_{source}"),
            (gates.norm.weight, f"ln_{source}.gamma"),
            (gates.norm.bias, f"ln_{source}.beta"),
        ):
            stored = dict(zip(STACKS[source], fixture.weight(prefix + name).chunk(len(gates.names)), strict=True))
            put(own, torch.cat([stored[gate] for gate in gates.names]))
    for layer, name in (
        (cell.from_cell.convolution, "oc"), (cell.from_new_memory.convolution, "om"), (cell.output, "last"),
    ):  # fmt: skip
        put(layer.weight, fixture.weight(f"{prefix}W_{name}"))
        put(layer.bias, fixture.weight(f"{prefix}b_{name}"))
    put(cell.norm.weight, fixture.weight(f"{prefix}ln_attn.gamma"))
    put(cell.norm.bias, fixture.weight(f"{prefix}ln_attn.beta"))


@torch.no_grad()
def test_eidetic_cell():
    fixture = Fixture("e3d_lstm_cell")
    cell = EideticLSTMCell(3, 4)
    put_eidetic(cell, fixture)
    assert not fixture.left
    past = tokens(fixture["in.c_history"])
    h, c, m = cell(fixture["in.x"], fixture["in.h"], fixture["in.c"], fixture["in.m"], past)
    close(h, fixture["out.h"])
    close(c, fixture["out.c"])
    close(m, fixture["out.m_new"])


@pytest.mark.parametrize("memory", ["paper", "official"])
@torch.no_grad()
def test_e3d_lstm_network(memory):
    fixture = Fixture("e3d_lstm_net")
    model = E3DLSTM(
        E3DLSTMConfig(
            history=3, horizon=3, grid=(4, 5), input_channels=4, output_channels=4, channels=4, layers=2, patch=1,
            memory=memory,
        )
    )  # fmt: skip
    for layer, cell in enumerate(model.cells):
        put_eidetic(cell, fixture, f"cell{layer}.")
    put(model.head.weight, fixture.weight("out.W"))
    put(model.head.bias, fixture.weight("out.b"))
    assert not fixture.left
    frames = channels_last(fixture["in.frames"])
    use = torch.ones(2, 5, 4, 5, 4, dtype=torch.bool)
    use[:, 3:] = channels_last(fixture["in.use_true"]).bool()
    predictions, _ = model.roll(frames[:, :-1], use)
    close(predictions[:, 2:], channels_last(fixture[f"out.{memory}"]))
    loss = model.error(predictions, frames[:, 1:]) * predictions.numel()
    close(loss[None], fixture[f"out.loss_{memory}"])


# ------------------------------------------------------------------ Rainformer

WORDS = {
    "linear.weight": "patch_partition.linear.weight", "linear.bias": "patch_partition.linear.bias",
    "local.convolutions.0": "local.conv1", "local.convolutions.1": "local.bn1",
    "local.convolutions.3": "local.conv2", "local.convolutions.4": "local.bn2",
    "local.channel_gate.0": "cbam.mlp1", "local.channel_gate.2": "cbam.mlp2",
    "local.place_gate.0": "cbam.spatial.conv", "local.place_gate.1": "cbam.spatial.bn",
    "gates.0": "gate.conv", "gates.1": "gate.ln",
    "blocks.": "swin", "attention.qkv": "qkv", "attention.project": "proj", "attention.table": "rel_bias_table",
    "norm_attention": "ln1", "norm_feed_forward": "ln2", "feed_forward.0": "mlp.fc1", "feed_forward.2": "mlp.fc2",
    "gate_mean.0": "chan_avg.fc1", "gate_mean.2": "chan_avg.fc2",
    "gate_maximum.0": "chan_max.fc1", "gate_maximum.2": "chan_max.fc2",
}  # fmt: skip


def official(name):
    for own, word in WORDS.items():
        name = name.replace(own, word)
    return name


def stage(fixture, resample, balance):
    both = nn.Module()
    for child in (resample, balance):
        for name, part in child.named_children():
            both.add_module(name, part)
    fill(fixture, both, official)
    return resample.eval(), balance.eval()


@torch.no_grad()
def test_rainformer_stage_down():
    fixture = Fixture("rainformer_stage_down")
    merge, balance = stage(fixture, _Merge(3, 12, 2), FeatureBalance(12, (6, 12), 48, 2, 4, 3))
    x = merge(fixture["in.x"])
    close(x, fixture["mid.embed_NCHW"])
    close(balance.local.convolutions(x), fixture["mid.local_conv"])
    close(balance.local(x), fixture["mid.local_cbam"])
    first = balance.blocks[0](x.movedim(1, -1))
    close(first.movedim(-1, 1), fixture["mid.swin0_NCHW"])
    close(balance.blocks[1](first).movedim(-1, 1), fixture["mid.swin1_NCHW"])
    close(balance(x), fixture["out.y"])


@torch.no_grad()
def test_rainformer_stage_final():
    fixture = Fixture("rainformer_stage_final")
    expand, balance = stage(fixture, _Expand(8, 5, 2), FeatureBalance(5, (6, 12), 20, 2, 4, 3))
    close(balance(expand(fixture["in.x"])), fixture["out.y"])


# ------------------------------------------------------------------ UNet


@pytest.mark.parametrize("training", [False, True])
@torch.no_grad()
def test_unet(training):
    fixture = Fixture("sevir_unet_small")
    model = UNet(UNetConfig(history=3, horizon=2, grid=(16, 24), channels=(4, 6), centre=10)).train(training)
    norms = {"weight": "gamma", "bias": "beta", "running_mean": "mean", "running_var": "var"}
    level = {"encoder.0.": "enc0.", "encoder.1.": "enc1.", "centre.": "center.", "decoder.": "dec"}

    def name(own):
        for word, other in level.items():
            own = own.replace(word, other)
        own = own.replace("convolutions.", "")
        stem, _, last = own.rpartition(".")
        head, _, number = stem.rpartition(".")
        if number.isdigit():
            layer = ("conv1", "bn1", None, "conv2", "bn2")[int(number)]
            return f"{head}.{layer}.{norms[last] if layer.startswith('bn') else last[0].replace('w', 'W')}"
        if number == "norm":
            return f"{head}.bn0.{norms[last]}"
        return f"{stem.replace('head', 'out')}.{last[0].replace('w', 'W')}"

    fill(fixture, model, name)
    seen = {}
    model.encoder[0].register_forward_hook(lambda module, x, y: seen.update(enc0=y))
    model.centre.register_forward_hook(lambda module, x, y: seen.update(center=y))
    model.decoder[1].register_forward_hook(lambda module, x, y: seen.update(dec1=y))
    forecast = model(fixture["in.x"][..., None])[..., 0]
    if training:
        close(forecast, fixture["out.y_train_mode"])
        return
    close(forecast, fixture["out.y_eval"])
    for where, y in seen.items():
        close(y, fixture[f"mid.{where}_eval"])
