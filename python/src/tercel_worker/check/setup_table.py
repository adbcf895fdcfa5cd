"""SETUP: its keys, and the shape of what stands under each."""

import ast
import re
from collections.abc import Iterator
from typing import Any

from tercel_worker import declared, source
from tercel_worker.check.problem import Problem, error, meant, renamed, warning
from tercel_worker.check.source_tree import Tree
from tercel_worker.source import Module

_TABLES: dict[str, dict[str, type | tuple[type, ...]]] = {
    "env_vars": {"key": str, "required": bool, "secret": bool, "description": str, "default": str},
    "webhook": {"path": str, "description": str},
    "sidebar_section": {
        "id": str,
        "title": str,
        "icon": str,
        "items": list,
        "readiness_endpoint": str,
        "readiness_field": str,
    },
    "items": {"label": str, "href": str, "icon": str},
    "dashboard_modules": {"id": str, "label": str, "icon": str, "description": str},
    "activation": {
        "carapaces": list,
        "includes": list,
        "requires_workspace": bool,
        "description": str,
        "compatible_templates": list,
        "version": (str, int, float),
    },
}
_REQUIRED = {
    "env_vars": ("key",),
    "webhook": ("path",),
    "sidebar_section": ("id", "items"),
    "items": ("label", "href"),
    "dashboard_modules": ("id",),
    "activation": (),
}
_LISTS = frozenset({"env_vars", "dashboard_modules", "items"})
_PLAIN: dict[str, type | tuple[type, ...]] = {
    "icon": str,
    "tier": str,
    "hooks": str,
    "features": dict,
    "api_permissions": (list, str),
}
_VALUES = {"tier": ("free", "paid", "premium"), "hooks": ("all", "stake")}
# Those that the documents name.
_ICONS = (
    "LayoutDashboard",
    "Columns",
    "BookOpen",
    "Brain",
    "HelpCircle",
    "Settings",
    "Zap",
    "Plug",
    "Bot",
    "Layers",
    "FileText",
    "Paperclip",
    "ClipboardList",
    "Key",
    "Shield",
    "ShieldCheck",
    "Activity",
    "Server",
    "Wrench",
    "BarChart3",
    "Users",
    "HardDrive",
    "Code2",
    "Hash",
    "Home",
    "MessageSquare",
    "Container",
    "Clock",
    "Heart",
    "Lock",
    "Sun",
    "Moon",
)
_NAMES: dict[type, str] = {
    str: "text",
    bool: "True or False",
    list: "a list",
    dict: "a table",
    int: "a number",
    float: "a number",
}
_VARIABLE = re.compile(r"^[A-Z][A-Z0-9_]*$")


def look(tree: Tree) -> Iterator[Problem]:
    module = tree.part("setup")
    if module is None:
        return
    found = module.constants.get("SETUP")
    if found is None:
        yield warning("setup.py", 1, f"There is no SETUP here{renamed('SETUP', module.constants)}")
    elif not isinstance(found, ast.Dict):
        if source.literal(found, module) is None:
            yield warning(
                "setup.py", found.lineno, "SETUP is made when the code runs: it cannot be checked, nor shown before"
            )
        else:
            yield error("setup.py", found.lineno, "SETUP is not a table: write SETUP = {…}")
    else:
        yield from Checker(tree.id, module).setup(found)
        yield from _computed(found, module)


def _computed(table: ast.expr, module: Module) -> Iterator[Problem]:
    """The first value that only running the code would tell: then nothing of the table is known before."""
    if isinstance(table, ast.Dict):
        inner: list[ast.expr] = [value for key, value in zip(table.keys, table.values, strict=True) if key is not None]
    elif isinstance(table, (ast.List, ast.Tuple)):
        inner = [one for one in table.elts if not isinstance(one, ast.Starred)]
    else:
        if source.literal(table, module) is None and not _is_none(table, module):
            yield warning(
                "setup.py",
                table.lineno,
                "This is made when the code runs: SETUP is shown, and its variables are known, only after that",
            )
        return
    for one in inner:
        found = next(_computed(one, module), None)
        if found is not None:
            yield found
            return


def _is_none(value: ast.expr, module: Module) -> bool:
    named = module.constants.get(value.id) if isinstance(value, ast.Name) else value
    return isinstance(named, ast.Constant) and named.value in (None, ...)


