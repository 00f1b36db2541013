"""Constraints: what obeys has no residual, what they see, what is refused, and how few lines a new one needs."""

import warnings
from dataclasses import dataclass

import numpy as np
import pytest
import torch
import xarray as xr
from small_prediff import CONFIG, awake, history

from xforecast.errors import InvalidOption, XForecastWarning
from xforecast.forecaster import Forecaster
from xforecast.models import ConserveLast, Constraint, MeanIntensity, PreDiff, RegionTotal, UpperBound
from xforecast.models.constraints import as_constraint, check_constraint, is_latent, target_size, violation
from xforecast.spec import DataSpec, Grid, Variable

SHAPE = (2, 3, 3, 1)  # time, height, width, channel


CONSTRAINTS = {
    "mean": MeanIntensity(3.0, strength=0.5),
    "mean of the history": MeanIntensity(lambda history: history.mean(dim=(1, 2, 3, 4))),
    "total": RegionTotal(torch.eye(3), 6.0),
    "bound": UpperBound(0.5),
    "conserved": ConserveLast(),
}


def test_what_obeys_has_no_residual():
    field = torch.full((2, *SHAPE), 3.0)
    history = torch.full((2, 4, 3, 3, 1), 3.0)
    obeyed = [
        MeanIntensity(3.0),
        MeanIntensity(torch.tensor([3.0, 3.0]), per_frame=True),
        RegionTotal(torch.ones(3, 3), 54.0),
        RegionTotal(torch.ones(3, 3), 27.0, per_frame=True),
        UpperBound(3.0),
        ConserveLast().prepare(history),
        ConserveLast(lambda field: field.square().sum(dim=(2, 3))).prepare(history),
    ]
    for constraint in obeyed:
        assert isinstance(constraint, Constraint)
        assert violation(constraint.residual(field)).tolist() == [0.0, 0.0], constraint
        assert (violation(constraint.residual(field + 1)) > 0).all(), constraint


def test_constraints_are_in_the_callers_units():
    field = torch.zeros(1, *SHAPE)

    def kelvin(field):
        return field + 273.15

    assert MeanIntensity(273.15, to_physical=kelvin).residual(field).item() == 0
    assert UpperBound(300.0, to_physical=kelvin).residual(field).max().item() == 0
    assert RegionTotal(torch.eye(3) / 3, 2 * 273.15, to_physical=kelvin).residual(field).item() == pytest.approx(
        0, abs=1e-3
    )


def test_masks_and_limits_may_be_arrays():
    field, mask = torch.ones(1, *SHAPE), np.eye(3, dtype=bool)
    mask.flags.writeable = False
    assert RegionTotal(mask, 6).residual(field).tolist() == [[0.0]]
    assert RegionTotal(xr.DataArray(mask), np.float32(6)).residual(field).tolist() == [[0.0]]
    assert UpperBound(np.ones((3, 3, 1))).residual(field).max() == 0


def test_targets_of_each_sample_and_frame():
    field = torch.stack([torch.full(SHAPE, 1.0), torch.full(SHAPE, 2.0)])
    assert MeanIntensity(torch.tensor([1.0, 0.0])).residual(field).tolist() == [[0.0], [2.0]]
    assert MeanIntensity(torch.tensor([[1.0], [0.0]])).residual(field).tolist() == [[0.0], [2.0]]
    assert MeanIntensity(torch.tensor([1.0, 0.0]), per_frame=True).residual(field).tolist() == [
        [0.0, 1.0],
        [1.0, 2.0],
    ]
    with pytest.raises(InvalidOption, match="target"):
        MeanIntensity(torch.zeros(3)).residual(field)


def test_targets_from_the_history():
    history = torch.stack([torch.full((4, 3, 3, 1), 1.0), torch.full((4, 3, 3, 1), 5.0)])
    constraint = MeanIntensity(lambda history: 2 * history.mean(dim=(1, 2, 3, 4)), to_physical=lambda x: 10 * x)
    assert constraint.prepare(history).target.tolist() == [[20.0], [100.0]]
    assert constraint.prepare(history).residual(history).tolist() == [[-10.0], [-50.0]]
    with pytest.raises(InvalidOption, match="ConserveLast"):
        ConserveLast().residual(history)


def test_what_is_no_constraint_is_refused():
    with pytest.raises(InvalidOption, match="constraint"):
        as_constraint(3.0)
    with pytest.raises(InvalidOption, match="mask"):
        RegionTotal(torch.ones(4, 3), 1.0).residual(torch.zeros(1, *SHAPE))


