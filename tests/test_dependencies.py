"""What the package imports is declared in pyproject.toml: in the core, or in an extra whose absence is reported."""

from __future__ import annotations

import ast
import itertools
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import xforecast
from xforecast.cli import doctor
from xforecast.errors import TOO_NEW

PACKAGE = Path(xforecast.__file__).parent
ROOT = PACKAGE.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FILES = sorted(PACKAGE.rglob("*.py"))
FOR_DEVELOPERS = {"all", "dev", "docs", "test"}


def plain(name: str) -> str:
    """A distribution, from its name or the one that it is imported by."""
    return name.lower().replace("_", "-")


def declared(requirements: list[str]) -> set[str]:
    return {plain(re.match(r"[\w-]+", line)[0]) for line in requirements}  # type: ignore[index]


CORE = declared(PROJECT["dependencies"])
EXTRAS = {
    extra: declared(lines) for extra, lines in PROJECT["optional-dependencies"].items() if extra not in FOR_DEVELOPERS
}
OPTIONAL = set.union(*EXTRAS.values()) - CORE


def at_once(node: ast.AST) -> Iterator[ast.AST]:
    """Statements that run when a module is imported: all that are neither in a function nor for the type checker."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef) or (
            isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test)
        ):
            continue
        yield child
        yield from at_once(child)


def imported(nodes: Iterator[ast.AST]) -> set[str]:
    """Modules that some statements import."""
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def foreign(names: set[str]) -> set[str]:
    tops = {name.partition(".")[0] for name in names}
    return {plain(name) for name in tops - sys.stdlib_module_names - {"xforecast"}}


def module_of(file: Path) -> str:
    parts = file.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def required(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Package and extra of each call of `require` that writes both out."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "require":
            extra = next((word.value for word in node.keywords if word.arg == "extra"), None)
            if isinstance(node.args[0], ast.Constant) and isinstance(extra, ast.Constant):
                yield plain(node.args[0].value.partition(".")[0]), extra.value


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_what_is_imported_is_declared(file):
    assert foreign(imported(ast.walk(ast.parse(file.read_text())))) <= CORE | OPTIONAL


def test_the_faces_import_without_any_extra():
    """Modules that need an extra at once, or import one that does, are imported inside functions only."""
    imports = {module_of(file): imported(at_once(ast.parse(file.read_text()))) for file in FILES}
    needy = {module for module, names in imports.items() if foreign(names) & OPTIONAL}
    assert needy, "the walk sees the training loop, which is a LightningModule"
    while more := {module for module, names in imports.items() if names & needy} - needy:
        needy |= more
    faces = {module_of(file) for file in FILES if file.name == "__init__.py"}
    assert not needy & faces


def test_every_extra_that_is_asked_for_installs_what_is_asked_for():
    asked = {pair for file in FILES if file.name != "errors.py" for pair in required(ast.parse(file.read_text()))}
    assert ("lightning", "train") in asked
    assert not [(package, extra) for package, extra in asked if package not in EXTRAS[extra]]


def test_versions_that_are_refused_are_not_installed():
    limits = {match[1]: int(match[2]) for lines in PROJECT["optional-dependencies"].values() for line in lines
              if (match := re.match(r"([\w-]+).*<(\d+)$", line))}  # fmt: skip
    assert limits == TOO_NEW


def test_every_package_has_a_tested_version():
    pins = declared([line for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line])
    assert pins >= CORE | OPTIONAL


def test_the_conda_environment_has_the_limits_of_the_project():
    conda = {"pytorch": "torch", "dask-core": "dask", "matplotlib-base": "matplotlib"}
    listed = re.findall(r"- ([\w-]+)([<>].+)", (ROOT / "environment.yml").read_text())
    here = {conda.get(plain(name), plain(name)): limits for name, limits in listed}
    lines = [*PROJECT["dependencies"], *itertools.chain(*PROJECT["optional-dependencies"].values())]
    limits = {plain(match[1]): match[2] for line in lines if (match := re.match(r"([\w-]+)(?:\[\w+\])?([<>].+)", line))}
    assert here.keys() >= CORE
    assert here == {name: limits[name] for name in here}


def test_the_doctor_asks_after_what_is_declared():
    assert declared(doctor.CORE) == CORE
    assert {extra: declared(packages) for extra, packages in doctor.EXTRAS.items()} == EXTRAS
