"""Hooks: events that there are, functions that can be called with them, prefixes that are ones."""

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from tercel_worker import source
from tercel_worker.check.problem import Problem, error, meant, warning
from tercel_worker.check.source_tree import Tree, calls
from tercel_worker.source import Module

Function = ast.FunctionDef | ast.AsyncFunctionDef


def look(tree: Tree) -> Iterator[Problem]:
    module = tree.part("hooks")
    if module is None:
        return
    registers = [*calls(module, "register_hook"), *calls(module, "register_integration")]
    names = {one.name for one in ast.walk(module.tree) if isinstance(one, Function)}
    if names and not registers:
        yield warning(
            module.shown, 1, "Nothing is registered here: register_hook(…) or register_integration(…) does it"
        )
    for call in calls(module, "register_hook"):
        yield from _hook(module, call)
    for call in calls(module, "IntegrationMeta"):
        yield from _meta(tree, module, call)


def _hook(module: Module, call: ast.Call) -> Iterator[Problem]:
    event = source.literal(call.args[0], module) if call.args else None
    if isinstance(event, str) and event not in _events():
        yield error(module.shown, call.lineno, f"There is no event `{event}`{meant(event, _events())}")
    callback = call.args[1] if len(call.args) > 1 else None
    if isinstance(callback, ast.Call):
        name = ast.unparse(callback.func)
        yield error(
            module.shown, call.lineno, f"`{name}(…)` is called here, once: write `{name}`, which is then called"
        )
    functions = {one.name: one for one in module.tree.body if isinstance(one, Function)}
    function = functions.get(callback.id) if isinstance(callback, ast.Name) else None
    if function is not None:
        places = len(function.args.posonlyargs) + len(function.args.args)
        if places == 0 and function.args.vararg is None:
            yield error(module.shown, function.lineno, f"`{function.name}` is called as {function.name}(ctx, **more)")
        elif function.args.kwarg is None:
            yield error(
                module.shown,
                function.lineno,
                f"`{function.name}` is called with more by name, and later with more than now: end with `**_`",
            )


def _meta(tree: Tree, module: Module, call: ast.Call) -> Iterator[Problem]:
    options = {option.arg: source.literal(option.value, module) for option in call.keywords}
    kind = options.get("integration_type", source.literal(call.args[0], module) if call.args else None)
    if isinstance(kind, str) and kind != tree.id:
        near = f"; is `{tree.id}` meant?"
        yield warning(
            module.shown, call.lineno, f"The integration is called `{kind}` here and by its folder `{tree.id}`{near}"
        )
    prefix = options.get("client_id_prefix", source.literal(call.args[1], module) if len(call.args) > 1 else None)
    if isinstance(prefix, str) and not prefix.endswith(":"):
        yield error(module.shown, call.lineno, f'client_id_prefix ends with a colon: write "{prefix}:"')


@cache
def _events() -> tuple[str, ...]:
    """The events that the worker package knows."""
    file = Path(__file__).parent.parent.parent / "app" / "agent" / "hooks.py"
    module = source.parse(file, file.name)
    return tuple(source.literal(module.constants["EVENTS"], module))
