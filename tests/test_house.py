"""The rules of the house hold in the package, and are broken by packages that break them.

Also guards `_former.py`.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from pathlib import Path

import floors
import pytest

import house
import xforecast
from xforecast._former import FORMER
from xforecast.cli import main as _main  # noqa: F401 - the command line is imported as a whole
from xforecast.cli.main import FORECAST_OPTIONS
from xforecast.forecaster import Forecaster, ForecastOptions

TESTS = Path(__file__).parent
PACKAGE = house.House(Path(xforecast.__file__).parent)
CONTRACT = ("xforecast.models.contract", "xforecast.models.constraints", "xforecast.models.check")
DOORS = ("xforecast.accessor", "xforecast", "xforecast._doors")
PUBLIC = [
    "xforecast",
    *(f"xforecast.{face}" for face in ["errors", "datasets", "models", "plot", "skill", "training", "benchmark"]),
]
LISTED = {
    "xforecast.conform": ("conform", "Conformed", "Source"),
    "xforecast.files": ("open_data", "write"),
    "xforecast.registry": ("fetch", "forecast", "load"),
    "xforecast.report": ("Report", "Finding"),
    "xforecast.units": ("known", "compatible", "conversion", "Linear"),
    "xforecast.values": ("check_values",),
    "xforecast.windows": ("windows", "label", "valid_times"),
    "xforecast.models.diffusion": ("NoiseSchedule", "DiffusionLoss"),
    "xforecast.models.guidance": ("NetworkGuidance", "DecoderGuidance", "MeanIntensity"),
    "xforecast.models.patterns": ("self_cuboids", "cross_cuboids", "SELF_PATTERNS"),
    "xforecast.models.samplers": ("sample", "ddim", "dpm_solver", "Sampler", "SAMPLERS"),
    "xforecast.training.data": ("make_spec", "TrainingWindows", "LazyWindows", "windows_of", "cell_weights"),
}
JOINTS = ("forecaster", "training", "benchmark")


@pytest.fixture
def small(tmp_path):
    """Make a package of files by their paths."""

    def build(files: dict[str, str]) -> house.House:
        root = tmp_path / "small"
        for path, text in files.items():
            file = root / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return house.House(root)

    return build


SOUND = {
    "__init__.py": "",
    "low/__init__.py": "from small.low.a import x\n__all__ = ['x']\n",
    "low/a.py": "x = 1\n",
    "high/__init__.py": "",
    "high/b.py": "from small.low import x\n",
}
TABLE = [{"rooms": ["low"], "without": {"low": ["torch"]}}, {"rooms": ["high", "__init__"]}]


# ------------------------------------------------------------------ 1. floors


def test_imports_go_down_only():
    assert not house.wrong_floors(PACKAGE, floors.floors())


def test_there_are_at_most_nine_floors_and_each_room_has_one():
    assert len(floors.floors()) <= 9
    assert {PACKAGE.room(module) for module in PACKAGE.files} == {
        r for floor in floors.floors() for r in floor["rooms"]
    }


@pytest.mark.parametrize(
    "broken",
    [
        {"low/a.py": "from small.high import b\n"},
        {"low/a.py": "def f():\n    import small.high.b\n"},
        {"low/a.py": "import torch\n"},
        {"new.py": ""},
    ],
)
def test_the_rule_of_floors_notices(broken, small):
    assert not house.wrong_floors(small(SOUND), TABLE)
    assert house.wrong_floors(small({**SOUND, **broken}), TABLE)


def test_contributing_prints_the_table_of_floors():
    text = floors.PAGE.read_text()
    assert floors.table() in text
    assert floors.printed(text) == text
    assert floors.printed(text.replace(floors.table(), "| another table |")) == text


# ------------------------------------------------------------------ 2. no circles


def test_files_form_no_circle():
    assert not house.circles(PACKAGE)


def test_the_rule_of_circles_notices(small):
    assert not house.circles(small(SOUND))
    circle = small({**SOUND, "low/a.py": "def f():\n    from small.low import c\n", "low/c.py": "import small.low.a\n"})
    assert house.circles(circle) == [["small.low.a", "small.low.c"]]


# ------------------------------------------------------------------ 3. faces


def test_other_folders_are_entered_by_their_face():
    assert not house.past_faces(PACKAGE)


@pytest.mark.parametrize(
    "broken",
    [{"high/b.py": "from small.low.a import x\n"}, {"low/__init__.py": "from small.low.a import x\n__all__ = []"}],
)
def test_the_rule_of_faces_notices(broken, small):
    assert not house.past_faces(small(SOUND))
    assert house.past_faces(small({**SOUND, **broken}))


@pytest.mark.parametrize("face", [module for module in PACKAGE.files if PACKAGE.is_face(module)])
def test_faces_have_what_they_list(face):
    listed = PACKAGE.listed(face)
    assert not [name for name in listed if not hasattr(import_module(face), name)]


# ------------------------------------------------------------------ 4. nothing is probed


def test_models_constraints_and_data_are_not_probed():
    assert not house.probes(PACKAGE, allowed=(*CONTRACT, *DOORS))


def test_the_rule_of_probes_notices(small):
    probing = small({**SOUND, "high/b.py": "def f(model):\n    return getattr(model, 'size', 1)\n"})
    assert house.probes(probing, allowed=())
    assert not house.probes(small({**SOUND, "high/b.py": "def f(x, name):\n    return getattr(x, name)\n"}), allowed=())


# ------------------------------------------------------------------ 5. where torch meets xarray


def test_torch_and_xarray_meet_in_few_rooms():
    assert not house.meetings(PACKAGE, JOINTS)


def test_the_rule_of_meetings_notices(small):
    assert house.meetings(small({**SOUND, "high/b.py": "import torch, xarray\n"}), rooms=())


@pytest.mark.parametrize("module", ["", ".labels", ".skill", ".cf", ".spec", ".datasets", ".errors", ".climatology"])
def test_what_needs_no_torch_imports_none(module):
    code = f"import sys, xforecast{module}; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"


# ------------------------------------------------------------------ 6. a name is one thing


def public(face: str) -> dict[str, object]:
    module = import_module(face)
    return {name: getattr(module, name) for name in dir(module) if not name.startswith("_")}


def test_a_public_name_means_one_thing():
    assert not house.ambiguous_names({face: public(face) for face in PUBLIC})


def test_the_rule_of_names_notices():
    assert house.ambiguous_names({"a": {"align": 1}, "b": {"align": 2}}) == ["align in a and b"]
    assert not house.ambiguous_names({"a": {"align": len}, "b": {"align": len}})


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ("models.Climatology", "models.ClimatologyForecast"),
        ("models.ClimatologyConfig", "models.ClimatologyForecastConfig"),
        ("models.protocol.weighted_mse", "models.contract.weighted_mse"),
        ("models.protocol.ConfigOfModel", "models.wrappers.ConfigOfModel"),
        ("training.align", "training.align_knowledge"),
        ("skill.align", "skill.match_times"),
        ("climatology.climatology", "climatology.monthly_climatology"),
    ],
)
def test_former_names_are_still_there(former, now):
    def value(name: str) -> object:
        found: object = xforecast
        for part in name.split("."):
            found = getattr(found, part)
        return found

    assert value(former) is value(now)


def test_no_module_hides_a_public_function():
    """``from xforecast import x`` gives the module of that name once anything has imported it."""
    assert not set(xforecast._HOMES) & {PACKAGE.room(module) for module in PACKAGE.files}


@pytest.mark.parametrize("module", FORMER)
def test_former_modules_are_still_there(module):
    """What the reference listed under the former names of modules."""
    code = f"from {module} import {', '.join(LISTED[module])}; print('found')"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "found\n"


def test_former_modules_name_the_new_ones():
    with pytest.raises(AttributeError, match=r"its names are in xforecast\.cf now"):
        import_module("xforecast.files").nothing  # noqa: B018


# ------------------------------------------------------------------ 7. there and back


def test_whatever_has_a_way_back_has_a_law():
    laws = (TESTS / "labels" / "test_there_and_back.py").read_text()
    assert not house.ways_without_law(PACKAGE, "labels", laws)


def test_the_rule_of_ways_back_notices(small):
    both = "class A:\n    def apply(self, x): ...\n    def undo(self, x): ...\n"
    law = "def test():\n    way = A()\n    assert way.undo(way.apply(1)) == 1\n"
    assert not house.ways_without_law(small({"labels/a.py": both}), "labels", law)
    assert house.ways_without_law(small({"labels/a.py": both}), "labels", "# A") == ["A of small.labels.a"]
    one = both.replace("    def apply(self, x): ...\n", "").replace("class A", "class B")
    assert house.ways_without_law(small({"labels/b.py": one}), "labels", law) == ["B of small.labels.b"]


# ------------------------------------------------------------------ 8. doors


def options(function, *without: str) -> dict[str, tuple]:
    parameters = inspect.signature(function).parameters
    assert not [p for p in parameters.values() if p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL)]
    return {
        name: (p.default, p.annotation, p.kind)
        for name, p in parameters.items()
        if name not in ("self", "ds", "model", *without)
    }


def test_the_options_of_a_forecast_are_the_same_at_every_door():
    import xarray as xr

    wanted = {entry.name: entry.default for entry in fields(ForecastOptions) if entry.init}
    function = options(xforecast.forecast)
    assert {name: default for name, (default, _, _) in function.items()} == wanted
    assert options(xr.Dataset().earthformer.forecast) == function
    assert options(Forecaster.forecast) == function
    assert FORECAST_OPTIONS.keys() == wanted.keys()


def test_the_options_of_a_check_are_the_same_at_every_door():
    import xarray as xr

    function = options(xforecast.check)
    assert function.keys() == {"init", "variables", "base_period", "climatology"}
    assert options(xr.Dataset().earthformer.check) == function == options(Forecaster.check)
    assert all(options(xforecast.forecast)[name] == value for name, value in function.items())


def test_the_options_of_a_training_are_the_same_at_every_door():
    import xarray as xr

    from xforecast.training import TrainingOptions

    function = options(xforecast.fit)
    assert options(xr.Dataset().earthformer.fit) == function
    trained = {entry.name: entry.default for entry in fields(TrainingOptions)}
    assert trained.pop("average") is None
    assert function["average"][0] == "auto"  # none, but where a part of a model asks for it
    assert {name: function[name][0] for name in trained} == trained


# ------------------------------------------------------------------ 10. tests mirror the package


def test_every_file_has_a_test_that_guards_it():
    assert not house.unguarded(PACKAGE, TESTS)


def test_the_rule_of_the_mirror_notices(small, tmp_path):
    folder = tmp_path / "tests" / "low"
    folder.mkdir(parents=True)
    package = small({"low/a.py": "", "low/c.py": "", "low/d.py": ""})
    (folder / "test_a.py").write_text('"""Also guards `c.py`."""\n')
    assert house.unguarded(package, tmp_path / "tests") == ["low/d.py"]


# ------------------------------------------------------------------ errors


def test_every_error_about_an_option_has_a_remedy():
    assert not house.without_remedy(PACKAGE)


def test_the_rule_of_remedies_notices(small):
    sound = "def f(x):\n    raise InvalidOption('x', x, '1', 'x=1')\n"
    assert not house.without_remedy(small({"a.py": sound}))
    assert house.without_remedy(small({"a.py": sound.replace(", 'x=1'", "")}))
