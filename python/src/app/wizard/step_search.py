"""Step 6 of the wizard: what is searched for, and where."""

from typing import Any


def validate(data: dict[str, Any]) -> list[str]:
    needed = {"job_titles": "job title", "locations": "location"}
    return [f"At least one {label} is needed" for key, label in needed.items() if not _some(data.get(key))]


def _some(values: Any) -> bool:
    return isinstance(values, list) and any(str(value or "").strip() for value in values)
