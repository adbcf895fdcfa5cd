"""Names, links and what a folder has to have."""

import re
from collections.abc import Iterator

from tercel_worker import source
from tercel_worker.check.problem import Problem, error, misspelt, warning
from tercel_worker.check.source_tree import Tree

_ID = re.compile(r"^[a-z][a-z0-9_]{0,63}$")
_FILES = ("__init__.py", "config.py", "requirements.txt", "README.md", "integration.yaml")
_DIRECTORIES = ("tools", "skills", "carapaces", "prompts", "fixtures", "tests")
_PARTS = ("router.py", "dispatcher.py", "hooks.py", "process.py", "setup.py", "connector.py", "integration.yaml")
# What a snapshot may hold.
_LARGEST = 64 * 1024 * 1024


def look(tree: Tree) -> Iterator[Problem]:
    yield from _name(tree.id)
    yield from _content(tree)
    for shown in tree.links:
        yield error(
            shown, None, "This is a symbolic link, which is not copied to where the folder runs: put the file here"
        )
    yield from _names_of_modules(tree)
    yield from _almost(tree)
    yield from _size(tree)


def _name(id: str) -> Iterator[Problem]:
    if _ID.match(id):
        return
    better = re.sub(r"[^a-z0-9]+", "_", id.lower()).strip("_")[:64]
    better = better if _ID.match(better) else f"my_{better}"[:64]
    why = (
        "a hyphen cannot stand in the name of a Python module"
        if "-" in id
        else "a name is a-z, 0-9 and _, a letter first"
    )
    yield error(".", None, f"`{id}` cannot be the name of an integration, {why}: call the folder `{better}`")


def _content(tree: Tree) -> Iterator[Problem]:
    has_part = any(name in tree.files for name in _PARTS)
    has_tools = any(True for _ in tree.tools()) or any(problem.file.startswith("tools/") for problem in tree.broken)
    has_text = any(name.startswith(("skills/", "carapaces/", "prompts/")) for name in tree.files)
    if not (has_part or has_tools or has_text):
        yield error(
            ".", None, f"Nothing here makes an integration: one of {', '.join(_PARTS)}, tools/*.py or skills/*.md does"
        )
    if not any(name.lower() == "readme.md" for name in tree.files):
        yield warning(
            "README.md", None, "There is no README.md: whoever sets this up reads it on the integration's card"
        )


def _names_of_modules(tree: Tree) -> Iterator[Problem]:
    for shown in tree.files:
        directory, _, name = shown.rpartition("/")
        stem = name.removesuffix(".py")
        if name.endswith(".py") and directory in ("", "tools") and not stem.isidentifier():
            yield error(
                shown,
                None,
                f"`{stem}` cannot be the name of a module: call it `{re.sub('[^0-9A-Za-z]+', '_', stem)}.py`",
            )
        if directory == "" and stem in ("tools", "skills") and name.endswith(".py"):
            yield warning(
                shown, None, f"This is one file; what is loaded as {stem} are the files of the directory `{stem}/`"
            )


def _almost(tree: Tree) -> Iterator[Problem]:
    """What is not read because its name is not quite the one that is."""
    imported = {name for module in tree.modules.values() for name in source.own_modules_imported(module, tree.id)}
    top = {shown for shown in tree.files if "/" not in shown}
    for shown in sorted(top):
        if shown.removesuffix(".py") not in imported and shown not in (*_PARTS, *_FILES):
            near = misspelt(shown, [one for one in (*_PARTS, *_FILES) if one not in top])
            if near is not None:
                yield warning(shown, None, f"Nothing reads this file; is `{near}` meant?")
    for directory in sorted({shown.partition("/")[0] for shown in tree.files if "/" in shown}):
        if directory not in _DIRECTORIES and directory not in imported:
            near = misspelt(directory, _DIRECTORIES)
            if near is not None:
                yield warning(f"{directory}/", None, f"Nothing reads this directory; is `{near}` meant?")
    for shown in tree.files:
        if shown.startswith("skills/") and not shown.endswith(".md"):
            yield warning(shown, None, "A skill is Markdown: only `skills/*.md` are read")


def _size(tree: Tree) -> Iterator[Problem]:
    sizes = {shown: (tree.folder / shown).stat().st_size for shown in tree.files}
    if sum(sizes.values()) > _LARGEST:
        largest = max(sizes, key=lambda shown: sizes[shown])
        total = sum(sizes.values()) // (1024 * 1024)
        yield error(
            largest, None, f"The folder has {total} MB, of which this is the largest file; 64 MB are copied at most"
        )
