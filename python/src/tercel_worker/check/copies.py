"""Calls of a service that another folder makes already."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from tercel_worker.check.problem import Problem, warning
from tercel_worker.check.source_tree import Tree
from tercel_worker.source import Module, parse

# Services that have a client every folder can import.
_CLIENTS = {
    "slack": (re.compile(r"https://(slack\.com/api|hooks\.slack\.com)/"), "integrations.slack.client and .uploads")
}
# Shorter functions are alike by chance.
_STATEMENTS = 4


def look(tree: Tree) -> Iterator[Problem]:
    theirs = _functions_beside(tree.folder)
    for module in tree.program():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                for service, (address, client) in _CLIENTS.items():
                    if tree.id != service and address.match(node.value):
                        yield warning(
                            module.shown,
                            node.lineno,
                            f"This calls {service} itself; {client} do it by the operator's connection",
                        )
        for function, text in _calling(module):
            if text in theirs:
                yield warning(
                    module.shown,
                    function.lineno,
                    f"`{function.name}` is a copy of the one in {theirs[text]}: import it from there",
                )


def _calling(module: Module) -> Iterator[tuple[ast.FunctionDef | ast.AsyncFunctionDef, str]]:
    """Functions that name an address, and their code without line numbers."""
    for node in ast.walk(module.tree):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            inner = list(ast.walk(node))
            statements = sum(isinstance(one, ast.stmt) for one in inner) - 1
            addressed = any(
                isinstance(one, ast.Constant) and isinstance(one.value, str) and "://" in one.value for one in inner
            )
            if addressed and statements >= _STATEMENTS:
                yield node, ast.dump(node)


def _functions_beside(folder: Path) -> dict[str, str]:
    """Functions of the folders beside this one, by their code."""
    found: dict[str, str] = {}
    own = folder.resolve()
    for file in sorted(own.parent.glob("*/**/*.py")):
        id = file.relative_to(own.parent).parts[0]
        if id == own.name or file.is_symlink() or id.startswith((".", "_")):
            continue
        try:
            module = parse(file, str(file.relative_to(own.parent)))
        except (SyntaxError, ValueError, RecursionError, OSError):
            continue
        for function, text in _calling(module):
            found.setdefault(text, f"{module.shown}, line {function.lineno}")
    return found
