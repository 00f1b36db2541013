"""Run a predictor eagerly or lazily over dask with the same numbers.

dask gets a `Handle`, which knows the predictor by its digest and where it is saved, never its weights;
each process loads the weights once. Random numbers come from the start's date and the sample's number,
so that no chunk, batch or worker changes them.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
import xarray as xr

from xforecast.errors import CheckpointError
from xforecast.forecaster.folder import read
from xforecast.forecaster.options import ForecastOptions
from xforecast.forecaster.predictor import Predictor
from xforecast.forecaster.randomness import date_keys
from xforecast.labels import Conformed, Report, check_values

__all__ = ["Handle", "lazily"]

BLOCK_BYTES = 64 * 2**20
"""Largest output of one dask block."""
BLOCK_INITS = 32
"""Most starts in one dask block."""

_loaded: dict[str, Predictor] = {}
_loading = threading.Lock()


def recall(digest: str, folder: str) -> Predictor:
    """The predictor of that digest, loaded at most once in this process."""
    with _loading:
        known = _loaded.get(digest)
        if known is not None:
            return known
        _share_cores()
        loaded = Predictor(*read(folder), folder=folder)
        if loaded.digest != digest:
            raise CheckpointError(
                f"{folder}: found the forecaster {loaded.digest[:12]}, wanted {digest[:12]}, which was there when the "
                "forecast was set up\n  -> forecast again"
            )
        _loaded[digest] = loaded
    return loaded


def _share_cores() -> None:
    """In a worker process, leave the other workers their cores."""
    import multiprocessing
    import sys

    if "distributed" in sys.modules:
        from distributed import get_worker

        try:
            torch.set_num_threads(max(1, get_worker().state.nthreads))
        except ValueError:
            pass
        else:
            return
    if multiprocessing.parent_process() is not None:
        torch.set_num_threads(1)


@dataclass(frozen=True)
class Handle:
    """A call of `Predictor.predict` that travels light.

    In the process that made it, it holds the predictor; another finds that by its folder.

    Parameters
    ----------
    digest : str
        Of the predictor.
    asked : ForecastOptions
        Checked already.
    anomalies : mapping
        Which variables came as anomalies, for the words of a complaint.
    examine : bool
        Whether to look at the values first; those of eager data have been looked at before.
    folder : str
        Where the predictor is saved.
    predictor : Predictor, optional
        The predictor itself; left behind when the handle is pickled.
    """

    digest: str
    asked: ForecastOptions
    anomalies: Mapping[str, bool] = field(default_factory=dict)
    examine: bool = False
    folder: str = ""
    predictor: Predictor | None = field(default=None, compare=False, repr=False)

    def __call__(self, histories: np.ndarray, starts: np.ndarray, samples: np.ndarray):
        predictor = self.predictor or recall(self.digest, self.folder)
        histories = histories.reshape(-1, *histories.shape[-4:])
        if self.examine:
            report = Report(predictor.name)
            report.extend(check_values(histories, predictor.spec, self.anomalies))
            report.raise_errors()
            report.emit_warnings()
        made = predictor.predict(histories, np.ravel(samples), np.ravel(starts), self.asked)
        return made[0] if made[1] is None else made

    def __dask_tokenize__(self):
        from dask.tokenize import normalize_token

        asked = {**self.asked.to_dict(), "drawing": self.asked.drawing}
        return normalize_token((type(self).__name__, self.digest, asked, self.examine))

    def __reduce__(self):
        """A predictor that was never saved is saved for the other process."""
        folder = self.predictor.folder_for_workers() if self.predictor is not None else self.folder
        return Handle, (self.digest, self.asked, dict(self.anomalies), self.examine, folder)


def lazily(
    predictor: Predictor,
    histories: xr.DataArray,
    ready: Conformed,
    asked: ForecastOptions,
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Forecast every history: at once for numpy data, as a dask graph for dask data.

    Parameters
    ----------
    predictor : Predictor
        The model and its spec.
    histories : xarray.DataArray
        From `windows`: dims (init, history, y, x, channel).
    ready : Conformed
        Where the histories come from: the dates of the starts, and which variables came as anomalies.
    asked : ForecastOptions
        From `ForecastOptions.of`.

    Returns
    -------
    xarray.DataArray, xarray.DataArray or None
        Dims (init, sample, lead, y, x, channel), float32, and with a constraint its residual, (init, sample, guided).
    """
    spec, lazy = predictor.spec, histories.chunks is not None
    horizon, targets = asked.horizon or spec.horizon, len(spec.targets)
    starts = xr.DataArray(date_keys(ready.starts.init), dims="init")
    samples = xr.DataArray(predictor.which(asked.samples), dims="sample")
    if lazy:
        asked = asked.for_workers()
        size = _block(samples.size * horizon * histories.sizes["y"] * histories.sizes["x"] * targets * 4)
        histories = histories.chunk({"init": size})
        starts, samples = starts.chunk({"init": size}), samples.chunk()
    constrained = asked.constraint is not None
    sizes = {"lead": horizon, "channel": targets} | ({"guided": 2} if constrained else {})
    made = xr.apply_ufunc(
        Handle(predictor.digest, asked, ready.source.anomalies, examine=lazy, predictor=predictor),
        histories.rename(channel="input_channel"),
        starts,
        samples,
        input_core_dims=[["history", "y", "x", "input_channel"], [], []],
        output_core_dims=[["lead", "y", "x", "channel"], ["guided"]][: 1 + constrained],
        dask="parallelized",
        output_dtypes=[np.float32, np.float32][: 1 + constrained],
        dask_gufunc_kwargs={"output_sizes": sizes},
    )
    return made if constrained else (made, None)


def _block(bytes_per_start: int) -> int:
    return int(np.clip(BLOCK_BYTES // max(bytes_per_start, 1), 1, BLOCK_INITS))
