"""Numbers of the original PreDiff, and the recipe that its weights and inputs were made by."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from xforecast.models import compat

PARITY = os.environ.get("XFORECAST_PARITY")
DATA = Path(PARITY or Path(__file__).parents[1] / "data") / "prediff"

TABLES = (
    "relative_position_bias_table",
    "T_embed.weight",
    "H_embed.weight",
    "W_embed.weight",
    "positional_embedding",
    "init_global_vectors",
)
NOT_ARGUMENTS = ("t", "guide_scale")
KINDS = {"vae": "prediff-vae", "unet": "prediff-unet", "align": "prediff-alignment"}


def tensors(name):
    """Inputs and outputs of a case."""
    return load_file(DATA / f"{name}.io.safetensors")


def config(name):
    """What a case was run with."""
    return json.loads((DATA / f"{name}.config.json").read_text())


def expected(name):
    """Scalar results of a case."""
    return json.loads((DATA / f"{name}.expected.json").read_text())


def arguments(name):
    """Constructor arguments of a case's network."""
    return {key: value for key, value in config(name).items() if key[0] != "_" and key not in NOT_ARGUMENTS}


def made(key, shape, prefix=""):
    """The weight of that official name."""
    count = int(np.prod(shape))
    u = _uniform(prefix + key, count)
    s = 2 * u - 1
    if key.endswith(TABLES):
        s = 0.5 * s
    elif len(shape) <= 1:
        s = 1 + 0.2 * s if key.endswith("weight") else 0.2 * s
    else:
        s = s * np.sqrt(3 / (count / shape[0]))
    return torch.from_numpy(s.reshape(shape).astype(np.float32))


def _uniform(key, count):
    h = np.arange(count, dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(zlib.crc32(key.encode()))
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x7FEB352D)
    h = (h ^ (h >> np.uint32(15))) * np.uint32(0x846CA68B)
    h ^= h >> np.uint32(16)
    return (h.astype(np.float64) + 0.5) / 2**32


def state_of(kind, kwargs):
    """The official state dict of a network that was made by the recipe."""
    with torch.device("meta"):
        model = compat.KINDS[kind].model(compat.translate_config(kind, kwargs))
    names = {compat.official_name(name, kind): value.shape for name, value in model.state_dict().items()}
    return {name: made(name, tuple(shape)) for name, shape in names.items()}


def network(name):
    """Our network with the official weights of a case."""
    kind, kwargs = KINDS[name.partition("_")[0]], arguments(name)
    return compat.from_official(kind, kwargs, state_of(kind, kwargs))


def difference(found, wanted):
    """Largest difference, relative to the largest number."""
    found, wanted = torch.as_tensor(found).detach(), torch.as_tensor(wanted)
    assert found.shape == wanted.shape
    return ((found - wanted).abs().max() / wanted.abs().max().clamp_min(1e-30)).item()


def video(x_nchw):
    """Images as frames, channels last."""
    return x_nchw.movedim(1, -1)
