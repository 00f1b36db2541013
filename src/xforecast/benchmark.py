"""The benchmark behind ``xforecast benchmark``: skill by lead of a forecaster beside baselines."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd
import xarray as xr

from xforecast import plot, skill
from xforecast.errors import InvalidOption
from xforecast.files import open_data
from xforecast.find import find_axis, find_variable
from xforecast.forecaster import Forecaster
from xforecast.plot.style import pyplot
from xforecast.registry import load
from xforecast.training import fit

__all__ = ["Enso", "enso"]

TARGETS = slice("1984", "2017")
TRAINING = slice(None, "1981")
BASE = slice("1951", "1980")
"""Of the climatology that forecasts and observations both have removed."""


class Enso:
    """Skill by lead of several systems; prints as a table."""

    def __init__(self, scores: xr.Dataset, note: str):
        self.scores, self.note = scores, note

    def table(self) -> pd.DataFrame:
        """Systems by lead."""
        return self.scores.to_dataframe()[list(self.scores.data_vars)].T

    def write(self, folder: Path) -> None:
        """``enso.csv`` and ``enso.png`` in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        self.table().T.round(4).to_csv(folder / "enso.csv")
        axis = plot.skill_by_lead(self.scores, title=f"Nino3.4 correlation, {self.note}")
        axis.figure.savefig(folder / "enso.png", dpi=130)
        pyplot().close(axis.figure)

    def __repr__(self) -> str:
        table = self.table().to_string(float_format="{:.2f}".format)
        return f"Correlation of the 3-month mean Nino3.4 index by lead (months)\n{self.note}\n{table}"


def enso(
    data: str | os.PathLike,
    *,
    model: str | os.PathLike | Forecaster = "earthformer-enso-1981",
    folder: str | os.PathLike = "xforecast-benchmark",
) -> Enso:
    """Correlation of the 3-month Nino3.4 index by lead, over targets 1984-2017.

    Parameters
    ----------
    data : path
        Monthly SST from 1940 or earlier to 2017 on the model's grid.
    model : str, path or Forecaster
        One that saw nothing after 1981.
    folder : path
        Gets ``enso.csv`` and ``enso.png``.

    Returns
    -------
    Enso
        Prints as a table.
    """
    ds = open_data(data)
    forecaster = model if isinstance(model, Forecaster) else load(model)
    spec = forecaster.spec
    name = find_variable(ds, spec.variables[0])
    if name is None:
        raise InvalidOption("data", list(ds.data_vars), f"a file with {spec.variables[0].standard_names[0]}")
    time = find_axis(ds[name], "time")
    past = ds.sel({time: TRAINING})
    systems = {
        forecaster.name: forecaster,
        "linear inverse model": fit(past, "LinearInverseModel", spec=spec, valid=None, name="linear inverse model"),
        "persistence": fit(past, "Persistence", spec=spec, valid=None, name="persistence"),
    }
    scores = {title: _correlation(ds, system, name) for title, system in systems.items()}
    note = f"targets {TARGETS.start}-{TARGETS.stop}; baselines fitted on data to {TRAINING.stop}"
    result = Enso(xr.Dataset(scores), note)
    result.write(Path(folder))
    return result


def _correlation(ds: xr.Dataset, system: Forecaster, name: str) -> xr.DataArray:
    """Correlation by lead of all starts whose targets lie in the period."""
    first = str(int(TARGETS.start) - 1 - system.spec.horizon // 12)
    fc = system.forecast(ds, init=slice(first, TARGETS.stop), progress=None)
    return skill.nino34_correlation(skill.nino34(fc[name]), skill.nino34(ds[name]), targets=TARGETS, base=BASE)
