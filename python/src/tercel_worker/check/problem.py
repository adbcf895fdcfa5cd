"""What is wrong, where, and how much it matters."""

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Problem:
    file: str
    line: int | None
    # An error is something that does not work; a warning is something that will hurt somebody.
    level: Literal["error", "warning"]
    message: str


def error(file: str, line: int | None, message: str) -> Problem:
    return Problem(file, line, "error", message)


def warning(file: str, line: int | None, message: str) -> Problem:
    return Problem(file, line, "warning", message)


def renamed(name: str, there: Iterable[str]) -> str:
    """`: call x so`, when something that is there has almost the name that is wanted."""
    names = sorted(there)
    near = difflib.get_close_matches(name.lower(), [one.lower() for one in names], 1, 0.6)
    return f": call `{next(one for one in names if one.lower() == near[0])}` so" if near else ""


def misspelt(name: str, known: Iterable[str]) -> str | None:
    """The one that is surely meant: for names that may be anything."""
    near = {one.lower(): one for one in known}
    found = difflib.get_close_matches(name.lower(), near, 1, 0.85)
    return near[found[0]] if found else None


def meant(name: str, known: Iterable[str]) -> str:
    """`; is x meant?`, or all that there is when nothing is near."""
    names = sorted(known)
    near = difflib.get_close_matches(name.lower(), [one.lower() for one in names], 1, 0.6)
    if near:
        return f"; is `{next(one for one in names if one.lower() == near[0])}` meant?"
    return f"; there are {', '.join(names)}" if names else ""
