"""Folders, by id: `integrations.<id>`, beside the documented helpers of this package."""

import sys
from pathlib import Path


def look_in(*directories: Path) -> None:
    """Finds folders in these directories too, those of the first ones before those of later ones."""
    for directory in directories:
        if str(directory) not in __path__:
            __path__.insert(len(__path__) - 1, str(directory))


_worker = Path(__file__).parent.parent / "tercel_worker"

# Last, so that a folder of that name goes before what stands in for one that the server has built in.
__path__.append(str(_worker / "shipped"))

# A process and a test are started where `integrations/` stands.
look_in(Path.cwd() / "integrations")

# At the end of the path, so that a SQLAlchemy that is installed goes before it.
_fallback = str(_worker / "fallback")
if _fallback not in sys.path:
    sys.path.append(_fallback)
