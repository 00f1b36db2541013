"""Imports go down only, and labels, models and skill do not know one another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import xforecast

PACKAGE = Path(xforecast.__file__).parent
FLOORS = [
    ["errors", "_version"],
    ["_doors"],
    ["spec"],
    ["models"],
    ["cf"],
    ["labels", "skill"],
    ["datasets"],
    ["plot", "forecaster"],
    ["training"],
    ["benchmark", "accessor", "climatology"],
    ["cli", "__init__"],
]
"""Lowest first."""
# What each must do without.
STRANGERS = {"labels": {"torch", "matplotlib"}, "models": {"xarray", "pandas", "dask", "matplotlib"},
             "skill": {"torch", "matplotlib"}, "cf": {"torch"}, "spec": {"torch", "xarray"},
             "plot": {"torch"}}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def floor_of(part: str) -> int:
    found = [number for number, parts in enumerate(FLOORS) if part in parts]
    assert len(found) == 1, f"{part} has no floor: put it on one, here and in the design"
    return found[0]


def part_of(file: Path) -> str:
    return file.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imports(file: Path):
    """Modules that a file imports, anywhere in it, those of the package as xforecast.part."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            if node.module == "xforecast":
                yield from (f"xforecast.{alias.name}" for alias in node.names)
            else:
                yield node.module


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_imports_go_down_only(file):
    own = part_of(file)
    if own == "__init__":
        return
    for module in imports(file):
        root, _, rest = module.partition(".")
        assert root not in STRANGERS.get(own, ()), f"{own} imports {module}"
        if root == "xforecast":
            other = rest.split(".")[0]
            assert other == own or floor_of(other) < floor_of(own), f"{own} imports {module}"


def test_the_walk_sees_something():
    """The rule would notice: the forecaster does use labels, models and torch."""
    seen = set(imports(PACKAGE / "forecaster" / "forecaster.py"))
    assert {"torch", "xarray", "xforecast.labels", "xforecast.models.blocks.tiling"} <= seen
    assert {part_of(file) for file in FILES} == {part for parts in FLOORS for part in parts}


def test_only_the_join_and_what_stands_on_it_know_both_torch_and_xarray():
    both = {part_of(file) for file in FILES if {"torch", "xarray"} <= {name.split(".")[0] for name in imports(file)}}
    assert both <= {"forecaster", "training", "benchmark", "accessor", "cli"}


def test_no_module_hides_a_public_function():
    """``from xforecast import x`` gives the module of that name once anything has imported it."""
    functions = set(xforecast._HOMES)
    assert not functions & {part_of(file) for file in FILES}
