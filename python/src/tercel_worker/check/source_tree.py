"""The files of a folder, read once."""

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tercel_worker import source
from tercel_worker.check.problem import Problem, error
from tercel_worker.source import Module

_SKIPPED = {"__pycache__", "node_modules", "venv"}


@dataclass
class Tree:
    folder: Path
    # Below the folder, in order.
    files: list[str] = field(default_factory=list)
    links: list[str] = field(default_factory=list)
    modules: dict[str, Module] = field(default_factory=dict)
    # What cannot be read.
    broken: list[Problem] = field(default_factory=list)

    @property
    def id(self) -> str:
        return self.folder.resolve().name

    @classmethod
    def read(cls, folder: Path) -> "Tree":
        tree = cls(folder)
        for path in _walk(folder):
            shown = path.relative_to(folder).as_posix()
            if path.is_symlink():
                tree.links.append(shown)
                continue
            tree.files.append(shown)
            if path.suffix == ".py":
                tree._parse(path, shown)
        return tree

    def _parse(self, path: Path, shown: str) -> None:
        try:
            self.modules[shown] = source.parse(path, shown)
        except SyntaxError as wrong:
            self.broken.append(_of_syntax(path, shown, wrong))
        except (ValueError, RecursionError, OSError) as wrong:
            self.broken.append(error(shown, None, f"This cannot be read as Python: {wrong}"))

    def part(self, name: str) -> Module | None:
        return self.modules.get(f"{name}.py")

    def tools(self) -> Iterator[Module]:
        """The files that the server loads as tools."""
        for shown, module in self.modules.items():
            directory, _, name = shown.rpartition("/")
            if directory == "tools" and not name.startswith(("_", ".")):
                yield module

    def tool_names(self) -> Iterator[str]:
        """Names that stand in the schemas of tools."""
        for module in self.tools():
            for node in ast.walk(module.tree):
                if isinstance(node, ast.Call) and ast.unparse(node.func).endswith("register") and node.args:
                    schema = source.literal(node.args[0], module)
                    described = schema.get("function") if isinstance(schema, dict) else None
                    if isinstance(described, dict) and isinstance(described.get("name"), str):
                        yield described["name"]

    def program(self) -> Iterator[Module]:
        """What runs on a server: all but the tests."""
        for shown, module in self.modules.items():
            if not is_test(shown):
                yield module


def _of_syntax(path: Path, shown: str, wrong: SyntaxError) -> Problem:
    if wrong.lineno is not None:
        return error(shown, wrong.lineno, f"{type(wrong).__name__}: {wrong.msg}")
    # Only what cannot be read as text has no line.
    before = path.read_bytes()
    try:
        before.decode()
        return error(shown, 1, f"{type(wrong).__name__}: {wrong.msg.partition(' for ')[0]}")
    except UnicodeDecodeError as where:
        return error(shown, before[: where.start].count(b"\n") + 1, "This is not UTF-8, which Python is written in")


def is_test(shown: str) -> bool:
    name = shown.rpartition("/")[2]
    return shown.startswith("tests/") or name.startswith("test_") or name == "conftest.py"


def _walk(folder: Path) -> Iterator[Path]:
    for directory, names, files in os.walk(folder):
        base = Path(directory)
        linked = [name for name in names if (base / name).is_symlink()]
        names[:] = sorted(
            name for name in names if name not in _SKIPPED and not name.startswith(".") and name not in linked
        )
        for name in sorted([*files, *linked]):
            if not name.startswith("."):
                yield base / name


def calls(module: Module, name: str) -> Iterator[ast.Call]:
    """Of a function by its last name."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == name:
                yield node


def guarded(tree: ast.AST) -> set[ast.AST]:
    """What stands in a `try` that expects an import to fail, or is only for a type checker."""
    inside: set[ast.AST] = set()
    for node in ast.walk(tree):
        body: list[ast.stmt] = []
        if isinstance(node, ast.Try) and any(_expects_import_error(one) for one in node.handlers):
            body = [*node.body, *(statement for handler in node.handlers for statement in handler.body)]
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            body = node.body
        inside.update(inner for statement in body for inner in ast.walk(statement))
    return inside


def _expects_import_error(handler: ast.ExceptHandler) -> bool:
    if handler.type is None:
        return True
    return any(name in ast.unparse(handler.type) for name in ("ImportError", "ModuleNotFoundError", "Exception"))
