"""A progress bar for anything that takes longer than two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Sized
from typing import TypeVar

__all__ = ["track"]

Item = TypeVar("Item")
PATIENCE = 2.0
"""Seconds before the bar appears."""
WIDTH = 30


def track(
    items: Iterable[Item], label: str, *, enabled: bool | None = None, total: int | None = None
) -> Iterator[Item]:
    """Go through items, drawing a bar on standard error once that has taken two seconds.

    Parameters
    ----------
    items : iterable
        What to go through.
    label : str
        Words before the bar.
    enabled : bool, optional
        None draws only where somebody watches: a terminal or a notebook.
    total : int, optional
        Number of items, if ``items`` has no length.

    Examples
    --------
    >>> sum(track([1, 2, 3], "adding"))
    6
    """
    if total is None and isinstance(items, Sized):
        total = len(items)
    watched = enabled if enabled is not None else sys.stderr.isatty() or "ipykernel" in sys.modules
    started, drawn = time.monotonic(), False
    for done, item in enumerate(items, start=1):
        yield item
        elapsed = time.monotonic() - started
        if watched and total and elapsed > PATIENCE:
            drawn = True
            _draw(label, done, total, elapsed)
    if drawn:
        print(file=sys.stderr)


def _draw(label: str, done: int, total: int, elapsed: float) -> None:
    filled = WIDTH * done // total
    left = elapsed / done * (total - done)
    bar = "█" * filled + "·" * (WIDTH - filled)
    print(f"\r{label} {bar} {done}/{total}, {left:.0f} s left ", end="", file=sys.stderr, flush=True)
