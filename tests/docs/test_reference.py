"""The reference lists every public name, and the README says what the continuous integration runs."""

import re
from importlib import import_module
from inspect import isroutine
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
MODULES = (
    "xforecast",
    "xforecast.benchmark",
    "xforecast.datasets",
    "xforecast.models",
    "xforecast.models.compat",
    "xforecast.models.presets",
    "xforecast.plot",
    "xforecast.skill",
    "xforecast.skill.protocols",
    "xforecast.training",
)
TOLD_IN_TEXT = {"MODELS", "SCORES", "TASKS", "__version__"}


def listed() -> set[str]:
    """Names in the autosummary tables, with their modules."""
    names = set()
    for page in (ROOT / "docs" / "api").glob("*.rst"):
        module, table = "", False
        for line in page.read_text().splitlines():
            if match := re.match(r"\.\. currentmodule:: (\S+)", line):
                module = match[1]
            if line and not line.startswith(" "):
                table = line.startswith(".. autosummary::")
            elif table and (match := re.fullmatch(r"   (\w[\w.]*)", line)):
                names.add(f"{module}.{match[1]}")
    return names


def value_of(name: str) -> object:
    module, _, attribute = name.rpartition(".")
    return getattr(import_module(module), attribute)


def offered(module: str) -> list[str]:
    """Names that a user is offered; a face may list more, for other parts of the package."""
    face = import_module(module)
    return [name for name in face.__all__ if name in dir(face)]


@pytest.fixture(scope="module")
def documented() -> set[int]:
    return {id(value_of(name)) for name in listed() if ".earthformer." not in name}


@pytest.mark.parametrize("module", MODULES)
def test_every_public_name_is_in_the_reference(module, documented):
    public = {name: value_of(f"{module}.{name}") for name in offered(module)}
    missing = [
        name
        for name, value in public.items()
        if name not in TOLD_IN_TEXT and not isinstance(value, ModuleType) and id(value) not in documented
    ]
    assert not missing


@pytest.mark.parametrize(
    "module", ["xforecast.skill", "xforecast.skill.protocols", "xforecast.datasets", "xforecast.plot"]
)
def test_every_public_function_has_an_example_that_runs(module):
    public = {name: value_of(f"{module}.{name}") for name in offered(module)}
    without = [name for name, value in public.items() if isroutine(value) and ">>> " not in (value.__doc__ or "")]
    assert not without


@pytest.mark.parametrize("script", sorted((ROOT / "examples").glob("*.py")), ids=lambda path: path.stem)
def test_gallery_scripts_are_short_and_say_what_one_learns(script):
    text = script.read_text()
    assert len(text.splitlines()) < 80
    assert "You will learn" in text


def test_the_readme_has_the_commands_that_the_continuous_integration_runs():
    readme, script = (ROOT / "README.md").read_text(), (ROOT / ".ci" / "run").read_text()
    for line in (
        'pip install -c constraints.txt -e ".[demo]"',
        "xforecast demo",
        'pip install -c constraints.txt -e ".[test]"',
    ):
        assert line in readme
        assert line in script
