"""Messages to Slack; the server's Slack integration sends them, with its own credentials."""

import logging

from tercel_worker.host import HostError

from .server import NoSlack, call

logger = logging.getLogger(__name__)


async def post_message(
    token: str | None,
    channel_id: str,
    text: str,
    *,
    thread_ts: str | None = None,
    reply_in_thread: bool = True,
    username: str | None = None,
    icon_emoji: str | None = None,
    icon_url: str | None = None,
) -> bool:
    """Whether the message was posted. A server without Slack is an error that says so."""
    wanted = {
        "channel_id": channel_id,
        "text": text,
        "thread_ts": thread_ts if reply_in_thread else None,
        "username": username,
        "icon_emoji": icon_emoji,
        "icon_url": icon_url,
    }
    try:
        await call("slack_post_message", wanted)
    except NoSlack:
        raise
    except HostError as refused:
        logger.error("Slack did not take the message for %s: %s", channel_id, refused)
        return False
    return True
