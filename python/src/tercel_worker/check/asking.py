"""What is asked of the server: with arguments that it takes, awaited, and by names that are there."""

import ast
from collections.abc import Iterator

from tercel_worker import source
from tercel_worker.check import promised
from tercel_worker.check.problem import Problem, error, meant, warning
from tercel_worker.check.source_tree import Tree
from tercel_worker.source import Module

_BRIEF = ("system_preamble", "skills", "tools", "model_override")
_CORE = ("none", "webhook", "internal")
Named = tuple[str, str]


def look(tree: Tree) -> Iterator[Problem]:
    registered = set(_registered(tree))
    for module in tree.program():
        known = _known(module)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute):
                yield from _attribute(module, node, known)
            if isinstance(node, ast.Call):
                yield from _call(module, node, known)
                yield from _brief(tree, module, node)
                yield from _target(module, node, registered)
            if isinstance(node, (ast.Expr, ast.Assign, ast.AnnAssign)):
                yield from _awaited(module, node.value, known)


def _known(module: Module) -> dict[str, str]:
    """By local name: the module or the name of the server's that it means."""
    known = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            for alias in node.names:
                known[alias.asname or alias.name] = f"{node.module}.{alias.name}"
        elif isinstance(node, ast.Import):
            known.update({alias.asname: alias.name for alias in node.names if alias.asname})
    return known


def _meaning(function: ast.expr, known: dict[str, str]) -> Named | None:
    """Module and name of what is called, when both are promised."""
    if isinstance(function, ast.Name) and function.id in known:
        module, _, name = known[function.id].rpartition(".")
    elif isinstance(function, ast.Attribute):
        written = ast.unparse(function.value)
        first, dot, rest = written.partition(".")
        module, name = known.get(first, first) + dot + rest, function.attr
    else:
        return None
    return (module, name) if module in promised.modules() and name in promised.names(module) else None


def _attribute(module: Module, node: ast.Attribute, known: dict[str, str]) -> Iterator[Problem]:
    if not isinstance(node.value, ast.Name) or not isinstance(node.ctx, ast.Load):
        return
    of = known.get(node.value.id, "")
    is_module = of in promised.modules() and f"{of}.{node.attr}" not in promised.modules()
    if is_module and not node.attr.startswith("__") and node.attr not in promised.names(of):
        yield error(module.shown, node.lineno, f"`{of}` has no `{node.attr}`{meant(node.attr, promised.public(of))}")


def _call(module: Module, node: ast.Call, known: dict[str, str]) -> Iterator[Problem]:
    called = _meaning(node.func, known)
    takes = promised.signature(*called) if called else None
    if called is None or takes is None:
        return
    name = called[1]
    given = {option.arg for option in node.keywords if option.arg}
    for one in sorted(given - takes.all):
        if not takes.is_open:
            yield error(module.shown, node.lineno, f"{name}() does not take `{one}`{meant(one, takes.all)}")
    is_whole = not any(option.arg is None for option in node.keywords) and not any(
        isinstance(one, ast.Starred) for one in node.args
    )
    if is_whole:
        by_place = takes.positional[: len(node.args)]
        if len(node.args) > len(takes.positional) and not takes.is_open:
            rest = ", ".join(sorted(takes.named))
            after = f"; give {rest} by name" if rest else ""
            most = len(takes.positional)
            yield error(
                module.shown, node.lineno, f"{name}() takes {most} arguments by place, not {len(node.args)}{after}"
            )
        for one in sorted(takes.required - given - set(by_place)):
            yield error(module.shown, node.lineno, f"{name}() needs `{one}`")


def _awaited(module: Module, value: ast.expr | None, known: dict[str, str]) -> Iterator[Problem]:
    called = _meaning(value.func, known) if isinstance(value, ast.Call) else None
    takes = promised.signature(*called) if called else None
    if value is not None and called is not None and takes is not None and takes.is_async:
        yield error(module.shown, value.lineno, f"{called[1]}() is awaited: write `await {ast.unparse(value.func)}(…)`")  # type: ignore[attr-defined]


def _brief(tree: Tree, module: Module, call: ast.Call) -> Iterator[Problem]:
    """Keys of an execution_config, and own names in it."""
    for option in call.keywords:
        if option.arg != "execution_config" or not isinstance(option.value, ast.Dict):
            continue
        for key, value in zip(option.value.keys, option.value.values, strict=True):
            name = source.literal(key, module) if key is not None else None
            if isinstance(name, str) and key is not None and name not in _BRIEF:
                yield error(module.shown, key.lineno, f"execution_config has no `{name}`{meant(name, _BRIEF)}")
            elif name == "tools":
                yield from _own_tools(tree, module, value)
            elif name == "skills":
                yield from _own_skills(tree, module, value)


def _texts(value: ast.expr, module: Module) -> Iterator[tuple[str, int]]:
    for one in value.elts if isinstance(value, (ast.List, ast.Tuple)) else ():
        text = source.literal(one, module)
        if isinstance(text, str):
            yield text, one.lineno


def _own_tools(tree: Tree, module: Module, value: ast.expr) -> Iterator[Problem]:
    own = set(tree.tool_names())
    for name, line in _texts(value, module):
        if own and name.startswith(f"{tree.id}_") and name not in own:
            yield error(module.shown, line, f"This folder has no tool `{name}`{meant(name, own)}")


def _own_skills(tree: Tree, module: Module, value: ast.expr) -> Iterator[Problem]:
    prefix = f"integrations/{tree.id}/"
    own = {f"{prefix}{file[7:-3]}" for file in tree.files if file.startswith("skills/") and file.endswith(".md")}
    for name, line in _texts(value, module):
        if name.startswith(prefix) and name not in own:
            yield error(module.shown, line, f"This folder has no skill `{name}`{meant(name, own)}")


def _registered(tree: Tree) -> Iterator[str]:
    module = tree.part("dispatcher")
    for node in ast.walk(module.tree) if module else ():
        if isinstance(node, ast.Call) and node.args and ast.unparse(node.func).endswith("register"):
            kind = source.literal(node.args[0], module)  # type: ignore[arg-type]
            if isinstance(kind, str):
                yield kind


def _target(module: Module, call: ast.Call, registered: set[str]) -> Iterator[Problem]:
    """A dispatch type that is almost one of the folder's."""
    for option in call.keywords:
        kind: ast.expr | None = None
        if option.arg == "dispatch_type":
            kind = option.value
        elif option.arg == "dispatch_config" and isinstance(option.value, ast.Dict):
            pairs = zip(option.value.keys, option.value.values, strict=True)
            kind = next(
                (value for key, value in pairs if key is not None and source.literal(key, module) == "type"), None
            )
        name = source.literal(kind, module) if kind is not None else None
        if kind is not None and isinstance(name, str) and name not in registered and name not in _CORE:
            near = meant(name, registered)
            if near.endswith("meant?"):
                yield warning(module.shown, kind.lineno, f"Nothing here dispatches `{name}`{near}")
