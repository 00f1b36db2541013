"""Configurations: what is refused has a remedy that works as it is printed."""

import ast
import re
from pathlib import Path

import pytest

import xforecast.models
from xforecast.errors import InvalidOption
from xforecast.models import (
    AdversarialAutoencoderConfig,
    AutoencoderConfig,
    BlockConfig,
    ClimatologyForecastConfig,
    Config,
    ConvLSTMConfig,
    CuboidUNetConfig,
    DecoderConfig,
    E3DLSTMConfig,
    EarthformerConfig,
    EncoderConfig,
    EnsembleConfig,
    ExtrapolationConfig,
    GlobalVectorConfig,
    KnowledgeAlignmentConfig,
    LinearInverseModelConfig,
    MovingConfig,
    NoiseSchedule,
    PersistenceConfig,
    PhyDNetConfig,
    PreDiffConfig,
    PredRNNConfig,
    RainformerConfig,
    StemConfig,
    STEPSConfig,
    UNetConfig,
)
from xforecast.models.contract import check_choice, check_positive

SIZE = {"history": 4, "horizon": 2, "grid": (16, 24)}
LATENT = {"history": 2, "horizon": 2, "grid": (8, 8), "base_channels": 16, "depths": (1, 1)}
AUTOENCODER = AutoencoderConfig(level_channels=(8, 16), latent_channels=4, norm_groups=4)
PREDIFF = {"autoencoder": AUTOENCODER, "denoiser": CuboidUNetConfig(**LATENT, channels=4)}

REFUSED = [
    (PersistenceConfig, {"horizon": 0}),
    (PersistenceConfig, {"horizon": 3, "output_channels": 0}),
    (ClimatologyForecastConfig, {"horizon": 3, "grid": (4,)}),
    (ClimatologyForecastConfig, {"horizon": 3, "grid": (4, 0)}),
    (ConvLSTMConfig, {**SIZE, "channels": ()}),
    (ConvLSTMConfig, {**SIZE, "kernels": (3,)}),
    (ConvLSTMConfig, {**SIZE, "channels": (4, 6), "kernels": (4, 5)}),
    (ConvLSTMConfig, {**SIZE, "channels": (4, 6), "transposed_kernels": (1, 1)}),
    (ConvLSTMConfig, {**SIZE, "channels": (4, 6), "strides": (5, 1)}),
    (E3DLSTMConfig, {**SIZE, "kernel": (5, 5)}),
    (E3DLSTMConfig, {**SIZE, "patch": 5}),
    (E3DLSTMConfig, {**SIZE, "output_channels": 2}),
    (PredRNNConfig, {**SIZE, "patch": 5}),
    (PredRNNConfig, {**SIZE, "decoupling": -1.0}),
    (PhyDNetConfig, {**SIZE, "channels": 20}),
    (PhyDNetConfig, {**SIZE, "kernel": 6}),
    (PhyDNetConfig, {**SIZE, "strides": (2, 2)}),
    (PhyDNetConfig, {**SIZE, "strides": (5, 1, 1)}),
    (PhyDNetConfig, {**SIZE, "moment_weight": -1.0}),
    (PhyDNetConfig, {**SIZE, "hidden": (8, 0)}),
    (RainformerConfig, {**SIZE, "factors": (2,)}),
    (RainformerConfig, {**SIZE, "heads": ()}),
    (RainformerConfig, {**SIZE, "factors": (2, 2, 2, 4)}),
    (RainformerConfig, {**SIZE, "window": 5}),
    (RainformerConfig, {**SIZE, "channels": 5, "heads": (2, 2), "factors": (4, 1)}),
    (UNetConfig, {**SIZE, "channels": (4,) * 6}),
    (LinearInverseModelConfig, {**SIZE, "memory": (1, 2)}),
    (LinearInverseModelConfig, {**SIZE, "lag": 2, "memory": (0, 1)}),
    (LinearInverseModelConfig, {**SIZE, "seasonal": True}),
    (LinearInverseModelConfig, {**SIZE, "ridge": -1.0}),
    (LinearInverseModelConfig, {**SIZE, "seasonal_ridge": -1.0}),
    (ExtrapolationConfig, {"history": 3, "horizon": 2, "threshold": 0.0}),
    (ExtrapolationConfig, {"history": 2, "horizon": 2}),
    (STEPSConfig, {"history": 3, "horizon": 2, "minutes": 0}),
    (STEPSConfig, {"history": 3, "horizon": 2, "cascade_levels": 2}),
    (EarthformerConfig, {**SIZE, "grid": 16}),
    (EarthformerConfig, {**SIZE, "downsample": (2, 2)}),
    (EarthformerConfig, {**SIZE, "position_spread": -1.0}),
    (EarthformerConfig, {**SIZE, "relative_amplitude": True, "output_channels": 2}),
    (EarthformerConfig, {**SIZE, "level_channels": (8, 16)}),
    (EncoderConfig, {"depths": ()}),
    (EncoderConfig, {"depths": (1, 0)}),
    (DecoderConfig, {"upsample_kernel": 2}),
    (DecoderConfig, {"cross_last_frames": 0}),
    (BlockConfig, {"attention_dropout": 1.0}),
    (BlockConfig, {"heads": 0}),
    (GlobalVectorConfig, {"width_ratio": 2}),
    (GlobalVectorConfig, {"count": -1}),
    (StemConfig, {"scales": ((2, 2),)}),
    (StemConfig, {"norm_groups": 0}),
    (EnsembleConfig, {"model": "Persistence", "config": PersistenceConfig(3), "size": 0}),
    (MovingConfig, {"model": "Persistence", "config": PersistenceConfig(3), "start": "detail"}),
    (MovingConfig, {"model": "Persistence", "config": PersistenceConfig(3), "emphasis": float("inf")}),
    (AutoencoderConfig, {"level_channels": ()}),
    (AutoencoderConfig, {"level_channels": (8, 12), "norm_groups": 8}),
    (AdversarialAutoencoderConfig, {"autoencoder": AUTOENCODER, "weight": -1.0}),
    (AdversarialAutoencoderConfig, {"autoencoder": AUTOENCODER, "layers": 0}),
    (CuboidUNetConfig, {**LATENT, "depths": ()}),
    (CuboidUNetConfig, {**LATENT, "level_channels": (8, 16)}),
    (CuboidUNetConfig, {**LATENT, "upsample_kernel": 2}),
    (CuboidUNetConfig, {**LATENT, "downsample": (2, 2, 2)}),
    (KnowledgeAlignmentConfig, {**LATENT, "history": None, "output_deviation": 0.0}),
    (KnowledgeAlignmentConfig, {**LATENT, "history": None, "output_frames": 9}),
    (NoiseSchedule, {"large_variance": 2.0}),
    (NoiseSchedule, {"steps": 0}),
    (PreDiffConfig, {**PREDIFF, "latent_scale": 0.0}),
    (PreDiffConfig, {**PREDIFF, "prediction": "velocity"}),
]


