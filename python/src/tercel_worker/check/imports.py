"""Imports of the server's names and of the folder's own files."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tercel_worker.check.problem import Problem, error, meant, warning
from tercel_worker.check.source_tree import Tree, guarded
from tercel_worker.source import Module

_OURS = Path(__file__).parent.parent.parent


def look(tree: Tree) -> Iterator[Problem]:
    for module in tree.program():
        tolerated = guarded(module.tree)
        for node in ast.walk(module.tree):
            if node in tolerated:
                continue
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from _of_server(module, node.lineno, alias.name, None)
            elif isinstance(node, ast.ImportFrom) and node.level:
                yield from _relative(tree, module, node)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    yield from _of_server(module, node.lineno, node.module, alias.name)
                yield from _own(tree, module, node)


def _of_server(module: Module, line: int, name: str, attribute: str | None) -> Iterator[Problem]:
    """The documented names of `app` are there, and no others."""
    if name.partition(".")[0] != "app":
        return
    promised = _modules()
    dotted = f"{name}.{attribute}" if attribute else name
    if dotted in promised:
        return
    if name not in promised:
        near = meant(name, promised)
        yield error(
            module.shown,
            line,
            f"`{dotted}` is the server's own, not for integrations{near if near.endswith('meant?') else '.'}"
            " Tools register by integrations._register, what one may ask the server for is in integrations.utils",
        )
    elif attribute and attribute != "*" and attribute not in _names(name):
        public = [one for one in _names(name) if not one.startswith("_")]
        yield error(module.shown, line, f"`{name}` has no `{attribute}`{meant(attribute, public)}")


@cache
def _modules() -> frozenset[str]:
    """Modules below `app` that the worker package has: those are what is promised."""
    found = set()
    for file in (_OURS / "app").rglob("*.py"):
        parts = file.relative_to(_OURS).with_suffix("").parts
        found.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return frozenset(found)


@cache
def _names(module: str) -> frozenset[str]:
    path = _OURS.joinpath(*module.split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    names = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return frozenset(names)


def _relative(tree: Tree, module: Module, node: ast.ImportFrom) -> Iterator[Problem]:
    package = module.shown.split("/")[:-1]
    above = node.level - 1
    if above > len(package):
        yield warning(module.shown, node.lineno, "This reaches out of the folder; import others as integrations.<name>")
        return
    start = package[: len(package) - above]
    if node.module:
        yield from _exists(tree, module, node.lineno, [*start, *node.module.split(".")])
    else:
        for alias in node.names:
            if alias.name != "*" and not _defined_in_package(tree, start, alias.name):
                yield from _exists(tree, module, node.lineno, [*start, alias.name])


def _own(tree: Tree, module: Module, node: ast.ImportFrom) -> Iterator[Problem]:
    parts = (node.module or "").split(".")
    if parts[:2] == ["integrations", tree.id] and len(parts) > 2:
        yield from _exists(tree, module, node.lineno, parts[2:])


def _defined_in_package(tree: Tree, package: list[str], name: str) -> bool:
    inside = tree.modules.get("/".join([*package, "__init__.py"]))
    return inside is not None and any(
        name in (getattr(node, "name", None), getattr(node, "id", None)) for node in ast.walk(inside.tree)
    )


def _exists(tree: Tree, module: Module, line: int, path: list[str]) -> Iterator[Problem]:
    name = "/".join(path)
    if any(file == f"{name}.py" or file.startswith(f"{name}/") for file in tree.files):
        return
    there = {file.removesuffix(".py").replace("/", ".") for file in tree.modules if not file.endswith("__init__.py")}
    yield error(module.shown, line, f"The folder has no `{name}.py`{meant(name.replace('/', '.'), there)}")
