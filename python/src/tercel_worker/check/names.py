"""Names that nothing defines: they fail when the line is reached, which may be weeks later."""

import ast
import builtins
import symtable
from collections.abc import Iterator

from tercel_worker.check.problem import Problem, error, meant
from tercel_worker.check.source_tree import Tree
from tercel_worker.source import Module, settings_fields

_ALWAYS = frozenset(dir(builtins)) | {
    "__file__",
    "__name__",
    "__path__",
    "__spec__",
    "__package__",
    "__doc__",
    "__annotations__",
}


def look(tree: Tree) -> Iterator[Problem]:
    for module in tree.program():
        yield from _undefined(module)
        yield from _settings(tree, module)


def _undefined(module: Module) -> Iterator[Problem]:
    if module.defines_at_run_time():
        return
    top = symtable.symtable(ast.unparse(module.tree), module.shown, "exec")
    there = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned() or symbol.is_imported()}
    there |= {name for scope in _scopes(top) for name in _made_global(scope)} | _ALWAYS
    missing = {
        symbol.get_name()
        for scope in _scopes(top)
        for symbol in scope.get_symbols()
        if symbol.is_referenced() and (symbol.is_global() or scope is top) and symbol.get_name() not in there
    }
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Name) and node.id in missing:
            missing.discard(node.id)
            near = meant(node.id, there - _ALWAYS)
            yield error(
                module.shown, node.lineno, f"Nothing defines `{node.id}`{near if near.endswith('meant?') else ''}"
            )


def _scopes(table: symtable.SymbolTable) -> Iterator[symtable.SymbolTable]:
    yield table
    for inner in table.get_children():
        yield from _scopes(inner)


def _made_global(scope: symtable.SymbolTable) -> Iterator[str]:
    return (one.get_name() for one in scope.get_symbols() if one.is_declared_global() and one.is_assigned())


def _settings(tree: Tree, module: Module) -> Iterator[Problem]:
    """Attributes of a settings object that its class does not have."""
    known = dict(_objects(tree, module))
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in known:
            fields = known[node.value.id]
            if node.attr not in fields and not node.attr.startswith(("model_", "_")):
                there = sorted(fields)
                yield error(module.shown, node.lineno, f"The settings have no `{node.attr}`{meant(node.attr, there)}")


def _objects(tree: Tree, module: Module) -> Iterator[tuple[str, frozenset[str]]]:
    """Names in a module that mean an instance of a settings class of the folder's."""
    yield from _made(module).items()
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom):
            parts = (node.module or "").split(".")
            origin = tree.modules.get(f"{parts[-1]}.py") if node.level or parts[0] == "integrations" else None
            made = _made(origin) if origin is not None else {}
            for alias in node.names:
                if alias.name in made:
                    yield alias.asname or alias.name, made[alias.name]


def _made(module: Module) -> dict[str, frozenset[str]]:
    classes = {
        node.name: _attributes(node)
        for node in module.tree.body
        if isinstance(node, ast.ClassDef)
        and [ast.unparse(base).rpartition(".")[2] for base in node.bases] == ["BaseSettings"]
    }
    if not classes or not any(True for _ in settings_fields(module)):
        return {}
    made = {}
    for name, value in module.constants.items():
        if isinstance(value, ast.Call) and isinstance(value.func, ast.Name) and value.func.id in classes:
            made[name] = classes[value.func.id]
    return made


def _attributes(node: ast.ClassDef) -> frozenset[str]:
    names = set()
    for one in ast.walk(node):
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(one.name)
        elif isinstance(one, ast.AnnAssign) and isinstance(one.target, ast.Name):
            names.add(one.target.id)
        elif isinstance(one, ast.Assign):
            names.update(target.id for target in one.targets if isinstance(target, ast.Name))
    return frozenset(names)
