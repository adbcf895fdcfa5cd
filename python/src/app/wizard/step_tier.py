"""Step 2 of the wizard: the tier."""

from typing import Any

from app.wizard.tiers import TIERS


def validate(data: dict[str, Any]) -> list[str]:
    return [] if data.get("tier") in TIERS else [f"Choose a tier: {', '.join(TIERS)}"]
