"""Files for Slack; the server's Slack integration uploads them, with its own credentials."""

import base64
from typing import Any

from .server import call


async def upload_image(
    *, token: str | None, channel_id: str, thread_ts: str | None, reply_in_thread: bool, action: dict[str, Any]
) -> None:
    """Uploads the picture of an `upload_image` client action: `data` in base64, `filename`, `caption`."""
    if action.get("data"):
        wanted = {
            "channel_id": channel_id,
            "thread_ts": thread_ts if reply_in_thread else None,
            "data": action["data"],
            "filename": action.get("filename") or "image.png",
            "caption": action.get("caption"),
        }
        await call("slack_upload_image", wanted)


async def upload_file(
    *,
    token: str | None,
    channel_id: str,
    filename: str,
    file_data: bytes,
    thread_ts: str | None = None,
    reply_in_thread: bool = True,
    caption: str | None = None,
) -> None:
    """Uploads a file."""
    wanted = {
        "channel_id": channel_id,
        "thread_ts": thread_ts if reply_in_thread else None,
        "data": base64.b64encode(file_data).decode(),
        "filename": filename,
        "caption": caption,
    }
    await call("slack_upload_file", wanted)
