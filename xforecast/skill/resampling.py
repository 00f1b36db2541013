"""Skill against a reference, how sure a score is, and whether two forecasts differ.

Starts are resampled in blocks, since neighbouring ones are alike. Every function takes the score as a
function, such as ``skill.rmse`` or ``skill.nino34_correlation``, and passes further options to it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import xarray as xr

from xforecast.errors import InvalidOption
from xforecast.skill._facts import SCORES

__all__ = ["bootstrap", "compare", "skill_score"]

Score = Callable[..., Any]


def skill_score(
    metric: Score,
    forecast: Any,
    reference: Any,
    observed: Any,
    *,
    perfect: float | None = None,
    **options: Any,
) -> xr.DataArray:
    r"""Skill of a forecast against a reference forecast, by any score.

    .. math:: \mathrm{SS} = \frac{S - S_\mathrm{ref}}{S_\mathrm{perfect} - S_\mathrm{ref}}

    1 for a perfect forecast, 0 for one no better than the reference, negative for a worse one.

    Parameters
    ----------
    metric : callable
        A score of this package, called as ``metric(forecast, observed, **options)``.
    forecast, reference : DataArray or Dataset
        The forecast and, for instance, persistence or climatology, at the same starts and leads.
    observed : DataArray or Dataset
        What happened.
    perfect : float, optional
        Best value of the score; that of a score of this package is known.
    **options
        For `metric`, such as ``dim`` and ``weights``.

    Examples
    --------
    >>> from xforecast.skill import mse
    >>> forecast, reference, observed = (xr.DataArray(x, dims="x") for x in ([1.0, 2.0], [3.0, 4.0], [0.0, 2.0]))
    >>> skill_score(mse, forecast, reference, observed).round(3).item()
    0.923
    """
    best = _perfect(metric) if perfect is None else perfect
    score, base = metric(forecast, observed, **options), metric(reference, observed, **options)
    distance = best - base
    skill = (score - base) / distance.where(distance != 0)
    skill.attrs = {"long_name": f"skill score by {_name(metric)}", "units": "1"}
    return skill.rename("skill_score") if isinstance(skill, xr.DataArray) else skill


def _name(metric: Score) -> str:
    return getattr(metric, "__name__", "the score")


def _perfect(metric: Score) -> float:
    facts = SCORES.get(_name(metric))
    if facts is None:
        raise InvalidOption(
            "perfect",
            None,
            f"the best value of {_name(metric)}",
            "perfect=0.0, say, the score of a forecast that is always right",
        )
    return facts.perfect


def bootstrap(
    metric: Score,
    forecast: Any,
    observed: Any,
    *,
    over: str = "init",
    block: int | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    **options: Any,
) -> xr.Dataset:
    """A score with its interval of confidence, by resampling blocks of starts.

    Parameters
    ----------
    metric : callable
        A score of this package, called as ``metric(forecast, observed, **options)``.
    forecast, observed : DataArray or Dataset
        As the score takes them.
    over : str
        Dimension of the forecast along which cases are resampled.
    block : int, optional
        Consecutive cases that stay together: as many as are alike, such as 12 or more for monthly starts.
        By default the cube root of their number, rounded up.
    resamples : int
        Number of resamples.
    confidence : float
        Part of the resamples within the interval.
    seed : int
        Seed of the random choice of blocks.
    **options
        For `metric`.

    Returns
    -------
    Dataset
        `estimate`, `lower` and `upper`.

    Notes
    -----
    Blocks are drawn with replacement from all circular ones (Politis & Romano, 1992). The score is computed for each
    resample, so forecasts are best reduced to what it needs (an index, a region), loaded, and observations put on
    their valid times by `match_times`, before.

    Examples
    --------
    >>> from xforecast.skill import mse
    >>> rng = np.random.default_rng(0)
    >>> observed = xr.DataArray(rng.normal(size=200), dims="init")
    >>> interval = bootstrap(mse, observed + rng.normal(size=200), observed, resamples=200)
    >>> bool(interval.lower < interval.estimate < interval.upper)
    True
    """
    estimate = _array(metric(forecast, observed, **options))
    drawn = [
        _array(metric(_isel(forecast, over, chosen), _isel(observed, over, chosen), **options))
        for chosen in _resample(_cases(over, forecast, observed), block, resamples, seed)
    ]
    return _interval(estimate, xr.concat(drawn, "resample"), confidence)


def compare(
    metric: Score,
    forecast: Any,
    other: Any,
    observed: Any,
    *,
    over: str = "init",
    block: int | None = None,
    resamples: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
    **options: Any,
) -> xr.Dataset:
    """Whether two forecasts of the same cases differ in a score, by resampling both together.

    Parameters
    ----------
    metric, observed, over, block, resamples, confidence, seed, **options
        As for `bootstrap`.
    forecast, other : DataArray or Dataset
        Two forecasts with the same cases; each pair is drawn together, so that what is hard for both
        cancels.

    Returns
    -------
    Dataset
        `estimate`, the score of `forecast` less that of `other`, with `lower` and `upper`; and `p_value`,
        twice the smaller part of the resamples on either side of zero (two-sided; at least 1 /
        `resamples`).

    Examples
    --------
    >>> from xforecast.skill import mse
    >>> rng = np.random.default_rng(0)
    >>> observed = xr.DataArray(rng.normal(size=200), dims="init")
    >>> good, poor = (observed + sigma * rng.normal(size=200) for sigma in (0.5, 1.0))
    >>> bool(compare(mse, good, poor, observed, resamples=200).p_value < 0.05)
    True
    """

    def difference(chosen: np.ndarray | None = None) -> xr.DataArray:
        mine, its, truth = (_isel(data, over, chosen) for data in (forecast, other, observed))
        return _array(metric(mine, truth, **options)) - _array(metric(its, truth, **options))

    cases = _cases(over, forecast, other, observed)
    estimate = difference()
    drawn = xr.concat([difference(c) for c in _resample(cases, block, resamples, seed)], "resample")
    below, above = (drawn <= 0).mean("resample"), (drawn >= 0).mean("resample")
    p_value = (2 * xr.where(below < above, below, above)).clip(1.0 / resamples, 1.0).where(estimate.notnull())
    p_value.attrs = {"long_name": "p-value of no difference", "units": "1"}
    return _interval(estimate, drawn, confidence).assign(p_value=p_value)


def _array(score: xr.DataArray | xr.Dataset) -> xr.DataArray:
    """The score as an array; the variables of a Dataset along a dimension."""
    return score if isinstance(score, xr.DataArray) else score.to_array("variable")


def _isel(data: Any, over: str, chosen: np.ndarray | None) -> Any:
    """The chosen cases of what has them: a record over time has none."""
    return data if chosen is None or over not in data.dims else data.isel({over: chosen})


def _cases(over: str, forecast: Any, *others: Any) -> int:
    """Number of cases, which must be the same in all that have them."""
    if over not in forecast.dims:
        raise InvalidOption(
            "over",
            over,
            f"a dimension of the forecast, of {tuple(forecast.dims)}",
            f"over={str(next(iter(forecast.dims), 'init'))!r}",
        )
    sizes = {data.sizes[over] for data in (forecast, *others) if over in data.dims}
    if len(sizes) > 1:
        raise InvalidOption(
            over,
            f"{sorted(sizes)} cases",
            "the same cases in all",
            "xarray.align(forecast, observed) keeps those that both have",
        )
    return sizes.pop()


def _resample(cases: int, block: int | None, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Positions of resampled cases, in circular blocks."""
    if resamples < 1:
        raise InvalidOption("resamples", resamples, "1 or more", "resamples=1000")
    if block is not None and not 1 <= block <= cases:
        raise InvalidOption("block", block, f"from 1 to the number of cases, {cases}", "block=None chooses a length")
    length = min(block or math.ceil(cases ** (1 / 3)), cases)
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        starts = rng.integers(cases, size=math.ceil(cases / length))
        yield ((starts[:, None] + np.arange(length)).ravel()[:cases]) % cases


def _interval(estimate: xr.DataArray, drawn: xr.DataArray, confidence: float) -> xr.Dataset:
    """The estimate with the central interval of the resamples."""
    if not 0 < confidence < 1:
        raise InvalidOption("confidence", confidence, "a share between 0 and 1, such as 0.95", "confidence=0.95")
    if drawn.chunks:
        drawn = drawn.chunk({"resample": -1})
    ends = drawn.quantile([(1 - confidence) / 2, (1 + confidence) / 2], "resample")
    result = xr.Dataset(
        {
            "estimate": estimate,
            "lower": ends.isel(quantile=0, drop=True),
            "upper": ends.isel(quantile=1, drop=True),
        }
    )
    for name, words in (("lower", "lower end"), ("upper", "upper end")):
        result[name].attrs = {**estimate.attrs, "long_name": f"{words} of the {confidence:.0%} interval"}
    return result
