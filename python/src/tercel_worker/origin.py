"""Whose code is registering: a folder's own, or that of a sibling it imports."""

import sys

_SHIPPED = frozenset({"_register", "utils"})


def caller(depth: int = 2) -> str:
    """Name of the module that called the function that asks."""
    return str(sys._getframe(depth).f_globals.get("__name__", ""))


def file_of(module: str) -> str | None:
    """The file a module came from."""
    return getattr(sys.modules.get(module), "__file__", None)


def folder_of(module: str) -> str | None:
    """The id of the folder that a module belongs to, if it belongs to one."""
    parts = module.split(".")
    if len(parts) < 2 or parts[0] != "integrations" or parts[1] in _SHIPPED:
        return None
    return parts[1]


def is_foreign(module: str, id: str) -> bool:
    """The module is another folder's: what it registers is no part of this one."""
    folder = folder_of(module)
    return folder is not None and folder != id
