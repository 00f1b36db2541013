"""Lazy results are computed in this thread: the graphs are small, and threads only cost time."""

import dask
import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    with dask.config.set(scheduler="synchronous"):
        yield
