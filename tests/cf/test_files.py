"""Files are opened and written by name, and nothing is lost or half-written."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from xforecast.cf import check_name, open_data, write
from xforecast.errors import DataFileError, InvalidOption

FIELD = xr.Dataset({"t": (("y", "x"), np.arange(6.0).reshape(2, 3), {"units": "K"})})


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_what_is_written_is_read(name, tmp_path):
    if name.endswith("zarr"):
        pytest.importorskip("zarr")
    place = write(FIELD, tmp_path / name)
    xr.testing.assert_identical(open_data(place).load(), FIELD)
    write(FIELD + 1, tmp_path / name)  # replaced
    xr.testing.assert_allclose(open_data(place).load(), FIELD + 1)
    assert [file.name for file in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["a.txt", "a", "a.nc.gz"])
def test_other_names_are_refused(name):
    with pytest.raises(InvalidOption, match=r"ends in \.nc"):
        check_name(name)


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    write(FIELD, tmp_path / "a.nc")

    def fail(block):
        raise RuntimeError("no value")

    broken = FIELD.assign(t=FIELD.t.copy(data=FIELD.t.chunk().data.map_blocks(fail, dtype=float)))
    with pytest.raises(RuntimeError, match="no value"):
        write(broken, tmp_path / "a.nc")
    xr.testing.assert_identical(open_data(tmp_path / "a.nc").load(), FIELD)
    assert [file.name for file in tmp_path.iterdir()] == ["a.nc"]


def test_files_that_are_not_there_or_hold_something_else(tmp_path):
    with pytest.raises(DataFileError, match="no such file"):
        open_data(tmp_path / "absent.nc")
    (tmp_path / "words.nc").write_text("words")
    with pytest.raises(DataFileError, match="cannot be read"):
        open_data(tmp_path / "words.nc")
