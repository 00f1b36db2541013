"""How long a training waits for its data: the share of the time of a pass in which the loop had no batch.

Each training runs for one short pass with batches made ahead in a thread, as `xforecast.fit` does, and for another with
batches made when they are asked for. The share includes the first batch, which nothing hides.
"""

from __future__ import annotations

import csv
import tempfile
import time
import tomllib
from argparse import Namespace
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np

import xforecast as xf
from ratios import Ratio
from xforecast import datasets
from xforecast.models import EarthformerConfig
from xforecast.training import loop, recipes
from xforecast.training.loader import Prefetched
from xforecast.training.recipes import enso

WANTED = 0.15


class OnDemand(Prefetched):
    """Batches that are made when they are asked for."""

    def __iter__(self) -> Iterator:
        batches = iter(self.loader)
        while True:
            begin = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - begin
            if batch is None:
                return
            yield batch


def enso_recipe(options: Namespace) -> list[Ratio]:
    """One network of the shipped ENSO forecaster, whose histories are simulated and taught while it trains."""
    recipe = recipes.read("enso")
    recipe["training"] |= {"steps": options.steps}
    recipe["simulation"] |= {"series": 4}
    one = recipe["forecasters"][0] | {"members": 1}
    return _waiting(lambda folder: enso.train(recipe, one, options.data / "enso", folder, progress=False))


def nbody_recipe(options: Namespace, in_memory: bool = True) -> list[Ratio]:
    """The Earthformer of the benchmark of moving digits."""
    stored = tomllib.loads((files("xforecast.benchmark") / "rows.toml").read_text())
    training, row = stored["training"], dict(stored["nbody"]["Earthformer"])
    row.pop("model")
    with np.load(options.data / "nbody" / "mnist_t10k.npz") as digits:
        frames = datasets.nbody_mnist(options.steps * training["batch_size"], digits["images"][:500], seed=0)
    record = datasets.as_record(frames).load()
    if not in_memory:
        record = record.chunk(time=200)
    config = EarthformerConfig.from_dict({"history": 10, "horizon": 10, "grid": (64, 64), **row})
    chosen = {"valid": None, "epochs": 1, "in_memory": in_memory, "progress": False, **training}
    return _waiting(lambda folder: xf.fit(record, config, folder=folder, **chosen))


def nbody_blocks(options: Namespace) -> list[Ratio]:
    """The same with frames that are read block by block."""
    return nbody_recipe(options, in_memory=False)


def _waiting(train: Callable[[Path], object]) -> list[Ratio]:
    """The share of waiting of a training, with batches made ahead and on demand."""
    return [
        Ratio("waiting / pass, batches made ahead", _share(train, Prefetched), most=WANTED),
        Ratio("waiting / pass, batches made on demand", _share(train, OnDemand)),
    ]


def _share(train: Callable[[Path], object], kind: type[Prefetched]) -> float:
    usual, loop.Prefetched = loop.Prefetched, kind
    try:
        with tempfile.TemporaryDirectory() as folder:
            train(Path(folder))
            file = next(Path(folder).rglob("metrics.csv"))
            with file.open(newline="") as rows:
                return max(float(row["waiting"]) for row in csv.DictReader(rows))
    finally:
        loop.Prefetched = usual
