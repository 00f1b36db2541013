"""The official networks of PreDiff: released sizes, checkpoints that do not fit, arguments that are refused."""

import json

import official_prediff as official
import pytest
import torch

from xforecast.errors import CheckpointError, InvalidOption
from xforecast.models import (
    PreDiff,
    compat,
    count_parameters,
    presets,
)


def test_released_sizes_and_names():
    with torch.device("meta"):
        model = PreDiff(presets.prediff_sevirlr())
    names = json.loads((official.DATA / "full_state_dict_keys.json").read_text())
    parts = {
        "vae": (model.autoencoder, 84_499_393),
        "unet": (model.denoiser, 136_817_538),
        "align": (model.alignment, 8_937_033),
    }
    for name, (part, size) in parts.items():
        assert count_parameters(part) == size
        found = {compat.official_name(key, official.KINDS[name]): list(v.shape) for key, v in part.state_dict().items()}
        wanted = {key: value["shape"] for key, value in names[name].items() if not key.endswith("position_index")}
        assert found == wanted


@pytest.mark.parametrize("name", ["vae_a", "unet_a_axial", "align_a"])
def test_weights_that_do_not_fit_are_reported(name):
    kind, kwargs = official.KINDS[name.partition("_")[0]], official.arguments(name)
    state = official.state_of(kind, kwargs)
    first = next(iter(state))
    with pytest.raises(CheckpointError, match=f"missing     {first}"):
        compat.from_official(kind, kwargs, {key: value for key, value in state.items() if key != first})
    with pytest.raises(CheckpointError, match="unexpected  extra"):
        compat.from_official(kind, kwargs, {**state, "extra": torch.zeros(1)})
    with pytest.raises(CheckpointError, match=f"misshapen   {first}"):
        compat.from_official(kind, kwargs, {**state, first: torch.zeros(1, 2, 3)})
    with pytest.raises(InvalidOption, match="width_of_it"):
        compat.from_official(kind, {**kwargs, "width_of_it": 3}, state)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("vae_a", {"act_fn": "mish"}),
        ("vae_a", {"down_block_types": ["DownBlock2D"] * 3}),
        ("unet_a_axial", {"hierarchical_pos_embed": True}),
        ("unet_a_axial", {"target_shape": [2, 8, 9, 4]}),
        ("align_a", {"pool": "spatial"}),
    ],
)
def test_what_the_original_does_not_have_is_refused(name, changes):
    with pytest.raises(InvalidOption, match=next(iter(changes))):
        compat.translate_config(official.KINDS[name.partition("_")[0]], official.arguments(name) | changes)
