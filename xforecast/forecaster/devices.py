"""Where a network runs, at what precision, and how many starts at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import nullcontext

import torch

from xforecast.errors import InvalidOption

__all__ = ["device_lock", "in_batches", "pick_device", "pick_precision"]


def pick_device(name: str = "auto") -> torch.device:
    """The device by name; ``"auto"`` takes a CUDA device if there is one, else the CPU.

    Examples
    --------
    >>> pick_device("cpu")
    device(type='cpu')
    """
    if isinstance(name, str) and name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    wanted, remedy = "'auto', 'cpu', 'cuda' or 'cuda:0'", "device='auto'"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InvalidOption("device", name, wanted, remedy) from error
    if device.type not in ("cpu", "cuda"):
        raise InvalidOption("device", name, wanted, remedy)
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InvalidOption("device", name, "a device of this machine, which has no CUDA device", remedy)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise InvalidOption("device", name, f"one of the {torch.cuda.device_count()} CUDA devices", remedy)
    return device


def pick_precision(name: str, device: torch.device):
    """A context in which the network runs at that precision; ``"auto"`` is float32."""
    if name in ("auto", "float32"):
        return nullcontext()
    if name == "bfloat16":
        return torch.autocast(device.type, torch.bfloat16)
    raise InvalidOption("precision", name, "'auto', 'float32' or 'bfloat16'", "precision='auto'")


_locks: dict[str, threading.Lock] = {}
_lock_of_locks = threading.Lock()


def device_lock(device: torch.device) -> threading.Lock:
    """One forward pass at a time on each device; torch itself uses all of its cores."""
    with _lock_of_locks:
        return _locks.setdefault(str(device), threading.Lock())


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
    """On a GPU this is an error of its own; on the CPU only its words tell it from others."""
    return (
        isinstance(error, torch.OutOfMemoryError)
        or "not enough memory" in str(error)
        or "allocate memory" in str(error)
    )
