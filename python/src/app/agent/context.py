"""What the call that runs now is about; set anew for each call and each routed request."""

from contextvars import ContextVar
from typing import Any

current_bot_id: ContextVar[str | None] = ContextVar("current_bot_id", default=None)
current_channel_id: ContextVar[str | None] = ContextVar("current_channel_id", default=None)
current_session_id: ContextVar[str | None] = ContextVar("current_session_id", default=None)
current_client_id: ContextVar[str | None] = ContextVar("current_client_id", default=None)
current_correlation_id: ContextVar[str | None] = ContextVar("current_correlation_id", default=None)
current_dispatch_type: ContextVar[str | None] = ContextVar("current_dispatch_type", default=None)
current_dispatch_config: ContextVar[dict[str, Any] | None] = ContextVar("current_dispatch_config", default=None)
current_injected_tools: ContextVar[list[Any] | None] = ContextVar("current_injected_tools", default=None)

_VARIABLES: dict[str, ContextVar[Any]] = {
    variable.name.removeprefix("current_"): variable
    for variable in (
        current_bot_id,
        current_channel_id,
        current_session_id,
        current_client_id,
        current_correlation_id,
        current_dispatch_type,
        current_dispatch_config,
        current_injected_tools,
    )
}


def set_all(values: dict[str, Any]) -> None:
    """Sets every variable; what is not given is None, never what an earlier call left."""
    for name, variable in _VARIABLES.items():
        variable.set(values.get(name))
