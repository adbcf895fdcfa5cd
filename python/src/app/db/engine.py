"""`async_session()`, as folders write it. There is no database here: reading asks the server, writing is refused."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from app.agent import bots
from app.db import real
from app.db.models import Bot, Channel, ChannelIntegration
from app.db.query import Select
from tercel_worker import calls, host
from tercel_worker.host import HostError


class Scalars:
    """The rows themselves."""

    def __init__(self, rows: list[Any]) -> None:
        self._rows = rows

    def all(self) -> list[Any]:
        return list(self._rows)

    def first(self) -> Any:
        return self._rows[0] if self._rows else None

    def one_or_none(self) -> Any:
        if len(self._rows) > 1:
            raise ValueError(f"{len(self._rows)} rows were found where at most one was expected")
        return self.first()

    def one(self) -> Any:
        if not self._rows:
            raise ValueError("No row was found where one was expected")
        return self.one_or_none()

    def unique(self) -> "Scalars":
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(self._rows)


class Result:
    """What was selected: a tuple for each row, with the row as all there is in it."""

    def __init__(self, rows: list[Any]) -> None:
        self._scalars = Scalars(rows)
        self._tuples = Scalars([(row,) for row in rows])
        self.all, self.first = self._tuples.all, self._tuples.first
        self.one, self.one_or_none = self._tuples.one, self._tuples.one_or_none
        self.scalar, self.scalar_one = self._scalars.first, self._scalars.one
        self.scalar_one_or_none = self._scalars.one_or_none

    def scalars(self) -> Scalars:
        return self._scalars

    def unique(self) -> "Result":
        return self

    def __iter__(self) -> Iterator[Any]:
        return iter(self._tuples)


class AsyncSession:
    """Stands where folders pass a database session on."""

    async def __aenter__(self) -> "AsyncSession":
        return self

    async def __aexit__(self, *raised: object) -> None:
        return None

    async def execute(self, statement: Any) -> Result:
        selected = statement if isinstance(statement, Select) else real.ours(statement)
        if selected is None:
            raise NotImplementedError("Folders read Channel, ChannelIntegration and Bot by select(…).where(…), no more")
        return Result(await calls.in_thread(_rows, selected))

    async def scalars(self, statement: Any) -> Scalars:
        return (await self.execute(statement)).scalars()

    async def scalar(self, statement: Any) -> Any:
        return (await self.scalars(statement)).first()

    async def get(self, table: Any, id: Any) -> Any:
        """The row of that id, or None."""
        return await self.scalar(Select(table).filter_by(id=id))

    async def commit(self) -> None:
        """What the helpers stored is stored when they return."""

    async def flush(self) -> None:
        """The same."""

    async def refresh(self, row: Any) -> None:
        """Rows are as they were when they were read."""

    async def rollback(self) -> None:
        """What the helpers stored stays: each is a commit of its own."""

    async def close(self) -> None:
        """There is nothing open."""

    def add(self, row: Any) -> None:
        raise NotImplementedError(
            "Folders write by integrations.utils; rows of their own are kept in a database of theirs"
        )


def async_session() -> AsyncSession:
    return AsyncSession()


def channels(**query: str | None) -> Iterator[tuple[Channel, list[ChannelIntegration]]]:
    """Channels with their bindings, as far as this folder may see them."""
    return map(_channel, host.pages("/api/v1/channels", limit="500", **query))


def _channel(found: dict[str, Any]) -> tuple[Channel, list[ChannelIntegration]]:
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
    return channel, bindings


def _rows(statement: Select) -> list[Any]:
    """The server narrows the list down; that the conditions hold is checked here."""
    exact = {one.column: one.value for one in reversed(statement.conditions) if one.operator == "=="}
    if statement.table is Bot:
        return statement.chosen(Bot(**vars(bots.from_json(bot))) for bot in _found("bots", exact.get("id")))
    if statement.table is Channel and exact.get("id") is not None:
        return statement.chosen(_channel(found)[0] for found in _found("channels", exact["id"]))
    begins = [one.prefix() for one in statement.conditions if one.column == "client_id" and one.prefix()]
    places = channels(client_id=exact.get("client_id"), client_id_prefix=begins[0] if begins else None)
    if statement.table is Channel:
        return statement.chosen(channel for channel, _ in places)
    return statement.chosen(binding for _, bindings in places for binding in bindings)


def _found(resource: str, id: Any) -> Iterator[dict[str, Any]]:
    """All, or the one of that id."""
    if id is None:
        yield from host.pages(f"/api/v1/{resource}", limit="500")
        return
    try:
        yield host.get(f"/api/v1/{resource}/{host.segment(id)}")
    except HostError as refused:
        # What is no id is no row's.
        if refused.status not in (404, 422):
            raise
