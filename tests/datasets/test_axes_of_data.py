"""Data sources and what makes coarser data of them ask the table of axes too."""

from __future__ import annotations

import re

import numpy as np
import pytest

from xforecast.datasets import as_record, average_pixels, downsample, open_radar, showers
from xforecast.errors import InvalidOption


@pytest.fixture
def rain():
    return showers(frames=4, size=(6, 8), spacing=1000.0)


def test_any_names_of_rows_and_columns_are_averaged(rain):
    plain = average_pixels(rain.rain_rate, 2)
    other = average_pixels(rain.rain_rate.rename(y="northing", x="EASTING"), 2)
    np.testing.assert_array_equal(other, plain)
    np.testing.assert_array_equal(other.northing, plain.y)
    assert other.northing.attrs == rain.y.attrs


def test_two_rows_are_refused_with_a_remedy_that_works(rain):
    twice = rain.rain_rate.drop_vars("y").rename(y="lats").expand_dims(latitude=2)
    with pytest.raises(InvalidOption, match=r"\['latitude', 'lats'\]") as error:
        average_pixels(twice, 2)
    call = re.search(r"\.rename\(.*?\)", str(error.value))[0]
    assert average_pixels(eval(f"twice{call}", {"twice": twice}), 1).sizes["latitude"] == 2


def test_data_without_rows_are_refused(rain):
    with pytest.raises(InvalidOption, match="y coordinate"):
        average_pixels(rain.rain_rate.isel(y=0, drop=True), 2)
    with pytest.raises(InvalidOption, match="factor=6 or less"):
        average_pixels(rain.rain_rate, 7)
    with pytest.raises(InvalidOption, match=r"average_pixels\(ds\['rain_rate'\], 2\)"):
        average_pixels(rain, 2)


def test_any_names_of_axes_are_made_coarser(rain):
    plain = downsample(rain, time=2, space=2)
    other = downsample(rain.rename(time="date", y="lats", x="lons"), time=2, space=2)
    np.testing.assert_array_equal(other.rain_rate, plain.rain_rate)
    np.testing.assert_array_equal(other.lats, plain.y)
    with pytest.raises(InvalidOption, match="y coordinate"):
        downsample(rain.isel(y=0, drop=True))


def test_steps_of_sequences_may_be_leads_or_dates(rain):
    sequences = rain.expand_dims(sequence=2)
    for name in ("time", "date", "lead_time"):
        renamed = sequences.rename(time=name)
        assert as_record(renamed).sizes["time"] == 8
    nameless = sequences.drop_vars("time").rename(time="frame")
    with pytest.raises(InvalidOption, match="time="):
        as_record(nameless)
    assert as_record(nameless, time="frame").sizes["time"] == 8


@pytest.mark.parametrize("name", ["date", "valid_time", "TIME"])
def test_radar_files_may_call_their_axes_as_they_like(rain, tmp_path, name):
    there = rain.rename(time=name, y="northing", x="easting")
    there["easting"].attrs = {"axis": "X", "units": "km"}
    there["northing"].attrs = {"axis": "Y", "units": "km"}
    there.to_netcdf(tmp_path / "radar.nc")
    opened = open_radar(tmp_path / "radar.nc")
    np.testing.assert_allclose(opened.rain_rate, rain.rain_rate)
    np.testing.assert_array_equal(opened.time, rain.time)
    np.testing.assert_allclose(opened.easting, 1000 * rain.x)
    assert opened.easting.attrs["units"] == "m"
