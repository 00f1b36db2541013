"""Whatever names and marks of axes one part of the package accepts, all parts accept.

The names and marks are drawn from the table itself, so that a new entry is tested at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import xforecast as xf
from synthetic import persistence
from xforecast import climatology, datasets, skill
from xforecast.cf import (
    AXES,
    Ambiguous,
    axis_coordinate,
    find_axis,
    find_coordinate,
    find_dimension,
    find_valid_time,
    with_index,
)
from xforecast.errors import InvalidOption
from xforecast.labels import make_spec
from xforecast.spec import DataSpec, Grid, Variable

LAT, LON = np.arange(-10.0, 11.0, 5.0), np.arange(185.0, 246.0, 5.0)
MONTHS = 30
SST = {"standard_name": "sea_surface_temperature", "units": "degC"}
ODD = {"time": "when", "y": "north_place", "x": "east_place", "sample": "draw", "init": "begun", "lead": "ahead"}
"""Names that say nothing, for axes that are marked by attributes."""


@dataclass(frozen=True)
class Spelling:
    """One way to say what an axis is."""

    name: str
    attrs: dict = field(default_factory=dict)
    beside: bool = False
    """Whether a coordinate beside the dimension says it, the dimension having none of its own."""

    def __str__(self) -> str:
        return f"{self.name} {self.attrs or ''}{' beside' if self.beside else ''}".strip()


def spellings(kind: str, also: tuple[str, ...] = ()) -> list[Spelling]:
    """All that the table knows of an axis: names in small and in capital letters, and marks on an odd name."""
    found = []
    for entry in (kind, *also):
        axis = AXES[entry]
        names = [*axis.names, *axis.lesser_names]
        found += [Spelling(name) for name in (*names, *map(str.upper, names))]
        marks = {"standard_name": axis.standard_names, "long_name": axis.standard_names, **axis.marks}
        found += [Spelling(ODD[kind], {key: value}) for key, values in marks.items() for value in values]
    # Such coordinates are no latitudes and longitudes, so that a model of these must refuse them.
    distinct = {str(one): one for one in found}.values()
    return [one for one in distinct if not str(one.attrs.get("standard_name")).startswith(("grid_", "projection_"))]


TIMES = [*spellings("time"), Spelling("when")]  # dates alone say that it is a time axis
ROWS, COLUMNS = spellings("y", also=("latitude",)), spellings("x", also=("longitude",))
SAMPLES, INITS, LEADS = (spellings(kind) for kind in ("sample", "init", "lead"))
ALL = {"time": TIMES, "y": ROWS, "x": COLUMNS, "sample": SAMPLES, "init": INITS, "lead": LEADS}


def spelt(data: xr.DataArray, how: dict[str, Spelling]) -> xr.DataArray:
    """The data with their axes, called as in `how`, spelt in another way."""
    for dim, spelling in how.items():
        coordinate = data[dim].variable
        data = data.drop_vars(dim).rename({dim: "temporary name"})
        own = f"dim_{dim}" if spelling.beside else spelling.name
        data = data.rename({"temporary name": own})
        attrs = {"units": "months"} if dim == "lead" else {}
        data = data.assign_coords({spelling.name: (own, coordinate.values, {**attrs, **spelling.attrs})})
    return data


def sst(months: int = MONTHS) -> xr.DataArray:
    """Monthly temperatures, dims (time, y, x), plainly named and without attributes of the axes."""
    time = xr.date_range("2000-01", periods=months, freq="MS", unit="ns")
    values = 27 + np.random.default_rng(0).normal(size=(months, LAT.size, LON.size))
    return xr.DataArray(values, [("time", time), ("y", LAT), ("x", LON)], name="sst", attrs=SST)


def hindcast(samples: int = 2, leads: int = 3) -> xr.DataArray:
    """Temperatures, dims (init, sample, lead, y, x), with whole months of lead and no valid times."""
    truth = sst()
    starts = truth.isel(time=slice(2, 26)).rename(time="init")
    lead = xr.DataArray(np.arange(1, leads + 1), dims="lead", name="lead", attrs={"units": "months"})
    noise = xr.DataArray(np.random.default_rng(1).normal(size=(samples, leads)), dims=("sample", "lead"))
    forecast = (starts + noise).assign_coords(sample=np.arange(samples), lead=lead)
    return forecast.transpose("init", "sample", "lead", "y", "x").rename("sst").assign_attrs(SST)


SPEC = DataSpec(
    [Variable("sst", "degC", ["sea_surface_temperature"])], Grid.latlon(LAT, LON), "1 month", history=2, horizon=3
)
INNER = Grid.latlon(LAT[1:-1], LON[1:-1])
FORECASTER = persistence(SPEC)
PLAIN, FORECAST = sst(), hindcast()
INDEX = skill.nino34(spelt(PLAIN, {"y": Spelling("lat"), "x": Spelling("lon")})).values
EXPECTED = FORECASTER.forecast(PLAIN, init="2001-06").sst
CYCLE = climatology.monthly_climatology(PLAIN)


def record_everywhere(how: dict[str, Spelling]) -> None:
    """Every part takes a record of these spellings, and gives what it gives for plain names."""
    record = spelt(PLAIN, how)
    names = {dim: find_axis(record, dim) for dim in ("time", "y", "x")}
    assert None not in names.values()
    np.testing.assert_allclose(skill.nino34(record), INDEX)
    np.testing.assert_allclose(climatology.anomaly(record), climatology.anomaly(PLAIN))
    np.testing.assert_allclose(climatology.detrend(record), climatology.detrend(PLAIN))
    np.testing.assert_allclose(skill.rmse(FORECAST, record), skill.rmse(FORECAST, PLAIN))
    season = skill.seasonal_mean(skill.nino34(record))
    np.testing.assert_allclose(season, skill.seasonal_mean(skill.nino34(spelt(PLAIN, {}))))
    assert datasets.average_pixels(record, 2).shape == (MONTHS, 2, 6)
    assert datasets.downsample(record.to_dataset(), 2, 2).sst.shape == (MONTHS // 2, 3, 7)
    sequences = record.to_dataset().expand_dims(sequence=2)
    assert datasets.as_record(sequences).sizes["time"] == 2 * MONTHS


def labels_accept(how: dict[str, Spelling]) -> xr.DataArray:
    """The label layer takes a record of these spellings too; its forecast."""
    record = spelt(PLAIN, how)
    assert xf.check(record, FORECASTER), str(xf.check(record, FORECASTER))
    forecast = FORECASTER.forecast(record, init="2001-06").sst
    np.testing.assert_allclose(forecast, EXPECTED)
    assert float(skill.rmse(forecast, record)) == pytest.approx(float(skill.rmse(EXPECTED, PLAIN)))
    assert make_spec(record, history=2, horizon=3).input_shape == SPEC.input_shape
    first = record.isel({find_axis(record, "time"): slice(2)})
    np.testing.assert_allclose(xf.regrid(first, INNER), xf.regrid(PLAIN.isel(time=slice(2)), INNER))
    return forecast


def forecast_everywhere(how: dict[str, Spelling]) -> None:
    """Every score takes a forecast of these spellings, and gives what it gives for plain names."""
    forecast = spelt(FORECAST, how)
    for score in (skill.rmse, skill.crps, skill.nino34_correlation, skill.nino34_error):
        np.testing.assert_allclose(score(forecast, PLAIN), score(FORECAST, PLAIN))
    np.testing.assert_allclose(skill.match_times(forecast, PLAIN), skill.match_times(FORECAST, PLAIN))
    np.testing.assert_allclose(skill.ensemble_spread(forecast), skill.ensemble_spread(FORECAST))
    np.testing.assert_allclose(climatology.anomaly(forecast, CYCLE), climatology.anomaly(FORECAST, CYCLE))


def choices(kinds: tuple[str, ...]) -> st.SearchStrategy[dict[str, Spelling]]:
    """A spelling of each axis, by a coordinate of the dimension or beside it."""
    one = {
        kind: st.builds(
            lambda spelling, beside: Spelling(spelling.name, spelling.attrs, beside),
            st.sampled_from(ALL[kind]), st.booleans() if kind in ("time", "y", "x") else st.just(False),
        )
        for kind in kinds
    }  # fmt: skip
    return st.fixed_dictionaries(one).filter(lambda how: len({s.name for s in how.values()}) == len(how))


EVERY = [(kind, one) for kind in ("time", "y", "x") for one in ALL[kind] if one.name.islower()]
EVERY_OF_FORECASTS = [(kind, one) for kind in ("sample", "init", "lead") for one in ALL[kind] if one.name.islower()]


@pytest.mark.parametrize(("kind", "one"), EVERY, ids=lambda value: str(value))
def test_every_entry_of_the_table_is_accepted_everywhere(kind, one):
    record_everywhere({kind: one})
    labels_accept({kind: one})


@pytest.mark.parametrize(("kind", "one"), EVERY_OF_FORECASTS, ids=lambda value: str(value))
def test_every_entry_for_forecasts_is_accepted_everywhere(kind, one):
    forecast_everywhere({kind: one})


@settings(max_examples=30, deadline=None)
@given(choices(("time", "y", "x")))
def test_what_one_part_accepts_all_parts_accept(how):
    record_everywhere(how)
    labels_accept(how)


@settings(max_examples=15, deadline=None)
@given(choices(("init", "sample", "lead", "y", "x")))
def test_what_one_score_accepts_all_scores_accept(how):
    forecast_everywhere(how)


@settings(max_examples=8, deadline=None)
@given(choices(("time", "y", "x")), choices(("init", "sample", "lead", "y", "x")))
def test_pictures_accept_it_too(record_how, forecast_how):
    plt = pytest.importorskip("matplotlib.pyplot")
    record, forecast = spelt(PLAIN, record_how), spelt(FORECAST, forecast_how)
    start = {find_dimension(forecast, "init"): 3}
    for figure in (
        xf.plot.maps(record, coastlines=False, leads=["2000-03-01"]),
        xf.plot.maps(forecast.isel(start), observed=record, leads=[1], coastlines=False),
    ):
        assert figure.axes
        plt.close(figure)
    dated = forecast.isel(start).assign_coords(valid_time=(find_dimension(forecast, "lead"), PLAIN.time.values[6:9]))
    assert xf.plot.plume(dated, record).lines
    plt.close("all")


# ------------------------------------------------------------------ what is no axis, and what is not guessed


def test_all_that_cf_xarray_recognises_is_found():
    criteria = pytest.importorskip("cf_xarray.criteria").coordinate_criteria
    kinds = {"T": "time", "time": "time", "Y": "y", "latitude": "y", "X": "x", "longitude": "x"}
    for key, kind in kinds.items():
        for attribute, values in criteria[key].items():
            for value in values:
                record = PLAIN.drop_vars(kind).rename({kind: "odd"}).assign_coords(odd=np.arange(PLAIN.sizes[kind]))
                record["odd"].attrs[attribute] = value
                assert find_axis(record, kind) == "odd", (key, attribute, value)


def remedied(data: xr.DataArray, error: InvalidOption) -> xr.DataArray:
    """The data after the remedy, as printed."""
    line = re.search(r"-> (\.\w+\(.*\)) leaves", str(error))
    assert line, str(error)
    return eval(f"data{line[1]}", {"data": data})


def test_two_that_fit_equally_well_are_not_guessed_between():
    both = PLAIN.rename(y="lat").isel(x=0, drop=True).expand_dims(latitude=LAT)
    with pytest.raises(Ambiguous) as several:
        find_axis(both, "y")
    assert several.value.candidates == ["lat", "latitude"]
    with pytest.raises(InvalidOption, match=r"\['lat', 'latitude'\]") as named:
        find_dimension(both, "latitude")
    assert find_dimension(remedied(both, named.value), "latitude") == "lat"
    twice = PLAIN.assign_coords(p=("x", LON), q=("y", LAT)).drop_vars(["x", "y"]).rename(x="cells", y="others")
    for name in ("p", "q"):
        twice[name].attrs["standard_name"] = "longitude"
    with pytest.raises(InvalidOption, match=r"\['cells', 'others'\]|\['p', 'q'\]") as marked:
        find_coordinate(twice, "longitude")
    assert find_coordinate(remedied(twice, marked.value), "longitude") == "p"


def test_heights_are_rows_only_where_nothing_else_is():
    layered = PLAIN.rename(y="lat", x="lon").expand_dims(height=[2.0, 10.0])
    assert find_axis(layered, "y") == "lat"
    assert find_axis(PLAIN.drop_vars(["y", "x"]).rename(y="height", x="width"), "y") == "height"
    vertical = PLAIN.isel(y=0, drop=True).expand_dims(height=[2.0, 10.0])
    vertical["height"].attrs = {"standard_name": "height", "units": "m", "positive": "up"}
    assert find_axis(vertical, "y") is None


def test_rows_of_a_map_are_no_latitudes():
    turned = PLAIN.rename(y="rlat", x="rlon")
    turned["rlat"].attrs = {"standard_name": "grid_latitude", "units": "degrees"}
    metres = PLAIN.assign_coords(y=PLAIN.y.assign_attrs(units="m"))
    far = PLAIN.assign_coords(y=PLAIN.y * 1000)
    for record in (turned, metres, far, PLAIN.drop_vars("y")):
        assert find_axis(record, "y") is not None
        with pytest.raises(InvalidOption, match="rename it to 'lat', or set its standard_name"):
            skill.area_weights(record)


def test_places_of_events_are_no_axes_of_the_map():
    images = xr.DataArray(np.zeros((2, 3, 4)), dims=("event", "y", "x"), coords={"event": ["R1", "R2"]})
    images = images.assign_coords(corner=("event", [40.0, 41.0], {"units": "degrees_north"}))
    assert find_dimension(images, "y") == "y"
    assert find_dimension(images.assign_coords(y=("y", np.arange(3), {"axis": "Y"})), "y") == "y"


def test_forecasts_as_cfgrib_opens_them():
    """Starts are called ``time``, and only the valid times beside them say so."""
    lead = FORECAST.lead.values
    valid = np.array([[PLAIN.time.values[start + step] for step in lead] for start in range(2, 26)])
    names = {"init": "time", "sample": "number", "lead": "step"}
    ours = FORECAST.assign_coords(valid_time=(("init", "lead"), valid))
    grib = ours.rename(names)
    grib["time"].attrs["standard_name"] = grib["valid_time"].attrs["standard_name"] = "time"
    assert (find_coordinate(grib, "init"), find_valid_time(grib)) == ("time", "valid_time")
    for score in (skill.rmse, skill.crps, skill.nino34_correlation):
        np.testing.assert_allclose(score(grib, PLAIN), score(FORECAST, PLAIN))
    np.testing.assert_allclose(climatology.anomaly(grib, CYCLE), climatology.anomaly(FORECAST, CYCLE))
    one = grib.isel(time=0)
    assert (find_coordinate(one, "init"), find_valid_time(one)) == ("time", "valid_time")
    np.testing.assert_allclose(skill.rmse(one, PLAIN), skill.rmse(FORECAST.isel(init=0), PLAIN))


def test_starts_without_leads_are_a_record():
    starts = PLAIN.rename(time="forecast_reference_time")
    assert find_axis(starts, "time") == "forecast_reference_time"
    assert find_axis(FORECAST, "time") is None
    np.testing.assert_allclose(climatology.anomaly(starts), climatology.anomaly(PLAIN))


def test_a_coordinate_beside_a_dimension_becomes_its_index():
    record = PLAIN.drop_vars("time").rename(time="step").assign_coords(stamp=("step", PLAIN.time.values))
    assert find_axis(record, "time") == "step"
    assert axis_coordinate(record, "step", "time").identical(record.stamp)
    assert with_index(record, "time").dims == ("stamp", "y", "x")
    assert with_index(PLAIN, "time").identical(PLAIN)


def test_other_rows_beside_the_dimensions_are_refused():
    forecast = FORECAST.drop_vars("y").rename(y="row").assign_coords(lat=("row", LAT))
    with pytest.raises(InvalidOption, match="mind the order of latitudes"):
        skill.rmse(forecast, PLAIN.isel(y=slice(None, None, -1)))
