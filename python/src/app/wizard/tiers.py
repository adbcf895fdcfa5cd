"""What each tier may use."""

import logging
import os
import time

from tercel_worker import host
from tercel_worker.host import HostError

logger = logging.getLogger(__name__)

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

# How long what the server said of the features of folders is not asked again.
_FRESH_SECONDS = 10.0

_of_folders: dict[str, str] = {}
_asked_at = float("-inf")


def can_use(tier: str, feature: str, has_byok: bool = False, *, demo_tier: str | None = None) -> bool:
    """Whether the tier is high enough; a feature that nobody lists needs none, an unknown tier has none."""
    tier = demo_tier if demo_tier and _DEMO_MODE else tier
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
    """Features that folders add, as the server knows them; without one, nobody does."""
    global _asked_at, _of_folders
    if host.present() and time.monotonic() - _asked_at > _FRESH_SECONDS:
        try:
            _of_folders = dict(host.get("/api/v1/features")["features"])
            _asked_at = time.monotonic()
        except HostError as refused:
            logger.warning("The features of folders are those that were known before: %s", refused)
    return _of_folders
