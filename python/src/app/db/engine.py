"""`async_session()`, as folders write it. There is no database here: reading asks the server, writing is refused."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from app.agent import bots
from app.db.models import Bot, Channel, ChannelIntegration
from app.db.query import Select
from tercel_worker import calls, host


class Result:
    """Rows that were selected."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def scalars(self) -> "Result":
        return self

    def all(self) -> list[Any]:
        return list(self._rows)

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    def scalar_one_or_none(self) -> Any:
        if len(self._rows) > 1:
            raise ValueError(f"{len(self._rows)} rows were found where at most one was expected")
        return self.first()

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


class AsyncSession:
    """Stands where folders pass a database session on."""

    async def __aenter__(self) -> "AsyncSession":
        return self

    async def __aexit__(self, *raised: object) -> None:
        return None

    async def execute(self, statement: Any) -> Result:
        if not isinstance(statement, Select):
            raise NotImplementedError("Folders read Channel, ChannelIntegration and Bot by select(…).where(…), no more")
        return Result(await calls.in_thread(_rows, statement))

    async def commit(self) -> None:
        """What the helpers stored is stored when they return."""


def async_session() -> AsyncSession:
    return AsyncSession()


def channels(**query: str | None) -> Iterator[tuple[Channel, list[ChannelIntegration]]]:
    """Channels with their bindings, as far as this folder may see them."""
    for found in host.pages("/api/v1/channels", limit="500", **query):
        bindings = [
            ChannelIntegration(
                id=UUID(binding["id"]),
                client_id=binding["client_id"],
                channel_id=UUID(binding["channel_id"]),
                dispatch_config=binding.get("dispatch_config"),
                display_name=binding.get("display_name"),
            )
            for binding in found.get("bindings") or []
        ]
        channel = Channel(
            id=UUID(found["id"]),
            bot_id=found["bot_id"],
            client_id=found["client_id"],
            integration=found.get("integration"),
            display_name=found.get("display_name"),
            require_mention=bool(found.get("require_mention")),
            passive_memory=found.get("passive_memory") is not False,
            allow_bot_messages=bool(found.get("allow_bot_messages")),
            thinking_display=found.get("thinking_display"),
            dispatch_config=found.get("dispatch_config"),
        )
        yield channel, bindings


def _rows(statement: Select) -> list[Any]:
    if statement.table is Bot:
        found = (bots.from_json(bot) for bot in host.pages("/api/v1/bots", limit="500"))
        return statement.chosen(Bot(**vars(bot)) for bot in found)
    exact = [one.value for one in statement.conditions if one.column == "client_id" and one.operator == "=="]
    begins = [one.prefix() for one in statement.conditions if one.column == "client_id" and one.prefix()]
    # The server narrows the list down; that the conditions hold is checked here.
    places = channels(client_id=exact[0] if exact else None, client_id_prefix=begins[0] if begins else None)
    if statement.table is Channel:
        return statement.chosen(channel for channel, _ in places)
    return statement.chosen(binding for _, bindings in places for binding in bindings)
