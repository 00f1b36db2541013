"""Random numbers that depend on the seed, the date of the start and the number of the sample, and on nothing else."""

from __future__ import annotations

import hashlib

import numpy as np
import torch

from xforecast.spec import is_cftime

__all__ = ["date_keys", "generator"]


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
