"""The result of a benchmark: a table that prints, and writes itself as Markdown, csv and figure."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from xforecast import plot
from xforecast.benchmark.tasks import TASKS
from xforecast.plot import pyplot
from xforecast.training.recipes.markdown import markdown_table

__all__ = ["Table"]

COST = ("parameters", "MACs (G)", "seconds")
BESIDE = "As printed in the papers, of networks of published size on their data:"


@dataclass
class Table:
    """Scores and costs of forecasters.

    Parameters
    ----------
    task : str
        Name of the benchmark.
    frame : pandas.DataFrame
        A row for each forecaster.
    published : pandas.DataFrame, optional
        The same columns as the papers print them.
    """

    task: str
    frame: pd.DataFrame
    published: pd.DataFrame | None = None

    @classmethod
    def of(cls, task: str, rows: Mapping[str, Mapping[str, float]], *, paper: bool = False) -> Table:
        """The table of some rows."""
        columns = [*COST[:2], *TASKS[task].columns, COST[2]]
        frame = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns).dropna(axis=1, how="all")
        frame = frame.astype({name: "Int64" for name in frame if name == "parameters"})
        return cls(task, frame, _published(task) if paper else None)

    @property
    def best(self) -> dict[str, str]:
        """The best forecaster by column."""
        directions = {name: up for name, up in TASKS[self.task].columns.items() if name in self.frame}
        return {name: self.frame[name].idxmax() if up else self.frame[name].idxmin() for name, up in directions.items()}

    def markdown(self) -> str:
        """For a README: the best of each column in bold."""
        best = self.best
        cells = {
            column: [
                f"**{text}**" if best.get(column) == name else text
                for name, text in zip(self.frame.index, map(_text, self.frame[column]), strict=True)
            ]
            for column in self.frame
        }
        return _markdown(pd.DataFrame(cells, self.frame.index), TASKS[self.task].title)

    def write(self, folder: Path) -> None:
        """``<task>.md``, ``<task>.csv`` and ``<task>.png`` in a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.task}.md").write_text(self.markdown() + "\n" + self._published_markdown())
        self.frame.to_csv(folder / f"{self.task}.csv", index_label="forecaster", float_format="%.6g")
        axis = self.draw()
        axis.figure.savefig(folder / f"{self.task}.png", dpi=130)
        pyplot().close(axis.figure)

    def _published_markdown(self) -> str:
        if self.published is None or self.published.empty:
            return ""
        return f"\n{BESIDE}\n\n{_markdown(self.published.map(_as_printed))}\n"

    def draw(self):
        """A line for each forecaster where scores go with lead, else bars of the first score."""
        task = TASKS[self.task]
        if task.by == "lead":
            leads = [column for column in self.frame if str(column).isdigit()]
            lead = xr.DataArray([int(column) for column in leads], dims="lead", attrs={"units": "months"})
            scores = {
                name: xr.DataArray(
                    row[leads].astype(float).values, {"lead": lead}, attrs={"long_name": "correlation", "units": "1"}
                )
                for name, row in self.frame.iterrows()
            }
            return plot.skill_by_lead(scores, title=task.title)
        first = next(column for column in task.columns if column in self.frame)
        values = self.frame[first].sort_values(ascending=task.columns[first])
        axis = pyplot().subplots(figsize=(7, 0.4 * len(values) + 1), layout="constrained")[1]
        axis.barh(list(values.index), values.values)
        axis.set(xlabel=first, title=task.title)
        return axis

    def __repr__(self) -> str:
        text = f"{TASKS[self.task].title}\n{self.frame.map(_text).to_string()}"
        if self.published is None:
            return text
        if self.published.empty:
            return f"{text}\n\nthe papers have no such table"
        return f"{text}\n\n{BESIDE}\n{self.published.map(_as_printed).to_string()}"


def _markdown(cells: pd.DataFrame, corner: str = "") -> str:
    rows = zip(map(str, cells.index), *(cells[column] for column in cells), strict=True)
    return markdown_table([[corner, *map(str, cells.columns)], *rows], align_right=True)


def _text(value) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1000 else f"{value:.2g}"


def _as_printed(value) -> str:
    if isinstance(value, str):
        return value
    return "" if pd.isna(value) else f"{value:g}"


def _published(task: str) -> pd.DataFrame:
    stored = tomllib.loads((files("xforecast.benchmark") / "published.toml").read_text()).get(task, {})
    return pd.DataFrame.from_dict(stored, orient="index")
