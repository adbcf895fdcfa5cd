"""The documented module names of connector classes, beside whatever else stands in `scripts/` here."""

from pathlib import Path

_own = str(Path.cwd() / "scripts")
if _own not in __path__:
    __path__.append(_own)
