"""Keys of the server's API: whether one is good, and what it may do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tercel_worker import host
from tercel_worker.host import HostError


@dataclass
class ApiKey:
    id: str
    name: str
    scopes: list[str]


async def validate_api_key(db: Any, key: str) -> ApiKey | None:
    """The key, if the server knows it."""
    if not key:
        return None
    try:
        found = await host.get_async("/api/v1/keys/current", key)
    except HostError as refused:
        if refused.status in (401, 403):
            return None
        raise
    return ApiKey(str(found["id"]), found["name"], list(found["scopes"]))


def has_scope(scopes: Iterable[str], required: str) -> bool:
    """Whether one of the scopes covers what is required: writing includes reading, `admin` everything."""
    given = set(scopes)
    resource, _, kind = required.partition(":")
    return "admin" in given or required in given or (kind == "read" and f"{resource}:write" in given)
