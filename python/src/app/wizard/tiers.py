"""What each tier may use."""

import os

from tercel_worker import host
from tercel_worker.host import HostError

TIERS = ["free", "paid", "premium", "ultra"]

FEATURES: dict[str, str] = {
    "llm_career_summary": "paid",
    "llm_expand_bullets": "paid",
    "llm_suggest_skills": "paid",
    "llm_job_titles": "paid",
    "llm_mission_notes": "paid",
    "llm_keywords_blocklist": "paid",
    "company_research": "paid",
    "interview_prep": "paid",
    "survey_assistant": "paid",
    "email_classifier": "paid",
    "shared_cover_writer_model": "paid",
    "llm_voice_guidelines": "premium",
    "model_fine_tuning": "premium",
    "multi_user": "premium",
    "notion_sync": "paid",
    "google_sheets_sync": "paid",
    "airtable_sync": "paid",
    "google_calendar_sync": "paid",
    "apple_calendar_sync": "paid",
    "slack_notifications": "paid",
    "vue_ui_beta": "free",
}

# What a user who brings a model of their own may use in every tier.
BYOK_UNLOCKABLE: frozenset[str] = frozenset(
    {
        "llm_career_summary",
        "llm_expand_bullets",
        "llm_suggest_skills",
        "llm_job_titles",
        "llm_mission_notes",
        "llm_voice_guidelines",
        "company_research",
        "interview_prep",
        "survey_assistant",
    }
)

_DEMO_MODE: bool = os.environ.get("DEMO_MODE", "").lower() in ("1", "true", "yes")

_LABELS = {"paid": "🔒 Paid", "premium": "⭐ Premium", "ultra": "⭐ Ultra"}

_of_folders: dict[str, str] | None = None


def can_use(tier: str, feature: str, has_byok: bool = False, *, demo_tier: str | None = None) -> bool:
    """Whether the tier is high enough; a feature that nobody lists needs none, an unknown tier has none."""
    tier = demo_tier if demo_tier is not None and _DEMO_MODE else tier
    needed = _needed(feature)
    if needed is None:
        return True
    if has_byok and feature in BYOK_UNLOCKABLE:
        return True
    return tier in TIERS and TIERS.index(tier) >= TIERS.index(needed)


def tier_label(feature: str, has_byok: bool = False) -> str:
    """What stands beside a feature that not everybody has."""
    if has_byok and feature in BYOK_UNLOCKABLE:
        return ""
    return _LABELS.get(_needed(feature) or "free", "")


def _needed(feature: str) -> str | None:
    needed = FEATURES.get(feature) or _features_of_folders().get(feature)
    return needed if needed in TIERS else None


def _features_of_folders() -> dict[str, str]:
    """Features that folders add, as the server knows them."""
    global _of_folders
    if _of_folders is None and host.present():
        try:
            _of_folders = dict(host.get("/api/v1/features")["features"])
        except HostError:
            return {}
    return _of_folders or {}
