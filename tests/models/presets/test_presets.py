"""Published configurations: their sizes and their variants.

Also guards `baselines.py`.
"""

import json

import pytest
import torch

from xforecast.errors import InvalidOption
from xforecast.models import (
    Earthformer,
    EarthformerConfig,
    count_parameters,
    presets,
)


@pytest.mark.parametrize(
    ("config", "parameters"),
    [
        (presets.earthformer_sevir(), 15_082_069),
        (presets.earthformer_sevir("paper", global_vectors=0), 13_075_029),
        (presets.earthformer_sevir("released"), 8_659_677),
        (presets.earthformer_sevir("released", global_vectors=0), 6_164_573),
        (presets.earthformer_enso(), 7_600_077),
        (presets.earthformer_enso("paper", global_vectors=0), 6_601_293),
        (presets.earthformer_enso("released"), 1_394_325),
        (presets.earthformer_nbody(), 6_702_109),
        (presets.earthformer_nbody(global_vectors=8), 7_700_893),
        (presets.earthformer_sevirlr(), 1_505_069),
    ],
)
def test_published_configurations_have_the_published_sizes(config, parameters):
    with torch.device("meta"):
        assert count_parameters(Earthformer(config)) == parameters


def test_an_unknown_variant_is_reported():
    with pytest.raises(InvalidOption, match="variant"):
        presets.earthformer_enso("papers")


@pytest.mark.parametrize("config", [presets.earthformer_sevir("released"), presets.earthformer_enso()])
def test_presets_survive_json(config):
    assert EarthformerConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
