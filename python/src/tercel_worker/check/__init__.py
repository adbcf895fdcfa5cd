"""Reads a folder without running it, and says everything that its writer would have to learn the hard way otherwise."""

from collections.abc import Iterable
from pathlib import Path

from tercel_worker.check import code, copies, dependencies, files, imports, parts, setup_table
from tercel_worker.check.problem import Problem
from tercel_worker.check.source_tree import Tree

__all__ = ["Problem", "check"]

_LOOKS = (
    files.look,
    imports.look,
    dependencies.look,
    code.look,
    setup_table.look,
    parts.look,
    copies.look,
)


def check(folder: Path) -> list[Problem]:
    """What is wrong with a folder, in the order of its files."""
    tree = Tree.read(folder)
    found: Iterable[Problem] = (problem for look in _LOOKS for problem in look(tree))
    unique = dict.fromkeys([*tree.broken, *found])
    return sorted(unique, key=lambda problem: (problem.file, problem.line or 0))
