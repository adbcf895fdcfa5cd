"""Secrets that stand in the code, where everybody who may read the folder reads them."""

import ast
import re
from collections.abc import Iterator

from tercel_worker.check.problem import Problem, warning
from tercel_worker.check.source_tree import Tree

# As well-known services make them.
_TOKEN = re.compile(
    r"\b(sk-[A-Za-z0-9_-]{16,}|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{20,}|glpat-[\w-]{16,}|xox[abprs]-[\w-]{10,}"
    r"|AKIA[0-9A-Z]{16}|AIza[\w-]{30,}|ya29\.[\w-]{20,})|-----BEGIN [A-Z ]*PRIVATE KEY-----"
)


def look(tree: Tree) -> Iterator[Problem]:
    for module in tree.program():
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str) and _TOKEN.search(node.value):
                yield warning(
                    module.shown,
                    node.lineno,
                    "This looks like a secret: declare a variable with `secret`, and set it on the card",
                )
