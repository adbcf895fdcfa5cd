"""Tools: that they register, with a schema that a model can use, under a name of their own."""

import ast
import re
from collections.abc import Iterator
from typing import Any

from tercel_worker import source
from tercel_worker.check.problem import Problem, error, meant, warning
from tercel_worker.check.source_tree import Tree
from tercel_worker.source import Module

# What model providers take.
_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_KEYS = ("type", "function", "effect", "idempotent")
_KINDS = ("string", "number", "integer", "boolean", "array", "object", "null")


def look(tree: Tree) -> Iterator[Problem]:
    names: dict[str, str] = {}
    for module in tree.tools():
        registered = 0
        for function in ast.walk(module.tree):
            if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                for decorator in function.decorator_list:
                    if _is_register(decorator):
                        registered += 1
                        yield from _tool(module, function, decorator, names)
        made_at_run_time = any(isinstance(node, ast.Call) and _is_register(node) for node in ast.walk(module.tree))
        marked = any(isinstance(node, ast.Attribute) and node.attr == "_tool_schema" for node in ast.walk(module.tree))
        if not registered and not made_at_run_time and not marked and module.shown != "tools/__init__.py":
            yield warning(
                module.shown,
                1,
                "No tool is registered here: put @register({…}) above the function, or begin the file's name with _",
            )


def _is_register(node: ast.expr) -> bool:
    function = node.func if isinstance(node, ast.Call) else node
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name == "register"


def _tool(
    module: Module, function: ast.FunctionDef | ast.AsyncFunctionDef, decorator: ast.expr, names: dict[str, str]
) -> Iterator[Problem]:
    line = decorator.lineno
    if not isinstance(decorator, ast.Call) or not (decorator.args or decorator.keywords):
        yield error(module.shown, line, f'`{function.name}` has no schema: write @register({{"type": "function", …}})')
        return
    given = decorator.args[0] if decorator.args else decorator.keywords[0].value
    schema = source.literal(given, module)
    if schema is None:
        return
    described = schema.get("function") if isinstance(schema, dict) else None
    if not isinstance(described, dict):
        yield error(
            module.shown,
            line,
            f'The schema of `{function.name}` has no "function": {{"name", "description", "parameters"}}',
        )
        return
    if schema.get("type") != "function":
        yield warning(module.shown, line, f'The schema of `{function.name}` has no "type": "function"')
    for name in schema.keys() - set(_KEYS):
        near = meant(str(name), _KEYS)
        if near.endswith("meant?"):
            yield error(module.shown, line, f"The schema of `{function.name}` has the key `{name}`{near}")
    yield from _name(module, line, function.name, described.get("name"), names)
    if not str(described.get("description") or ast.get_docstring(function) or "").strip():
        yield error(module.shown, line, f"`{function.name}` has no description: it is all that a model knows of it")
    effect = schema.get("effect", described.get("effect"))
    if effect is not None and effect not in ("read", "write", "destroy"):
        yield error(
            module.shown,
            line,
            f"The effect `{effect}` of `{function.name}` is none{meant(str(effect), ('read', 'write', 'destroy'))}",
        )
    yield from _parameters(module, line, function, described.get("parameters"))


def _name(module: Module, line: int, function: str, name: Any, names: dict[str, str]) -> Iterator[Problem]:
    if not isinstance(name, str) or not _NAME.match(name):
        yield error(
            module.shown, line, f"The schema of `{function}` has no name of letters, digits, _ and -, 64 at most"
        )
    elif name in names:
        yield error(module.shown, line, f"The tool `{name}` is in {names[name]} already, which keeps it")
    else:
        names[name] = f"{module.shown}, line {line},"


def _parameters(
    module: Module, line: int, function: ast.FunctionDef | ast.AsyncFunctionDef, parameters: Any
) -> Iterator[Problem]:
    if parameters is None:
        parameters = {"type": "object", "properties": {}}
    if not isinstance(parameters, dict) or parameters.get("type") != "object":
        yield error(
            module.shown, line, f'The parameters of `{function.name}` are {{"type": "object", "properties": {{…}}}}'
        )
        return
    properties = parameters.get("properties") or {}
    if not isinstance(properties, dict):
        yield error(module.shown, line, f"The properties of `{function.name}` are a table of names and schemas")
        return
    yield from _kinds(module, line, function.name, properties)
    takes = {one.arg for one in (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)}
    if function.args.kwarg is None:
        for name in properties.keys() - takes:
            yield error(
                module.shown,
                function.lineno,
                f"`{function.name}` does not take `{name}`, which its schema offers{meant(name, takes)}",
            )
    required = parameters.get("required") or []
    if not isinstance(required, list):
        yield error(module.shown, line, f'`required` of `{function.name}` is a list: write ["{required}"]')
        required = []
    for name in required:
        if name not in properties:
            yield error(
                module.shown,
                line,
                f"`{function.name}` requires `{name}`, which is not among its properties{meant(str(name), properties)}",
            )
    for name in _without_default(function) - properties.keys():
        yield error(module.shown, function.lineno, f"`{function.name}` needs `{name}`, which its schema does not offer")
    for name in sorted(_without_default(function) & properties.keys() - set(required)):
        yield warning(
            module.shown, function.lineno, f"`{function.name}` needs `{name}`, which its schema does not require"
        )


def _kinds(module: Module, line: int, function: str, properties: dict[str, Any]) -> Iterator[Problem]:
    for name, schema in properties.items():
        if not isinstance(schema, dict):
            written = f'{{"type": "{schema}"}}' if schema in _KINDS else '{"type": …}'
            yield error(module.shown, line, f"`{name}` of `{function}` is a table: write {written}")
            continue
        if schema.get("type") == "array" and "items" not in schema:
            yield warning(module.shown, line, f'`{name}` of `{function}` does not say of what: add "items"')
        if "enum" in schema and not isinstance(schema["enum"], list):
            yield error(module.shown, line, f"`enum` of `{name}` of `{function}` is a list")
        kinds = schema.get("type")
        for kind in kinds if isinstance(kinds, list) else [kinds] if kinds is not None else []:
            if kind not in _KINDS:
                yield error(
                    module.shown, line, f"`{name}` of `{function}` has the type `{kind}`{meant(str(kind), _KINDS)}"
                )


def _without_default(function: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    positional = [*function.args.posonlyargs, *function.args.args]
    without = positional[: len(positional) - len(function.args.defaults)]
    named = [
        one for one, default in zip(function.args.kwonlyargs, function.args.kw_defaults, strict=True) if default is None
    ]
    return {one.arg for one in (*without, *named)}
