"""Print the floors of the package into CONTRIBUTING.md: ``python docs/floors.py``."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "CONTRIBUTING.md"
PACKAGE = ROOT / "xforecast"


def floors() -> list[dict]:
    """The floors, lowest first: their rooms, what they hold, and what each room does without."""
    return tomllib.loads((ROOT / "docs" / "floors.toml").read_text())["floor"]


def table() -> str:
    """The floors as a table in Markdown, highest first."""
    lines = ["| floor | folders and files | what they hold |", "|---|---|---|"]
    for number, floor in reversed(list(enumerate(floors(), start=1))):
        rooms = ", ".join(f"`{room}/`" if (PACKAGE / room).is_dir() else f"`{room}`" for room in floor["rooms"])
        lines.append(f"| {number} | {rooms} | {floor['holds']} |")
    return "\n".join(lines)


def printed(text: str) -> str:
    """A text with the table between its marks."""
    return re.sub(
        r"(<!-- floors -->\n).*?(<!-- /floors -->)",
        lambda match: match[1] + table() + "\n" + match[2],
        text,
        flags=re.S,
    )


def write() -> None:
    """Bring CONTRIBUTING.md up to date."""
    text = PAGE.read_text()
    if (new := printed(text)) != text:
        PAGE.write_text(new)


if __name__ == "__main__":
    write()
