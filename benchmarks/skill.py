"""Speed and memory of the scores, as ratios within one run.

    python benchmarks/skill.py [--events 16]

Needs the packages `scores` and `dask`. Times are the best of several; what is compared runs on the same arrays.
"""

from __future__ import annotations

import argparse
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import dask
import dask.array as da
import numpy as np
import xarray as xr
from scores.categorical import ThresholdEventOperator
from scores.probability import crps_for_ensemble

from xforecast import skill

THRESHOLDS = (16.0, 74.0, 133.0, 160.0, 181.0, 219.0)


def best_times(*calls: Callable[[], Any], repeats: int) -> list[float]:
    """Seconds of the fastest of several runs of each call, taking turns so that all see the same machine."""
    times: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for call, mine in zip(calls, times, strict=True):
            start = time.perf_counter()
            call()
            mine.append(time.perf_counter() - start)
    return [min(mine) for mine in times]


def peak_memory(call: Callable[[], Any]) -> float:
    """Greatest memory (MB) that a call holds beyond what was there."""
    call()
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6


def csi_of_images(events: int) -> None:
    rng = np.random.default_rng(0)
    dims = ("event", "lead", "y", "x")
    forecast, observed = (
        xr.DataArray(rng.uniform(0, 255, (events, 12, 384, 384)).astype("f4"), dims=dims) for _ in range(2)
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
    print(f"CSI, six thresholds, {events} x 12 x 384 x 384 float32: {ours:.3f} s")
    print(f"  six calls of scores / ours          {theirs / ours:8.1f}   (wanted: at least 100)")
    print(f"  ours / ndarray.sum of both          {ours / total:8.1f}   (wanted: at most 8)")
    one, many = (peak_memory(lambda n=n: skill.csi(forecast, observed, np.linspace(1, 250, n))) for n in (1, 50))
    print(f"  peak memory, 50 thresholds / one    {many / one:8.2f}   ({many:.1f} MB)")


def crps_of_ensembles() -> None:
    rng = np.random.default_rng(0)
    forecast = xr.DataArray(rng.random((32, 12, 128, 128), "f4"), dims=("sample", "lead", "y", "x"))
    observed = xr.DataArray(rng.random((12, 128, 128), "f4"), dims=("lead", "y", "x"))

    def by_scores() -> float:
        return float(crps_for_ensemble(forecast, observed, "sample", method="fair"))

    ours, theirs = best_times(lambda: skill.crps(forecast, observed), by_scores, repeats=3)
    np.testing.assert_allclose(skill.crps(forecast, observed), by_scores(), rtol=1e-6)
    print(f"fair CRPS, 32 samples, 12 x 128 x 128 float32: {ours:.3f} s")
    print(f"  scores / ours                       {theirs / ours:8.1f}   (wanted: at least 3)")


def memory_under_dask() -> None:
    """Four times the data in chunks of one size, one worker: no more memory."""

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
    print("dask, one thread: peak memory of 16 events / of 4")
    with dask.config.set(scheduler="synchronous"):
        for name, score in scores.items():
            few, many = (peak_memory(lambda n=n, s=score: s(*lazy(n)).compute()) for n in (4, 16))
            print(f"  {name:36}{many / few:8.2f}   ({many:.0f} MB)")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=16)
    options = parser.parse_args()
    csi_of_images(options.events)
    crps_of_ensembles()
    memory_under_dask()
