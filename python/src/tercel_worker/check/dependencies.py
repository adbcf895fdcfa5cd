"""Imports of packages that the base environment does not have."""

import ast
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

from tercel_worker.check.problem import Problem, error, misspelt, warning
from tercel_worker.check.source_tree import Tree, guarded

# Import names of what every folder has without asking.
_BASE = frozenset(
    [
        "annotated_types",
        "anyio",
        "certifi",
        "charset_normalizer",
        "click",
        "dotenv",
        "fastapi",
        "h11",
        "httpcore",
        "httptools",
        "httpx",
        "idna",
        "multipart",
        "pydantic",
        "pydantic_core",
        "pydantic_settings",
        "python_multipart",
        "requests",
        "sqlalchemy",
        "starlette",
        "typing_extensions",
        "typing_inspection",
        "urllib3",
        "uvicorn",
        "uvloop",
        "yaml",
    ]
)
_REQUIREMENT = re.compile(
    r"^[A-Za-z0-9][A-Za-z0-9._-]*\s*(\[[\w\s,.-]*\])?\s*(\(?\s*(===?|~=|!=|<=|>=|<|>)\s*[\w.*+!-]+\s*\)?"
    r"(\s*,\s*(===?|~=|!=|<=|>=|<|>)\s*[\w.*+!-]+)*)?\s*(@\s*https?://\S+)?\s*(;.*)?(\s+--hash=\S+)*$"
)
_OURS = frozenset({"app", "integrations", "scripts", "tercel_worker"})
# Packages that are called otherwise than their modules.
_DISTRIBUTIONS = {
    "Crypto": "pycryptodome",
    "OpenSSL": "pyopenssl",
    "PIL": "pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "caldav": "caldav",
    "cv2": "opencv-python",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "git": "gitpython",
    "github": "pygithub",
    "google": "google-auth",
    "googleapiclient": "google-api-python-client",
    "jose": "python-jose",
    "jwt": "pyjwt",
    "magic": "python-magic",
    "nacl": "pynacl",
    "paho": "paho-mqtt",
    "psycopg2": "psycopg2-binary",
    "serial": "pyserial",
    "sklearn": "scikit-learn",
    "telegram": "python-telegram-bot",
    "zmq": "pyzmq",
}


def look(tree: Tree) -> Iterator[Problem]:
    yield from _lines(tree.folder)
    yield from _project(tree.folder)
    yield from _missing(tree)


def _lines(folder: Path) -> Iterator[Problem]:
    """Lines of requirements.txt that cannot be locked."""
    file = folder / "requirements.txt"
    text = file.read_text(encoding="utf-8", errors="replace") if file.is_file() else ""
    for number, whole in enumerate(text.splitlines(), 1):
        line = whole.partition("#")[0].strip().removesuffix("\\").strip()
        if not line or line.startswith("--hash"):
            continue
        if line.startswith(("-e", "--editable", ".", "/", "file:")):
            yield error(file.name, number, f"`{line}` lies on this machine: only packages of an index can be locked")
        elif re.match(r"(git|hg|svn|bzr)\+", line) or re.search(r"@\s*(git\+|file:)", line):
            yield error(file.name, number, f"`{line}` has no hash to be locked with: name a release of the package")
        elif not line.startswith("-") and not _REQUIREMENT.match(line):
            yield error(file.name, number, f"`{line}` is no requirement: write it as `name` or `name>=1.2`")


def _project(folder: Path) -> Iterator[Problem]:
    file = folder / "pyproject.toml"
    if file.is_file():
        try:
            tomllib.loads(file.read_text(encoding="utf-8", errors="replace"))
        except tomllib.TOMLDecodeError as wrong:
            line = re.search(r"at line (\d+)", str(wrong))
            yield error(file.name, int(line[1]) if line else 1, str(wrong).partition(" (")[0])


def _missing(tree: Tree) -> Iterator[Problem]:
    wanted = _requirements(tree.folder)
    for module in tree.program():
        tolerated = guarded(module.tree)
        beside = {file.partition("/")[0].removesuffix(".py") for file in tree.files}
        for node, name in _imported(module.tree):
            if name in _OURS or name in _BASE or name in sys.stdlib_module_names:
                continue
            package = _DISTRIBUTIONS.get(name, name.replace("_", "-").lower())
            if wanted is None and node not in tolerated:
                here = (
                    f"`{name}` is a file of this folder: import it from `{'.' * (module.shown.count('/') + 1)}{name}`"
                )
                near = misspelt(name, [*_BASE, *sys.stdlib_module_names])
                gets = f"a requirements.txt with `{package}` gets it" if near is None else f"is `{near}` meant?"
                gets = f"`{name}` is not in the base environment: {gets}"
                yield error(module.shown, node.lineno, here if name in beside else gets)
            elif (
                wanted is not None
                and node not in tolerated
                and _normal(package) not in wanted
                and _normal(name) not in wanted
            ):
                yield warning(
                    module.shown,
                    node.lineno,
                    f"No line of requirements.txt is `{package}`, which `{name}` seems to come from",
                )


def _imported(tree: ast.AST) -> Iterator[tuple[ast.Import | ast.ImportFrom, str]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name.partition(".")[0]
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node, node.module.partition(".")[0]


def _requirements(folder: Path) -> set[str] | None:
    file = folder / "requirements.txt"
    if not file.is_file():
        return None
    names = set()
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        match = re.match(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)", line)
        if match:
            names.add(_normal(match[1]))
    return names


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
