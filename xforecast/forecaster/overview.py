"""What can be done with data: which forecasters they fit, the newest start, and what to call next."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

import xarray as xr

from xforecast.cf import find_dimension
from xforecast.errors import XForecastError
from xforecast.forecaster.registry import IN_PACKAGE, load
from xforecast.labels import Report, date_text

__all__ = ["Overview", "overview"]

TRAIN = 'ds.earthformer.fit("Earthformer", history=12, horizon=6)'


@dataclass(frozen=True)
class Overview:
    """What the accessor says of itself.

    Parameters
    ----------
    kind : str
        ``"Dataset"`` or ``"DataArray"``.
    fits : dict
        The newest start by the name of each forecaster that the data fit.
    misfits : dict
        The first reason by the name of each other forecaster.
    calls : dict
        What each call gives.
    """

    kind: str
    fits: dict[str, str]
    misfits: dict[str, str]
    calls: dict[str, str]

    def _rows(self) -> list[tuple[str, str]]:
        rows = [("fits", f"{name}, newest start {start}") for name, start in self.fits.items()]
        rows += [("does not fit", f"{name}: {reason}") for name, reason in self.misfits.items()]
        return rows + [("next", f"{call}  # {meaning}") for call, meaning in self.calls.items()]

    def __repr__(self) -> str:
        return "\n".join([f"xforecast on this {self.kind}", *(f"  {title:<13} {text}" for title, text in self._rows())])

    def _repr_html_(self) -> str:
        left = "text-align:left;vertical-align:top"
        rows = "".join(
            f"<tr><th style='{left}'>{escape(title)}</th><td style='{left}'>{escape(text)}</td></tr>"
            for title, text in self._rows()
        )
        return f"<div><b>xforecast on this {self.kind}</b><table>{rows}</table></div>"


def overview(data: xr.Dataset | xr.DataArray) -> Overview:
    """Compare labels with what the forecasters of the package take; no values are read.

    Examples
    --------
    >>> print(overview(xr.Dataset()))  # doctest: +ELLIPSIS
    xforecast on this Dataset
      does not fit  earthformer-enso: ...
    """
    fits: dict[str, str] = {}
    misfits: dict[str, str] = {}
    near: list[str] = []
    for name in IN_PACKAGE:
        try:
            ready = load(name).conform(data)
        except XForecastError as error:
            misfits[name] = str(error).partition("\n")[0]
            continue
        if isinstance(ready, Report):
            reason = ready.of("error")[0]
            misfits[name] = reason.text
            if reason.topic != "variable":  # the data have what it takes
                near.append(name)
        else:
            fits[name] = date_text(ready.starts.init[-1]).replace("T", " ")
    return Overview(type(data).__name__, fits, misfits, _calls(data, list(fits), near or list(misfits)))


def _is_forecast(data: xr.Dataset | xr.DataArray) -> bool:
    try:
        return find_dimension(data, "lead") is not None
    except XForecastError:  # several that may be
        return True


def _calls(data: xr.Dataset | xr.DataArray, fits: list[str], misfits: list[str]) -> dict[str, str]:
    if _is_forecast(data):
        field = "ds" if isinstance(data, xr.DataArray) else f"ds[{str(next(iter(data.data_vars), 'sst'))!r}]"
        return {
            "ds.earthformer.plot.maps()": "maps by lead",
            f"xforecast.skill.rmse({field}, observed)": "how good it is",
        }
    automatic = [name for name in fits if IN_PACKAGE[name]]
    if fits:
        name = "" if len(automatic) == 1 else f'"{fits[0]}"'
        return {
            f"ds.earthformer.forecast({name})": "a labelled forecast from the newest start",
            f'ds.earthformer.check("{fits[0]}")': "what would be repaired, and what looks unusual",
            TRAIN: "a forecaster trained on these data",
        }
    return {
        f'ds.earthformer.check("{misfits[0]}")': "all that does not fit, each with a remedy",
        TRAIN: "a forecaster trained on these data",
    }
