"""Everything that xforecast raises on purpose.

::

    XForecastError
    ├── SpecMismatch (ValueError)          the data do not fit what the forecaster was trained on
    ├── InvalidOption (ValueError)         an argument has a value that cannot work
    ├── UnknownForecaster (LookupError)    no forecaster of that name, or several fit
    ├── CheckpointError (ValueError)       weights that are missing, unexpected, misshapen or damaged
    ├── DataFileError (OSError)            a data file that is missing, truncated or not of the stated layout
    ├── TrainingError (RuntimeError)       training that cannot go on
    └── MissingExtra (ImportError)         an optional dependency that is not installed, or in a version too new

Each message says what was found, what was wanted and what to do.
"""

from __future__ import annotations

import difflib
import importlib
import importlib.metadata
from collections.abc import Iterable
from types import ModuleType

__all__ = [
    "CheckpointError",
    "DataFileError",
    "InvalidOption",
    "MissingExtra",
    "SpecMismatch",
    "TrainingError",
    "UnknownForecaster",
    "XForecastError",
    "XForecastWarning",
    "did_you_mean",
    "require",
]


class XForecastError(Exception):
    """Base of every error that xforecast raises on purpose."""

    def __reduce__(self):
        # Workers send errors home; by default an error is made anew from its message alone.
        return _remade, (type(self), self.args, self.__dict__)


def _remade(kind: type[XForecastError], args: tuple, state: dict) -> XForecastError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class SpecMismatch(XForecastError, ValueError):  # noqa: N818 - a public name of the design
    """The data do not fit the forecaster's specification; the message lists every mismatch at once.

    Attributes
    ----------
    report : xforecast.labels.Report or None
        The check that failed, with one finding for each mismatch.
    """

    def __init__(self, message: str, report: object | None = None):
        super().__init__(message)
        self.report = report


class InvalidOption(XForecastError, ValueError):  # noqa: N818
    """An argument has a value that cannot work."""

    def __init__(self, option: str, found: object, wanted: str, remedy: str = ""):
        message = f"{option}: found {found!r}, wanted {wanted}"
        super().__init__(f"{message}\n  -> {remedy}" if remedy else message)


def did_you_mean(name: str, names: Iterable[str], otherwise: str) -> str:
    """The remedy for a name that is none of the known ones.

    Examples
    --------
    >>> did_you_mean("sample", ["samples", "seed"], "leave sample= out")
    "did you mean 'samples'?"
    >>> did_you_mean("colour", ["samples", "seed"], "leave colour= out")
    'leave colour= out'
    """
    close = difflib.get_close_matches(name, list(names), 1)
    return f"did you mean {close[0]!r}?" if close else otherwise


class UnknownForecaster(XForecastError, LookupError):  # noqa: N818
    """No forecaster has that name, or the data fit several and one must be named."""


class CheckpointError(XForecastError, ValueError):
    """Weights are missing, unexpected, misshapen or damaged."""


class DataFileError(XForecastError, OSError):
    """A data file is missing, truncated or not of the stated layout."""


class TrainingError(XForecastError, RuntimeError):
    """Training cannot go on, for example because the loss is not finite."""


class MissingExtra(XForecastError, ImportError):  # noqa: N818
    """An optional dependency is not installed, or in a version that cannot be used; the message has the pip line."""

    def __init__(self, package: str, extra: str, purpose: str, *, found: str = "", wanted: str = ""):
        problem, remedy = f"the package {package!r}, which is not installed", f"xforecast[{extra}]"
        if found:
            problem, remedy = f"{package}: found version {found}, wanted {wanted}", f"{package}{wanted}"
        super().__init__(f"{purpose} needs {problem}\n  -> pip install '{remedy}'")


TOO_NEW = {"pysteps": 2}
"""Major versions from which on a package is called in another way than here; pyproject.toml leaves them out."""


class XForecastWarning(UserWarning):
    """The forecast can be made, but something about the input deserves a look."""


def require(module: str, *, extra: str, purpose: str) -> ModuleType:
    """Import an optional dependency, or say which extra installs it.

    Raises
    ------
    MissingExtra
        It is not installed, or in a version of `TOO_NEW`.

    Examples
    --------
    >>> require("math", extra="demo", purpose="counting").sqrt(4.0)
    2.0
    """
    package = module.partition(".")[0]
    _refuse_too_new(package, extra, purpose)
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtra(package, extra, purpose) from error


def _refuse_too_new(package: str, extra: str, purpose: str) -> None:
    if package not in TOO_NEW:
        return
    try:
        found = importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # then the import says so
        return
    if int(found.partition(".")[0]) >= TOO_NEW[package]:
        raise MissingExtra(package, extra, purpose, found=found, wanted=f"<{TOO_NEW[package]}")
