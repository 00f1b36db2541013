"""Pictures of data whose axes have names of their own."""

from __future__ import annotations

import re

import numpy as np
import pytest
import xarray as xr
from drawable import monthly, nowcast, record

from xforecast import plot
from xforecast.errors import InvalidOption
from xforecast.plot.coast import coastlines


def test_maps_of_any_names_are_the_same_figure():
    fc = monthly()
    names = {"sample": "number", "lead": "step", "lat": "LATS", "lon": "lons", "valid_time": "when", "init": "reftime"}
    other = fc.rename(names)
    plain = plot.maps(fc, observed=record(fc), leads=[1, 2], coastlines=False)
    figure = plot.maps(other, observed=record(fc).rename(lat="y", lon="x", time="date"), leads=[1, 2], coastlines=False)
    assert figure.get_suptitle() == plain.get_suptitle()
    for one, two in zip(figure.axes, plain.axes, strict=True):
        assert one.get_title() == two.get_title()
        for mine, its in zip(one.images, two.images, strict=True):
            np.testing.assert_array_equal(mine.get_array(), its.get_array())


def test_records_of_any_names_are_drawn_beside_others():
    truth = record(monthly()).rename(time="date")
    assert len(plot.maps(truth, leads=["2020-02-01"], coastlines=False).axes) == 2
    beside = plot.maps(truth, observed=truth.rename(lat="latitude"), leads=["2020-02-01"], coastlines=False)
    assert [axis.get_ylabel() for axis in beside.axes[:2]] == ["observed", "forecast"]


def test_two_that_fit_equally_well_are_refused_with_a_remedy_that_works():
    twice = monthly().isel(lon=0, drop=True).drop_vars("lat").rename(lat="lats").expand_dims(latitude=3)
    with pytest.raises(InvalidOption, match=r"\['latitude', 'lats'\]") as error:
        plot.maps(twice)
    renamed = eval(f"twice{re.search(r'.rename(.*?[)])', str(error.value))[0]}", {"twice": twice})
    with pytest.raises(InvalidOption, match="two of a map"):
        plot.maps(renamed)


def test_dimensions_that_say_nothing_can_be_named_as_the_error_says():
    plain = monthly().drop_vars(["lat", "lon"]).rename(lat="my rows", lon="cells")
    with pytest.raises(InvalidOption, match="two of a map") as error:
        plot.maps(plain)
    call = re.search(r"\.rename\(.*\)", str(error.value))[0]
    assert plot.maps(eval(f"fc{call}", {"fc": plain}), leads=[1]).axes


def test_scores_may_call_their_leads_otherwise():
    score = xr.DataArray([0.9, 0.8], [("step", [1, 2])], name="correlation")
    assert plot.skill_by_lead({"a": score}).get_xlabel() == "Lead"
    seasons = xr.DataArray(np.eye(2), [("season", ["DJF", "JJA"]), ("leadtime", [1, 2])])
    assert plot.season_by_lead(seasons).get_ylabel() == "Target season"


def test_plumes_of_any_names_are_drawn():
    fc = monthly().mean(["lat", "lon"]).rename(sample="member", lead="lead_time", valid_time="date")
    known = xr.DataArray(np.zeros(24), [("when", xr.date_range("2019-01", periods=24, freq="MS"))])
    error = xr.DataArray(np.full(6, 0.5), [("step", np.arange(1, 7))])
    axis = plot.plume(fc, known, error=error)
    assert {"observed", "forecast mean", "90 % of past errors"} <= set(axis.get_legend_handles_labels()[1])


def test_pixels_without_units_are_no_degrees():
    fc = nowcast().assign_coords(y=np.arange(6.0), x=np.arange(6.0)).isel(sample=0, lead=0)
    assert coastlines(None, fc, "y", "x") == 0
