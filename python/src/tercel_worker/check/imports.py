"""Imports of the server's names, of the folder's own files, and of the folders beside it."""

import ast
from collections.abc import Iterator

from tercel_worker.check import promised
from tercel_worker.check.problem import Problem, error, meant, warning
from tercel_worker.check.source_tree import Tree, guarded
from tercel_worker.source import Module

# Modules that ship with the worker for the sake of folders.
_SHIPPED = ("integrations.slack",)


def look(tree: Tree) -> Iterator[Problem]:
    for module in tree.program():
        tolerated = guarded(module.tree)
        for node in ast.walk(module.tree):
            if node in tolerated:
                continue
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield from _of_server(tree, module, node.lineno, alias.name, None)
            elif isinstance(node, ast.ImportFrom) and node.level:
                yield from _relative(tree, module, node)
            elif isinstance(node, ast.ImportFrom) and node.module:
                for alias in node.names:
                    yield from _of_server(tree, module, node.lineno, node.module, alias.name)
                yield from _own(tree, module, node)


def _of_server(tree: Tree, module: Module, line: int, name: str, attribute: str | None) -> Iterator[Problem]:
    """The documented names are there, and no others."""
    package = name.partition(".")[0]
    if package == "integrations":
        yield from _of_folders(tree, module, line, name, attribute)
    elif package in ("app", "scripts"):
        dotted = f"{name}.{attribute}" if attribute else name
        if dotted in promised.modules() or _is_drop_in(name):
            return
        if name not in promised.modules():
            near = meant(name, [one for one in promised.modules() if one.startswith(f"{package}.")])
            advice = (
                " Tools register by integrations._register, what one may ask the server for is in integrations.utils"
            )
            yield error(
                module.shown,
                line,
                f"`{dotted}` is the server's own, not for integrations{near if near.endswith('meant?') else '.'}"
                + (advice if package == "app" else ""),
            )
        elif attribute:
            yield from _name(module, line, name, attribute)


def _is_drop_in(name: str) -> bool:
    """A connector class of somebody's, beside ours."""
    return name.startswith("scripts.integrations.") and name not in promised.modules()


def _name(module: Module, line: int, name: str, attribute: str) -> Iterator[Problem]:
    if attribute != "*" and attribute not in promised.names(name):
        yield error(module.shown, line, f"`{name}` has no `{attribute}`{meant(attribute, promised.public(name))}")


def _of_folders(tree: Tree, module: Module, line: int, name: str, attribute: str | None) -> Iterator[Problem]:
    if name in promised.modules() and name != "integrations":
        if attribute:
            yield from _name(module, line, name, attribute)
        return
    dotted = f"{name}.{attribute}" if attribute and name == "integrations" else name
    own = dotted.split(".")[1:2]
    if not own or own == [tree.id] or dotted in promised.modules() or dotted.startswith(_SHIPPED):
        return
    beside = tree.folder.resolve().parent
    if not (beside / own[0]).is_dir():
        known = [one.name for one in beside.iterdir() if one.is_dir() and not one.name.startswith((".", "_"))]
        ours = [one.removeprefix("integrations.") for one in promised.modules() if one.startswith("integrations.")]
        near = meant(own[0], [*known, *ours])
        yield warning(
            module.shown,
            line,
            f"There is no folder `{own[0]}` beside this one{near if near.endswith('meant?') else ''}",
        )


def _relative(tree: Tree, module: Module, node: ast.ImportFrom) -> Iterator[Problem]:
    package = module.shown.split("/")[:-1]
    above = node.level - 1
    if above > len(package):
        yield warning(module.shown, node.lineno, "This reaches out of the folder; import others as integrations.<name>")
        return
    start = package[: len(package) - above]
    if node.module:
        yield from _exists(tree, module, node, [*start, *node.module.split(".")])
    else:
        for alias in node.names:
            if alias.name != "*" and not _defined_in_package(tree, start, alias.name):
                yield from _exists(tree, module, node, [*start, alias.name])


def _own(tree: Tree, module: Module, node: ast.ImportFrom) -> Iterator[Problem]:
    parts = (node.module or "").split(".")
    if parts[:2] == ["integrations", tree.id] and len(parts) > 2:
        yield from _exists(tree, module, node, parts[2:])


def _defined_in_package(tree: Tree, package: list[str], name: str) -> bool:
    inside = tree.modules.get("/".join([*package, "__init__.py"]))
    return inside is not None and name in inside.defined()


def _exists(tree: Tree, module: Module, node: ast.ImportFrom, path: list[str]) -> Iterator[Problem]:
    name = "/".join(path)
    if not any(file == f"{name}.py" or file.startswith(f"{name}/") for file in tree.files):
        there = {
            file.removesuffix(".py").replace("/", ".") for file in tree.modules if not file.endswith("__init__.py")
        }
        yield error(module.shown, node.lineno, f"The folder has no `{name}.py`{meant(name.replace('/', '.'), there)}")
        return
    inside = tree.modules.get(f"{name}.py")
    if inside is None or not node.module or inside.defines_at_run_time():
        return
    for alias in node.names:
        if alias.name != "*" and alias.name not in inside.defined():
            yield error(
                module.shown, node.lineno, f"`{name}.py` has no `{alias.name}`{meant(alias.name, inside.defined())}"
            )
