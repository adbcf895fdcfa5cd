"""The server's bots, as far as folders need them."""

from dataclasses import dataclass, field
from typing import Any

from tercel_worker import host
from tercel_worker.host import HostError


@dataclass
class Bot:
    id: str
    name: str
    display_name: str | None = None
    avatar_url: str | None = None
    integration_config: dict[str, Any] = field(default_factory=dict)


def from_json(bot: dict[str, Any]) -> Bot:
    return Bot(
        id=bot["id"],
        name=bot.get("name") or bot["id"],
        display_name=bot.get("display_name"),
        avatar_url=bot.get("avatar_url"),
        integration_config=bot.get("integration_config") or {},
    )


def get_bot(bot_id: str) -> Bot:
    """The bot of this id; one that does not exist is an HTTPException with 404."""
    try:
        return from_json(host.get(f"/api/v1/bots/{host.segment(bot_id)}"))
    except HostError as refused:
        if refused.status == 404:
            from fastapi import HTTPException

            raise HTTPException(404, refused.detail) from refused
        raise
