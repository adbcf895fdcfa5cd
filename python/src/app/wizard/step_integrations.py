"""Step 7 of the wizard: outside services, all of which can wait."""

from pathlib import Path
from typing import Any

from app.wizard.tiers import TIERS
from scripts.integrations import REGISTRY


def validate(data: dict[str, Any]) -> list[str]:
    """Nothing here is needed."""
    return []


def get_available(tier: str) -> list[str]:
    """Names of the services that this tier may connect."""
    if tier not in TIERS:
        return []
    allowed = TIERS[: TIERS.index(tier) + 1]
    return sorted(name for name, kind in REGISTRY.items() if kind.tier in allowed)


def is_connected(name: str, config_dir: Path) -> bool:
    """Whether the service's values were stored."""
    kind = REGISTRY.get(name)
    return kind is not None and bool(kind.is_configured(config_dir))
