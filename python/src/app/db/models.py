"""Rows that folders may read: `select(Channel).where(Channel.client_id == "…")`."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from app.agent.bots import Bot as _BotFields
from app.db.query import Table


@dataclass
class Channel(metaclass=Table):
    """A lasting place with settings of its own."""

    id: UUID
    bot_id: str
    client_id: str
    integration: str | None = None
    display_name: str | None = None
    require_mention: bool = False
    passive_memory: bool = True
    allow_bot_messages: bool = False
    thinking_display: str | None = None
    dispatch_config: dict[str, Any] | None = None


@dataclass
class ChannelIntegration(metaclass=Table):
    """A binding: a further place that a channel's messages are posted to."""

    id: UUID
    client_id: str
    channel_id: UUID
    dispatch_config: dict[str, Any] | None = None
    display_name: str | None = None


@dataclass
class Bot(_BotFields, metaclass=Table):
    """A configured agent."""

    integration_config: dict[str, Any] = field(default_factory=dict)
