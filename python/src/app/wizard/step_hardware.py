"""Step 1 of the wizard: what the models run on."""

from typing import Any

PROFILES = ["remote", "cpu", "single-gpu", "dual-gpu"]


def validate(data: dict[str, Any]) -> list[str]:
    profile = data.get("inference_profile") or data.get("profile") or ""
    if profile in PROFILES:
        return []
    return [f"Choose a hardware profile: {', '.join(PROFILES)}"]
