"""
Compare with the baselines
==========================

You will learn

- how to state a task once, with its data and its scores;
- how one call trains every model for the same time and scores it the same way;
- that a table without the simple forecasts says little.
"""

# %%
# A task
# ------
# Blobs that drift at a steady speed, three frames in and three out. Models learn from one set of sequences and are
# scored on another. The benchmarks of the package, such as ``xforecast benchmark enso``, are stated in the same way.

import tempfile
from pathlib import Path

import numpy as np
import xarray as xr

from xforecast import benchmark, datasets, plot, skill


def drifting(sequences: int, seed: int) -> xr.Dataset:
    """Sequences of six frames of 16 by 16, one after the other in a record."""
    rng = np.random.default_rng(seed)
    start, speed = rng.uniform(0, 16, (sequences, 1, 2)), rng.uniform(-2, 2, (sequences, 1, 2))
    place = start + speed * np.arange(6)[:, None]
    away = [np.abs(np.arange(16) - place[..., axis, None]) % 16 for axis in (0, 1)]
    near = [np.exp(-(np.minimum(one, 16 - one) ** 2) / 6) for one in away]
    frames = near[0][..., :, None] * near[1][..., None, :]
    return datasets.as_record(xr.Dataset({"blob": (("sequence", "time", "y", "x"), frames, {"units": "1"})}))


def load(path: Path) -> benchmark.Experiment:
    """The data, divided, and what is scored."""
    train, test = drifting(200, seed=0), drifting(20, seed=1)
    starts = list(test.time.values.reshape(20, 6)[:, 2])  # the third frame of each sequence

    def score(fc: xr.Dataset) -> dict[str, float]:
        forecast, observed = fc.blob.mean("sample"), skill.align(fc, test.blob)
        return {"MSE (1e-3)": 1e3 * float(skill.mse(forecast, observed)),
                "correlation": float(skill.correlation(forecast, observed))}  # fmt: skip

    options = {"history": 3, "horizon": 3, "valid": None, "learning_rate": 3e-3}
    return benchmark.Experiment(train, test, starts, options, score)


columns = {"MSE (1e-3)": False, "correlation": True}  # whether more is better
benchmark.TASKS["blobs"] = benchmark.Task("Drifting blobs", "nothing", columns, load)

# %%
# One call
# --------
# Each network gets as many steps as fit into the time. What the folder has already is not trained again, so that one
# more model costs only its own time. Names are those of `xforecast.models`, of your own models and saved forecasters.

folder = Path(tempfile.mkdtemp())
rows = ["Climatology", "Persistence", "LinearInverseModel", "UNet", "Earthformer"]
table = benchmark.run("blobs", folder, folder, models=rows, minutes=0.05, progress=False)
table.frame.round(3)

# %%
# Climatology is what one gets for knowing nothing of the start, persistence for not moving. A model that is not well
# ahead of both has not learnt to forecast. Three seconds are no fair trial of the networks: give them minutes.

plot.style.tidy(table.draw(), legend=False)
