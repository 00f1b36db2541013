"""Fixtures for the label layer, the join and the doors: data and forecasters of `synthetic`."""

from __future__ import annotations

import os

if "PYTEST_XDIST_WORKER" in os.environ:  # processes that share the cores are slower, not faster, with many threads each
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest


@pytest.fixture
def sst():
    """Monthly SST with land, degC."""
    from synthetic import sst_dataset

    return sst_dataset()


@pytest.fixture
def radar():
    """Rain every 5 minutes on a projected grid."""
    from synthetic import radar_dataset

    return radar_dataset()


@pytest.fixture
def forecaster():
    """Persistence of SST anomalies."""
    from synthetic import persistence

    return persistence()


@pytest.fixture
def radar_forecaster():
    """Persistence of rain."""
    from synthetic import persistence, radar_spec

    return persistence(radar_spec())


@pytest.fixture
def stochastic():
    """SST anomalies with noise: a forecaster with samples."""
    from synthetic import noise

    return noise()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache folder."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("XFORECAST_CACHE", str(folder))
    return folder
