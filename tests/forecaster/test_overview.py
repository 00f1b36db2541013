"""The accessor says what can be done with data, and reads no values for it."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

import xforecast as xf
from xforecast.forecaster import IN_PACKAGE, overview


def tropical(periods: int = 24) -> xr.Dataset:
    """Monthly SST on the grid of the shipped forecasters."""
    spec = xf.load("earthformer-enso").spec
    time = xr.date_range("2020-01", periods=periods, freq="MS")
    values = spec["sst"].climatology.values[time.month.values - 1]
    coords = {"time": time, "lat": list(spec.grid.y), "lon": list(spec.grid.x)}
    return xr.Dataset({"sst": (("time", "lat", "lon"), values, {"standard_name": "sea_surface_temperature",
                                                                "units": "degC"})}, coords)  # fmt: skip


def test_it_names_forecasters_the_newest_start_and_what_to_call():
    text = repr(tropical().earthformer)
    assert "earthformer-enso, newest start 2021-12" in text
    assert "ds.earthformer.forecast()" in text
    assert "does not fit  prediff-radar: " in text


@pytest.mark.parametrize(
    "data", [xr.Dataset(), xr.DataArray(1.0), xr.Dataset({"a": ("x", [1.0])}), xr.DataArray([1], dims="a", name="a")]
)
def test_it_never_fails(data):
    seen = overview(data)
    assert not seen.fits
    assert set(seen.misfits) == set(IN_PACKAGE)
    assert "ds.earthformer.fit(" in repr(seen)


def test_its_calls_work():
    ds = tropical()
    for call in overview(ds).calls:
        if "fit" not in call:
            assert eval(call, {"ds": ds}) is not None


def test_html_says_the_same_and_escapes():
    import re
    from html import unescape

    ds = tropical().rename(sst="<sst>")
    seen = overview(ds)
    words = unescape(re.sub(r"<[^>]+>", " ", seen._repr_html_()))
    assert "<sst>" not in seen._repr_html_()
    for _, text in seen._rows():
        assert text.split()[0] in words


def test_of_a_forecast_it_names_pictures():
    assert "plot.maps()" in repr(tropical().earthformer.forecast("earthformer-enso-1981", horizon=2).earthformer)


def test_no_values_are_read():
    ds = tropical()

    def fail(block):
        raise AssertionError("a value was read")

    lazy = ds.assign(sst=ds.sst.copy(data=ds.sst.chunk(time=3).data.map_blocks(fail, dtype=float)))
    assert "earthformer-enso" in overview(lazy).fits
    assert np.isfinite(ds.sst.isel(time=0)).any()
