"""Modules that had other names: what was documented under them is still found there."""

from __future__ import annotations

import importlib
import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

__all__ = ["FORMER", "install"]

FORMER = {
    "xforecast.conform": ("xforecast.labels",),
    "xforecast.files": ("xforecast.cf",),
    "xforecast.registry": ("xforecast.forecaster",),
    "xforecast.report": ("xforecast.labels",),
    "xforecast.units": ("xforecast.cf.units",),
    "xforecast.values": ("xforecast.labels",),
    "xforecast.windows": ("xforecast.labels",),
    "xforecast.models.diffusion": ("xforecast.models.prediff.schedule",),
    "xforecast.models.guidance": ("xforecast.models.prediff.guidance", "xforecast.models.constraints"),
    "xforecast.models.patterns": ("xforecast.models.blocks.patterns",),
    "xforecast.models.samplers": ("xforecast.models.prediff.samplers",),
    "xforecast.training.data": ("xforecast.training.windows", "xforecast.labels"),
}
"""Where the names of each former module are now."""


class _Former(ModuleType):
    """A module that looks its names up where they are now."""

    def __getattr__(self, name: str) -> Any:
        for home in FORMER[self.__name__]:
            module = importlib.import_module(home)
            if name in vars(module):
                return vars(module)[name]
        homes = " and ".join(FORMER[self.__name__])
        raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}; its names are in {homes} now")


class _Finder(MetaPathFinder, Loader):
    """Finds former modules; imported is what they stand for, on first use."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, self) if fullname in FORMER else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _Former(spec.name, f"The former place of names that are in {' and '.join(FORMER[spec.name])} now.")

    def exec_module(self, module: ModuleType) -> None:
        pass


def install() -> None:
    """Have former modules found by ``import``, after all others."""
    if not any(isinstance(finder, _Finder) for finder in sys.meta_path):
        sys.meta_path.append(_Finder())
