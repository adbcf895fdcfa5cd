"""What can be called in a folder, by the part of the protocol's request."""

from collections.abc import Awaitable, Callable
from typing import Any

from tercel_worker.failure import Failure
from tercel_worker.folder import Folder
from tercel_worker.parts import connector, dispatch, hooks, tools

Part = Callable[[Folder, str, Any], Awaitable[Any]]

_PARTS: dict[str, Part] = {
    "tool": tools.call,
    "deliver": dispatch.deliver,
    "post_message": dispatch.post_message,
    "find": dispatch.find,
    "update": dispatch.update,
    "notify_start": dispatch.notify_start,
    "request_approval": dispatch.request_approval,
    "hook": hooks.fire,
    "user_attribution": hooks.user_attribution,
    "resolve_display_names": hooks.resolve_display_names,
    "resolve_dispatch_config": hooks.resolve_dispatch_config,
    "connect": connector.connect,
    "test": connector.test,
    "sync": connector.sync,
}

# Parts that change something outside.
_WRITES = frozenset({"deliver", "post_message", "sync"})


def part(name: Any) -> Part:
    try:
        return _PARTS[name]
    except (KeyError, TypeError):
        raise Failure("unsupported", f"This worker knows no part `{name}`") from None


def may_have_happened(part: Any, name: str) -> bool:
    """Whether a call that was given up may have had its effect, so that nobody should repeat it unseen."""
    return part in _WRITES or (part == "tool" and not tools.is_repeatable(name))
