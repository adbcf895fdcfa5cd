"""Tells hooks of events, and asks a folder who its users and places are."""

import base64
from types import SimpleNamespace
from typing import Any

from app.agent import context, hooks
from tercel_worker import calls, origin
from tercel_worker.failure import Failure
from tercel_worker.folder import Folder

# The one event whose answer counts.
OVERRIDE = "before_transcription"


def events(folder: Folder) -> list[str]:
    """Events that the folder's own code listens to."""
    return [
        event
        for event in hooks.EVENTS
        if any(
            not origin.is_foreign(hooks._hook_modules.get(id(callback), ""), folder.id)
            for callback in hooks._lifecycle_hooks.get(event, ())
        )
    ]


async def fire(folder: Folder, event: str, arguments: Any) -> Any:
    extra = arguments.get("extra") or {}
    audio = arguments.get("audio")
    ctx = hooks.HookContext(
        bot_id=context.current_bot_id.get(),
        session_id=context.current_session_id.get(),
        channel_id=context.current_channel_id.get(),
        client_id=context.current_client_id.get(),
        correlation_id=context.current_correlation_id.get(),
        extra=extra,
        audio=base64.b64decode(audio) if isinstance(audio, str) else None,
    )
    if event == OVERRIDE:
        return await hooks.fire_hook_with_override(event, ctx)
    named: dict[str, Any] = {}
    if event == "after_task_complete":
        task = SimpleNamespace(
            id=extra.get("task_id"),
            task_type=extra.get("task_type"),
            status=extra.get("status"),
            bot_id=ctx.bot_id,
            session_id=ctx.session_id,
            channel_id=ctx.channel_id,
            client_id=ctx.client_id,
            dispatch_type=context.current_dispatch_type.get(),
            dispatch_config=context.current_dispatch_config.get() or {},
        )
        named = {"task": task, "status": extra.get("status")}
    await hooks.fire_hook(event, ctx, **named)
    return None


async def user_attribution(folder: Folder, name: str, arguments: Any) -> Any:
    function = _meta(name, "user_attribution")
    user = SimpleNamespace(
        display_name=arguments.get("display_name"),
        avatar_url=arguments.get("avatar_url"),
        integration_config=arguments.get("integration_config") or {},
    )
    return await calls.invoke(function, user) or {}


async def resolve_display_names(folder: Folder, name: str, arguments: Any) -> Any:
    """The function gets channels and answers by their ids; both are the client ids here."""
    function = _meta(name, "resolve_display_names")
    places = [
        SimpleNamespace(id=place, client_id=place, integration=name, display_name=None, bot_id=None)
        for place in arguments
    ]
    names = await calls.invoke(function, places) or {}
    return {str(place): str(shown) for place, shown in names.items() if shown is not None}


async def resolve_dispatch_config(folder: Folder, name: str, arguments: Any) -> Any:
    return await calls.invoke(_meta(name, "resolve_dispatch_config"), arguments.get("client_id"))


def _meta(name: str, function: str) -> Any:
    meta = hooks.get_integration_meta(name)
    found = getattr(meta, function, None)
    if found is None:
        raise Failure("unsupported", f"`{name}` registers no {function}")
    return found
