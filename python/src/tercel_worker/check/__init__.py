"""Reads a folder without running it, and says everything that its writer would have to learn the hard way otherwise."""

from collections.abc import Iterable
from pathlib import Path

from tercel_worker.check import (
    asking,
    code,
    connector,
    copies,
    dependencies,
    dispatcher,
    files,
    hooks,
    imports,
    loading,
    names,
    process,
    router,
    secrets,
    setup_table,
    tools,
    waiting,
)
from tercel_worker.check.problem import Problem
from tercel_worker.check.source_tree import Tree

__all__ = ["Problem", "check"]

_LOOKS = (
    files.look,
    imports.look,
    dependencies.look,
    code.look,
    setup_table.look,
    tools.look,
    dispatcher.look,
    hooks.look,
    process.look,
    router.look,
    connector.look,
    asking.look,
    names.look,
    loading.look,
    waiting.look,
    secrets.look,
    copies.look,
)


def check(folder: Path) -> list[Problem]:
    """What is wrong with a folder, in the order of its files."""
    tree = Tree.read(folder)
    found: Iterable[Problem] = (problem for look in _LOOKS for problem in look(tree))
    unique = dict.fromkeys([*tree.broken, *found])
    return sorted(unique, key=lambda problem: (problem.file, problem.line or 0))
