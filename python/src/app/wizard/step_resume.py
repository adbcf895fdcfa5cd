"""Step 4 of the wizard: what the user has done."""

from typing import Any


def validate(data: dict[str, Any]) -> list[str]:
    return [] if data.get("experience") else ["At least one entry of experience is needed"]
