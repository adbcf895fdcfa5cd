"""What code of a folder must leave alone, and where its settings belong."""

import ast
import re
from collections.abc import Iterator

from tercel_worker import declared, source
from tercel_worker.check.problem import Problem, error, warning
from tercel_worker.check.source_tree import Tree
from tercel_worker.source import Module

# Files of the server's that documents tell folders not to touch.
_CORE = re.compile(r"(^|/)(app/[\w/]+\.py|integrations/(__init__|_register|utils)\.py|migrations/\S+)$")
_WRITES = {"write_text", "write_bytes", "unlink", "rename", "replace", "touch", "remove", "copy", "copyfile", "move"}


def look(tree: Tree) -> Iterator[Problem]:
    for module in tree.program():
        yield from _writes(module)
        yield from _changes(module)
        yield from _classes(module)
    yield from _metadata(tree)
    yield from _settings(tree)


def _writes(module: Module) -> Iterator[Problem]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call) and _is_write(node, module):
            for text in _texts(node):
                if _CORE.search(text):
                    yield error(
                        module.shown, node.lineno, f"`{text}` is a file of the server's, which no integration writes to"
                    )


def _is_write(call: ast.Call, module: Module) -> bool:
    function = call.func
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    if name == "open":
        modes = [*call.args[:2], *(option.value for option in call.keywords if option.arg == "mode")]
        values = [source.literal(mode, module) for mode in modes]
        return any(isinstance(value, str) and re.fullmatch(r"[rbt]*[wax+][wabtx+]*", value) for value in values)
    return name in _WRITES


def _texts(node: ast.AST) -> Iterator[str]:
    for inner in ast.walk(node):
        if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
            yield inner.value


def _changes(module: Module) -> Iterator[Problem]:
    """Names that were imported from the server, and then given attributes or subclassed as tables."""
    imported: dict[str, str] = {}
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "app":
            imported.update({alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names})
        elif isinstance(node, ast.Import):
            imported.update(
                {alias.asname: alias.name for alias in node.names if alias.asname and alias.name.startswith("app.")}
            )
    for node in ast.walk(module.tree):
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            continue
        for target in node.targets if isinstance(node, ast.Assign) else [node.target]:
            if isinstance(target, ast.Attribute):
                name = ast.unparse(target.value)
                whole = imported.get(name) or (name if name.startswith("app.") else None)
                if whole:
                    yield error(
                        module.shown,
                        node.lineno,
                        f"`{whole}` belongs to the server: what a folder keeps there is in no table, and gone with its"
                        " process. Use dispatch_config, integration_config, documents or INTEGRATION_STATE_DIR",
                    )


def _classes(module: Module) -> Iterator[Problem]:
    """Fields of settings classes that cannot be ones."""
    for node in ast.walk(module.tree):
        bases = [ast.unparse(base).rpartition(".")[2] for base in node.bases] if isinstance(node, ast.ClassDef) else []
        for one in node.body if isinstance(node, ast.ClassDef) and "BaseSettings" in bases else ():
            for target in one.targets if isinstance(one, ast.Assign) else ():
                if isinstance(target, ast.Name) and target.id.isupper():
                    yield error(module.shown, one.lineno, f"A field has a type: write `{target.id}: str = …`")
    for field in source.settings_fields(module):
        if declared._RESERVED.match(field.key):
            yield error(module.shown, field.line, f"`{field.key}` is set by the server and cannot be a setting")


def _metadata(tree: Tree) -> Iterator[Problem]:
    module = tree.part("__init__")
    for name in ("id", "name", "version"):
        value = module.constants.get(name) if module else None
        given = source.literal(value, module) if value is not None and module is not None else None
        if value is not None and given is not None and not isinstance(given, str):
            yield error("__init__.py", value.lineno, f'`{name}` is text: write "{given}"')
        elif value is not None and name == "id" and given is not None and given != tree.id:
            yield warning(
                "__init__.py", value.lineno, f"The folder is called `{tree.id}`, which counts, and not `{given}`"
            )


def _settings(tree: Tree) -> Iterator[Problem]:
    known = {variable.key for variable in declared.read(tree.folder).variables}
    for module in tree.program():
        for field in source.settings_fields(module):
            if module.shown != "config.py":
                yield warning(
                    module.shown,
                    field.line,
                    f"The setting {field.key} is declared here: settings belong in config.py or setup.py",
                )
        for key, line in source.environment_names(module, tree.id):
            if key not in known and not declared._RESERVED.match(key):
                yield warning(
                    module.shown,
                    line,
                    f"{key} is read here and declared nowhere, so nobody can set it on the card:"
                    " add it to env_vars in setup.py, or to a BaseSettings class in config.py",
                )
