"""The result of a benchmark: a table that prints itself and is written as Markdown, csv and figure."""

from __future__ import annotations

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
from xforecast.training.recipes import markdown_table

__all__ = ["Table"]

COST = ("parameters", "MACs (G)", "seconds")
NOT_PRINTED = "not printed"
NO_TABLE = "no table of a paper is kept for this benchmark"


@dataclass
class Table:
    """Scores and costs of the forecasters in a benchmark.

    Parameters
    ----------
    task : str
        Name of the benchmark.
    frame : pandas.DataFrame
        A row for each forecaster.
    published : pandas.DataFrame, optional
        Costs and scores of networks of published size as their authors print them, digit by digit, as text; a column
        ``source`` names the table.
    """

    task: str
    frame: pd.DataFrame
    published: pd.DataFrame | None = None

    @classmethod
    def of(cls, task: str, rows: Mapping[str, Mapping[str, float]], *, paper: bool = False) -> Table:
        """Make a table from the scores and costs of each row."""
        columns = [*COST[:2], *TASKS[task].columns, COST[2]]
        frame = pd.DataFrame.from_dict(rows, orient="index").reindex(columns=columns).dropna(axis=1, how="all")
        frame = frame.astype({name: "Int64" for name in frame if name == "parameters"})
        return cls(task, frame, _published(task) if paper else None)

    @property
    def best(self) -> dict[str, str]:
        """Name of the best forecaster in each column of scores."""
        directions = {name: up for name, up in TASKS[self.task].columns.items() if name in self.frame}
        return {name: self.frame[name].idxmax() if up else self.frame[name].idxmin() for name, up in directions.items()}

    def markdown(self) -> str:
        """The table in Markdown, with the best of each column in bold."""
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
        """Write ``<task>.md``, ``<task>.csv`` and ``<task>.png`` into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{self.task}.md").write_text(self.markdown() + "\n" + self._published_markdown())
        self.frame.to_csv(folder / f"{self.task}.csv", index_label="forecaster", float_format="%.6g")
        axis = self.draw()
        axis.figure.savefig(folder / f"{self.task}.png", dpi=130)
        pyplot().close(axis.figure)

    def _published_markdown(self) -> str:
        if self.published is None or self.published.empty:
            return ""
        return f"\n{_heading(self.published)}\n\n{_markdown(self.published.drop(columns='source'))}\n"

    def draw(self):
        """Draw a line over lead for each forecaster where scores are by lead, else bars of the first score."""
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
            return f"{text}\n\n{NO_TABLE}"
        return f"{text}\n\n{_heading(self.published)}\n{self.published.drop(columns='source').to_string()}"


def _markdown(cells: pd.DataFrame, corner: str = "") -> str:
    rows = zip(map(str, cells.index), *(cells[column] for column in cells), strict=True)
    return markdown_table([[corner, *map(str, cells.columns)], *rows], align_right=True)


def _text(value) -> str:
    if pd.isna(value):
        return ""
    if isinstance(value, int | np.integer):
        return f"{value:,}"
    return f"{value:.3f}" if 0.001 <= abs(value) < 1000 else f"{value:.2g}"


def _published(task: str) -> pd.DataFrame:
    """What authors print, as text, so that 0.4080 keeps its last digit; without rows where no table is kept."""
    file = files("xforecast.benchmark") / f"published_{task}.csv"
    if not file.is_file():
        return pd.DataFrame()
    with file.open() as stream:
        return pd.read_csv(stream, comment="#", index_col="row", dtype=str).rename_axis(None).fillna(NOT_PRINTED)


def _heading(published: pd.DataFrame) -> str:
    return f"As printed, for networks of published size, in the {' and the '.join(published['source'].unique())}:"
