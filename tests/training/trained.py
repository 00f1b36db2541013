"""A training as a program of its own: the tests run it in several processes, and kill it.

    python trained.py FOLDER OPTIONS

OPTIONS is JSON, for `xforecast.fit`; the weights of each process go to FOLDER/weights-<rank>.pt.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path

import numpy as np
import torch
import xarray as xr

import xforecast as xf
from xforecast.models import BlockConfig, EarthformerConfig, GlobalVectorConfig


def drifting(steps: int = 37) -> xr.DataArray:
    """A wave that travels over a torus: 32 windows of 4 + 2 steps."""
    y, x = np.mgrid[:4, :6]
    values = np.sin(2 * np.pi * (x[None] / 6 - np.arange(steps)[:, None, None] / 8)) + 0.1 * y
    time = xr.date_range("2000-01-01", periods=steps, freq="D")
    return xr.DataArray(values, {"time": time}, ("time", "y", "x"), name="z", attrs={"units": "m"})


def small(dropout: float = 0.0) -> EarthformerConfig:
    """An Earthformer of two levels with global vectors."""
    block = BlockConfig(attention_dropout=dropout, projection_dropout=dropout, feed_forward_dropout=dropout)
    return EarthformerConfig(
        history=4, horizon=2, grid=(4, 6), base_channels=8, block=block, global_vectors=GlobalVectorConfig(2)
    )


def main(folder: Path, options: dict) -> None:
    """Train, and write what came out."""
    pause = options.pop("pause", 0.0)
    if pause:
        from xforecast.training import loop

        step = loop._Learner.training_step
        loop._Learner.training_step = lambda self, batch, index: (time.sleep(pause), step(self, batch, index))[1]
    network = small(options.pop("dropout", 0.0))
    made = xf.fit(drifting(), network, folder=folder, device="cpu", progress=False, **options)
    torch.save(made.model.state_dict(), folder / f"weights-{os.environ.get('LOCAL_RANK', '0')}.pt")


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]))
