"""Code that holds up everything else of its folder: it waits where others wait for it."""

import ast
from collections.abc import Iterator

from tercel_worker.check.problem import Problem, error, warning
from tercel_worker.check.source_tree import Tree

_SLOW = {
    "time.sleep": "await asyncio.sleep(…)",
    "requests.get": "httpx.AsyncClient",
    "requests.post": "httpx.AsyncClient",
    "requests.put": "httpx.AsyncClient",
    "requests.patch": "httpx.AsyncClient",
    "requests.delete": "httpx.AsyncClient",
    "requests.request": "httpx.AsyncClient",
    "urllib.request.urlopen": "httpx.AsyncClient",
    "httpx.get": "httpx.AsyncClient",
    "httpx.post": "httpx.AsyncClient",
    "subprocess.run": "asyncio.create_subprocess_exec",
    "subprocess.check_output": "asyncio.create_subprocess_exec",
}


def look(tree: Tree) -> Iterator[Problem]:
    for module in tree.program():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.AsyncFunctionDef):
                for call in _own_calls(node):
                    name = ast.unparse(call.func)
                    if name in _SLOW:
                        yield warning(
                            module.shown,
                            call.lineno,
                            f"While {name}() waits, no other call of this folder goes on: use {_SLOW[name]}, or leave"
                            f" `async` out of `{node.name}`",
                        )
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "input":
                yield error(module.shown, node.lineno, "Nobody can type an answer to input() on a server")


def _own_calls(function: ast.AsyncFunctionDef) -> Iterator[ast.Call]:
    """Not those of functions inside, which may run in a thread."""
    waiting: list[ast.AST] = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.Call):
            yield node
        if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            waiting.extend(ast.iter_child_nodes(node))
