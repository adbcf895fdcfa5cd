"""Loads a folder: what loads, loads; what does not is a problem with file and line."""

import importlib
import os
import sys
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from tercel_worker import failure, origin
from tercel_worker.problem import Problem

# Of the modules a folder may have, these are loaded, in this order; then its tools.
PARTS = ("dispatcher", "hooks", "router")
DECLARATIONS = ("setup", "process")


@dataclass
class Folder:
    id: str
    snapshot: Path
    package: ModuleType | None = None
    modules: dict[str, ModuleType] = field(default_factory=dict)
    connector: Any = None
    problems: list[Problem] = field(default_factory=list)

    @property
    def path(self) -> Path:
        return self.snapshot / "integrations" / self.id

    def declared(self, module: str, name: str) -> Any:
        """A value that one of the folder's modules defines."""
        return getattr(self.modules.get(module), name, None)

    def problem(self, file: Path, line: int | None, message: str) -> None:
        problem = Problem(self.shown(file), line, message)
        if problem not in self.problems:
            self.problems.append(problem)

    def shown(self, file: Path) -> str:
        for base in (self.path, self.snapshot):
            if file.is_relative_to(base):
                return str(file.relative_to(base))
        return file.name


def load(snapshot: Path, id: str, siblings: list[Path]) -> Folder:
    """Imports everything that the folder has."""
    folder = Folder(id, snapshot)
    sys.dont_write_bytecode = True
    os.chdir(snapshot)
    import integrations

    integrations.look_in(snapshot / "integrations", *siblings)
    if folder.path.is_dir():
        _load_package(folder)
    _load_connector(folder)
    return folder


def _load_package(folder: Folder) -> None:
    folder.package = _import(folder, folder.path / "__init__.py", f"integrations.{folder.id}")
    if folder.package is None:
        return
    for name in (*DECLARATIONS, *PARTS):
        file = folder.path / f"{name}.py"
        if file.is_file():
            module = _import(folder, file, f"integrations.{folder.id}.{name}")
            if module is not None:
                folder.modules[name] = module
    for file in sorted((folder.path / "tools").glob("*.py")):
        if not file.name.startswith(("_", ".")):
            module = _import(folder, file, f"integrations.{folder.id}.tools.{file.stem}")
            if module is not None:
                _register_marked(module)


def _load_connector(folder: Folder) -> None:
    drop_in = folder.snapshot / "scripts" / "integrations" / f"{folder.id}.py"
    file = folder.path / "connector.py"
    if not file.is_file() and not drop_in.is_file():
        return
    from scripts.integrations import discovery

    module = _import(folder, file if file.is_file() else drop_in, f"scripts.integrations.{folder.id}")
    if module is None:
        return
    found = discovery.classes_in([module])
    for problem in found.problems:
        folder.problem(Path(problem.file), problem.line, problem.message)
    if len(found.classes) > 1:
        names = ", ".join(sorted(found.classes))
        folder.problem(
            file if file.is_file() else drop_in, None, f"A folder has one connector, this one has several: {names}"
        )
    elif not found.classes and not found.problems:
        folder.problem(file if file.is_file() else drop_in, None, "There is no subclass of IntegrationBase with a name")
    folder.connector = found.classes.get(folder.id) or next(iter(found.classes.values()), None)
    if folder.connector is not None and folder.connector.name != folder.id:
        message = f"The name of {folder.connector.__name__} is `{folder.connector.name}`, and here it is `{folder.id}`"
        folder.problem(file if file.is_file() else drop_in, None, f"{message}: they must be the same")


def _import(folder: Folder, file: Path, name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    # Not even sys.exit() of a folder ends the worker here: the other modules still load.
    except BaseException as raised:
        failure.log(f"Loading {folder.shown(file)}", raised)
        where, line = _place(folder, file, raised)
        folder.problem(where, line, _message(raised))
        return None


def _message(raised: BaseException) -> str:
    if isinstance(raised, SyntaxError):
        return f"{type(raised).__name__}: {raised.msg}"
    text = str(raised).strip()
    return f"{type(raised).__name__}: {text}" if text else type(raised).__name__


def _place(folder: Folder, file: Path, raised: BaseException) -> tuple[Path, int | None]:
    """The innermost line of the folder's own code."""
    if isinstance(raised, SyntaxError) and raised.filename and Path(raised.filename).is_relative_to(folder.snapshot):
        return Path(raised.filename), raised.lineno
    own = [
        frame
        for frame in traceback.extract_tb(raised.__traceback__)
        if Path(frame.filename).is_relative_to(folder.snapshot)
    ]
    return (Path(own[-1].filename), own[-1].lineno) if own else (file, None)


def _register_marked(module: ModuleType) -> None:
    """Registers functions that only carry a schema: those of folders with a `register` of their own."""
    from app.tools import registry

    known = {id(tool["function"]) for tool in registry._tools.values()}
    for value in list(vars(module).values()):
        schema = getattr(value, "_tool_schema", None)
        own = getattr(value, "__module__", None) == module.__name__
        if callable(value) and isinstance(schema, dict) and own and id(value) not in known:
            registry._add(value, schema, None, module.__name__)


def siblings_of(folder: Folder) -> list[str]:
    """Folders whose code this one has imported."""
    ours = Path(__file__).parent.parent
    names = set()
    for name, module in list(sys.modules.items()):
        id = origin.folder_of(name)
        paths = [Path(path) for path in getattr(module, "__path__", ())]
        if id and id != folder.id and paths and not all(path.is_relative_to(ours) for path in paths):
            names.add(id)
    return sorted(names)
