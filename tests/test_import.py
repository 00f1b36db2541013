"""Importing the package is light, and the public names are those of the design.

Also guards `_version.py` and `climatology.py`.
"""

from __future__ import annotations

import subprocess
import sys

import pytest
import xarray as xr

import xforecast

HEAVY = ("torch", "matplotlib", "cf_xarray", "pint", "scipy.ndimage", "netCDF4", "safetensors", "distributed",
         "lightning", "xarray_regrid")  # fmt: skip
PUBLIC = {
    "Climatology", "DataSpec", "Forecaster", "Grid", "Variable", "__version__", "benchmark", "check", "climatology",
    "datasets", "errors", "fit", "forecast", "list_models", "load", "models", "plot", "regrid", "skill", "training",
}  # fmt: skip


def run(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


def test_importing_is_light():
    code = f"""
import sys, xarray
before = set(sys.modules)
import xforecast
print([name for name in {HEAVY} if name in sys.modules and name not in before])"""
    assert run(code).strip() == "[]"


def test_the_labels_and_scores_need_no_torch():
    code = """
import sys, xforecast as xf, xforecast.labels, xforecast.spec
xf.climatology.climatology, xf.skill, xf.Grid, xf.errors
print("torch" in sys.modules)"""
    assert run(code).strip() == "False"


def test_the_faces_below_torch_are_light():
    code = f"""
import sys, xarray
before = set(sys.modules)
import xforecast.labels, xforecast.spec
print([name for name in {HEAVY} if name in sys.modules and name not in before])"""
    assert run(code).strip() == "[]"


def test_importing_twice_warns_of_nothing():
    code = "import warnings; warnings.simplefilter('error'); import xforecast, importlib; print('clean')"
    assert run(code).strip() == "clean"


def test_the_public_names():
    assert set(xforecast.__all__) == PUBLIC
    assert set(dir(xforecast)) >= PUBLIC


@pytest.mark.parametrize("name", sorted(PUBLIC - {"benchmark", "plot"}))
def test_public_names_are_there_and_stay_what_they_are(name):
    """The second look finds what the first one found, whatever was imported meanwhile."""
    first = getattr(xforecast, name)
    xforecast.regrid, xforecast.fit, xforecast.forecast  # noqa: B018
    assert getattr(xforecast, name) is first


def test_plot_is_there_where_matplotlib_is():
    pytest.importorskip("matplotlib")
    assert xforecast.plot.__name__ == "xforecast.plot"


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="module 'xforecast' has no attribute 'nowcast'"):
        xforecast.nowcast  # noqa: B018


def test_the_accessor_holds_nothing_and_never_fails_to_come():
    for thing in (xr.Dataset(), xr.DataArray(1.0)):
        assert vars(thing.earthformer) == {"_obj": thing} or thing.earthformer._obj is thing
        assert {"forecast", "check", "fit"} <= set(dir(thing.earthformer))


def test_exceptions_are_those_in_errors():
    from xforecast import errors

    for name in errors.__all__:
        assert hasattr(errors, name)
    for name in ("SpecMismatch", "UnknownForecaster", "CheckpointError", "MissingExtra", "InvalidOption"):
        assert issubclass(getattr(errors, name), errors.XForecastError)
        assert name in errors.__doc__
