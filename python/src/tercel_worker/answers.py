"""Answers to the server: JSON out of whatever folder code returns."""

import dataclasses
import datetime
import json
import math
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
Receive = Callable[[], Awaitable[Message]]
Scope = MutableMapping[str, Any]

# What is deeper is left out of an answer that needs cleaning.
DEEPEST = 100

_HEADERS = ((b"content-type", b"application/json"),)


def dump(value: Any) -> bytes:
    """JSON in UTF-8; what JSON has no word for becomes text, a list, an object or null."""
    try:
        text = json.dumps(value, default=_plain, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):
        # NaN, a key that is no text, a ring, or too deep.
        text = json.dumps(_cleaned(value, ()), ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")


async def send_json(send: Send, status: int, value: Any) -> None:
    await send_body(send, status, dump(value))


async def send_body(send: Send, status: int, body: bytes) -> None:
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": status, "headers": [*_HEADERS, (b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


async def body_of(receive: Receive) -> bytes:
    message = await receive()
    if not message.get("more_body"):
        return bytes(message.get("body", b""))
    parts = [message.get("body", b"")]
    while message.get("more_body"):
        message = await receive()
        parts.append(message.get("body", b""))
    return b"".join(parts)


def _plain(value: Any) -> Any:
    if isinstance(value, (datetime.datetime, datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (set, frozenset, tuple)):
        return list(value)
    if isinstance(value, uuid.UUID):
        return str(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, (bytes, bytearray)):
        return bytes(value).decode("utf-8", "replace")
    return str(value)


def _cleaned(value: Any, inside: tuple[int, ...]) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (str, int)):
        return value
    if id(value) in inside or len(inside) > DEEPEST:
        return None
    inside = (*inside, id(value))
    if isinstance(value, dict):
        return {str(key): _cleaned(inner, inside) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(inner, inside) for inner in value]
    return _cleaned(_plain(value), inside)
