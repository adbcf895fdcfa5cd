"""Values of a folder's settings."""

import logging
import os

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
