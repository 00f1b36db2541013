"""Imports go down only, and labels, models and skill do not know one another."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import xforecast

PACKAGE = Path(xforecast.__file__).parent
LAYERS = {
    "words": {"errors", "units", "timestep", "progress", "markdown", "_version"},
    "contract": {"spec"},
    "labels": {"find", "report", "starts", "values", "conform", "windows", "climatology", "regridding", "files",
               "datasets", "regions"},
    "models": {"models"},
    "skill": {"skill"},
    "pictures": {"plot"},
    "join": {"forecaster", "plugins", "registry", "parallel"},
    "training": {"training"},
    "doors": {"__init__", "accessor", "cli", "doctor", "demo", "nowcast_demo", "benchmark"},
}  # fmt: skip
BELOW = {
    "words": (),
    "contract": ("words",),
    "labels": ("words", "contract"),
    "models": ("words", "contract"),
    "skill": ("words", "contract"),
    "pictures": ("words", "contract", "labels", "skill"),
    "join": ("words", "contract", "labels", "models"),
    "training": ("words", "contract", "labels", "models", "skill", "join"),
    "doors": ("words", "contract", "labels", "models", "skill", "pictures", "join", "training"),
}
# What each of the three must do without.
STRANGERS = {"labels": {"torch", "matplotlib"}, "models": {"xarray", "pandas", "dask", "matplotlib"},
             "skill": {"torch", "matplotlib"}, "words": {"torch"}, "contract": {"torch", "xarray"},
             "pictures": {"torch"}}  # fmt: skip
FILES = sorted(PACKAGE.rglob("*.py"))


def layer_of(part: str) -> str:
    found = [layer for layer, parts in LAYERS.items() if part in parts]
    assert len(found) == 1, f"{part} has no layer: put it into one, here and in the design"
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
    own = layer_of(part_of(file))
    if own == "doors":
        return
    for module in imports(file):
        root, _, rest = module.partition(".")
        assert root not in STRANGERS.get(own, ()), f"{own} imports {module}"
        if root == "xforecast":
            other = layer_of(rest.split(".")[0])
            assert other == own or other in BELOW[own], f"{own} imports {module} of {other}"


def test_the_walk_sees_something():
    """The rule would notice: the join does use labels, models and torch."""
    seen = set(imports(PACKAGE / "forecaster.py"))
    assert {"torch", "xarray", "xforecast.conform", "xforecast.models"} <= seen
    assert {layer_of(part_of(file)) for file in FILES} == set(LAYERS)


def test_only_the_join_and_what_stands_on_it_know_both_torch_and_xarray():
    both = {part_of(file) for file in FILES if {"torch", "xarray"} <= {name.split(".")[0] for name in imports(file)}}
    assert both <= LAYERS["join"] | LAYERS["training"] | LAYERS["doors"]


def test_no_module_hides_a_public_function():
    """``from xforecast import x`` gives the module of that name once anything has imported it."""
    functions = set(xforecast._HOMES)
    assert not functions & {part_of(file) for file in FILES}
