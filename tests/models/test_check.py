"""The trial of models: all models of the package pass, and each way to break the contract is found and named."""

from dataclasses import dataclass

import pytest
import torch
from small_prediff import CONFIG
from torch import nn

from xforecast.errors import InvalidOption
from xforecast.models import (
    MODELS,
    Abilities,
    Config,
    EarthformerConfig,
    EnsembleConfig,
    MovingConfig,
    PersistenceConfig,
    SamplingOptions,
    build,
    check_model,
    config_class,
    register,
    weighted_mse,
)
from xforecast.models.contract import check_shapes
from xforecast.spec import DataSpec, Grid, Variable


def spec(grid=(8, 8), history=3, horizon=2):
    return DataSpec([Variable("rain", "mm h-1")], Grid("pixel", grid), "5 minutes", history=history, horizon=horizon)


# ------------------------------------------------------------------ the models of the package

SIZE = {"history": 3, "horizon": 2, "grid": (8, 8)}
EARTHFORMER = EarthformerConfig(**SIZE, base_channels=8)
OPTIONS = {
    "Climatology": {"horizon": 2, "grid": (8, 8)},
    "ConvLSTM": {**SIZE, "channels": (4, 6)},
    "DampedPersistence": {"horizon": 2, "grid": (8, 8)},
    "E3DLSTM": {**SIZE, "channels": 4, "layers": 2},
    "Earthformer": {**SIZE, "base_channels": 8},
    "Extrapolation": {"history": 3, "horizon": 2},
    "LinearInverseModel": {**SIZE, "modes": 2},
    "Persistence": {"horizon": 2},
    "PhyDNet": {**SIZE, "channels": 16, "filters": 7, "hidden": (8,)},
    "PredRNN": {**SIZE, "channels": 4, "layers": 2, "kernel": 3},
    "Rainformer": {**SIZE, "channels": 8, "heads": (2, 2), "head_channels": 4},
    "STEPS": {"history": 3, "horizon": 2, "cascade_levels": 3},
    "UNet": {**SIZE, "channels": (4, 6)},
}
CONFIGS = {
    "Ensemble": EnsembleConfig("Earthformer", EARTHFORMER, 2),
    "Moving": MovingConfig("Earthformer", EARTHFORMER, start="fading"),
    "PreDiff": CONFIG,
}
WIDE = ("Extrapolation", "STEPS")  # optical flow needs some cells


@pytest.mark.parametrize("name", sorted(OPTIONS | CONFIGS))
def test_every_model_of_the_package_keeps_the_contract(name):
    if name in WIDE:
        pytest.importorskip("pysteps")
    config = CONFIGS.get(name) or config_class(name)(**OPTIONS[name])
    report = check_model(build(name, config), spec((32, 32) if name in WIDE else (8, 8)))
    assert report, str(report)
    assert "can be built anew with the same weights" in report.passed


@pytest.mark.parametrize(
    ("name", "config"),
    [
        ("LinearInverseModel", config_class("LinearInverseModel")(**SIZE, modes=2, stochastic=True)),
        ("Moving", MovingConfig("PreDiff", CONFIG, start="detail")),
        ("Moving", MovingConfig("Persistence", PersistenceConfig(2))),
    ],
)
def test_so_do_their_variants(name, config):
    assert check_model(build(name, config), spec())


def test_no_model_is_left_out():
    assert {name for name, (kind, _) in MODELS.items() if kind.__module__.startswith("xforecast.")} == {
        *OPTIONS,
        *CONFIGS,
    }


# ------------------------------------------------------------------ modules that break it


class Sound(nn.Module):
    """Keeps the contract."""

    def __init__(self, horizon=2):
        super().__init__()
        self.horizon, self.factor = horizon, nn.Parameter(torch.tensor(0.9))

    def forward(self, x):
        return self.factor * x[:, -1:].expand(-1, self.horizon, -1, -1, -1)

    def loss(self, x, y, weight=None):
        return weighted_mse(self(x), y, weight)


class Noisy(Sound):
    """Draws samples, and keeps the contract."""

    def sample(self, x, starts, samples, generators):
        forecast = self(x[starts])
        return forecast + torch.stack([torch.randn(forecast.shape[1:], generator=one) for one in generators])


