"""What is loaded has to come to its end: it is imported, and then called."""

import ast
from collections.abc import Iterator

from tercel_worker.check.problem import Problem, error
from tercel_worker.check.source_tree import Tree

_LOADED = ("__init__", "setup", "process", "config", "dispatcher", "hooks", "router", "connector")
_ENDS = ("sys.exit", "os._exit", "exit", "quit")
_SERVES = ("uvicorn.run", "app.run")


def look(tree: Tree) -> Iterator[Problem]:
    for module in [*filter(None, map(tree.part, _LOADED)), *tree.tools()]:
        for node in module.tree.body:
            if isinstance(node, ast.While) and not any(isinstance(one, ast.Break) for one in ast.walk(node)):
                yield error(
                    module.shown,
                    node.lineno,
                    "This loop does not end, so that the folder is never loaded: process.py is for that",
                )
            call = node.value if isinstance(node, ast.Expr) else None
            name = ast.unparse(call.func) if isinstance(call, ast.Call) else ""
            if name in _ENDS:
                yield error(module.shown, node.lineno, f"{name}() ends the loading of this file: nothing of it counts")
            elif name in _SERVES:
                yield error(
                    module.shown,
                    node.lineno,
                    f"{name}() does not come back, so that the folder is never loaded: process.py is for that",
                )
