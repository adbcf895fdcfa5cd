"""Where dispatchers register."""

from typing import Any, Protocol

from tercel_worker import origin


class Dispatcher(Protocol):
    """Delivers what agents say to a service."""

    async def deliver(
        self,
        task: Any,
        result: str,
        client_actions: list[dict[str, Any]] | None = None,
        extra_metadata: dict[str, Any] | None = None,
    ) -> Any:
        """The answer of a run. None: sent, nobody said so; False: not sent."""

    async def post_message(
        self,
        dispatch_config: dict[str, Any],
        text: str,
        *,
        bot_id: str | None = None,
        reply_in_thread: bool = True,
        username: str | None = None,
        icon_emoji: str | None = None,
        icon_url: str | None = None,
        client_actions: list[dict[str, Any]] | None = None,
        extra_metadata: dict[str, Any] | None = None,
    ) -> bool:
        """A message of its own."""


_registry: dict[str, Any] = {}

# By type, the module that registered it.
_modules: dict[str, str] = {}


def register(dispatch_type: str, dispatcher: Any) -> None:
    """Answers for this type go through this dispatcher; registering a type anew replaces it."""
    _registry[dispatch_type] = dispatcher
    _modules[dispatch_type] = origin.caller()


def get(dispatch_type: str | None) -> Any:
    """The dispatcher of a type, or None."""
    return _registry.get(dispatch_type or "")
