"""Numbers of the original Earthformer, and how to load its weights into single layers of ours."""

import json
import os
import zlib
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file

from xforecast.models import compat
from xforecast.models.contract import load_strictly

DATA = Path(os.environ.get("XFORECAST_PARITY", Path(__file__).parents[1] / "data")) / "earthformer"


def read_json(name):
    """Content of a JSON file."""
    return json.loads((DATA / name).read_text())


def read_tensors(name):
    """Content of a safetensors file."""
    return load_file(DATA / name)


def models():
    """Folders of the small complete models."""
    folders = sorted((DATA / "models").iterdir())
    return [f for f in folders if read_json(f / "config.json")["model_class"] == "CuboidTransformerModel"]


def load_layer(layer, state, ours="", theirs=""):
    """Load official weights into a layer of ours; the prefixes say where it sits in a whole model."""
    state = {name: value for name, value in state.items() if not name.endswith("relative_position_index")}
    one_stage = not any("_list." in name for name in state)

    def rename(name):
        return compat.official_name(ours + name, one_stage=one_stage).removeprefix(theirs)

    load_strictly(layer.eval(), state, rename=rename)
    return layer


def hashed(key, shape):
    """Numbers between -1 and 1 that depend on the key and the place only."""
    h = np.arange(int(np.prod(shape)), dtype=np.uint32) * np.uint32(0x9E3779B1) + np.uint32(zlib.crc32(key.encode()))
    h = (h ^ (h >> np.uint32(16))) * np.uint32(0x85EBCA6B)
    h = (h ^ (h >> np.uint32(13))) * np.uint32(0xC2B2AE35)
    h ^= h >> np.uint32(16)
    return (h.astype(np.float64) / 2**31 - 1).reshape(shape)


def made_weight(key, shape):
    """The weight of that official name in the full-size cases."""
    u = hashed(key, shape)
    if len(shape) == 1:
        value = 1 + 0.2 * u if key.endswith(".weight") else 0.1 * u
    elif key.endswith(("relative_position_bias_table", "init_global_vectors")) or "_embed.weight" in key:
        value = 0.5 * u
    else:
        value = u * np.sqrt(3 / (np.prod(shape) // shape[0]))
    return torch.from_numpy(value.astype(np.float32))


def made_input(shape, key="input"):
    """The input of the full-size cases."""
    return torch.from_numpy(((hashed(key, shape) + 1) / 2).astype(np.float32))
