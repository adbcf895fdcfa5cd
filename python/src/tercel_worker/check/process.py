"""The process: a command that can be started, and what it requires."""

import shutil
from collections.abc import Iterator

from tercel_worker import declared, source
from tercel_worker.check.problem import Problem, error, meant, misspelt, renamed, warning
from tercel_worker.check.source_tree import Tree
from tercel_worker.source import Module


def look(tree: Tree) -> Iterator[Problem]:
    module = tree.part("process")
    if module is None:
        return
    if "CMD" not in module.constants:
        near = renamed("CMD", module.constants)
        yield error(module.shown, 1, f"There is no CMD here, so there is nothing to start{near}")
    for name in ("CMD", "REQUIRED_ENV", "WATCH_PATHS"):
        value = module.constants.get(name)
        given = source.literal(value, module) if value is not None else None
        if value is not None and given is not None:
            fits = isinstance(given, list) and all(isinstance(one, str) for one in given)
            if not fits or (name == "CMD" and not given):
                yield error(module.shown, value.lineno, f'{name} is a list of texts: write ["…", "…"]')
            elif name == "CMD":
                yield from _command(tree, module, value.lineno, given)
            elif name == "REQUIRED_ENV":
                yield from _required(tree, module, value.lineno, given)


def _command(tree: Tree, module: Module, line: int, words: list[str]) -> Iterator[Problem]:
    program = words[0]
    if "/" not in program and program != "python" and shutil.which(program) is None:
        yield warning(module.shown, line, f"There is no `{program}` on this machine")
    for word in words[1:]:
        own = word.removeprefix(f"integrations/{tree.id}/")
        if word.endswith(".py") and own not in tree.files and not word.startswith("/"):
            known = [f"integrations/{tree.id}/{file}" for file in tree.modules]
            yield error(module.shown, line, f"CMD names `{word}`, which is not in this folder{meant(word, known)}")
        elif word.endswith(".py") and own == word:
            yield error(module.shown, line, f"CMD runs above the folder: write `integrations/{tree.id}/{word}`")


def _required(tree: Tree, module: Module, line: int, keys: list[str]) -> Iterator[Problem]:
    """A variable that is almost one which is declared elsewhere."""
    elsewhere = {one.key for one in declared.read(tree.folder).variables if one.file != module.shown}
    for key in keys:
        near = misspelt(key, elsewhere) if key not in elsewhere else None
        # One that has the other in it is another one.
        if near is not None and key not in near and near not in key:
            yield warning(module.shown, line, f"{key} is declared by nothing else; is `{near}` meant?")
