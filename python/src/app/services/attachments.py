"""Files that belong to messages."""

import base64
from typing import Any
from uuid import UUID

from tercel_worker import host


async def create_attachment(
    message_id: UUID | str | None,
    channel_id: UUID | str | None,
    filename: str,
    mime_type: str,
    size_bytes: int,
    posted_by: str | None,
    source_integration: str | None,
    file_data: bytes | None = None,
    url: str | None = None,
    attachment_type: str | None = None,
    bot_id: str | None = None,
) -> dict[str, Any]:
    """Stores a file, or where it can be had, with a message. Without one it waits a day for its message."""
    if file_data is None and url is None:
        raise ValueError("An attachment needs file_data or url")
    if file_data is None and message_id is None:
        raise ValueError("An attachment that lies elsewhere is kept with a message: name its message_id")
    known = {
        "channel_id": None if channel_id is None else str(channel_id),
        "posted_by": posted_by,
        "source_integration": source_integration,
        "attachment_type": attachment_type,
        "bot_id": bot_id,
    }
    file: dict[str, Any] = {"filename": filename, "mime_type": mime_type}
    if message_id is not None:
        file["message_id"] = str(message_id)
        file["metadata"] = {key: value for key, value in known.items() if value is not None}
    if file_data is not None:
        file["data"] = base64.b64encode(file_data).decode()
    else:
        file["url"], file["size_bytes"] = url, size_bytes
    stored: list[dict[str, Any]] = await host.post_async("/api/v1/attachments", file)
    return stored[0]
