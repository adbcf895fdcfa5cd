"""Step 3 of the wizard: who the user is."""

from typing import Any

_NEEDED = {"name": "Your name", "email": "An email address", "career_summary": "A career summary"}


def validate(data: dict[str, Any]) -> list[str]:
    return [f"{label} is needed" for key, label in _NEEDED.items() if not str(data.get(key) or "").strip()]
