"""What folders ask the server for: documents, sessions, messages. `db` is taken as documented and not used."""

from typing import Any
from uuid import UUID

from tercel_worker import host
from tercel_worker.host import HostError


async def ingest_document(
    integration_id: str | None,
    title: str,
    content: str,
    *,
    session_id: UUID | str | None = None,
    metadata: dict[str, Any] | None = None,
    db: Any = None,
) -> UUID:
    """Stores a text that agents find; it can be searched for when this returns."""
    document = {
        "integration_id": integration_id,
        "title": title,
        "content": content,
        "session_id": _text(session_id),
        "metadata": metadata or {},
    }
    return UUID((await host.post_async("/api/v1/documents", document))["id"])


async def search_documents(
    q: str,
    *,
    integration_id: str | None = None,
    session_id: UUID | str | None = None,
    limit: int = 10,
    db: Any = None,
) -> list[dict[str, Any]]:
    """The documents that fit best, each with its `score` and `snippet`."""
    found: list[dict[str, Any]] = await host.get_async(
        "/api/v1/documents/search", q=q, integration_id=integration_id, session_id=_text(session_id), limit=limit
    )
    return found


async def get_or_create_session(
    client_id: str, bot_id: str = "default", *, dispatch_config: dict[str, Any] | None = None, db: Any = None
) -> UUID:
    """The session of this place and bot; a bot that does not exist is an HTTPException with 404."""
    wanted: dict[str, Any] = {"client_id": client_id, "bot_id": bot_id}
    if dispatch_config is not None:
        wanted["dispatch_config"] = dispatch_config
    try:
        return UUID((await host.post_async("/api/v1/sessions", wanted))["session_id"])
    except HostError as refused:
        if refused.status == 400:
            from fastapi import HTTPException

            raise HTTPException(404, refused.detail) from refused
        raise


async def inject_message(
    session_id: UUID | str,
    content: str,
    source: str,
    *,
    run_agent: bool = False,
    notify: bool = True,
    dispatch_type: str | None = None,
    dispatch_config: dict[str, Any] | None = None,
    execution_config: dict[str, Any] | None = None,
    db: Any = None,
) -> dict[str, Any]:
    """Puts a message into a session; with `run_agent` the agent answers it. No such session is a ValueError."""
    try:
        session_id = UUID(str(session_id))
    except ValueError:
        raise ValueError(f"There is no session {session_id}") from None
    message: dict[str, Any] = {"content": content, "source": source, "run_agent": run_agent, "notify": notify}
    given = {
        "dispatch_type": dispatch_type,
        "dispatch_config": dispatch_config,
        "execution_config": execution_config,
    }
    message.update({key: value for key, value in given.items() if value is not None})
    try:
        stored = await host.post_async(f"/api/v1/sessions/{host.segment(session_id)}/messages", message)
    except HostError as refused:
        if refused.status == 404:
            raise ValueError(f"There is no session {session_id}") from refused
        raise
    return {key: stored.get(key) for key in ("message_id", "session_id", "task_id")}


def _text(value: UUID | str | None) -> str | None:
    return None if value is None else str(value)
