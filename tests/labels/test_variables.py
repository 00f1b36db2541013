"""Malformed and unusual input: the right error with its remedy, a warning, or the right forecast. Never a wrong one.

Also guards `values.py`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import cftime
import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr

from synthetic import LAT, LON, MASK, persisted, persistence, radar_dataset, radar_spec, sst_dataset, sst_spec
from xforecast.errors import InvalidOption, SpecMismatch, XForecastError, XForecastWarning


@dataclass
class Case:
    """Input, and what must come of it: an error or a warning with these words, or the forecast of the plain data."""

    change: Any
    error: type[XForecastError] | None = SpecMismatch
    words: tuple[str, ...] = ()
    options: Any = None
    warns: bool = False


def attrs(**changes):
    """Attributes of SST changed; None takes one away."""

    def change(ds):
        for key, value in changes.items():
            if value is None:
                del ds.sst.attrs[key]
            else:
                ds.sst.attrs[key] = value
        return ds

    return change


def values(function):
    """Values of SST changed, attributes kept."""
    return lambda ds: ds.assign(sst=function(ds.sst).assign_attrs(ds.sst.attrs))


def at(index, value):
    """One value or region of SST set."""

    def change(ds):
        ds.sst[index] = value
        return ds

    return change


def stamps(function):
    """Stamps changed."""
    return lambda ds: ds.assign_coords(time=function(ds.time.values))


def lon(function):
    """Longitudes changed."""
    return lambda ds: ds.assign_coords(lon=("lon", function(ds.lon.values), ds.lon.attrs))


def every(rule, periods=18):
    """A time axis of another step."""
    return stamps(lambda time: xr.date_range("2000-01-01", periods=periods, freq=rule).values)


def without(*positions):
    """Some steps missing."""
    return lambda ds: ds.isel(time=[place for place in range(ds.sizes["time"]) if place not in positions])


def onto(step):
    """The whole region on a grid of another spacing."""
    return lambda ds: ds.interp(
        lat=np.arange(-10, 10.01, step), lon=np.arange(160, 195.01, step), kwargs={"fill_value": "extrapolate"}
    )


def cyclic(ds):
    """Round the globe, with longitude 0 again at 360."""
    wide = ds.reindex(lon=np.arange(0.0, 361, 5), fill_value=25.0)
    wide["lon"].attrs = ds.lon.attrs
    return wide


def curvilinear(ds):
    """Latitude and longitude in two dimensions only."""
    grid = np.meshgrid(LAT, LON, indexing="ij")
    places = {name: (("y", "x"), field) for name, field in zip(("lat", "lon"), grid, strict=True)}
    return ds.drop_vars(["lat", "lon"]).rename(lat="y", lon="x").assign_coords(places)


def rotated(ds):
    """Latitudes of a rotated pole."""
    ds = ds.rename(lat="rlat", lon="rlon")
    ds["rlat"].attrs = {"standard_name": "grid_latitude", "units": "degrees"}
    ds["rlon"].attrs = {"standard_name": "grid_longitude", "units": "degrees"}
    return ds


def twice(ds):
    """A second variable with the same standard name."""
    return ds.assign(sst2=ds.sst)


def packed(ds):
    """Integers with a scale, not decoded."""
    facts = {**ds.sst.attrs, "scale_factor": 0.0001, "add_offset": 27.0, "_FillValue": np.int32(-(2**31))}
    numbers = ((ds.sst - 27.0) / 0.0001).round().fillna(-(2**31)).astype(np.int32)
    return ds.assign(sst=numbers.assign_attrs(facts))


def undecodable(ds):
    """Months since a date, which no usual calendar can decode."""
    return ds.assign_coords(
        time=("time", np.arange(18) + 0.5, {"units": "months since 1960-01-01", "calendar": "noleap"})
    )


def encoded(ds):
    """Days since a date, not decoded."""
    days = (ds.time.values - np.datetime64("1990-01-01")) / np.timedelta64(1, "D")
    return ds.assign_coords(time=("time", days, {"units": "days since 1990-01-01", "standard_name": "time"}))


def half_bad(ds):
    """Three problems at once."""
    ds.sst.attrs["units"] = "bananas"
    return ds.isel(lon=slice(4)).assign_coords(time=xr.date_range("2000-01-01", periods=18, freq="D"))


def same(ds):
    return ds


def zarr_like(ds):
    return ds.chunk(time=6)


CASES = {
    # units
    "units unknown": Case(attrs(units="bananas"), words=("'bananas'", "'degC'", "attrs['units']")),
    "units misspelt": Case(attrs(units="celcius"), words=("'celcius'", "attrs['units']")),
    "no units": Case(attrs(units=None), words=("no units", "'degC'", "attrs['units']")),
    "units of another quantity": Case(attrs(units="mm/h"), words=("'mm/h' cannot be converted to 'degC'",)),
    "decibels": Case(attrs(units="dBZ"), words=("'dBZ'", "'degC'")),
    "kelvin called degC": Case(values(lambda sst: sst + 273.15), words=("look like kelvin", "units to 'K'")),
    "degC called kelvin": Case(attrs(units="K"), words=("look like degrees Celsius", "units to 'degC'")),
    "Fahrenheit": Case(
        lambda ds: attrs(units="degF")(values(lambda sst: sst * 1.8 + 32)(ds)), error=None, words=("degF",)
    ),
    # variables
    "no such variable": Case(
        lambda ds: ds.rename(sst="zos").drop_attrs(),
        words=("no variable with standard_name 'sea_surface_temperature'", "found zos", 'variables={"sst"'),
    ),
    "two candidates": Case(twice, words=("several candidates", "sst and sst2", 'variables={"sst": "sst"}')),
    "two candidates, one chosen": Case(twice, error=None, options={"variables": {"sst": "sst2"}}),
    "mapping to a name that is not there": Case(
        same, words=("'tos', which is not in the data", "found sst"), options={"variables": {"sst": "tos"}}
    ),
    "mapping with an unknown key": Case(same, words=("the key 'tas'", "'sst'"), options={"variables": {"tas": "sst"}}),
    "mapping to a list": Case(
        same, words=("['tos'], which is not in the data",), options={"variables": {"sst": ["tos"]}}
    ),
    "mapping that is no mapping": Case(same, InvalidOption, ("variables", "mapping"), {"variables": "tos"}),
    "empty Dataset": Case(lambda ds: xr.Dataset(), words=("no variable", "no data variable at all")),
    "no steps": Case(lambda ds: ds.isel(time=slice(0)), words=("no steps at all",)),
    "DataArray without a name": Case(lambda ds: ds.sst.rename(None), error=None),
    "name right, standard name wrong": Case(
        attrs(standard_name="air_temperature"), error=None, warns=True, words=("taken by its name", "air_temperature")
    ),
    # time
    "NaT": Case(stamps(lambda t: np.where(np.arange(18) == 3, np.datetime64("NaT"), t)), words=("NaT", "notnull")),
    "times as text": Case(
        stamps(lambda t: t.astype("datetime64[D]").astype(str)), words=("wanted dates", "to_datetime")
    ),
    "times as numbers": Case(stamps(lambda t: np.arange(18)), words=("int64", "wanted dates", "decode_cf")),
    "periods": Case(
        stamps(lambda t: pd.period_range("2000-01", periods=18, freq="M")), words=("Period", "wanted dates")
    ),
    "encoded times": Case(encoded, error=None),
    "times that cannot be decoded": Case(undecodable, words=("cannot be decoded",)),
    "daily": Case(every("D"), words=("time step of about 1 day", "wanted 1 month", "resample")),
    "3-hourly": Case(every("3h"), words=("3 hours", "wanted 1 month", "resample")),
    "yearly": Case(every("YS"), words=("12 months", "wanted 1 month", "finer")),
    "weekly": Case(every("7D"), words=("7 days", "wanted 1 month")),
    "a month twice": Case(
        lambda ds: xr.concat([ds, ds.isel(time=[-1])], "time"), words=("several steps", "2001-06-01")
    ),
    "two stamps in a month": Case(
        stamps(lambda t: np.where(np.arange(18) == 5, t[4] + np.timedelta64(9, "D"), t)), words=("several steps",)
    ),
    "gap in the history": Case(without(16), words=("gap", "missing after 2001-04-01", "init=")),
    "gap before the history": Case(without(5), error=None),
    "gap in the history of one of many": Case(without(5), words=("gap", "2000-07-01"), options={"init": "all"}),
    "unsorted": Case(lambda ds: ds.isel(time=[*range(9, 18), *range(9)]), error=None),
    "too short": Case(lambda ds: ds.isel(time=slice(-2, None)), words=("found 2", "at least 3")),
    "exactly long enough": Case(lambda ds: ds.isel(time=slice(-3, None)), error=None),
    "no time axis": Case(lambda ds: ds.isel(time=0), words=("no time axis", "('lat', 'lon')")),
    "time under another name": Case(lambda ds: ds.rename(time="month_start"), error=None),
    "February 30": Case(
        stamps(lambda t: np.array([cftime.Datetime360Day(2000 + (i // 12), i % 12 + 1, 30) for i in range(18)])),
        error=None,
    ),
    # starts
    "start outside": Case(same, words=("2030-01", "2000-01-01", "2001-06-01"), options={"init": "2030-01"}),
    "start off the axis": Case(same, words=("not on the time axis", "2001-04-31"), options={"init": "2001-04-31"}),
    "a thirteenth month": Case(same, words=("not on the time axis: 2000-13",), options={"init": "2000-13"}),
    "one bad start of several": Case(same, words=("1999-01",), options={"init": ["2001-06", "1999-01"]}),
    "start without history": Case(
        same, words=("too few steps before 2000-02-01", "2000-03-01"), options={"init": "2000-02"}
    ),
    "range outside": Case(same, words=("no start in 1980 to 1990",), options={"init": slice("1980", "1990")}),
    "range that begins too early": Case(
        same, error=None, warns=True, words=("left out 2 starts",), options={"init": slice(None, None)}
    ),
    "no starts": Case(same, words=("empty list",), options={"init": []}),
    "a number as start": Case(same, words=("not on the time axis",), options={"init": 7}),
    "nonsense as start": Case(same, words=("not on the time axis: yesterday",), options={"init": "yesterday"}),
    # grid
    "two-dimensional latitudes only": Case(curvilinear, words=("y: no coordinate of numbers", "latitudes")),
    "half a cell away": Case(lon(lambda x: x + 2.5), words=("none of the model's cells", "regrid")),
    "1 degree": Case(onto(1.0), words=("spacing 1 degrees, wanted 5", "regrid")),
    "2.5 degrees": Case(onto(2.5), words=("spacing 2.5 degrees, wanted 5", "regrid")),
    "part of the region": Case(lambda ds: ds.isel(lon=slice(5)), words=("160 to 180", "160 to 195", "185, 190, 195")),
    "one row": Case(lambda ds: ds.isel(lat=[2]), words=("lat: found 0 to 0", "-10 to 10")),
    "radians": Case(
        lambda ds: ds.assign_coords(lat=("lat", np.deg2rad(LAT), {"standard_name": "latitude", "units": "radian"})),
        words=("'radian'", "degrees"),
    ),
    "rotated pole": Case(rotated, words=("grid_latitude", "geographic")),
    "longitudes from 5 to 360": Case(lambda ds: cyclic(ds).isel(lon=slice(1, None)), error=None),
    "longitudes from 0 to 355": Case(lambda ds: cyclic(ds).isel(lon=slice(None, -1)), error=None),
    "longitude 0 again at 360": Case(cyclic, error=None),
    "longitudes a turn on": Case(lon(lambda x: x + 360), error=None),
    "shuffled columns": Case(lambda ds: ds.isel(lon=[3, 1, 4, 0, 5, 7, 2, 6]), error=None),
    "missing latitude": Case(lambda ds: ds.assign_coords(lat=np.where(LAT == 5, np.nan, LAT)), words=("lat",)),
    # values
    "absolute called anomaly": Case(
        attrs(standard_name="sea_surface_temperature_anomaly"),
        words=("call themselves anomalies", "sea_surface_temperature itself", "'sea_surface_temperature'"),
    ),
    "anomaly called absolute": Case(
        values(lambda sst: (sst - 26) / 2), words=("look like anomalies", "sea_surface_temperature_anomaly")
    ),
    "a step without values": Case(at(-2, np.nan), words=("have no value in 1 of 3 history steps",)),
    "holes in the ocean": Case(
        at((slice(None), 2, slice(2, 4)), np.nan), error=None, warns=True, words=("missing here",)
    ),
    "infinite": Case(at((-1, 2, 2), np.inf), words=("infinite", "NaN")),
    "fill value 1e20": Case(at((slice(None), 2, 2), 1e20), words=("fill value", "wanted -12 to 12")),
    "fill value -999": Case(at((slice(None), 2, 2), -999.0), words=("fill value", "from about -1001")),
    "fill value 1e20 on land": Case(lambda ds: values(lambda sst: sst.fillna(1e20))(ds), error=None),
    "bool": Case(values(lambda sst: sst > 20), words=("type bool", "real numbers")),
    "complex": Case(values(lambda sst: sst + 0j), words=("complex128", "real numbers")),
    "object": Case(values(lambda sst: sst.astype(object)), words=("type object", "real numbers")),
    "text": Case(values(lambda sst: sst.astype(str)), words=("real numbers",)),
    "integers": Case(values(lambda sst: sst.fillna(0).round().astype(int)), error=None, words=("rounded",)),
    "packed": Case(packed, error=None, words=("packed",)),
    # dimensions and kinds of input
    "a variable named lead": Case(lambda ds: ds.rename(sst="lead"), words=("lead: found this name", "ds.rename(lead=")),
    "a dimension named sample": Case(lambda ds: ds.rename(lon="sample"), words=("sample: found this name", "rename")),
    "an array named like a coordinate": Case(lambda ds: ds.sst.rename("lat"), InvalidOption, ("'lat'", "rename")),
    "levels": Case(lambda ds: ds.expand_dims(depth=3), words=("depth (3)", "isel(depth=0)")),
    "members": Case(lambda ds: ds.expand_dims(member=5), words=("member (5)", "isel(member=0)")),
    "one level": Case(lambda ds: ds.expand_dims(depth=[5.0]), error=None),
    "lazy": Case(zarr_like, error=None),
    "a path": Case(lambda ds: "sst.nc", InvalidOption, ("'sst.nc'", "xarray.open_dataset('sst.nc')")),
    "an array": Case(lambda ds: ds.sst.values, InvalidOption, ("ndarray", "xarray.DataArray(")),
    "a tensor": Case(lambda ds: torch.zeros(3), InvalidOption, ("Tensor", "Dataset or DataArray")),
    "nothing": Case(lambda ds: None, InvalidOption, ("NoneType", "Dataset or DataArray")),
    # options
    "no samples": Case(same, InvalidOption, ("samples", "1 or more"), {"samples": 0}),
    "negative samples": Case(same, InvalidOption, ("samples", "1 or more"), {"samples": -1}),
    "samples in parts": Case(same, InvalidOption, ("samples", "2.5"), {"samples": 2.5}),
    "samples of a deterministic model": Case(same, InvalidOption, ("deterministic", "samples=1"), {"samples": 3}),
    "no horizon": Case(same, InvalidOption, ("horizon", "1 or more"), {"horizon": 0}),
    "horizon too long": Case(same, InvalidOption, ("at most 4 steps of 1 month", "fit"), {"horizon": 5}),
    "negative seed": Case(same, error=None, options={"seed": -3}),
    "seed in parts": Case(same, InvalidOption, ("seed", "whole number"), {"seed": 0.5}),
    "seed too large": Case(same, InvalidOption, ("seed", "64 bits"), {"seed": 2**63}),
    "no seed": Case(same, InvalidOption, ("seed", "None"), {"seed": None}),
    "device": Case(same, InvalidOption, ("device", "'tpu9'", "'cpu'"), {"device": "tpu9"}),
    "device of another kind": Case(same, InvalidOption, ("device", "'meta'", "'cpu'"), {"device": "meta"}),
    "precision": Case(same, InvalidOption, ("precision", "'double'", "'bfloat16'"), {"precision": "double"}),
    "batch size": Case(same, InvalidOption, ("batch_size", "1 or more"), {"batch_size": 0}),
    "sampler of a deterministic model": Case(same, InvalidOption, ("sampler", "diffusion"), {"sampler": "ddim"}),
    "option misspelt": Case(same, InvalidOption, ("smaples", "did you mean 'samples'"), {"smaples": 3}),
}


def outcome(case: Case, ds, options):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", XForecastWarning)
        warnings.simplefilter("error", RuntimeWarning)
        fc = persistence().forecast(ds, **options)
    return fc, [str(entry.message) for entry in caught if issubclass(entry.category, XForecastWarning)]


@pytest.mark.parametrize("name", CASES)
def test_unusual_input(name):
    case = CASES[name]
    plain = sst_dataset()
    ds = case.change(plain.copy(deep=True))
    options = case.options or {}
    if case.error is not None:
        with pytest.raises(case.error) as caught:
            outcome(case, ds, options)
        message = str(caught.value)
        assert all(word in message for word in case.words), message
        assert "->" in message or case.error is InvalidOption, message
        return
    fc, warned = outcome(case, ds, options)
    assert bool(warned) == case.warns, warned
    if case.warns:
        assert any(all(word in text for word in case.words) for text in warned), warned
    own = next(iter(fc.data_vars))
    found = fc[own].isel(init=-1) if "init" in fc.dims else fc[own]
    found = found.isel(sample=0).transpose("lead", "lat", "lon")
    found = found.assign_coords(lon=found.lon % 360).sortby("lon")
    if "degF" in case.words:
        found = (found - 32) / 1.8
    tolerance = 0.51 if "rounded" in case.words else 1e-3
    missing = np.isnan(found.values)
    assert (missing[:, ~MASK]).all()
    assert missing[:, MASK].any() == ("missing here" in case.words)
    wanted = persisted(plain)
    np.testing.assert_allclose(found.values[~missing], wanted[~missing], atol=tolerance)


def test_there_are_enough_cases():
    assert len(CASES) >= 40


# ------------------------------------------------------------------ everything at once, and without raising


def test_every_problem_is_told_at_once():
    ds = half_bad(sst_dataset())
    with pytest.raises(SpecMismatch) as caught:
        persistence().forecast(ds, variables={"tas": "t2m"})
    message = str(caught.value)
    for words in ("(4 problems)", "'bananas'", "1 day", "180, 185", "'tas'"):
        assert words in message, message
    assert message.count("->") == 4
    assert message.splitlines()[0] == "the data do not fit 'tiny-persistence' (4 problems)"


def test_a_wrong_axis_does_not_hide_wrong_units():
    ds = sst_dataset().isel(time=0)
    ds.sst.attrs["units"] = "bananas"
    with pytest.raises(SpecMismatch, match=r"(?s)'bananas'.*no time axis"):
        persistence().forecast(ds)


def test_check_reports_what_forecast_raises():
    forecaster = persistence()
    for name in ("units unknown", "gap in the history", "kelvin called degC", "1 degree", "levels", "NaT"):
        ds = CASES[name].change(sst_dataset())
        report = forecaster.check(ds)
        with pytest.raises(SpecMismatch) as caught:
            forecaster.forecast(ds)
        assert not report
        assert repr(report.of("error")) == repr(caught.value.report.of("error"))
        assert all(finding.remedy for finding in report.of("error"))


def test_a_check_is_readable_everywhere(forecaster, sst):
    good = forecaster.check(sst)
    assert good
    assert repr(good) == "check against 'tiny-persistence': the data fit"
    bad = forecaster.check(half_bad(sst).rename(sst="<b>"), variables={"sst": "<b>"})
    assert "✗ units" in repr(bad)
    assert "->" in repr(bad)
    assert "<b>:" not in bad._repr_html_()
    assert "&lt;b&gt;" in bad._repr_html_()
    assert "check against" in bad._repr_html_()


def test_a_check_lists_repairs(forecaster, sst):
    flipped = sst.isel(time=slice(None, None, -1)).assign(sst=(sst.sst + 273.15).assign_attrs(sst.sst.attrs, units="K"))
    report = forecaster.check(flipped)
    assert report.ok
    assert [finding.topic for finding in report.of("repair")] == ["units", "time"]
    assert "2 repairs" in repr(report)


def test_an_unnamed_and_undescribed_array_is_the_only_variable(forecaster, sst):
    bare = xr.DataArray(sst.sst.values, dims=("time", "lat", "lon"), coords=sst.coords, attrs={"units": "degC"})
    xr.testing.assert_allclose(forecaster.forecast(bare).sst, forecaster.forecast(sst).sst)


def test_attributes_of_the_dataset_describe_its_only_variable(forecaster, sst):
    astray = sst.assign_attrs(units="degC", standard_name="sea_surface_temperature").rename(sst="field")
    astray.field.attrs.clear()
    fc = forecaster.forecast(astray)
    np.testing.assert_allclose(fc.field.isel(sample=0), persisted(sst), atol=1e-4)
    assert fc.field.attrs["units"] == "degC"
    assert astray.field.attrs == {}


# ------------------------------------------------------------------ radar: any window of the right spacing


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda ds: ds.assign(rr=ds.rr.assign_attrs(units="dBZ")), ("'dBZ'", "'mm/h'", "rain_rate_from_reflectivity")),
        (lambda ds: ds.assign_coords(x=ds.x * 2), ("x: spacing 2000 m, wanted 1000",)),
        (lambda ds: ds.assign_coords(x=("x", ds.x.values, {**ds.x.attrs, "units": "degrees"})), ("a length on a",)),
        (lambda ds: ds.isel(x=slice(5)), ("x: 5 cells, smaller than", "at least 6", "larger window")),
        (lambda ds: ds.isel(y=[0], x=[0]), ("y: 1 cells, smaller than", "x: 1 cells, smaller than", "at least 6")),
        (lambda ds: radar_dataset(size=7).isel(x=[0, 1, 2, 3, 5, 6], y=slice(6)), ("spacing from 1000 to 2000",)),
        (lambda ds: ds.isel(time=slice(None, None, 2)), ("10 minutes", "finer")),
        (lambda ds: ds.assign_coords(time=ds.time + np.array([0, 0, 0, 100, 0], "m8[s]")), ("off the",)),
        (lambda ds: ds.isel(time=[0, 1, 3, 4]), None),
        (lambda ds: ds.isel(time=[0, 1, 2, 4]), ("gap", "1 x 5 minutes missing after 2020-06-01T12:10")),
        (lambda ds: ds.assign(rr=ds.rr.where(ds.x != 3)), ("missing", "without gaps")),
        (lambda ds: ds.assign(rr=-ds.rr.assign_attrs(ds.rr.attrs)), ("wanted 0 to 300", "fill value")),
        (lambda ds: ds.assign(rr=(ds.rr * 0).assign_attrs(ds.rr.attrs)), "the same value everywhere"),
    ],
)  # fmt: skip
def test_unusual_radar(change, words):
    ds = change(radar_dataset())
    forecaster = persistence(radar_spec())
    if isinstance(words, tuple):
        with pytest.raises(SpecMismatch) as caught:
            forecaster.forecast(ds)
        assert all(word in str(caught.value) for word in words), str(caught.value)
    elif words is None:
        np.testing.assert_allclose(forecaster.forecast(ds).rr.isel(sample=0, lead=0), ds.rr.isel(time=-1), rtol=1e-5)
    else:
        with pytest.warns(XForecastWarning, match=words):
            fc = forecaster.forecast(ds)
        assert float(abs(fc.rr).max()) == 0.0


def test_a_window_across_the_date_line_keeps_its_neighbours():
    from xforecast.spec import DataSpec, Grid, Variable

    spec = DataSpec([Variable("t", "K")], Grid("latlon", (2, 4), spacing=(5.0, 5.0)), "1 day", 1, 1)
    data = xr.DataArray(
        np.random.default_rng(0).normal(280, 5, (2, 2, 4)), dims=("time", "lat", "lon"), name="t", attrs={"units": "K"},
        coords={"time": xr.date_range("2000", periods=2), "lat": [5.0, 0.0], "lon": [350.0, 355.0, 0.0, 5.0]},
    )  # fmt: skip
    from xforecast.labels import conform

    columns = conform(data, spec).source.cells.x_index
    assert list(columns) == [0, 1, 2, 3]
    np.testing.assert_allclose(persistence(spec).forecast(data).t[0, 0], data[-1], rtol=1e-6)


def test_reflectivity_fits_a_model_of_reflectivity(radar):
    from xforecast.spec import Variable

    spec = radar_spec().replace(variables=[Variable("z", "dBZ", ["equivalent_reflectivity_factor"])], targets=["z"])
    ds = radar.rename(rr="z").assign(z=lambda ds: ds.z.assign_attrs(units="dBZ", standard_name=""))
    fc = persistence(spec).forecast(ds)
    assert fc.z.attrs["units"] == "dBZ"
    np.testing.assert_allclose(fc.z.isel(sample=0, lead=0), ds.z.isel(time=-1), rtol=1e-6)


def test_a_model_of_anomalies_without_climatology_takes_anomalies_only(sst):
    from xforecast.spec import Variable

    wanted = Variable("sst", "degC", ["sea_surface_temperature_anomaly"], ["ssta"], fill=0.0)
    forecaster = persistence(sst_spec(variables=[wanted]))
    with pytest.raises(SpecMismatch, match="does not call itself an anomaly") as caught:
        forecaster.forecast(sst, variables={"sst": "sst"})
    assert "xforecast.climatology.anomaly" in str(caught.value)
    departures = (sst - sst.mean("time")).rename(sst="ssta")
    departures.ssta.attrs = {"units": "K"}
    fc = forecaster.forecast(departures)
    np.testing.assert_allclose(fc.ssta.isel(sample=0, lead=2), departures.ssta.isel(time=-1), atol=1e-5)


def test_units_may_be_left_out_where_the_model_has_none(radar):
    from xforecast.spec import Variable

    spec = radar_spec().replace(variables=[Variable("vil", "1", aliases=["rr"])], targets=["vil"])
    del radar.rr.attrs["units"]
    fc = persistence(spec).forecast(radar)
    assert "units" not in fc.rr.attrs
    np.testing.assert_allclose(fc.rr.isel(sample=0, lead=0), radar.rr.isel(time=-1), rtol=1e-6)


def test_a_model_without_a_rule_for_land_refuses_it(sst):
    from xforecast.spec import Variable

    forecaster = persistence(sst_spec(variables=[Variable("sst", "degC", ["sea_surface_temperature"])]))
    with pytest.raises(SpecMismatch, match="values are missing"):
        forecaster.forecast(sst)


def test_cells_at_the_same_place_are_not_chosen_between(forecaster):
    ds = sst_dataset()
    twice = xr.concat([ds.isel(lat=[2]) + 3, ds], "lat").assign_coords(lat=lambda d: d.lat.assign_attrs(ds.lat.attrs))
    twice["sst"].attrs = ds.sst.attrs
    with pytest.raises(SpecMismatch, match="lat: 0 more than once"):
        forecaster.forecast(twice)


def test_shuffled_latitudes_are_put_in_order(forecaster):
    ds = sst_dataset()
    shuffled = ds.isel(lat=[3, 0, 4, 2, 1])
    xr.testing.assert_allclose(forecaster.forecast(shuffled).sst.sortby("lat"), forecaster.forecast(ds).sst)


def test_what_was_trained_on_an_anomaly_knows_it_by_its_standard_name():
    import xforecast as xf

    ds = sst_dataset()
    ds.sst.attrs["standard_name"] = "sea_surface_temperature_anomaly"
    assert "taken by its name" not in repr(xf.fit(ds, "Persistence", history=2, horizon=1).check(ds))