@pytest.mark.parametrize(
    ("constraint", "words"),
    [
        (lambda forecast: 3.0, "of type float"),
        (lambda forecast: forecast.mean() - 1, r"shape \(\).*one for each sample"),
        (lambda forecast: (forecast > 1).float().mean(dim=(1, 2, 3, 4)), "without gradient"),
        (lambda forecast: forecast.detach().numpy().mean(axis=(1, 2, 3, 4)), "of type ndarray"),
        (lambda forecast: forecast.numpy(), "RuntimeError.*torch operations"),
        (lambda forecast: forecast @ torch.ones(7, 7), "torch operations"),
        (MeanIntensity, "an object with a method"),
    ],
)
def test_constraints_that_cannot_work_are_reported_before_anything_is_sampled(constraint, words):
    history = torch.zeros(2, 3, 4, 4, 1)
    check_constraint(MeanIntensity(1.0), history, (2, 4, 4, 1))
    check_constraint(ConserveLast(), history, (2, 4, 4, 1))
    with pytest.raises(InvalidOption, match=words):
        check_constraint(constraint, history, (2, 4, 4, 1))


@pytest.mark.parametrize("target", [float("nan"), "1.5", None, [1.0, float("inf")], object()])
def test_targets_are_finite_numbers(target):
    with pytest.raises(InvalidOption, match="target"):
        MeanIntensity(target)


# ------------------------------------------------------------------ constraints of one's own


class NoTrend(Constraint):
    """The least that a constraint needs."""

    def residual(self, forecast):
        return (forecast[:, -1] - forecast[:, 0]).mean(dim=(1, 2))


class Bare:
    """The same, and not derived from the base class."""

    def residual(self, forecast):
        return (forecast[:, -1] - forecast[:, 0]).mean(dim=(1, 2))


def no_trend(forecast):
    return (forecast[:, -1] - forecast[:, 0]).mean(dim=(1, 2))


OWN = {"base class": NoTrend(), "object": Bare(), "function": no_trend}


@pytest.mark.parametrize("kind", OWN)
def test_a_residual_is_enough_for_a_forecast(kind):
    """One guided forecast with labels, through units, for each form that a constraint can have."""
    torch.manual_seed(0)
    spec = DataSpec([Variable("rain", "mm h-1")], Grid("pixel", (8, 8)), "5 minutes", history=3, horizon=2)
    forecaster = Forecaster(awake(PreDiff(CONFIG)), spec)
    x = history(1).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", XForecastWarning)  # two steps need not reach the target
        guided = forecaster.predict(x, samples=2, constraint=OWN[kind], steps=2)
        wanted = forecaster.predict(x, samples=2, constraint=NoTrend(), steps=2)
    plain = forecaster.predict(x, samples=2, steps=2)
    np.testing.assert_array_equal(guided, wanted)
    after, before = (no_trend(torch.from_numpy(fields[0])).abs().sum() for fields in (guided, plain))
    assert after < before


def test_what_has_a_residual_is_taken_with_what_it_has():
    class Rich(Bare):
        name, strength, space, target = "trend", 0.5, "latent", -3.0

        def compare(self, values):
            return values - self.target

        def prepare(self, history):
            prepared = Rich()
            prepared.target = float(history.mean())
            return prepared

    taken = as_constraint(Rich())
    assert (taken.name, taken.strength, is_latent(taken), target_size(taken)) == ("trend", 0.5, True, 3.0)
    assert taken.compare(torch.zeros(2)).tolist() == [3.0, 3.0]
    assert target_size(taken.prepare(torch.full((1, 2, 3, 3, 1), 7.0))) == 7.0
    plain = as_constraint(Bare())
    assert (plain.name, plain.strength, is_latent(plain), target_size(plain)) == (None, None, False, 0.0)
    assert plain.prepare(torch.zeros(1, 2, 3, 3, 1)).residual(torch.ones(1, *SHAPE)).tolist() == [[0.0]]
    with pytest.raises(InvalidOption, match="needs no network"):
        plain.compare(torch.zeros(2))


def test_a_constraint_is_taken_as_it_is():
    constraint = MeanIntensity(1.0)
    assert as_constraint(constraint) is constraint
    assert as_constraint(as_constraint(no_trend)).residual(torch.ones(1, *SHAPE)).tolist() == [[0.0]]


