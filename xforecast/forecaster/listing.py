"""The forecasters that can be named, read from their cards: no network is built."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping
from html import escape
from typing import Any

import pandas as pd

from xforecast.errors import XForecastError, XForecastWarning
from xforecast.forecaster import plugins
from xforecast.forecaster.fetch import dead_links, is_fetched
from xforecast.forecaster.folder import read_card
from xforecast.forecaster.forecaster import Forecaster
from xforecast.forecaster.published import PUBLISHED
from xforecast.forecaster.registry import IN_PACKAGE, in_package
from xforecast.spec import DataSpec

__all__ = ["ModelTable", "list_models"]

WIDTH = 100


class ModelTable(pd.DataFrame):
    """A table of forecasters, a row each, that prints itself in sentences.

    Its columns are ``title``, ``forecasts``, ``steps``, ``grid``, ``trained on``, ``licence`` and ``where``; parts of
    it are plain tables of pandas.
    """

    def _sentences(self) -> dict[str, tuple[str, str]]:
        """Title and description of each row, by name."""
        found = {}
        for name, row in self.iterrows():
            parts = [
                f"Forecasts {row['forecasts']}, {row['steps']} (steps in -> steps out).",
                f"Grid: {row['grid']}.",
                f"Training data: {row['trained on']}." if row["trained on"] else "",
                f"Licence: {row['licence']}." if row["licence"] else "",
                f"It is {row['where']}.",
            ]
            found[str(name)] = (str(row["title"]), " ".join(filter(None, parts)))
        return found

    def __repr__(self) -> str:
        if set(self.columns) != set(COLUMNS):
            return super().__repr__()
        lines = []
        for name, (title, text) in self._sentences().items():
            lines.append(f"{name}" + (f": {title}" if title else ""))
            lines += textwrap.wrap(text, WIDTH, initial_indent="    ", subsequent_indent="    ")
        return "\n".join(lines) or "no forecasters"

    def _repr_html_(self) -> str:
        if set(self.columns) != set(COLUMNS):
            return str(super()._repr_html_())
        entries = (
            f"<dt><code>{escape(name)}</code> {escape(title)}</dt><dd>{escape(text)}</dd>"
            for name, (title, text) in self._sentences().items()
        )
        return f"<dl>{''.join(entries)}</dl>"


COLUMNS = ("title", "forecasts", "steps", "grid", "trained on", "licence", "where")


def list_models() -> ModelTable:
    """The forecasters that can be named, a row each.

    Returns
    -------
    pandas.DataFrame
        Indexed by name; it prints itself in sentences, also in a notebook.

    Examples
    --------
    >>> import xforecast as xf
    >>> bool("earthformer-enso" in xf.list_models().index)
    True
    """
    rows: dict[str, dict[str, str]] = {}
    for name in IN_PACKAGE:
        rows[name] = _row(*read_card(in_package(name)), "in the package")
    for name, entry in PUBLISHED.items():
        place = "to be fetched from files of yours: its links have died" if dead_links(entry) else "to be fetched"
        rows[name] = _row(entry.spec(), vars(entry), "fetched" if is_fetched(name) else place)
    for name in sorted(plugins.offered().keys() - rows.keys()):
        try:
            found = plugins.find(name)
            spec, card = (found.spec, found.card) if isinstance(found, Forecaster) else read_card(found)
        except XForecastError as error:
            warnings.warn(f"{error}", XForecastWarning, stacklevel=2)
        else:
            rows[name] = _row(spec, card, "in another package")
    return ModelTable(pd.DataFrame.from_dict(rows, orient="index", columns=list(COLUMNS)).rename_axis("name"))


def _row(spec: DataSpec, card: Mapping[str, Any], place: str) -> dict[str, str]:
    values = (
        card.get("title", ""),
        ", ".join(spec.targets),
        f"{spec.history} -> {spec.horizon} x {spec.time_step}",
        repr(spec.grid)[5:-1],
        card.get("period", ""),
        card.get("licence", ""),
        place,
    )
    return dict(zip(COLUMNS, map(str, values), strict=True))