def test_sound_modules_pass():
    for module in (Sound(), Noisy()):
        report = check_model(module, spec())
        assert report
        assert not report.problems
        assert report.notes == [
            "it cannot be saved: xforecast.models.register(its class, the class of its configuration) allows it"
        ]
    assert "a sample depends on its own random numbers alone" in report.passed


class Silent(nn.Module):
    def forward(self, x):
        return x[:, -2:]


class Long(Sound):
    def __init__(self):
        super().__init__(horizon=3)


class Infinite(Sound):
    def forward(self, x):
        return super().forward(x) / 0


class Tuple(Sound):
    def forward(self, x):
        return (super().forward(x),)


class Raises(Sound):
    def forward(self, x):
        raise RuntimeError("no such layer")


class WritesInForward(Sound):
    def forward(self, x):
        x.mul_(2)
        return super().forward(x)


class WritesInLoss(Sound):
    def loss(self, x, y, weight=None):
        y.sub_(0.1)
        return super().loss(x, y, weight)


class Random(Sound):
    def forward(self, x):
        return super().forward(x) + torch.rand(())


class BatchMean(Sound):
    def forward(self, x):
        return super().forward(x - x.mean(dim=0))


class Vector(Sound):
    def loss(self, x, y, weight=None):
        return (self(x) - y).square().mean(dim=(1, 2, 3, 4))


class Missing(Sound):
    def loss(self, x, y, weight=None):
        error = (self(x) - y).square()
        return (error if weight is None else error * weight).mean()


class MissingGradient(Sound):
    def loss(self, x, y, weight=None):
        error = (self(x) - y).square()
        return error.mean() if weight is None else torch.where(weight == 0, 0.0, weight * error).mean()


class CountsAll(Sound):
    def loss(self, x, y, weight=None):
        return (self(x) - y.nan_to_num()).square().mean()


class Detached(Sound):
    def loss(self, x, y, weight=None):
        return super().loss(x, y, weight).detach()


class GlobalRandomness(Noisy):
    def sample(self, x, starts, samples, generators):
        forecast = self(x[starts])
        return forecast + torch.randn(forecast.shape)


class SharedGenerator(Noisy):
    def sample(self, x, starts, samples, generators):
        forecast = self(x[starts])
        return forecast + torch.randn(forecast.shape, generator=generators[0])


class WrongSamples(Noisy):
    def sample(self, x, starts, samples, generators):
        return super().sample(x, starts, samples, generators)[:, :1]


class NoSample(Sound):
    abilities = Abilities(samples=None)


@dataclass(frozen=True, kw_only=True)
class Warmth(SamplingOptions):
    warmth: float = 1.0


class NoSuchOption(Noisy):
    abilities = Abilities(samples=None, sampling=Warmth)


class OneGrid(Sound):
    abilities = Abilities(any_grid=True)

    def forward(self, x):
        return super().forward(x[:, :, :8, :8])


class NoPreview(Sound):
    abilities = Abilities(previews=True)


