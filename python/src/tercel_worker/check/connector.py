"""The connector: one class with what the form, the test and the records need."""

import ast
from collections.abc import Iterator

from tercel_worker import source
from tercel_worker.check.problem import Problem, error, meant, renamed, warning
from tercel_worker.check.source_tree import Tree
from tercel_worker.source import Module

Function = ast.FunctionDef | ast.AsyncFunctionDef

_TIERS = ("free", "paid", "premium")
# Each with what it is called with, after `self`.
_METHODS = {"fields": 0, "connect": 1, "test": 0, "sync": 1}
_NEEDED = ("fields", "connect", "test")
_KINDS = ("text", "password", "url", "checkbox", "number", "options")
_KEYS = (
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
)


def look(tree: Tree) -> Iterator[Problem]:
    module = tree.part("connector")
    if module is None:
        return
    classes = [node for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    found = [node for node in classes if any(_last(base) == "IntegrationBase" for base in node.bases)]
    if not found:
        yield error(module.shown, classes[0].lineno if classes else 1, "There is no subclass of IntegrationBase here")
        return
    bases = {_last(base) for node in classes for base in node.bases}
    for extra in [node for node in found if node.name not in bases][1:]:
        yield error(
            module.shown,
            extra.lineno,
            f"A folder has one connector: `{extra.name}` is another, for a folder of its own",
        )
    yield from _class(tree, module, found[0], inherits=found[0].name in bases or len(found[0].bases) > 1)


def _last(node: ast.expr) -> str:
    return ast.unparse(node).rpartition(".")[2]


def _class(tree: Tree, module: Module, node: ast.ClassDef, inherits: bool) -> Iterator[Problem]:
    assigned = {
        target.id: one.value
        for one in node.body
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Name)
    }
    name = source.literal(assigned["name"], module) if "name" in assigned else None
    if isinstance(name, str) and name != tree.id:
        line = assigned["name"].lineno
        yield warning(
            module.shown, line, f"The connector is called `{name}` and its folder `{tree.id}`: the folder's name counts"
        )
    tier = source.literal(assigned["tier"], module) if "tier" in assigned else None
    if tier is not None and tier not in _TIERS:
        yield error(module.shown, assigned["tier"].lineno, f"There is no tier `{tier}`{meant(str(tier), _TIERS)}")
    methods = {one.name: one for one in node.body if isinstance(one, Function)}
    if not inherits:
        for one in ("name", "label", "tier"):
            if one not in assigned:
                yield error(module.shown, node.lineno, f"`{node.name}` has no `{one}`{renamed(one, assigned)}")
        for one in _NEEDED:
            if one not in methods:
                yield error(module.shown, node.lineno, f"`{node.name}` has no {one}(){renamed(one, methods)}")
    for one, count in _METHODS.items():
        if one in methods:
            yield from _method(module, methods[one], count)
    if "fields" in methods:
        yield from _fields(module, methods["fields"])


def _method(module: Module, method: Function, count: int) -> Iterator[Problem]:
    if isinstance(method, ast.AsyncFunctionDef):
        yield error(
            module.shown, method.lineno, f"{method.name}() is called and not awaited: write `def {method.name}`"
        )
    places = len(method.args.posonlyargs) + len(method.args.args)
    without = places - len(method.args.defaults)
    if method.args.vararg is None and not without <= count + 1 <= places:
        takes = {"connect": "self and the values", "sync": "self and the records"}.get(method.name, "self alone")
        yield error(module.shown, method.lineno, f"{method.name}() is called with {takes}")


def _fields(module: Module, method: Function) -> Iterator[Problem]:
    returned = next((one.value for one in method.body if isinstance(one, ast.Return)), None)
    if isinstance(returned, (ast.Dict, ast.Constant)):
        yield error(module.shown, returned.lineno, "fields() answers a list of tables: write [{…}, {…}]")
    keys: set[str] = set()
    for entry in returned.elts if isinstance(returned, (ast.List, ast.Tuple)) else ():
        value = source.literal(entry, module)
        if value is not None or isinstance(entry, ast.Constant):
            yield from _field(module, entry.lineno, value, keys)


def _field(module: Module, line: int, entry: object, keys: set[str]) -> Iterator[Problem]:
    if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
        yield error(module.shown, line, "Each of fields() is a table with a `key`")
        return
    key = entry["key"]
    if key in keys:
        yield error(module.shown, line, f"fields() has `{key}` twice")
    keys.add(key)
    if isinstance(entry.get("type"), str) and entry["type"] not in _KINDS:
        near = meant(entry["type"], _KINDS)
        yield error(module.shown, line, f"The field `{key}` has the type `{entry['type']}`{near}")
    for name in entry:
        if name not in _KEYS:
            yield error(module.shown, line, f"The field `{key}` has the key `{name}`{meant(str(name), _KEYS)}")
    for name in ("label", "type"):
        if name not in entry:
            yield error(module.shown, line, f"The field `{key}` has no `{name}`, which it must have")
