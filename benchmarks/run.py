"""Speed and memory, as ratios within one run, so that one machine can be compared with another.

    python benchmarks/run.py                          # list what can be measured
    python benchmarks/run.py csi crps                 # measure some
    python benchmarks/run.py all --data FOLDER        # measure everything

The scores need the package `scores`, the trainings the extra `train` and a FOLDER with ``enso/`` and
``nbody/mnist_t10k.npz``; by default it is the one that XFORECAST_DATA names. Each ratio is printed beside the value
that is wanted, and the exit status is 1 if any misses it.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from pathlib import Path

from ratios import Ratio

MEASUREMENTS = {
    "csi": (
        "skill",
        "csi_of_images",
        "CSI at six thresholds: time beside scores and beside a sum, memory by thresholds",
    ),
    "crps": ("skill", "crps_of_ensembles", "fair CRPS of 32 samples: time beside scores"),
    "dask": ("skill", "memory_under_dask", "memory of scores over four times the data in chunks of one size"),
    "training-enso": ("training", "enso_recipe", "share of a pass that a training of ENSO waits for data"),
    "training-nbody": ("training", "nbody_recipe", "the same for moving digits held in memory"),
    "training-blocks": ("training", "nbody_blocks", "the same for moving digits read block by block"),
}
"""Name on the command line: module, function and what it measures."""


def measure(name: str, options: argparse.Namespace) -> list[Ratio]:
    """Run one measurement and print its ratios."""
    module, function, what = MEASUREMENTS[name]
    print(f"{name}: {what}", flush=True)
    ratios = getattr(importlib.import_module(module), function)(options)
    for ratio in ratios:
        print(f"  {ratio}", flush=True)
    return ratios


def main() -> int:
    """Measure what the command line names; without a name, list what there is."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="name", help=f"all, or some of {', '.join(MEASUREMENTS)}")
    parser.add_argument("--data", type=Path, default=os.environ.get("XFORECAST_DATA"), help="for the trainings")
    parser.add_argument("--events", type=int, default=16, help="number of events in the arrays of csi")
    parser.add_argument("--steps", type=int, default=24, help="number of steps of each training")
    options = parser.parse_args()
    if unknown := set(options.names) - {"all", *MEASUREMENTS}:
        parser.error(f"found {', '.join(sorted(unknown))}, wanted all or some of {', '.join(MEASUREMENTS)}")
    if not options.names:
        for name, (_, _, what) in MEASUREMENTS.items():
            print(f"{name:16} {what}")
        return 0
    chosen = list(MEASUREMENTS) if "all" in options.names else options.names
    if options.data is None and any(name.startswith("training") for name in chosen):
        parser.error("the trainings need --data FOLDER")
    ratios = [ratio for name in chosen for ratio in measure(name, options)]
    return int(not all(ratio.met for ratio in ratios))


if __name__ == "__main__":
    sys.exit(main())
