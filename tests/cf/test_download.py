"""Downloads go through pooch, and its errors become ours."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pooch
import pytest

from xforecast.cf import cache_folder, download
from xforecast.errors import DataFileError


def test_the_cache_is_where_the_environment_says(monkeypatch, tmp_path):
    monkeypatch.setenv("XFORECAST_CACHE", str(tmp_path / "mine"))
    assert cache_folder() == tmp_path / "mine"
    monkeypatch.delenv("XFORECAST_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "xforecast"


def test_a_file_that_is_there_with_its_digest_is_not_fetched(tmp_path, monkeypatch):
    (tmp_path / "a.bin").write_bytes(b"numbers")
    digest = hashlib.sha256(b"numbers").hexdigest()
    monkeypatch.setattr(pooch.core, "stream_download", lambda *_, **__: pytest.fail("went to the network"))
    found = download("https://example.org/a.bin", tmp_path / "a.bin", purpose="a test", sha256=digest)
    assert found == tmp_path / "a.bin"


@pytest.mark.parametrize("error", [OSError("no route to host"), ValueError("another digest")])
def test_what_cannot_be_fetched(error, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(pooch, "retrieve", fail)
    with pytest.raises(DataFileError, match=rf"(?s)https://example.org/a: cannot be fetched: {error}.*->"):
        download("https://example.org/a", Path(tmp_path / "a"), purpose="a test")
