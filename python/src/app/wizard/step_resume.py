"""Step 4 of the wizard: what the user has done."""

from typing import Any


def validate(data: dict[str, Any]) -> list[str]:
    entries = data.get("experience")
    return [] if isinstance(entries, list) and entries else ["At least one entry of experience is needed"]
