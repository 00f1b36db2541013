"""Speed and memory of the scores. Times are the best of several runs; what is compared runs on the same arrays."""

from __future__ import annotations

from argparse import Namespace

import dask
import dask.array as da
import numpy as np
import xarray as xr
from scores.categorical import ThresholdEventOperator
from scores.probability import crps_for_ensemble

from ratios import Ratio, best_times, peak_memory
from xforecast import skill

THRESHOLDS = (16.0, 74.0, 133.0, 160.0, 181.0, 219.0)


def csi_of_images(options: Namespace) -> list[Ratio]:
    """CSI at six thresholds of images of the size of SEVIR."""
    rng = np.random.default_rng(0)
    dims = ("event", "lead", "y", "x")
    forecast, observed = (
        xr.DataArray(rng.uniform(0, 255, (options.events, 12, 384, 384)).astype("f4"), dims=dims) for _ in range(2)
    )
    operator = ThresholdEventOperator()

    def by_scores() -> list[float]:
        return [
            float(
                operator.make_contingency_manager(forecast, observed, event_threshold=threshold)
                .transform()
                .critical_success_index()
            )
            for threshold in THRESHOLDS
        ]

    ours, total = best_times(
        lambda: skill.csi(forecast, observed, THRESHOLDS),
        lambda: (forecast.values.sum(), observed.values.sum()),
        repeats=7,
    )
    (theirs,) = best_times(by_scores, repeats=1)
    np.testing.assert_allclose(skill.csi(forecast, observed, THRESHOLDS), by_scores(), rtol=1e-12)
    one, many = (peak_memory(lambda n=n: skill.csi(forecast, observed, np.linspace(1, 250, n))) for n in (1, 50))
    return [
        Ratio("time, six calls of scores / ours", theirs / ours, least=100),
        Ratio("time, ours / ndarray.sum of both", ours / total, most=8),
        Ratio("peak memory, 50 thresholds / one", many / one),
    ]


def crps_of_ensembles(options: Namespace) -> list[Ratio]:
    """Fair CRPS of 32 samples on 12 x 128 x 128 values."""
    rng = np.random.default_rng(0)
    forecast = xr.DataArray(rng.random((32, 12, 128, 128), "f4"), dims=("sample", "lead", "y", "x"))
    observed = xr.DataArray(rng.random((12, 128, 128), "f4"), dims=("lead", "y", "x"))

    def by_scores() -> float:
        return float(crps_for_ensemble(forecast, observed, "sample", method="fair"))

    ours, theirs = best_times(lambda: skill.crps(forecast, observed), by_scores, repeats=3)
    np.testing.assert_allclose(skill.crps(forecast, observed), by_scores(), rtol=1e-6)
    return [Ratio("time, scores / ours", theirs / ours, least=3)]


def memory_under_dask(options: Namespace) -> list[Ratio]:
    """Memory of four times the data in chunks of one size, with one worker, which should be no more."""

    def lazy(events: int) -> tuple[xr.DataArray, xr.DataArray]:
        chunks = (1, 12, 384, 384)
        random = da.random.default_rng(0)
        dims = ("event", "lead", "y", "x")
        return tuple(
            xr.DataArray(random.uniform(0, 255, (events, *chunks[1:]), chunks=chunks).astype("f4"), dims=dims)
            for _ in range(2)
        )

    scores = {
        "csi": lambda f, o: skill.csi(f, o, THRESHOLDS),
        "rmse": skill.rmse,
        "correlation": skill.correlation,
    }
    found = []
    with dask.config.set(scheduler="synchronous"):
        for name, score in scores.items():
            few, many = (peak_memory(lambda n=n, s=score: s(*lazy(n)).compute()) for n in (4, 16))
            found.append(Ratio(f"peak memory of {name}, 16 events / 4", many / few))
    return found
