"""The tier of whoever runs this server."""

import os

from app.wizard import tiers
from tercel_worker import host

# The server is its operator's own.
DEFAULT = "premium"


class UserProfile:
    """`tier` is what was bought, `effective_tier` what counts now."""

    @property
    def tier(self) -> str:
        if host.present():
            return str(host.get("/api/v1/features")["tier"])
        tier = os.environ.get("TERCEL_TIER", "").strip().lower()
        return tier if tier in tiers.TIERS else DEFAULT

    @property
    def effective_tier(self) -> str:
        return self.tier
