"""What a check found: problems, warnings and repairs, printed for people."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, field
from html import escape

from xforecast.errors import SpecMismatch, XForecastWarning

__all__ = ["Finding", "Report"]

MARKS = {"error": "✗", "warning": "!", "repair": "~"}
MEANINGS = {"error": "problem", "warning": "warning", "repair": "repair"}


@dataclass(frozen=True)
class Finding:
    """One thing that a check found.

    Parameters
    ----------
    level : {"error", "warning", "repair"}
        An error prevents the forecast, a warning does not; a repair is undone in the forecast.
    topic : str
        What it is about: variable, units, grid, time, values, mask.
    text : str
        What was found and what was wanted.
    remedy : str
        What to do.
    """

    level: str
    topic: str
    text: str
    remedy: str = ""

    def __str__(self) -> str:
        remedy = f"\n            -> {self.remedy}" if self.remedy else ""
        return f"{MARKS[self.level]} {self.topic:<9} {self.text}{remedy}"


@dataclass
class Report:
    """The outcome of checking data against a forecaster's specification.

    It is true when the data can be forecast.

    Examples
    --------
    >>> report = Report("earthformer-enso")
    >>> report.error("units", "sst: found 'bananas', wanted something like 'degC'", "set ds.sst.attrs['units']")
    >>> bool(report)
    False
    >>> report
    check against 'earthformer-enso': 1 problem
      ✗ units     sst: found 'bananas', wanted something like 'degC'
                  -> set ds.sst.attrs['units']
    """

    against: str
    findings: list[Finding] = field(default_factory=list)

    def error(self, topic: str, text: str, remedy: str = "") -> None:
        """Add something because of which the data cannot be forecast."""
        self.findings.append(Finding("error", topic, text, remedy))

    def warn(self, topic: str, text: str, remedy: str = "") -> None:
        """Add something that does not prevent a forecast, and that a user should look at."""
        self.findings.append(Finding("warning", topic, text, remedy))

    def repair(self, topic: str, text: str) -> None:
        """Add something that was repaired."""
        self.findings.append(Finding("repair", topic, text))

    def extend(self, findings: Iterable[Finding]) -> None:
        """Add findings made elsewhere."""
        self.findings.extend(findings)

    def of(self, level: str) -> list[Finding]:
        """The findings of one level."""
        return [finding for finding in self.findings if finding.level == level]

    @property
    def ok(self) -> bool:
        """Whether the data can be forecast."""
        return not self.of("error")

    def __bool__(self) -> bool:
        return self.ok

    def raise_errors(self) -> None:
        """Raise `SpecMismatch` with every problem at once, if there is one."""
        if errors := self.of("error"):
            lines = "\n".join(f"  {_indent(str(finding)[2:])}" for finding in errors)
            raise SpecMismatch(f"the data do not fit {self.against!r} ({_count(errors, 'problem')})\n{lines}", self)

    def emit_warnings(self) -> None:
        """Issue each warning as an `XForecastWarning` that points at the caller's own line."""
        stacklevel = _outside_package()
        for finding in self.of("warning"):
            remedy = f" -> {finding.remedy}" if finding.remedy else ""
            warnings.warn(f"{finding.topic}: {finding.text}{remedy}", XForecastWarning, stacklevel=stacklevel)

    def _summary(self) -> str:
        counts = [_count(self.of(level), meaning) for level, meaning in MEANINGS.items() if self.of(level)]
        return f"check against {self.against!r}: {', '.join(counts) or 'the data fit'}"

    def __repr__(self) -> str:
        ordered = [finding for level in MARKS for finding in self.of(level)]
        return "\n".join([self._summary(), *(f"  {_indent(str(finding))}" for finding in ordered)])

    def _repr_html_(self) -> str:
        colours = {"error": "#b00020", "warning": "#b06000", "repair": "#2e6b3a"}
        rows = "".join(
            f"<tr><td style='color:{colours[level]}'>{MEANINGS[level]}</td><td>{escape(finding.topic)}</td>"
            f"<td style='text-align:left'>{escape(finding.text)}"
            + (f"<br><i>{escape(finding.remedy)}</i>" if finding.remedy else "")
            + "</td></tr>"
            for level in MARKS
            for finding in self.of(level)
        )
        return f"<div><b>{escape(self._summary())}</b><table>{rows}</table></div>"


def _outside_package() -> int:
    """How many frames above the calling function the first one outside the package is."""
    level, frame = 1, sys._getframe(1)
    while frame.f_back is not None and str(frame.f_globals.get("__name__", "")).startswith("xforecast."):
        level, frame = level + 1, frame.f_back
    return level


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def _count(findings: list, word: str) -> str:
    return f"{len(findings)} {word}{'' if len(findings) == 1 else 's'}"