class Checker:
    """Goes through the literal tables of one setup.py."""

    def __init__(self, id: str, module: Module) -> None:
        self.id = id
        self.module = module

    def setup(self, table: ast.Dict) -> Iterator[Problem]:
        for key, value in self._entries(table):
            name = source.literal(key, self.module)
            if name in _LISTS and name != "items":
                yield from self._list(name, value)
            elif name in _TABLES and name != "items":
                yield from self._table(name, value, f"`{name}`")
            elif name in _PLAIN:
                yield from self._typed(name, value, _PLAIN[name])
                yield from self._one_of(name, value)
            else:
                known = [*(one for one in _TABLES if one != "items"), *_PLAIN]
                yield error("setup.py", key.lineno, f"SETUP has no `{name}`{meant(str(name), known)}")

    def _list(self, name: str, value: ast.expr) -> Iterator[Problem]:
        if not isinstance(value, (ast.List, ast.Tuple)):
            if isinstance(value, (ast.Dict, ast.Constant)):
                yield error("setup.py", value.lineno, f"`{name}` is a list of tables: write [{{…}}, {{…}}]")
            return
        seen: dict[Any, int] = {}
        identity = {"env_vars": "key", "items": "href"}.get(name, "id")
        for entry in value.elts:
            yield from self._table(name, entry, f"An entry of `{name}`")
            own = self._text(entry, identity)
            if own is not None and seen.setdefault(own, entry.lineno) != entry.lineno:
                yield error("setup.py", entry.lineno, f"`{own}` stands in `{name}` already, in line {seen[own]}")

    def _table(self, name: str, value: ast.expr, shown: str) -> Iterator[Problem]:
        if not isinstance(value, ast.Dict):
            is_left_out = isinstance(value, ast.Constant) and value.value is ...
            if isinstance(value, (ast.List, ast.Constant)) and not is_left_out:
                yield error("setup.py", value.lineno, f"{shown} is a table: write {{…}}")
            return
        known, keys = _TABLES[name], set()
        for key, inner in self._entries(value):
            own = source.literal(key, self.module)
            keys.add(own)
            if own not in known:
                yield error("setup.py", key.lineno, f"{shown} has no `{own}`{meant(str(own), known)}")
            elif own == "items" and name == "sidebar_section":
                yield from self._list("items", inner)
            else:
                yield from self._typed(str(own), inner, known[str(own)])
                yield from self._one_of(str(own), inner)
        for own in _REQUIRED[name]:
            if own not in keys and None not in value.keys:
                yield error("setup.py", value.lineno, f"{shown} has no `{own}`, which it must have")
        yield from self._meaning(name, value)

    def _typed(self, name: str, value: ast.expr, kind: type | tuple[type, ...]) -> Iterator[Problem]:
        given = source.literal(value, self.module)
        kinds = kind if isinstance(kind, tuple) else (kind,)
        is_number = bool in kinds or not isinstance(given, bool)
        if given is not None and not (isinstance(given, kinds) and is_number):
            wanted = " or ".join(dict.fromkeys(_NAMES[one] for one in kinds))
            quoted = f': write "{given}"' if kinds == (str,) and isinstance(given, (int, float)) else ""
            yield error("setup.py", value.lineno, f"`{name}` is {wanted}, not {given!r}{quoted}")

    def _one_of(self, name: str, value: ast.expr) -> Iterator[Problem]:
        given, known = source.literal(value, self.module), _VALUES.get(name)
        if isinstance(given, str) and known and given not in known:
            yield error("setup.py", value.lineno, f"`{name}` cannot be `{given}`{meant(given, known)}")
        elif isinstance(given, str) and name == "icon" and given not in _ICONS:
            near = meant(given, _ICONS)
            if near.endswith("meant?"):
                yield warning("setup.py", value.lineno, f"The icon `{given}` is not known{near}")

    def _meaning(self, name: str, value: ast.Dict) -> Iterator[Problem]:
        """What the types alone do not say."""
        if name == "env_vars":
            key = self._text(value, "key")
            if key is not None and not _VARIABLE.match(key):
                yield error(
                    "setup.py",
                    value.lineno,
                    f"`{key}` is no name of a variable: write it as {key.upper().replace('-', '_')}",
                )
            elif key is not None and re.match(r"^(TERCEL_|AGENT_|LD_|PYTHON)|^PATH$", key):
                yield error("setup.py", value.lineno, f"`{key}` is set by the server and cannot be a setting")
            elif key is not None and declared._SECRET.search(key) and not self._has(value, "secret"):
                yield warning(
                    "setup.py", value.lineno, f'`{key}` is shown to whoever sees the card: add "secret": True'
                )
            if key is not None and self._is_true(value, "secret") and self._text(value, "default"):
                yield warning(
                    "setup.py", value.lineno, f"The default of `{key}` is no secret: whoever reads the folder knows it"
                )
        elif name == "webhook":
            path = self._text(value, "path")
            wanted = f"/integrations/{self.id}/"
            if path is not None and not (path.startswith(wanted) and len(path) > len(wanted)):
                last = path.rstrip("/").rpartition("/")[2] or "webhook"
                yield error(
                    "setup.py",
                    value.lineno,
                    f"The webhook's path is `{path}`, which never arrives here: write {wanted}{last}",
                )
        elif name == "items":
            href = self._text(value, "href")
            if href is not None and not href.startswith("/"):
                yield error(
                    "setup.py", value.lineno, f"`href` is a path of the dashboard and begins with /, not `{href}`"
                )

    def _is_true(self, table: ast.Dict, name: str) -> bool:
        return any(
            source.literal(key, self.module) == name and source.literal(value, self.module) is True
            for key, value in self._entries(table)
        )

    def _has(self, table: ast.Dict, name: str) -> bool:
        return any(source.literal(key, self.module) == name for key, _ in self._entries(table))

    def _text(self, table: ast.expr, name: str) -> str | None:
        for key, value in self._entries(table) if isinstance(table, ast.Dict) else ():
            if source.literal(key, self.module) == name:
                text = source.literal(value, self.module)
                return text if isinstance(text, str) else None
        return None

    def _entries(self, table: ast.Dict) -> Iterator[tuple[ast.expr, ast.expr]]:
        return ((key, value) for key, value in zip(table.keys, table.values, strict=True) if key is not None)