def mended(options: dict, remedy: str) -> dict:
    """Options as a remedy says: ``name=value, ...``, or ``leave name= out``."""
    if left := re.match(r"leave (\w+)=? out", remedy):
        return {name: value for name, value in options.items() if name != left[1]}
    if choice := re.search(r"'(\w+)'\??$", remedy):
        refused = next(name for name, value in options.items() if isinstance(value, str))
        if "=" not in remedy:
            return options | {refused: choice[1]}
    return options | eval(f"dict({remedy[re.search(r'[a-z_]+=', remedy).start() :].removesuffix(' allows others')})")


@pytest.mark.parametrize(
    ("kind", "options"), REFUSED, ids=[f"{kind.__name__}-{number}" for number, (kind, _) in enumerate(REFUSED)]
)
def test_a_remedy_works_as_it_is_printed(kind, options):
    options = {name: value for name, value in options.items() if value is not None}
    with pytest.raises(InvalidOption) as refused:
        kind(**options)
    remedy = str(refused.value).split("\n  -> ")[1]
    assert isinstance(kind(**mended(options, remedy)), Config)


def test_unknown_and_missing_names_are_reported_with_what_to_do():
    for options, words in (
        ({"horizn": 3}, r"did you mean horizon\?; give a value for horizon"),
        ({"horizon": 3, "quite_another": 1}, "leave quite_another out"),
        ({}, "give a value for horizon"),
    ):
        with pytest.raises(InvalidOption, match=words):
            PersistenceConfig.from_dict(options)


def test_one_of_several_numbers_is_named():
    with pytest.raises(InvalidOption, match=r"^horizon: found 0, wanted an integer of at least 1\n  -> horizon=1$"):
        check_positive("history, horizon", 3, 0)
    with pytest.raises(InvalidOption, match=r"depths: found True.*\n  -> depths=\(2, 1\)"):
        check_positive("decoder.depths", (2, True))
    with pytest.raises(InvalidOption, match=r"sides: found 1(.|\n)*sides=\(4, 2\)"):
        check_positive("sides", 4, 1, least=2)
    check_positive("kernels", ())  # where nothing is given nothing is wrong


def test_a_choice_that_is_like_none_gets_an_example():
    with pytest.raises(InvalidOption, match="for example 'zeros'"):
        check_choice("padding", 3, ("zeros", "nearest"))


def test_every_error_of_the_models_has_a_remedy():
    without = []
    for path in Path(xforecast.models.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "InvalidOption":
                starred = any(isinstance(argument, ast.Starred) for argument in node.args)
                if len(node.args) < 4 and not starred:
                    without.append(f"{path.name}:{node.lineno}")
    assert not without
