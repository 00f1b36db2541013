"""The rules of the house as functions of a package: each gives the places where the rule is broken."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path

PROBES = ("hasattr", "getattr")


class House:
    """A package as its files tell: who imports whom, and how.

    Parameters
    ----------
    root : pathlib.Path
        Folder of the package.
    """

    def __init__(self, root: Path):
        self.root, self.name = root, root.name

    @cached_property
    def files(self) -> dict[str, Path]:
        """Files by dotted name."""
        found = {}
        for path in sorted(self.root.rglob("*.py")):
            parts = path.relative_to(self.root.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
        return found

    @cached_property
    def trees(self) -> dict[str, ast.Module]:
        return {name: ast.parse(path.read_text()) for name, path in self.files.items()}

    def room(self, module: str) -> str:
        """The folder or file on the top level that a module is in."""
        return module.split(".")[1] if "." in module else "__init__"

    def is_face(self, module: str) -> bool:
        return self.files[module].name == "__init__.py"

    def folder(self, module: str) -> str:
        return module if self.is_face(module) else module.rpartition(".")[0]

    def imports(self, module: str) -> Iterator[tuple[str, str]]:
        """(module, name) of each import in a file, those inside functions too, but for the type checker's; the name is
        empty for a whole module."""
        yield from self._imports(self.trees[module])

    def _imports(self, node: ast.AST) -> Iterator[tuple[str, str]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
                continue
            if isinstance(child, ast.Import):
                yield from ((alias.name, "") for alias in child.names)
            elif isinstance(child, ast.ImportFrom):
                assert child.level == 0, "a relative import"
                yield from ((str(child.module), alias.name) for alias in child.names)
            else:
                yield from self._imports(child)

    def own_imports(self, module: str) -> Iterator[tuple[str, str]]:
        """Imports of the package's own: (module, name), the name empty where a module itself is imported."""
        for source, name in self.imports(module):
            if source.split(".")[0] != self.name:
                continue
            is_module = f"{source}.{name}" in self.files and name not in self.defined(source)
            yield (f"{source}.{name}", "") if is_module else (source, name)

    def defined(self, face: str) -> set[str]:
        """Names that a face imports or defines, which hide modules of the same name."""
        found = {name for _, name in self.imports(face)} if face in self.files and self.is_face(face) else set()
        return found

    def listed(self, face: str) -> set[str]:
        """What a face lists in ``__all__``."""
        for node in self.trees[face].body:
            if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
                return set(ast.literal_eval(node.value))
        return set()


# ------------------------------------------------------------------ the rules


def wrong_floors(house: House, floors: Sequence[Mapping]) -> list[str]:
    """Imports that go up, or across from one room to another of the same floor; rooms without a floor."""
    level = {room: number for number, floor in enumerate(floors) for room in floor["rooms"]}
    without = {room: set(names) for floor in floors for room, names in floor.get("without", {}).items()}
    broken = []
    for module in house.files:
        own = house.room(module)
        if own not in level:
            broken.append(f"{module}: {own} has no floor")
            continue
        for source, _ in house.imports(module):
            root = source.split(".")[0]
            if root in without.get(own, ()):
                broken.append(f"{module} imports {root}")
        for source, _ in house.own_imports(module):
            other = house.room(source)
            if own not in (other, "__init__") and level.get(other, -1) >= level[own]:
                broken.append(f"{module} imports {source}")
    return broken


def circles(house: House) -> list[list[str]]:
    """Groups of files that import one another."""
    graph = {
        module: {source for source, _ in house.own_imports(module) if source in house.files and source != module}
        for module in house.files
    }
    reach = {module: _reachable(graph, module) for module in graph}
    found, seen = [], set()
    for module in graph:
        group = sorted(other for other in reach[module] if module in reach[other])
        if group and module not in seen:
            found.append(group)
            seen |= set(group)
    return found


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    found, todo = set(), [start]
    while todo:
        for target in graph[todo.pop()] - found:
            found.add(target)
            todo.append(target)
    return found


