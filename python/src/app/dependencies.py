"""FastAPI dependencies: who calls a route. The server has looked at the key and says what it may do."""

import secrets
from collections.abc import AsyncIterator
from typing import Any

from fastapi import HTTPException, Request

from app.config import settings
from app.db.engine import AsyncSession, async_session
from app.services.api_keys import has_scope

# Set by the server, and by nobody else: scopes of the caller's key, separated by spaces.
_SCOPES = "tercel-scopes"
# Among them when the key is the one that this folder was given.
_SELF = "self"


async def get_db() -> AsyncIterator[AsyncSession]:
    async with async_session() as session:
        yield session


async def verify_auth(request: Request) -> str:
    """Any key that may change integrations, or the folder's own."""
    scopes = _scopes(request)
    if _SELF in scopes or has_scope(scopes, "integrations:write"):
        return _bearer(request)
    raise HTTPException(403, "Missing required scope: integrations:write")


async def verify_admin_auth(request: Request) -> str:
    """An admin's key or an admin who is signed in."""
    if has_scope(_scopes(request), "admin"):
        return _bearer(request)
    raise HTTPException(403, "Missing required scope: admin")


def _scopes(request: Request) -> list[str]:
    given = request.headers.get(_SCOPES)
    if given is not None:
        return given.replace(",", " ").split()
    own: Any = settings.API_KEY
    # Without a server in between, as in a test of the folder's, only its own key can be known.
    if own and secrets.compare_digest(_bearer(request).encode(), own.encode()):
        return [_SELF]
    raise HTTPException(401, "A key is needed: Authorization: Bearer <key>", {"WWW-Authenticate": "Bearer"})


def _bearer(request: Request) -> str:
    scheme, _, key = request.headers.get("Authorization", "").partition(" ")
    return key.strip() if scheme.lower() == "bearer" else ""
