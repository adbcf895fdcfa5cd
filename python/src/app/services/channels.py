"""Channels by the places they are bound to."""

from typing import Any
from uuid import UUID

from app.agent.hooks import is_integration_client_id
from app.db.engine import channels
from app.db.models import Channel, ChannelIntegration
from tercel_worker import calls, host

__all__ = ["ensure_active_session", "is_integration_client_id", "resolve_all_channels_by_client_id"]


async def resolve_all_channels_by_client_id(db: Any, client_id: str) -> list[tuple[Channel, ChannelIntegration | None]]:
    """Channels that are this place or are bound to it, with the binding where there is one."""

    def found() -> list[tuple[Channel, ChannelIntegration | None]]:
        pairs: list[tuple[Channel, ChannelIntegration | None]] = []
        for channel, bindings in channels(client_id=client_id):
            bound = [binding for binding in bindings if binding.client_id == client_id]
            pairs.extend((channel, binding) for binding in bound)
            if not bound and channel.client_id == client_id:
                pairs.append((channel, None))
        return pairs

    return await calls.in_thread(found)  # type: ignore[no-any-return]


async def ensure_active_session(db: Any, channel: Channel) -> UUID:
    """The session in which the channel goes on."""
    wanted = {"client_id": channel.client_id, "bot_id": channel.bot_id}
    return UUID((await host.post_async("/api/v1/sessions", wanted))["session_id"])
