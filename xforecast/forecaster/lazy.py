"""Run a forecaster eagerly or lazily over dask with the same numbers.

dask gets a `Handle`, which knows the forecaster by its digest and where it is saved, never its weights;
each process loads the weights once. Random numbers come from the start's date and the sample's number,
so that no chunk, batch or worker changes them.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import xarray as xr

from xforecast.errors import CheckpointError, InvalidOption
from xforecast.labels import Report, check_values
from xforecast.spec import is_cftime

if TYPE_CHECKING:
    from xforecast.forecaster.forecaster import Forecaster

__all__ = ["Handle", "date_keys", "generator", "lazily", "pick_device"]

BLOCK_BYTES = 64 * 2**20
"""Largest output of one dask block."""
BLOCK_INITS = 32
"""Most starts in one dask block."""


# ------------------------------------------------------------------ devices


def pick_device(name: str = "auto") -> torch.device:
    """The device by name; ``"auto"`` takes a CUDA device if there is one, else the CPU.

    Examples
    --------
    >>> pick_device("cpu")
    device(type='cpu')
    """
    if isinstance(name, str) and name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wanted = "'auto', 'cpu', 'cuda' or 'cuda:0'"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InvalidOption("device", name, wanted) from error
    if device.type not in ("cpu", "cuda"):
        raise InvalidOption("device", name, wanted)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidOption("device", name, "a device of this machine, which has no CUDA device", "device='auto'")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidOption("device", name, f"one of the {torch.cuda.device_count()} CUDA devices", "device='auto'")
    return device


def pick_precision(name: str, device: torch.device):
    """A context in which the network runs at that precision; ``"auto"`` is float32."""
    if name in ("auto", "float32"):
        return nullcontext()
    if name == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    raise InvalidOption("precision", name, "'auto', 'float32' or 'bfloat16'")


_locks: dict[str, threading.Lock] = {}
_registry_lock = threading.Lock()


def device_lock(device: torch.device) -> threading.Lock:
    """One forward pass at a time on each device; torch itself uses all of its cores."""
    with _registry_lock:
        return _locks.setdefault(str(device), threading.Lock())


# ------------------------------------------------------------------ random numbers


def date_keys(times: np.ndarray) -> np.ndarray:
    """A number for each date, the same for equal dates in any calendar type and time unit.

    Examples
    --------
    >>> coarse = date_keys(np.array(["2000-01-16"], "datetime64[D]"))
    >>> bool(coarse == date_keys(np.array(["2000-01-16T00:00:00.000"], "datetime64[ms]")))
    True
    """
    if is_cftime(times):
        words = [time.isoformat()[:19] for time in times.ravel()]
    else:
        words = [str(word) for word in np.datetime_as_string(times.ravel(), unit="s")]
    digests = [hashlib.sha256(word.encode()).digest()[:8] for word in words]
    return np.array([int.from_bytes(digest, "little") >> 1 for digest in digests], np.int64).reshape(times.shape)


def generator(seed: int, key: int, sample: int) -> torch.Generator:
    """The random numbers of one sample of one start: the same whatever else is computed with it."""
    state = np.random.SeedSequence([abs(int(seed)), int(seed < 0), int(key), int(sample)]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(state[0]) >> 1)


# ------------------------------------------------------------------ batches


def in_batches(
    run: Callable[[slice], torch.Tensor],
    count: int,
    batch_size: int,
    progress: Callable[[int], None] | None = None,
) -> torch.Tensor:
    """Call ``run`` on slices of ``range(count)`` and join the results; halve the batch when memory runs out."""
    results, begin = [], 0
    while begin < count:
        batch = slice(begin, min(begin + batch_size, count))
        try:
            results.append(run(batch))
        except RuntimeError as error:
            if batch_size == 1 or not _out_of_memory(error):
                raise
            torch.cuda.empty_cache()
            batch_size = max(1, batch_size // 2)
            continue
        if progress is not None:
            progress(batch.stop - batch.start)
        begin = batch.stop
    return torch.cat(results)


def _out_of_memory(error: RuntimeError) -> bool:
    """On a GPU an error of its own, on the CPU one of many that are told apart by their words."""
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "not enough memory" in str(error)
        or "allocate memory" in str(error)
    )


# ------------------------------------------------------------------ the handle that dask carries


_loaded: dict[str, Forecaster] = {}


def recall(digest: str, folder: str) -> Forecaster:
    """The forecaster of that digest, loaded at most once in this process."""
    with _registry_lock:
        known = _loaded.get(digest)
        if known is not None:
            return known
        from xforecast.forecaster.forecaster import Forecaster

        _share_cores()
        loaded = Forecaster.load(folder)
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
    """A call of `Forecaster.predict` that travels light.

    In the process that made it, it holds the forecaster; another finds that by its folder.

    Parameters
    ----------
    digest : str
        Of the forecaster.
    options : mapping
        Keyword arguments of ``predict``.
    anomalies : mapping
        Which variables came as anomalies, for the words of a complaint.
    examine : bool
        Whether to look at the values first, which eager data have had done before.
    folder : str
        Where the forecaster is saved.
    forecaster : Forecaster, optional
        The forecaster itself; left behind when the handle is pickled.
    """

    digest: str
    options: Mapping[str, Any] = field(default_factory=dict)
    anomalies: Mapping[str, bool] = field(default_factory=dict)
    examine: bool = False
    folder: str = ""
    forecaster: Forecaster | None = field(default=None, compare=False, repr=False)

    def __call__(self, histories: np.ndarray, keys: np.ndarray, samples: np.ndarray):
        forecaster = self.forecaster or recall(self.digest, self.folder)
        histories = histories.reshape(-1, *histories.shape[-4:])
        if self.examine:
            report = Report(forecaster.name)
            report.extend(check_values(histories, forecaster.spec, self.anomalies))
            report.raise_errors()
            report.emit_warnings()
        made = forecaster.predict_with_residual(histories, np.ravel(samples), keys=np.ravel(keys), **self.options)
        return made[0] if made[1] is None else made

    def __dask_tokenize__(self):
        from dask.tokenize import normalize_token

        return normalize_token((type(self).__name__, self.digest, dict(self.options), self.examine))

    def __reduce__(self):
        """A forecaster that was never saved is saved for the other process."""
        folder = self.forecaster.folder_for_workers() if self.forecaster is not None else self.folder
        return Handle, (self.digest, dict(self.options), dict(self.anomalies), self.examine, folder)


def lazily(
    forecaster: Forecaster,
    histories: xr.DataArray,
    init: np.ndarray,
    samples: Sequence[int],
    options: Mapping[str, Any],
    anomalies: Mapping[str, bool],
) -> tuple[xr.DataArray, xr.DataArray | None]:
    """Forecast every history: at once for numpy data, as a dask graph for dask data.

    Parameters
    ----------
    forecaster : Forecaster
        The model and its spec.
    histories : xarray.DataArray
        From `windows`: dims (init, history, y, x, channel).
    init : numpy.ndarray
        Dates of the starts.
    samples : sequence of int
        Numbers of the samples to draw.
    options : mapping
        Further keyword arguments of `Forecaster.predict`.
    anomalies : mapping
        Which variables came as anomalies.

    Returns
    -------
    xarray.DataArray, xarray.DataArray or None
        Dims (init, sample, lead, y, x, channel), float32, and with a constraint its residual, (init, sample, guided).
    """
    spec = forecaster.spec
    lazy = histories.chunks is not None
    keys = xr.DataArray(date_keys(init), dims="init")
    numbers = xr.DataArray(np.asarray(samples, np.int64), dims="sample")
    horizon = options.get("horizon") or spec.horizon
    if lazy:
        size = _block(len(samples) * horizon * histories.sizes["y"] * histories.sizes["x"] * len(spec.targets) * 4)
        histories = histories.chunk({"init": size})
        keys, numbers = keys.chunk({"init": size}), numbers.chunk()
    constrained = options.get("constraint") is not None
    sizes = {"lead": horizon, "channel": len(spec.targets)} | ({"guided": 2} if constrained else {})
    made = xr.apply_ufunc(
        Handle(forecaster.digest, options, anomalies, examine=lazy, forecaster=forecaster),
        histories.rename(channel="input_channel"),
        keys,
        numbers,
        input_core_dims=[["history", "y", "x", "input_channel"], [], []],
        output_core_dims=[["lead", "y", "x", "channel"], ["guided"]][: 1 + constrained],
        dask="parallelized",
        output_dtypes=[np.float32, np.float32][: 1 + constrained],
        dask_gufunc_kwargs={"output_sizes": sizes},
    )
    return made if constrained else (made, None)


def _block(bytes_per_start: int) -> int:
    return int(np.clip(BLOCK_BYTES // max(bytes_per_start, 1), 1, BLOCK_INITS))


def cache_folder() -> str:
    """Where downloads and forecasters for workers are kept: ``XFORECAST_CACHE`` or the user's cache folder."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return os.environ.get("XFORECAST_CACHE") or os.path.join(base, "xforecast")
