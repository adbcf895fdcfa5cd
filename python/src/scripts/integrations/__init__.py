"""Connector classes: `scripts.integrations.<name>`, and REGISTRY with all of them by name."""

import sys
from pathlib import Path

from scripts.integrations import discovery

# A worker, a process and a test are started where `scripts/` stands.
_own = Path.cwd() / "scripts" / "integrations"
if str(_own) not in __path__:
    __path__.append(str(_own))

sys.meta_path.insert(0, discovery.Finder())

REGISTRY = discovery.Registry()
