"""Batches in an order that is known beforehand, divided among processes, made while the model works."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Sized
from typing import Any, cast

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

__all__ = ["Prefetched", "Shares", "Shuffled", "pass_seed"]

Place = Callable[[], tuple[int, int]]
"""Gives the number of this process, and how many there are."""
AHEAD = 2
"""Batches that lie ready."""


class Shares(Sampler):
    """The windows of one process: of every global batch each has as many, whatever their number.

    Parameters
    ----------
    data : torch.utils.data.Dataset
        Has a length.
    place : callable
        Number of the process, and of processes.
    """

    def __init__(self, data: Dataset, place: Place):
        self.data, self.place = data, place

    def __len__(self) -> int:
        return -(-len(cast(Sized, self.data)) // self.place()[1])

    def __iter__(self) -> Iterator[int]:
        rank, count = self.place()
        order = self.order()
        # Processes wait for one another, so each needs as many windows: the first ones fill the last batch.
        return iter((order + order[: -len(order) % count])[rank::count])

    def order(self) -> list[int]:
        """The order of all windows."""
        return list(range(len(cast(Sized, self.data))))


class Shuffled(Shares):
    """Another order of the data in each pass, known from the seed and the number of the pass alone.

    Data that are read in blocks have a method ``shuffled(generator)`` that keeps windows of a block together.
    """

    def __init__(self, data: Dataset, place: Place, seed: int, passes: Callable[[], int]):
        super().__init__(data, place)
        self.seed, self.passes = seed, passes

    def order(self) -> list[int]:
        """The order of all windows in this pass."""
        generator = torch.Generator().manual_seed(pass_seed(self.seed, self.passes()))
        return shuffled(self.data, generator)


class OrderedPairs(Dataset):
    """Pairs that are read faster in some orders than in others."""

    def shuffled(self, generator: torch.Generator) -> list[int]:
        """A random order in which they are read fast."""
        raise NotImplementedError


def shuffled(data: Dataset, generator: torch.Generator) -> list[int]:
    """A random order of a data set: its own, or any."""
    if isinstance(data, OrderedPairs):
        return data.shuffled(generator)
    return torch.randperm(len(cast(Sized, data)), generator=generator).tolist()


def pass_seed(seed: int, number: int) -> int:
    """A seed of its own for each pass over the data."""
    return int(np.random.SeedSequence([abs(seed), number]).generate_state(1)[0])


class Prefetched:
    """Batches of a loader, made in a thread while the model works on the one before.

    A thread and not processes: files that are open stay so, nothing is copied, and torch and the readers of files
    release the interpreter while they work.

    Attributes
    ----------
    waited : float
        Seconds in which a batch was asked for and not ready.
    """

    def __init__(self, loader: DataLoader):
        self.loader = loader
        self.waited = 0.0

    def __len__(self) -> int:
        return len(self.loader)

    def __iter__(self) -> Iterator[Any]:
        ready: queue.Queue = queue.Queue(AHEAD)
        stopped = threading.Event()
        batches = iter(self.loader)
        thread = threading.Thread(target=_fill, args=(batches, ready, stopped), name="xforecast-batches", daemon=True)
        thread.start()
        try:
            while True:
                begin = time.perf_counter()
                batch, error = ready.get()
                self.waited += time.perf_counter() - begin
                if error is not None:
                    raise error
                if batch is None:
                    return
                yield batch
        finally:
            stopped.set()
            while thread.is_alive():  # it may be waiting for a place
                _take_all(ready)
                thread.join(0.01)


def _fill(batches: Iterator, ready: queue.Queue, stopped: threading.Event) -> None:
    """Put every batch into the queue, then None, or the error that came instead."""
    try:
        for batch in batches:
            ready.put((batch, None))
            if stopped.is_set():
                return
        ready.put((None, None))
    except BaseException as error:  # raised again where the batch is asked for
        ready.put((None, error))


def _take_all(ready: queue.Queue) -> None:
    while True:
        try:
            ready.get_nowait()
        except queue.Empty:
            return
