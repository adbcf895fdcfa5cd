"""Step 5 of the wizard: where the models are."""

from typing import Any


def validate(data: dict[str, Any]) -> list[str]:
    return [] if data.get("endpoint_confirmed") else ["Test the model's address before you go on"]
