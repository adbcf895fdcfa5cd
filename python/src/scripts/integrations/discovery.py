"""Finds connector classes: in `scripts/integrations`, in `connector.py` of folders, on the server."""

import ast
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import logging
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from tercel_worker.problem import Problem

PACKAGE = "scripts.integrations"
_OURS = frozenset({"base", "discovery", "remote"})
_NAME = re.compile(r"^[a-z][a-z0-9_]{0,63}$")

logger = logging.getLogger(__name__)


@dataclass
class Found:
    classes: dict[str, Any] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)


class Finder(importlib.abc.MetaPathFinder):
    """Finds `scripts.integrations.<name>` in its place or as `connector.py` of the folder of that name."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        package, _, last = name.rpartition(".")
        if package != PACKAGE or last in _OURS:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is None:
            import integrations

            for directory in integrations.__path__:
                file = Path(directory) / last / "connector.py"
                if file.is_file():
                    spec = importlib.util.spec_from_file_location(name, file)
                    break
        if spec is not None and isinstance(spec.loader, importlib.machinery.SourceFileLoader):
            spec.loader = _Loader(spec.loader.name, spec.loader.path)
        return spec


class _Loader(importlib.machinery.SourceFileLoader):
    """A module has the names, too, that its functions import late: tests patch them there."""

    def exec_module(self, module: ModuleType) -> None:
        _have_package(module)
        super().exec_module(module)
        late = _late_imports(self.get_data(self.path))

        def get(name: str) -> Any:
            if name not in late:
                raise AttributeError(f"module {module.__name__!r} has no attribute {name!r}")
            return importlib.import_module(name)

        module.__dict__.setdefault("__getattr__", get)


def _have_package(module: ModuleType) -> None:
    # Below its folder's name, so that `from . import client` finds what stands beside connector.py.
    file = Path(module.__file__ or "")
    if file.name == "connector.py":
        folder = f"integrations.{file.parent.name}"
        importlib.import_module(folder)
        module.__package__ = folder
        sys.modules.setdefault(f"{folder}.connector", module)


def _late_imports(source: bytes) -> frozenset[str]:
    """Names of modules that are imported inside of functions and can be had by that name."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for inner in ast.walk(node):
                if isinstance(inner, ast.Import):
                    names.update(alias.name for alias in inner.names if alias.asname is None and "." not in alias.name)
    return frozenset(names)


def classes_in(modules: Sequence[ModuleType]) -> Found:
    """The connector classes of these modules; a name that is taken stays with the first."""
    from scripts.integrations.base import IntegrationBase

    found = Found()
    order = {module.__name__: index for index, module in enumerate(modules)}
    own = [kind for kind in _subclasses(IntegrationBase) if kind.__module__ in order and not inspect.isabstract(kind)]
    for kind in sorted(own, key=lambda kind: (order[kind.__module__], inspect.getsourcelines(kind)[1])):
        file, line = inspect.getsourcefile(kind) or "", inspect.getsourcelines(kind)[1]
        name = getattr(kind, "name", None)
        if not isinstance(name, str) or not _NAME.match(name):
            hint = "; use _ for -" if isinstance(name, str) and "-" in name else ""
            problem = f"{kind.__name__}.name must be small letters, digits and _, not {name!r}{hint}"
            found.problems.append(Problem(file, line, problem))
        elif name in found.classes:
            first = inspect.getsourcefile(found.classes[name])
            problem = f"{kind.__name__} in {file} has the name {name!r}, which {first} has already; the first one stays"
            found.problems.append(Problem(file, line, problem))
        else:
            found.classes[name] = kind
    return found


def _subclasses(kind: type) -> Iterator[type]:
    seen = set()
    waiting: list[type] = list(kind.__subclasses__())
    while waiting:
        one = waiting.pop(0)
        if one not in seen:
            seen.add(one)
            yield one
            waiting += one.__subclasses__()


def scan() -> Found:
    """Imports every connector module there is; one that fails is a problem and hides no other."""
    import integrations
    import scripts.integrations

    places: dict[str, Path] = {}
    for directory in scripts.integrations.__path__:
        for file in sorted(Path(directory).glob("*.py")):
            if not file.name.startswith(("_", ".")) and file.stem not in _OURS:
                places.setdefault(file.stem, file)
    for directory in integrations.__path__:
        for file in sorted(Path(directory).glob("*/connector.py")):
            places.setdefault(file.parent.name, file)
    modules, problems = [], []
    for name, file in places.items():
        try:
            modules.append(importlib.import_module(f"{PACKAGE}.{name}"))
        except (Exception, SystemExit) as raised:
            problems.append(Problem(str(file), getattr(raised, "lineno", None), f"{type(raised).__name__}: {raised}"))
    found = classes_in(modules)
    found.problems = problems + found.problems
    return found


class Registry(Mapping[str, Any]):
    """Connector classes by name, looked for when they are first asked for."""

    def __init__(self) -> None:
        self._found: Found | None = None

    def _look(self) -> Found:
        if self._found is None:
            from scripts.integrations import remote

            self._found = scan()
            for problem in self._found.problems:
                logger.error("%s: %s", problem.file, problem.message)
            for name, kind in remote.classes().items():
                self._found.classes.setdefault(name, kind)
        return self._found

    @property
    def problems(self) -> list[Problem]:
        """What could not be loaded or was refused."""
        return self._look().problems

    def __getitem__(self, name: str) -> Any:
        return self._look().classes[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._look().classes)

    def __len__(self) -> int:
        return len(self._look().classes)

    def __repr__(self) -> str:
        return f"Registry({dict(self._look().classes)!r})"
