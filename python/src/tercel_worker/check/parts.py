"""The parts that the server loads: tools, dispatcher, hooks, process, router, connector."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tercel_worker import source
from tercel_worker.check import tools
from tercel_worker.check.problem import Problem, error, meant, warning
from tercel_worker.check.source_tree import Tree
from tercel_worker.routes import _CHECKS
from tercel_worker.source import Module

_METHODS = frozenset({"get", "post", "put", "patch", "delete", "head", "options", "api_route", "route"})
Function = ast.FunctionDef | ast.AsyncFunctionDef


def look(tree: Tree) -> Iterator[Problem]:
    yield from tools.look(tree)
    for name, check in (("dispatcher", _dispatcher), ("hooks", _hooks), ("process", _process), ("router", _router)):
        module = tree.part(name)
        if module is not None:
            yield from check(tree, module)
    yield from _connector(tree)


def _dispatcher(tree: Tree, module: Module) -> Iterator[Problem]:
    calls = list(_calls(module, "register"))
    if not calls:
        yield error(
            module.shown, None, f'Nothing is registered here: end with register("{tree.id}", …), at the top level'
        )
    for call in calls:
        kind = source.literal(call.args[0], module) if call.args else None
        if isinstance(kind, str) and kind in ("none", "webhook", "internal"):
            yield error(module.shown, call.lineno, f"The dispatch type `{kind}` is the server's: register `{tree.id}`")
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            methods = {one.name: one for one in node.body if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))}
            if "deliver" in methods:
                for name in ("deliver", "post_message"):
                    yield from _takes_all(module, node, name, methods.get(name))


# What the server passes by name.
_ARGUMENTS = {
    "deliver": ("client_actions", "extra_metadata"),
    "post_message": (
        "bot_id",
        "reply_in_thread",
        "username",
        "icon_emoji",
        "icon_url",
        "client_actions",
        "extra_metadata",
    ),
}


def _takes_all(module: Module, owner: ast.ClassDef, name: str, method: Function | None) -> Iterator[Problem]:
    if method is None:
        if not owner.bases:
            yield warning(
                module.shown, owner.lineno, f"`{owner.name}` has no {name}(): messages by themselves cannot be posted"
            )
        return
    if not isinstance(method, ast.AsyncFunctionDef):
        yield error(module.shown, method.lineno, f"{name}() is awaited: write `async def {name}`")
    given = {one.arg for one in (*method.args.args, *method.args.kwonlyargs)}
    missing = [one for one in _ARGUMENTS[name] if one not in given]
    if method.args.kwarg is None and missing:
        yield error(
            module.shown, method.lineno, f"{name}() is called with {', '.join(missing)}, and does not take that"
        )


def _hooks(tree: Tree, module: Module) -> Iterator[Problem]:
    for call in _calls(module, "register_hook"):
        event = source.literal(call.args[0], module) if call.args else None
        if isinstance(event, str) and event not in _events():
            yield error(module.shown, call.lineno, f"There is no event `{event}`{meant(event, _events())}")
    for call in _calls(module, "IntegrationMeta"):
        options = {option.arg: source.literal(option.value, module) for option in call.keywords}
        prefix = options.get("client_id_prefix")
        if isinstance(prefix, str) and not prefix.endswith(":"):
            yield error(module.shown, call.lineno, f'client_id_prefix ends with a colon: write "{prefix}:"')


@cache
def _events() -> tuple[str, ...]:
    """The events that the worker package knows."""
    file = Path(__file__).parent.parent.parent / "app" / "agent" / "hooks.py"
    module = source.parse(file, file.name)
    return tuple(source.literal(module.constants["EVENTS"], module))


def _process(tree: Tree, module: Module) -> Iterator[Problem]:
    if "CMD" not in module.constants:
        yield error(
            module.shown, None, f"There is no CMD here, so there is nothing to start{meant('CMD', module.constants)}"
        )
    for name in ("CMD", "REQUIRED_ENV", "WATCH_PATHS"):
        value = module.constants.get(name)
        given = source.literal(value, module) if value is not None else None
        if value is not None and given is not None:
            fits = isinstance(given, list) and all(isinstance(one, str) for one in given)
            if not fits or (name == "CMD" and not given):
                yield error(module.shown, value.lineno, f'{name} is a list of texts: write ["…", "…"]')
            elif name == "CMD":
                yield from _command(tree, module, value.lineno, given)


def _command(tree: Tree, module: Module, line: int, words: list[str]) -> Iterator[Problem]:
    for word in words[1:]:
        own = word.removeprefix(f"integrations/{tree.id}/")
        if word.endswith(".py") and own not in tree.files and not word.startswith("/"):
            known = [f"integrations/{tree.id}/{file}" for file in tree.modules]
            yield error(module.shown, line, f"CMD names `{word}`, which is not in this folder{meant(word, known)}")
        elif word.endswith(".py") and own == word:
            yield error(module.shown, line, f"CMD runs above the folder: write `integrations/{tree.id}/{word}`")


def _router(tree: Tree, module: Module) -> Iterator[Problem]:
    if "router" not in module.constants and not _imports(module, "router"):
        yield error(
            module.shown,
            None,
            f"There is no `router` here: write router = APIRouter(){meant('router', module.constants)}",
        )
        return
    functions = {
        one.name: one for one in ast.walk(module.tree) if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef))
    }
    made = module.constants.get("router")
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


def _connector(tree: Tree) -> Iterator[Problem]:
    module = tree.part("connector")
    if module is None:
        return
    found = source.connector(module)
    if found is None:
        yield error(module.shown, None, "There is no subclass of IntegrationBase here")
        return
    if found.name is not None and found.name != tree.id:
        yield warning(
            module.shown,
            None,
            f"The connector is called `{found.name}` and its folder `{tree.id}`: the folder's name counts",
        )
    keys: set[str] = set()
    for entry in found.fields or []:
        yield from _field(module, entry, keys)


def _field(module: Module, entry: object, keys: set[str]) -> Iterator[Problem]:
    kinds = ("text", "password", "url", "checkbox", "number", "options")
    known = [
        "key",
        "label",
        "type",
        "required",
        "placeholder",
        "help",
        "default",
        "secret",
        "pattern",
        "generate",
        "rotate",
        "multiline",
        "options",
    ]
    if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
        yield error(module.shown, None, "Each of fields() is a table with a `key`")
        return
    key = entry["key"]
    if key in keys:
        yield error(module.shown, None, f"fields() has `{key}` twice")
    keys.add(key)
    if isinstance(entry.get("type"), str) and entry["type"] not in kinds:
        yield error(
            module.shown, None, f"The field `{key}` has the type `{entry['type']}`{meant(entry['type'], kinds)}"
        )
    for name in entry:
        if name not in known:
            yield error(module.shown, None, f"The field `{key}` has the key `{name}`{meant(str(name), known)}")
    for name in ("label", "type"):
        if name not in entry:
            yield error(module.shown, None, f"The field `{key}` has no `{name}`, which it must have")


def _calls(module: Module, name: str) -> Iterator[ast.Call]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == name:
                yield node


def _imports(module: Module, name: str) -> bool:
    return any(
        isinstance(node, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in node.names)
        for node in ast.walk(module.tree)
    )
