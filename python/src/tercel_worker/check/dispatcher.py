"""The dispatcher: that it is registered when the file is loaded, and can be called as it will be."""

import ast
from collections.abc import Iterator

from tercel_worker import source
from tercel_worker.check.problem import Problem, error, renamed, warning
from tercel_worker.check.source_tree import Tree, calls
from tercel_worker.source import Module

Function = ast.FunctionDef | ast.AsyncFunctionDef

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
# And by place, after `self`.
_PLACES = {"deliver": ("task", "result"), "post_message": ("dispatch_config", "text")}


def look(tree: Tree) -> Iterator[Problem]:
    module = tree.part("dispatcher")
    if module is None:
        return
    found = list(calls(module, "register"))
    if not found:
        yield error(module.shown, 1, f'Nothing is registered here: end with register("{tree.id}", …), at the top level')
    only_as_program = {id(inner) for node in module.tree.body if _is_for_programs(node) for inner in ast.walk(node)}
    for call in found:
        if id(call) in only_as_program:
            yield error(
                module.shown,
                call.lineno,
                "This is a module and no program: register at the top level, outside of the `if`",
            )
        yield from _registered(tree, module, call)
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            methods = {one.name: one for one in node.body if isinstance(one, Function)}
            if "deliver" in methods:
                for name in ("deliver", "post_message"):
                    yield from _takes_all(module, node, name, methods.get(name))


def _is_for_programs(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "__main__" in ast.unparse(node.test)


def _registered(tree: Tree, module: Module, call: ast.Call) -> Iterator[Problem]:
    kind = source.literal(call.args[0], module) if call.args else None
    if isinstance(kind, str) and kind in ("none", "webhook", "internal"):
        yield error(module.shown, call.lineno, f"The dispatch type `{kind}` is the server's: register `{tree.id}`")
    if len(call.args) < 2:
        return
    first, given = call.args[:2]
    classes = {node.name: node for node in module.tree.body if isinstance(node, ast.ClassDef)}
    if isinstance(first, ast.Call):
        yield error(module.shown, call.lineno, f'The dispatch type comes first: register("{tree.id}", …)')
    elif isinstance(given, ast.Name) and given.id in classes:
        yield error(module.shown, call.lineno, f"`{given.id}` is a class: register one of it, `{given.id}()`")
    made = given.func.id if isinstance(given, ast.Call) and isinstance(given.func, ast.Name) else None
    node = classes.get(made) if made else None
    if node is not None and not node.bases:
        methods = [one.name for one in node.body if isinstance(one, Function)]
        if "deliver" not in methods:
            yield error(module.shown, node.lineno, f"`{node.name}` has no deliver(){renamed('deliver', methods)}")


def _takes_all(module: Module, owner: ast.ClassDef, name: str, method: Function | None) -> Iterator[Problem]:
    if method is None:
        if not owner.bases:
            yield warning(
                module.shown, owner.lineno, f"`{owner.name}` has no {name}(): messages by themselves cannot be posted"
            )
        return
    if not isinstance(method, ast.AsyncFunctionDef):
        yield error(module.shown, method.lineno, f"{name}() is awaited: write `async def {name}`")
    is_bound = not any("staticmethod" in ast.unparse(one) for one in method.decorator_list)
    places = [one.arg for one in (*method.args.posonlyargs, *method.args.args)]
    wanted = (["self"] if is_bound else []) + list(_PLACES[name])
    lacks_self = is_bound and places[:1] == list(_PLACES[name][:1])
    if (lacks_self or len(places) < len(wanted)) and method.args.vararg is None:
        yield error(module.shown, method.lineno, f"{name}() is called with {', '.join(wanted)}, in this order")
        return
    given = {*places, *(one.arg for one in method.args.kwonlyargs)}
    missing = [one for one in _ARGUMENTS[name] if one not in given]
    if method.args.kwarg is None and missing:
        yield error(
            module.shown, method.lineno, f"{name}() is called with {', '.join(missing)}, and does not take that"
        )