BROKEN = {
    Silent: ("no method loss", "weighted_mse"),
    Long: (r"found \(3, 3, 8, 8, 1\), wanted \(3, 2, 8, 8, 1\)", "layout"),
    Infinite: ("not finite", "division"),
    Tuple: ("found tuple", "layout"),
    Raises: ("RuntimeError: no such layer", "module"),
    WritesInForward: ("forward writes into its input", "clone"),
    WritesInLoss: ("loss writes into its input", "clone"),
    Random: ("two calls of forward", "sample"),
    BatchMean: ("depends on the others in its batch", "means over the batch"),
    Vector: ("without dimensions", "mean"),
    Missing: ("make the loss NaN", "weighted_mse"),
    MissingGradient: ("make gradients NaN", "weighted_mse"),
    CountsAll: ("targets of weight 0 change the loss", "leave them out"),
    Detached: ("no gradient", "detach"),
    GlobalRandomness: ("depends on what else is drawn", "generators"),
    SharedGenerator: ("depends on what else is drawn", "generators"),
    WrongSamples: (r"sample: found \(3, 1, 8, 8, 1\)", "layout"),
    NoSample: ("lacks", "write it"),
    NoSuchOption: ("lacks the options warmth", "keyword"),
    OneGrid: (r"field of \(16, 16\) gives one of \(8, 8\)", "any_grid"),
    NoPreview: ("method preview, which the module lacks", "write it"),
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_each_fault_is_named_with_a_remedy(kind):
    found, remedy = BROKEN[kind]
    report = check_model(kind(), spec())
    assert not report
    with pytest.raises(AssertionError, match=found):
        raise AssertionError(report.problems[0][0])
    assert remedy in report.problems[0][1]
    assert f"-> {report.problems[0][1]}" in str(report)


def test_a_module_whose_forward_fails_has_one_problem_only():
    assert len(check_model(Raises(), spec()).problems) == 1


def test_what_cannot_be_built_again_is_found():
    @dataclass(frozen=True)
    class ShelfConfig(Config):
        horizon: int = 2

    class Forgetful(Sound):
        """Forecasts with a number that neither configuration nor weights have."""

        def __init__(self, config, secret=1.0):
            super().__init__(config.horizon)
            self.config, self.secret = config, secret

        def forward(self, x):
            return super().forward(x) + self.secret

    class Bare(Sound):
        """Has no configuration."""

    class Larger(Sound):
        """Has a weight that its configuration does not lead to."""

        def __init__(self, config):
            super().__init__(config.horizon)
            self.config = config

    larger = Larger(ShelfConfig())
    larger.extra = nn.Parameter(torch.zeros(2))
    try:
        for kind in (Forgetful, Bare, Larger):
            register(kind, ShelfConfig)
        assert check_model(Forgetful(ShelfConfig()), spec())
        for module, found, remedy in (
            (Forgetful(ShelfConfig(), secret=2.0), "forecasts otherwise", "parameters and buffers"),
            (Bare(), "no configuration", "self.config"),
            (larger, "extra (2,)", "configuration"),
        ):
            report = check_model(module, spec())
            assert len(report.problems) == 1
            assert found in report.problems[0][0]
            assert remedy in report.problems[0][1]
    finally:
        for kind in (Forgetful, Bare, Larger):
            MODELS.pop(kind.__name__, None)


def test_methods_that_are_never_called_are_noted():
    class Hopeful(Sound):
        abilities = Abilities()

        def sample(self, x, starts, samples, generators):
            return self(x[starts])

        def preview(self, x, y):
            return {}

        def stage(self, part):
            return self

        def encode_context(self, x):
            return x

    report = check_model(Hopeful(), spec())
    assert report
    for method, ability in {
        "sample": "samples=None",
        "preview": "previews=True",
        "stage": "parts=",
        "encode_context": "shares_context=True",
    }.items():
        assert sum(f"method {method} is never called" in note and ability in note for note in report.notes) == 1


def test_samples_that_are_all_alike_and_missing_values_are_noted():
    class Alike(Noisy):
        def sample(self, x, starts, samples, generators):
            return self(x[starts])

    class Holes(Sound):
        def forward(self, x):
            hole = torch.zeros(x.shape[2]) == torch.arange(x.shape[2])
            return torch.where(hole[:, None, None], torch.nan, super().forward(x))

        def loss(self, x, y, weight=None):
            forecast = self(x)
            known = forecast.isfinite().float()
            return weighted_mse(forecast.nan_to_num(), y, known if weight is None else known * weight)

    for module, words in ((Alike(), "are the same"), (Holes(), "are missing")):
        report = check_model(module, spec())
        assert report, str(report)
        assert any(words in note for note in report.notes)


def test_the_module_is_left_as_it_is():
    module = Noisy().train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    state = torch.get_rng_state()
    check_model(module, spec())
    assert module.training
    assert module.factor.grad is None
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_what_is_no_module_is_refused():
    with pytest.raises(InvalidOption, match="not its class"):
        check_model(Sound, spec())


def test_shapes_are_checked_before_a_training():
    check_shapes(Sound(), spec())
    for module, words in ((Silent(), "loss"), (Long(), r"output of shape \(3, 8, 8, 1\)"), (Raises(), "no such layer")):
        with pytest.raises(InvalidOption, match=words):
            check_shapes(module, spec())
