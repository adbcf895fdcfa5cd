"""What folders may import of the server: modules, their names, and how their functions are called."""

import ast
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_OURS = Path(__file__).parent.parent.parent
_PACKAGES = ("app", "integrations", "scripts")


@dataclass(frozen=True)
class Signature:
    # In order.
    positional: tuple[str, ...]
    named: frozenset[str]
    required: frozenset[str]
    # Takes whatever else it is given.
    is_open: bool
    is_async: bool

    @property
    def all(self) -> frozenset[str]:
        return self.named | frozenset(self.positional)


@cache
def modules() -> frozenset[str]:
    """What the worker package has is what is promised."""
    found = set()
    for package in _PACKAGES:
        for file in (_OURS / package).rglob("*.py"):
            parts = file.relative_to(_OURS).with_suffix("").parts
            found.add(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return frozenset(found)


@cache
def names(module: str) -> frozenset[str]:
    """Of a promised module, at its top level."""
    found = set()
    for node in _tree(module).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            found.update(alias.asname or alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.Assign):
            found.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found.add(node.target.id)
    return frozenset(found)


def public(module: str) -> list[str]:
    """Names that are meant for folders: not what the module itself imports."""
    own = [node for node in _tree(module).body if not isinstance(node, (ast.Import, ast.ImportFrom))]
    imported = {
        alias.asname or alias.name.partition(".")[0]
        for node in _tree(module).body
        if isinstance(node, (ast.Import, ast.ImportFrom))
        for alias in node.names
    }
    return [name for name in names(module) if not name.startswith("_") and (not own or name not in imported)]


@cache
def signature(module: str, name: str) -> Signature | None:
    """Of a function, or of a class that is made of its fields."""
    for node in _tree(module).body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name == name:
            return _of_function(node)
        if isinstance(node, ast.ClassDef) and node.name == name:
            return _of_fields(node)
    return None


def _of_function(node: ast.FunctionDef | ast.AsyncFunctionDef) -> Signature:
    given = node.args
    positional = [one.arg for one in (*given.posonlyargs, *given.args)]
    without = positional[: len(positional) - len(given.defaults)]
    required = [one.arg for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True) if default is None]
    return Signature(
        tuple(positional),
        frozenset(one.arg for one in given.kwonlyargs),
        frozenset([*without, *required]),
        bool(given.vararg or given.kwarg),
        isinstance(node, ast.AsyncFunctionDef),
    )


def _of_fields(node: ast.ClassDef) -> Signature | None:
    if not any("dataclass" in ast.unparse(one) for one in node.decorator_list):
        return None
    fields = [one for one in node.body if isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name)]
    names = [(one.target.id, one.value is None) for one in fields if isinstance(one.target, ast.Name)]
    required = frozenset(name for name, is_bare in names if is_bare)
    return Signature(tuple(name for name, _ in names), frozenset(), required, False, False)


@cache
def _tree(module: str) -> ast.Module:
    path = _OURS.joinpath(*module.split("."))
    file = path.with_suffix(".py") if path.with_suffix(".py").is_file() else path / "__init__.py"
    return ast.parse(file.read_text(encoding="utf-8"))