def past_faces(house: House) -> list[str]:
    """Imports from another folder that do not come from its face, or that the face does not list."""
    broken = []
    for module in house.files:
        here = house.folder(module)
        for source, name in house.own_imports(module):
            if source not in house.files:
                continue
            there = house.folder(source)
            # Siblings, and files of the folders that one stands in, are near; a face takes from what is below it.
            if here == there or here.startswith(f"{there}."):
                continue
            if house.is_face(module) and there.startswith(f"{here}."):
                continue
            face, wanted = (source, name) if name else (source.rpartition(".")[0], source.rpartition(".")[2])
            if name and not house.is_face(source):
                broken.append(f"{module} imports {name} from {source}, which is no face")
            elif not name and house.is_face(source):
                continue  # the face itself
            elif wanted not in house.listed(face):
                broken.append(f"{module} imports {wanted} from {face}, which does not list it")
    return broken


def probes(house: House, allowed: Sequence[str]) -> list[str]:
    """Attributes asked for by a literal name, but for what Python itself or the operating system has."""
    broken = []
    for module, tree in house.trees.items():
        if module in allowed:
            continue
        for node in ast.walk(tree):
            if (
                isinstance(node, ast.Call)
                and isinstance(node.func, ast.Name)
                and node.func.id in PROBES
                and len(node.args) > 1
                and isinstance(node.args[1], ast.Constant)
                and not str(node.args[1].value).startswith("__")
                and ast.unparse(node.args[0]) != "os"
            ):
                broken.append(f"{module}:{node.lineno}: {ast.unparse(node)}")
    return broken


def meetings(house: House, rooms: Sequence[str], one: str = "torch", other: str = "xarray") -> list[str]:
    """Files outside some rooms that import both of two packages."""
    broken = []
    for module in house.files:
        roots = {source.split(".")[0] for source, _ in house.imports(module)}
        if {one, other} <= roots and house.room(module) not in rooms:
            broken.append(module)
    return broken


def ambiguous_names(faces: Mapping[str, Mapping[str, object]]) -> list[str]:
    """Public names that are different things in different faces."""
    homes: dict[str, dict[int, str]] = {}
    for face, names in faces.items():
        for name, value in names.items():
            homes.setdefault(name, {})[id(value)] = face
    return [f"{name} in {' and '.join(found.values())}" for name, found in homes.items() if len(found) > 1]


def ways_without_law(house: House, room: str, laws: str) -> list[str]:
    """Classes with a way there or back that lack the other one, or that no law makes and takes both ways.

    Parameters
    ----------
    house : House
    room : str
        Where ways stand.
    laws : str
        Text of the tests.
    """
    called = {
        node.func.id if isinstance(node.func, ast.Name) else node.func.attr
        for node in ast.walk(ast.parse(laws))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute)
    }
    broken = []
    for module, tree in house.trees.items():
        if house.room(module) != room:
            continue
        for node in ast.walk(tree):
            if not isinstance(node, ast.ClassDef):
                continue
            ways = {"apply", "undo"} & {item.name for item in node.body if isinstance(item, ast.FunctionDef)}
            if ways and (len(ways) < 2 or not {node.name, "apply", "undo"} <= called):
                broken.append(f"{node.name} of {module}")
    return broken


def without_remedy(house: House, error: str = "InvalidOption") -> list[str]:
    """Errors that say what was found and what was wanted, and not what to do."""
    broken = []
    for module, tree in house.trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == error:
                several = any(isinstance(argument, ast.Starred) for argument in node.args)
                if not several and len(node.args) + len(node.keywords) < 4:
                    broken.append(f"{module}:{node.lineno}: {ast.unparse(node)}")
    return broken


def unguarded(house: House, tests: Path) -> list[str]:
    """Files that no test file in the mirrored folder guards, by its name or in the first lines of its docstring."""
    broken = []
    for module, path in house.files.items():
        if house.is_face(module):
            continue
        folder = tests / path.relative_to(house.root).parent
        names = {file.stem.removeprefix("test_") for file in folder.glob("test_*.py")}
        docs = " ".join(ast.get_docstring(ast.parse(file.read_text())) or "" for file in folder.glob("test_*.py"))
        stem = path.stem.removeprefix("_")
        if stem not in names and f"`{path.name}`" not in docs:
            broken.append(str(path.relative_to(house.root)))
    return broken
