"""How long a training waits for its data: the share of a pass, as ratios within one run.

    python benchmarks/training.py --data FOLDER [--steps 24]

FOLDER holds ``enso/`` and ``nbody/mnist_t10k.npz``. Each recipe is trained for one short pass with batches made ahead
in a thread, as `xforecast.fit` does, and for another with batches made when they are asked for. The share is that of
the time of the pass in which the loop had no batch; at most 15 % is wanted. It includes the first
batch, which nothing hides.
"""

from __future__ import annotations

import argparse
import csv
import tempfile
import time
import tomllib
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch

import xforecast as xf
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


def enso_recipe(data: Path, folder: Path, steps: int) -> None:
    """A member of the shipped ENSO forecaster: histories simulated and taught while it trains."""
    recipe = recipes.read("enso")
    recipe["training"] |= {"steps": steps}
    recipe["simulation"] |= {"series": 4}
    enso.train(recipe, recipe["forecasters"][0] | {"members": 1}, data / "enso", folder, progress=False)


def nbody_recipe(data: Path, folder: Path, steps: int, in_memory: bool = True) -> None:
    """The Earthformer of the benchmark of moving digits."""
    stored = tomllib.loads((files("xforecast.benchmark") / "rows.toml").read_text())
    options, row = stored["training"], dict(stored["nbody"]["Earthformer"])
    row.pop("model")
    with np.load(data / "nbody" / "mnist_t10k.npz") as digits:
        frames = datasets.nbody_mnist(steps * options["batch_size"], digits["images"][:500], seed=0)
    record = datasets.as_record(frames).load()
    if not in_memory:
        record = record.chunk(time=200)
    config = EarthformerConfig.from_dict({"history": 10, "horizon": 10, "grid": (64, 64), **row})
    chosen = {"valid": None, "epochs": 1, "in_memory": in_memory, "folder": folder, "progress": False}
    xf.fit(record, config, **chosen, **options)


def waiting(train: Callable[[Path], None], kind: type[Prefetched]) -> float:
    """Share of the time of the pass."""
    loop.Prefetched = kind
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))
        file = next(Path(folder).rglob("metrics.csv"))
        with file.open(newline="") as rows:
            return max(float(row["waiting"]) for row in csv.DictReader(rows))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=24)
    chosen = parser.parse_args()
    trainings = {
        "ENSO": lambda folder: enso_recipe(chosen.data, folder, chosen.steps),
        "N-body": lambda folder: nbody_recipe(chosen.data, folder, chosen.steps),
        "N-body, read block by block": lambda folder: nbody_recipe(chosen.data, folder, chosen.steps, in_memory=False),
    }
    print(
        f"share of a pass of {chosen.steps} steps spent waiting, {torch.get_num_threads()} threads; wanted {WANTED:.0%}"
    )
    for name, train in trainings.items():
        ahead, demanded = (waiting(train, kind) for kind in (Prefetched, OnDemand))
        print(f"{name:28} {ahead:6.1%} ahead   {demanded:6.1%} on demand", flush=True)


if __name__ == "__main__":
    main()