# ------------------------------------------------------------------ what constraints see


def twice(field):
    return 2 * field


def reversed_in_time(field):
    return field.flip(1) + 1


@pytest.mark.parametrize("constraint", [*CONSTRAINTS.values(), as_constraint(no_trend), as_constraint(Bare())])
def test_what_a_constraint_sees_through_composes(constraint):
    """The outer change comes first, as in c.residual(f(g(x)))."""
    field, past = torch.rand(2, *SHAPE), torch.rand(2, 4, *SHAPE[1:])
    both = constraint.seen_through(twice).seen_through(reversed_in_time)
    prepared = constraint.prepare(twice(reversed_in_time(past)))
    wanted = prepared.residual(twice(reversed_in_time(field)))
    torch.testing.assert_close(both.prepare(past).residual(field), wanted, rtol=0, atol=0)
    together = constraint.seen_through(lambda field: twice(reversed_in_time(field)))
    torch.testing.assert_close(together.prepare(past).residual(field), wanted, rtol=0, atol=0)
    assert (both.name, both.strength, target_size(both)) == (
        constraint.name,
        constraint.strength,
        target_size(constraint),
    )


def test_a_settled_constraint_is_not_prepared_again_and_has_no_name():
    past, others = torch.ones(1, 4, 3, 3, 1), torch.full((1, 4, 3, 3, 1), 9.0)
    settled = ConserveLast(name="mean").prepare(past).seen_through(twice, settled=True)
    assert settled.prepare(others) is settled
    assert settled.name is None  # a network knows the functional of the model's own fields only
    assert settled.residual(torch.ones(1, *SHAPE)).unique().tolist() == [1.0]


def test_constraints_of_the_latent_see_the_latent():
    class Latent(NoTrend):
        space = "latent"

    constraint = Latent()
    assert is_latent(constraint)
    assert constraint.seen_through(twice) is constraint
    assert constraint.seen_through(twice, settled=True) is constraint
    check_constraint(constraint, torch.zeros(1, 2, 3, 3, 1), SHAPE)  # which cannot be tried on decoded fields


# ------------------------------------------------------------------ regions


def place(value, name):
    """An array for a word, and everything else as it is."""
    return torch.eye(3) if value == "diagonal" else value


def test_regions_become_arrays_and_the_rest_is_kept():
    constraint = RegionTotal("diagonal", 6.0, strength=0.5)
    placed = constraint.with_regions(place)
    assert placed.residual(torch.ones(1, *SHAPE)).tolist() == [[0.0]]
    assert (placed.target, placed.strength) == (6.0, 0.5)
    assert constraint.mask == "diagonal"  # the constraint that was handed in is left as it is
    limited = UpperBound("diagonal").with_regions(place)
    assert limited.limit.shape == (3, 3, 1)  # a limit has a channel


@pytest.mark.parametrize("kind", [*CONSTRAINTS, *OWN])
def test_a_constraint_without_labels_is_kept(kind):
    constraint = CONSTRAINTS.get(kind) or as_constraint(OWN[kind])
    assert constraint.with_regions(place) is constraint


def test_regions_of_foreign_objects_are_placed_too():
    @dataclass(frozen=True)
    class Foreign:
        mask: object

        def residual(self, forecast):
            return (forecast * self.mask[..., None]).sum(dim=(2, 3, 4))

    assert as_constraint(Foreign("diagonal")).with_regions(place).residual(torch.ones(1, *SHAPE)).tolist() == [
        [3.0] * 2
    ]


@pytest.mark.parametrize("name", ["size", "latent", "target", "numbers", "rows", "change", "settled"])
def test_attributes_of_a_constraint_of_ones_own_are_its_own(name):
    class Mine(Constraint):
        def __init__(self, value):
            setattr(self, name, value)

        def residual(self, forecast):
            return forecast.mean(dim=(1, 2, 3, 4)) - getattr(self, name)

    mine, x = Mine(2.0), torch.ones(3, 2, 4, 4, 1)
    assert as_constraint(mine).seen_through(lambda field: 3 * field).residual(x).tolist() == [1.0, 1.0, 1.0]
    assert target_size(mine) == (2.0 if name == "target" else 0.0)


def test_a_constraint_without_a_residual_is_refused():
    with pytest.raises(InvalidOption, match=r"(?s)Empty.*a method residual\(forecast\).*write the method"):
        type("Empty", (Constraint,), {})().residual(torch.ones(1, 1, 2, 2, 1))
