"""A measured ratio, and how times and memory are measured."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Ratio:
    """One result, with the least or the most that is wanted of it."""

    what: str
    value: float
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        """Whether the value is as wanted."""
        return (self.least is None or self.value >= self.least) and (self.most is None or self.value <= self.most)

    def __str__(self) -> str:
        limits = [f"at {name} {limit:g}" for name in ("least", "most") if (limit := getattr(self, name)) is not None]
        wanted = f"wanted {' and '.join(limits)}" if limits else ""
        return f"{self.what:44} {self.value:9.2f}   {wanted}{'' if self.met else '   MISSED'}".rstrip()


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
    """Greatest memory (MB) that a call holds beyond what was held before."""
    call()
    tracemalloc.start()
    call()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak / 1e6
