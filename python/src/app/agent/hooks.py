"""What a folder says about its service, and the events of agent runs that it wants to hear of."""

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from tercel_worker import calls, host, origin

logger = logging.getLogger(__name__)

EVENTS = (
    "before_context_assembly",
    "before_llm_call",
    "after_llm_call",
    "before_tool_execution",
    "after_tool_call",
    "after_response",
    "after_task_complete",
    "before_transcription",
)


@dataclass
class IntegrationMeta:
    """How a service's places and people are known."""

    integration_type: str
    client_id_prefix: str
    user_attribution: Callable[[Any], dict[str, Any]] | None = None
    resolve_display_names: Callable[[list[Any]], Awaitable[dict[Any, str]]] | None = None
    resolve_dispatch_config: Callable[[str], dict[str, Any] | None] | None = None


@dataclass
class HookContext:
    """The run that an event belongs to, and what the event says."""

    bot_id: str | None = None
    session_id: Any = None
    channel_id: Any = None
    client_id: str | None = None
    correlation_id: Any = None
    extra: dict[str, Any] = field(default_factory=dict)
    audio: bytes | None = None


_meta_registry: dict[str, IntegrationMeta] = {}
_meta_modules: dict[str, str] = {}
_lifecycle_hooks: dict[str, list[Callable[..., Any]]] = {}
_hook_modules: dict[int, str] = {}


def register_integration(meta: IntegrationMeta) -> None:
    _meta_registry[meta.integration_type] = meta
    _meta_modules[meta.integration_type] = origin.caller()


def get_integration_meta(integration_type: str) -> IntegrationMeta | None:
    return _meta_registry.get(integration_type)


def get_all_client_id_prefixes() -> tuple[str, ...]:
    """Prefixes of this folder and, where there is a server, of all its integrations."""
    prefixes = {meta.client_id_prefix for meta in _meta_registry.values()}
    if host.present():
        prefixes.update(host.get("/api/v1/channels/prefixes")["prefixes"])
    return tuple(sorted(prefix for prefix in prefixes if prefix))


def is_integration_client_id(client_id: str | None) -> bool:
    """Whether the place is one of a service's, not one of the server's own."""
    if not client_id:
        return False
    own = tuple(meta.client_id_prefix for meta in _meta_registry.values() if meta.client_id_prefix)
    return client_id.startswith(own) or client_id.startswith(get_all_client_id_prefixes())


def get_user_attribution(integration_type: str, user: Any) -> dict[str, Any]:
    """How a user's name and picture are shown on a service; empty when nobody says."""
    meta = _meta_registry.get(integration_type)
    if meta is None or meta.user_attribution is None:
        return {}
    try:
        return meta.user_attribution(user)
    except Exception:
        logger.exception("user_attribution of %s failed", integration_type)
        return {}


async def resolve_all_display_names(channels: list[Any]) -> dict[Any, str]:
    """Names by the channels' ids: of its own places the folder is asked, of others the server has said it."""
    names = {channel.id: channel.display_name for channel in channels if getattr(channel, "display_name", None)}
    for meta in list(_meta_registry.values()):
        own = [channel for channel in channels if _is_of(channel, meta) and channel.id not in names]
        if own and meta.resolve_display_names is not None:
            try:
                names.update(await calls.invoke(meta.resolve_display_names, own) or {})
            except Exception:
                logger.exception("resolve_display_names of %s failed", meta.integration_type)
    return names


def _is_of(channel: Any, meta: IntegrationMeta) -> bool:
    client_id = getattr(channel, "client_id", None) or ""
    return bool(meta.client_id_prefix) and client_id.startswith(meta.client_id_prefix)


def register_hook(event: str, callback: Callable[..., Any]) -> None:
    """Calls back with `(ctx, **kwargs)` whenever the event happens."""
    if event not in EVENTS:
        logger.warning("There is no event `%s`, so nobody is told of it; known are %s", event, ", ".join(EVENTS))
    _lifecycle_hooks.setdefault(event, []).append(callback)
    _hook_modules[id(callback)] = origin.caller()


async def fire_hook(event: str, ctx: HookContext, **kwargs: Any) -> None:
    """Tells everyone; who fails is logged and hinders nobody."""
    for callback in list(_lifecycle_hooks.get(event, ())):
        try:
            await calls.invoke(callback, ctx, **kwargs)
        except (Exception, SystemExit):
            logger.exception("Hook %s failed at %s", _name(callback), event)


async def fire_hook_with_override(event: str, ctx: HookContext, **kwargs: Any) -> Any:
    """Asks one after the other until somebody answers something."""
    for callback in list(_lifecycle_hooks.get(event, ())):
        try:
            answer = await calls.invoke(callback, ctx, **kwargs)
        except (Exception, SystemExit):
            logger.exception("Hook %s failed at %s", _name(callback), event)
            continue
        if answer is not None:
            return answer
    return None


def _name(callback: Callable[..., Any]) -> str:
    return getattr(callback, "__qualname__", None) or repr(callback)
