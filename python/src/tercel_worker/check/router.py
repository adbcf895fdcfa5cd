"""The router: that it is one, that the declared webhook arrives at it, and who may call."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from tercel_worker import source
from tercel_worker.check.problem import Problem, error, meant, renamed, warning
from tercel_worker.check.source_tree import Tree
from tercel_worker.routes import _CHECKS
from tercel_worker.source import Module

_METHODS = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "api_route", "route"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass
class Route:
    methods: set[str]
    # None where only the code knows it.
    path: str | None
    line: int


def look(tree: Tree) -> Iterator[Problem]:
    module = tree.part("router")
    if module is None:
        yield from _webhook(tree, None, "")
        return
    made = module.constants.get("router")
    if made is None and not _imports(module, "router"):
        near = renamed("router", module.constants) or ": write router = APIRouter()"
        yield error(module.shown, 1, f"There is no `router` here{near}")
        return
    if isinstance(made, ast.Call) and ast.unparse(made.func).endswith("FastAPI"):
        yield error(module.shown, made.lineno, "`router` is an application, and the server has one: write APIRouter()")
        return
    prefix = _prefix(module, made)
    if prefix is not None and prefix.startswith("/integrations/"):
        yield error(
            module.shown,
            made.lineno if made else 1,
            f"The server puts /integrations/{tree.id} in front: leave it out of the router's prefix",
        )
        return
    yield from _webhook(tree, module, prefix)
    yield from _open(module, made)


def _prefix(module: Module, made: ast.expr | None) -> str | None:
    """What stands before all paths, where that can be read."""
    if not isinstance(made, ast.Call):
        return None
    for option in made.keywords:
        if option.arg == "prefix":
            text = source.literal(option.value, module)
            return text if isinstance(text, str) else None
    return ""


def _webhook(tree: Tree, module: Module | None, prefix: str | None) -> Iterator[Problem]:
    """The path that SETUP declares is one of the router's, for POST."""
    declared = _declared(tree)
    if declared is None or prefix is None or "integration.yaml" in tree.files:
        return
    path, line = declared
    if module is None:
        yield error("setup.py", line, f"There is no router.py that would take what comes to {path}")
        return
    routes = list(_routes(module, prefix))
    if any(route.path is None for route in routes) or _adds(module):
        return
    wanted = path.removeprefix(f"/integrations/{tree.id}")
    same = [route for route in routes if route.path == wanted]
    if not same:
        near = meant(wanted, [route.path for route in routes if route.path])
        yield error("setup.py", line, f"router.py has no route `{wanted}` for what comes to {path}{near}")
    elif not any("post" in route.methods for route in same):
        yield error(module.shown, same[0].line, f'Webhooks are sent with POST: write @router.post("{wanted}")')


def _declared(tree: Tree) -> tuple[str, int] | None:
    module = tree.part("setup")
    table = module.constants.get("SETUP") if module else None
    for key, value in zip(table.keys, table.values, strict=True) if isinstance(table, ast.Dict) else ():
        if key is None or module is None or source.literal(key, module) != "webhook" or not isinstance(value, ast.Dict):
            continue
        for inner, path in zip(value.keys, value.values, strict=True):
            text = source.literal(path, module)
            if inner is not None and source.literal(inner, module) == "path" and isinstance(text, str):
                return (text, path.lineno) if text.startswith(f"/integrations/{tree.id}/") else None
    return None


def _routes(module: Module, prefix: str) -> Iterator[Route]:
    for node in ast.walk(module.tree):
        if not isinstance(node, Function):
            continue
        for decorator in node.decorator_list:
            if _is_route(decorator) and isinstance(decorator, ast.Call) and isinstance(decorator.func, ast.Attribute):
                given = decorator.args[0] if decorator.args else None
                by_name = next((one.value for one in decorator.keywords if one.arg == "path"), given)
                path = source.literal(by_name, module) if by_name is not None else None
                yield Route(_methods(module, decorator), prefix + path if isinstance(path, str) else None, node.lineno)


def _methods(module: Module, decorator: ast.Call) -> set[str]:
    name = decorator.func.attr if isinstance(decorator.func, ast.Attribute) else ""
    if name not in ("api_route", "route"):
        return {name}
    given = next((one.value for one in decorator.keywords if one.arg == "methods"), None)
    listed = source.literal(given, module) if given is not None else ["GET"]
    return {str(one).lower() for one in listed} if isinstance(listed, list) else {"post"}


def _adds(module: Module) -> bool:
    """Routes come from elsewhere, too."""
    calls = (node.func for node in ast.walk(module.tree) if isinstance(node, ast.Call))
    return any(
        isinstance(one, ast.Attribute) and one.attr in ("add_api_route", "include_router", "add_route", "mount")
        for one in calls
    )


def _open(module: Module, made: ast.expr | None) -> Iterator[Problem]:
    functions = {one.name: one for one in ast.walk(module.tree) if isinstance(one, Function)}
    if isinstance(made, ast.Call) and any(option.arg == "dependencies" for option in made.keywords):
        return
    for function in functions.values():
        for decorator in function.decorator_list:
            if _is_route(decorator) and not _is_checked(function, functions, set()):
                call = ast.unparse(decorator)
                yield warning(
                    module.shown,
                    function.lineno,
                    f"Anybody may call `{function.name}` ({call}): check a signature, or add Depends(verify_auth)",
                )


def _is_route(decorator: ast.expr) -> bool:
    function = decorator.func if isinstance(decorator, ast.Call) else None
    return isinstance(function, ast.Attribute) and function.attr in _METHODS and ast.unparse(function.value) == "router"


def _is_checked(function: Function, functions: dict[str, Function], seen: set[str]) -> bool:
    """It uses a name that checks have, itself or in a function of the same file that it calls."""
    seen.add(function.name)
    names = {getattr(node, "id", None) or getattr(node, "attr", None) or "" for node in ast.walk(function)}
    if any(_CHECKS.search(name) for name in (*names, function.name)):
        return True
    called = [functions[name] for name in sorted(names & functions.keys()) if name not in seen]
    return any(_is_checked(one, functions, seen) for one in called)


def _imports(module: Module, name: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names)
        for node in ast.walk(module.tree)
    )
