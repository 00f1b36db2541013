"""Errors are of one family and of a usual type, travel between processes, and name a remedy."""

from __future__ import annotations

import pickle

import pytest

from xforecast import errors
from xforecast.errors import CheckpointError, InvalidOption, MissingExtra, SpecMismatch, UnknownForecaster
from xforecast.labels import Report


def test_every_error_is_an_xforecast_error_and_a_usual_one():
    kinds = {
        SpecMismatch: ValueError, InvalidOption: ValueError, UnknownForecaster: LookupError,
        CheckpointError: ValueError, errors.DataFileError: OSError, errors.TrainingError: RuntimeError,
        MissingExtra: ImportError,
    }  # fmt: skip
    for kind, usual in kinds.items():
        assert issubclass(kind, errors.XForecastError)
        assert issubclass(kind, usual)


@pytest.mark.parametrize(
    "error",
    [
        SpecMismatch("a\n b", Report("x")), InvalidOption("seed", 0.5, "a whole number", "seed=0"),
        MissingExtra("zarr", "zarr", "Zarr"), CheckpointError("c"), UnknownForecaster("u"), errors.TrainingError("t"),
        errors.DataFileError("d"),
    ],
    ids=lambda error: type(error).__name__,
)  # fmt: skip
def test_errors_travel_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is type(error)
    assert str(again) == str(error)
    assert repr(getattr(again, "report", None)) == repr(getattr(error, "report", None))


def test_a_missing_extra_names_the_pip_line():
    with pytest.raises(MissingExtra, match=r"pip install 'xforecast\[demo\]'"):
        errors.require("no_such_package_at_all", extra="demo", purpose="The demo")
