"""Keeps in a session what was said elsewhere."""

import os
from typing import Any
from uuid import UUID

from tercel_worker import host


async def store_dispatch_echo(
    session_id: UUID | str,
    client_id: str,
    posting_bot_id: str,
    text: str,
    extra_metadata: dict[str, Any] | None = None,
) -> None:
    """Remembers what a bot posted to a place, so that the agent there knows of it. It starts no run."""
    message = {
        "content": text,
        "source": os.environ.get("TERCEL_INTEGRATION", "integration"),
        "role": "assistant",
        "run_agent": False,
        "notify": False,
        "metadata": {**(extra_metadata or {}), "client_id": client_id, "posting_bot_id": posting_bot_id},
    }
    await host.post_async(f"/api/v1/sessions/{host.segment(session_id)}/messages", message)
