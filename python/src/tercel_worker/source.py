"""Python source as data: literals, environment names, settings classes, connectors, imports."""

import ast
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Module:
    shown: str
    tree: ast.Module
    # What is assigned to names at the top level.
    constants: dict[str, ast.expr] = field(default_factory=dict)

    def defined(self) -> set[str]:
        """All names that the top level, in whatever branch, or a `global` gives a meaning to."""
        found = set()
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
                found.add(node.name)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                found.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                found.add(node.id)
            elif isinstance(node, ast.ExceptHandler) and node.name:
                found.add(node.name)
        return found

    def defines_at_run_time(self) -> bool:
        """Names come from where nothing is read: a star, or code that makes them."""
        makers = ("exec", "eval", "globals", "vars", "setattr")
        return any(
            (isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names))
            or (isinstance(node, ast.Name) and node.id in makers)
            or (isinstance(node, ast.FunctionDef) and node.name == "__getattr__")
            for node in ast.walk(self.tree)
        )


class NotLiteral(ValueError):
    """The value is known only when the code runs."""


def parse(file: Path, shown: str) -> Module:
    with tokenize.open(file) as stream:
        module = Module(shown, ast.parse(stream.read(), str(file)))
    for statement in module.tree.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name):
                    module.constants[target.id] = statement.value
        elif isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name) and statement.value:
            module.constants[statement.target.id] = statement.value
    return module


def literal(node: ast.expr, module: Module) -> Any:
    """The value of an expression, or None when it is known only at run time."""
    try:
        return _value(node, module, 0)
    except (NotLiteral, RecursionError):
        return None


def _value(node: ast.expr, module: Module, depth: int) -> Any:
    if depth > 50:
        raise NotLiteral
    match node:
        case ast.Constant():
            return node.value
        case ast.Dict():
            if None in node.keys:
                raise NotLiteral
            keys = [_value(key, module, depth + 1) for key in node.keys if key is not None]
            return dict(zip(keys, (_value(value, module, depth + 1) for value in node.values), strict=True))
        case ast.List() | ast.Tuple() | ast.Set():
            return [_value(item, module, depth + 1) for item in node.elts]
        case ast.BinOp(op=ast.Add()):
            left, right = _value(node.left, module, depth + 1), _value(node.right, module, depth + 1)
            if type(left) is type(right) and isinstance(left, (str, list)):
                return left + right
        case ast.UnaryOp(op=ast.USub()):
            operand = _value(node.operand, module, depth + 1)
            if isinstance(operand, (int, float)):
                return -operand
        case ast.Name() if node.id in module.constants:
            return _value(module.constants[node.id], module, depth + 1)
    raise NotLiteral


def line_of_text(node: ast.expr, entry: Any) -> int:
    """The line of an entry's key below an expression."""
    key = entry.get("key") if isinstance(entry, dict) else None
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and inner.value == key:
            return inner.lineno
    return node.lineno


def environment_names(module: Module, own: str) -> list[tuple[str, int]]:
    """Literal names that the code reads from the environment or asks its settings for."""
    found = []
    for node in ast.walk(module.tree):
        name: ast.expr | None = None
        if isinstance(node, ast.Subscript) and _is_environ(node.value) and isinstance(node.ctx, ast.Load):
            name = node.slice
        elif isinstance(node, ast.Compare) and any(_is_environ(one) for one in node.comparators):
            name = node.left
        elif isinstance(node, ast.Call) and node.args:
            name = _asked_name(node, module, own)
        value = literal(name, module) if name is not None else None
        if name is not None and isinstance(value, str) and value:
            found.append((value, name.lineno))
    return sorted(found, key=lambda one: one[1])


def _asked_name(call: ast.Call, module: Module, own: str) -> ast.expr | None:
    function = call.func
    called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if called == "getenv":
        return call.args[0]
    if isinstance(function, ast.Attribute) and called in ("get", "pop", "setdefault") and _is_environ(function.value):
        return call.args[0]
    if called == "get_value" and len(call.args) >= 2 and literal(call.args[0], module) == own:
        return call.args[1]
    return None


def _is_environ(node: ast.expr) -> bool:
    return getattr(node, "attr", None) == "environ" or getattr(node, "id", None) == "environ"


@dataclass
class SettingsField:
    key: str
    annotation: str
    required: bool
    default: Any
    description: str
    line: int


