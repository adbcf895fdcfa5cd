"""Values of a folder's settings."""

import hashlib
import logging
import os

from tercel_worker import host

logger = logging.getLogger(__name__)


def get_value(integration_id: str, key: str, default: str = "") -> str:
    """The stored value, else the environment's, else the declared default, else this one.

    The server has put the first three together when it started this process, and starts it anew when one changes.
    """
    own = os.environ.get("TERCEL_INTEGRATION")
    if own is not None and integration_id != own:
        logger.warning("%s asked for %s of %s: a folder has its own settings only", own, key, integration_id)
        return default
    return os.environ.get(key) or default


def get_access_token(integration_id: str, *, connection: str = "default", refused: str | None = None) -> str:
    """A token that counts now, by what `oauth2` or `service_account` in the manifest say.

    `refused` is one that the service did not take: the answer is another. Where nobody has agreed, a `HostError` says
    how somebody does.
    """
    return str(host.get(_token(integration_id, connection), refused=_digest(refused))["access_token"])


async def get_access_token_async(
    integration_id: str, *, connection: str = "default", refused: str | None = None
) -> str:
    """The same without holding up the event loop."""
    answer = await host.get_async(_token(integration_id, connection), refused=_digest(refused))
    return str(answer["access_token"])


def _token(integration_id: str, connection: str) -> str:
    where = f"{host.segment(integration_id)}/connections/{host.segment(connection)}"
    return f"/api/v1/admin/integrations/{where}/token"


def _digest(token: str | None) -> str | None:
    return None if token is None else hashlib.sha256(token.encode()).hexdigest()
