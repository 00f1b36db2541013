"""Network input and back: `restore` undoes `normalise`, and missing values stay missing."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from xforecast.errors import InvalidOption
from xforecast.spec import TRANSFORMS, DataSpec, Grid, Variable, normalise, restore

SHAPE = (2, 3, 3, 4)
FIELDS = arrays(np.float32, SHAPE, elements=st.floats(0.125, 200, width=32))
HOLES = arrays(bool, (2, 3, 4))
RULES = st.fixed_dictionaries(
    {
        "offset": st.floats(-5, 5), "scale": st.floats(0.1, 10), "transform": st.sampled_from([None, *TRANSFORMS]),
        "fill": st.sampled_from([0.0, 1.5, "nearest"]),
    }
)  # fmt: skip
quickly = settings(max_examples=40, deadline=None)


def spec_of(first: dict, second: dict, targets=("a", "b"), mask=None) -> DataSpec:
    variables = [Variable(name, "mm/h", transform_scale=0.1, **rule) for name, rule in (("a", first), ("b", second))]
    return DataSpec(variables, Grid("pixel", SHAPE[2:]), "5 minutes", SHAPE[1], SHAPE[1], targets=targets, mask=mask)


@quickly
@given(FIELDS, FIELDS, HOLES, RULES, RULES, st.sampled_from([("a", "b"), ("b", "a"), ("b",)]))
def test_there_and_back(a, b, holes, first, second, targets):
    """Persistence of all steps gives back what went in; NaN where a cell never has a value."""
    spec = spec_of(first, second, targets)
    a = np.where(holes[:, None], np.nan, a)
    x = np.stack([a, b], axis=-1)
    seen = normalise(x, spec)
    assert seen.dtype == np.float32
    assert np.isfinite(seen).all()
    chosen = seen[..., ["ab".index(name) for name in targets]]
    back = restore(chosen[:, None], x, spec)
    wanted = np.stack([{"a": a, "b": b}[name] for name in targets], axis=-1)
    np.testing.assert_allclose(back[:, 0], wanted, rtol=2e-3)


@quickly
@given(FIELDS, arrays(bool, SHAPE[2:]))
def test_cells_off_the_mask_never_matter(a, mask):
    rule = {"scale": 2.0, "fill": 0.5}
    spec = spec_of(rule, rule, mask=mask)
    x = np.stack([a, a], axis=-1)
    other = np.where(mask[..., None], x, 7 * x)
    np.testing.assert_array_equal(normalise(x, spec), normalise(other, spec))
    assert np.isnan(restore(normalise(x, spec)[:, None], x, spec)[..., ~mask, :]).all()


def test_the_nearest_cell_fills_a_hole():
    spec = spec_of({"fill": "nearest"}, {"fill": "nearest"})
    a = np.broadcast_to(np.arange(12.0).reshape(3, 4), SHAPE).copy()
    a[0, 1, 0, :2] = np.nan
    filled = normalise(np.stack([a, a], axis=-1), spec)[..., 0]
    assert filled[0, 1, 0].tolist() == [4.0, 5.0, 2.0, 3.0]
    assert np.isnan(a).sum() == 2, "the input was changed"


def test_a_variable_without_a_rule_refuses_missing_values():
    spec = spec_of({}, {})
    with pytest.raises(InvalidOption, match=r"values of 'a': found '8.3% missing'"):
        normalise(np.where(np.arange(24).reshape(1, 1, 3, 4, 2) % 24 == 0, np.nan, 1.0), spec)