def settings_fields(module: Module) -> Iterator[SettingsField]:
    """Fields of pydantic settings classes, by the environment names they are read from."""
    prefixes = {"BaseSettings": ""}
    for node in ast.walk(module.tree):
        bases = [_base_name(base) for base in node.bases] if isinstance(node, ast.ClassDef) else []
        inherited = next((prefixes[base] for base in bases if base in prefixes), None)
        if isinstance(node, ast.ClassDef) and inherited is not None:
            own = _env_prefix(node, module)
            prefix = prefixes[node.name] = inherited if own is None else own
            for statement in node.body:
                if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                    found = _settings_field(statement, statement.target.id, prefix, module)
                    if found is not None:
                        yield found


def _settings_field(statement: ast.AnnAssign, name: str, prefix: str, module: Module) -> SettingsField | None:
    annotation = ast.unparse(statement.annotation)
    if name == "model_config" or name.startswith("_") or "ClassVar" in annotation:
        return None
    key, default, required, description = (prefix + name).upper(), None, statement.value is None, ""
    value = statement.value
    if isinstance(value, ast.Call) and _base_name(value.func) == "Field":
        options = {option.arg: literal(option.value, module) for option in value.keywords}
        given = value.args[0] if value.args else None
        required = (given is None and not {"default", "default_factory"} & options.keys()) or _is_ellipsis(given)
        default = options.get("default") if given is None or required else literal(given, module)
        description = str(options.get("description") or "")
        alias = options.get("validation_alias") or options.get("alias")
        key = alias if isinstance(alias, str) else key
    elif value is not None:
        default = literal(value, module)
    return SettingsField(key, annotation, required, default, description, statement.lineno)


def _is_ellipsis(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is ...


def _env_prefix(node: ast.ClassDef, module: Module) -> str | None:
    """What the class itself says stands before its fields' names."""
    for statement in node.body:
        if isinstance(statement, ast.Assign) and any(
            getattr(one, "id", "") == "model_config" for one in statement.targets
        ):
            value = statement.value
            if isinstance(value, ast.Call):
                options = {option.arg: literal(option.value, module) for option in value.keywords}
            else:
                options = literal(value, module) or {}
            return options.get("env_prefix")
        if isinstance(statement, ast.ClassDef) and statement.name == "Config":
            inner = {one.targets[0].id: one.value for one in statement.body if _is_simple(one)}  # type: ignore[attr-defined]
            return literal(inner["env_prefix"], module) if "env_prefix" in inner else None
    return None


def _is_simple(statement: ast.stmt) -> bool:
    return (
        isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name)
    )


@dataclass
class Connector:
    name: str | None
    fields: list[Any] | None


def connector(module: Module) -> Connector | None:
    """The connector class, if there is one, and its form where that is written out."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef) and any(_base_name(base) == "IntegrationBase" for base in node.bases):
            name, fields = None, None
            for statement in node.body:
                if isinstance(statement, ast.Assign) and any(
                    getattr(one, "id", "") == "name" for one in statement.targets
                ):
                    name = literal(statement.value, module)
                if isinstance(statement, ast.FunctionDef) and statement.name == "fields":
                    fields = _returned(statement, module)
            return Connector(name if isinstance(name, str) else None, fields)
    return None


def _returned(function: ast.FunctionDef, module: Module) -> list[Any] | None:
    for statement in function.body:
        if isinstance(statement, ast.Return) and statement.value is not None:
            value = literal(statement.value, module)
            return value if isinstance(value, list) else None
    return None


def _base_name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def own_modules_imported(module: Module, id: str) -> Iterator[str]:
    """First names below the folder that its code imports."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.level:
            yield from [node.module.partition(".")[0]] if node.module else [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[:2] == ["integrations", id]:
            rest = (node.module or "").split(".")[2:]
            yield from rest[:1] or [alias.name for alias in node.names]


def folders_imported(module: Module) -> Iterator[str]:
    """Ids of `integrations.<id>` that the code imports, shipped helper modules among them."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _folder(alias.name)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if node.module == "integrations":
                yield from (alias.name for alias in node.names if alias.name not in ("utils", "_register"))
            else:
                yield from _folder(node.module)


def _folder(name: str) -> Iterator[str]:
    parts = name.split(".")
    if len(parts) >= 2 and parts[0] == "integrations" and parts[1] not in ("utils", "_register"):
        yield parts[1]
