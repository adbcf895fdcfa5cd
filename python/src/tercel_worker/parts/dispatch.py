"""Calls a dispatcher, and says honestly whether what it was to post may be out there."""

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

from app.agent import dispatchers
from tercel_worker import calls, exchanges, failure, origin
from tercel_worker.failure import Failure
from tercel_worker.folder import Folder
from tercel_worker.host import HostError

_MESSAGE = (
    "bot_id",
    "reply_in_thread",
    "username",
    "icon_emoji",
    "icon_url",
    "client_actions",
    "extra_metadata",
)


def of(folder: Folder) -> dict[str, Any]:
    """The folder's own dispatchers, by type."""
    return {
        kind: dispatcher
        for kind, dispatcher in dispatchers._registry.items()
        if not origin.is_foreign(dispatchers._modules.get(kind, ""), folder.id)
    }


async def deliver(folder: Folder, name: str, arguments: Any) -> Any:
    function = _function(folder, name, "deliver")
    task = _task(arguments)
    named = {key: arguments.get(key) for key in ("client_actions", "extra_metadata")}
    return _sent(await _post(function, task, arguments.get("result") or "", **named))


async def post_message(folder: Folder, name: str, arguments: Any) -> Any:
    function = _function(folder, name, "post_message")
    named = {key: arguments[key] for key in _MESSAGE if key in arguments}
    return _sent(await _post(function, arguments.get("dispatch_config") or {}, arguments.get("text") or "", **named))


async def find(folder: Folder, name: str, arguments: Any) -> Any:
    found = await calls.invoke(_function(folder, name, "find"), _task(arguments))
    if found is None or found is False:
        return None
    return _receipt(found) or {"id": None, "url": None}


async def update(folder: Folder, name: str, arguments: Any) -> Any:
    function = _function(folder, name, "update")
    actions = arguments.get("client_actions")
    # One that does not take them cannot change the post into the whole answer: that is posted.
    named = {"client_actions": actions} if actions else {}
    task = _task(arguments)
    return _sent(await _post(function, task, arguments.get("id"), arguments.get("result") or "", **named))


async def notify_start(folder: Folder, name: str, arguments: Any) -> Any:
    task = _task(arguments)
    await calls.invoke(_function(folder, name, "notify_start"), task)
    return {"dispatch_config": task.dispatch_config}


async def request_approval(folder: Folder, name: str, arguments: Any) -> Any:
    await calls.invoke(_function(folder, name, "request_approval"), **arguments)
    return None


def _function(folder: Folder, kind: str, name: str) -> Callable[..., Any]:
    dispatcher = of(folder).get(kind)
    if dispatcher is None:
        raise Failure("not_found", f"{folder.id} registers no dispatcher for `{kind}`")
    function = getattr(dispatcher, name, None)
    if function is None:
        raise Failure("unsupported", f"The dispatcher for `{kind}` has no {name}()")
    return function  # type: ignore[no-any-return]


def _task(arguments: Any) -> SimpleNamespace:
    task = SimpleNamespace(**(arguments.get("task") or {}))
    task.dispatch_config = getattr(task, "dispatch_config", None) or {}
    # `find` looks for the marker; which part of an answer this is, is known by the rest.
    task.outbound = SimpleNamespace(**(arguments.get("outbound") or {}))
    return task


async def _post(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    try:
        inspect.signature(function).bind(*arguments, **named)
    except TypeError as mismatch:
        raise Failure("schema", f"{function.__qualname__}() cannot be called as documented: {mismatch}") from None
    try:
        return await calls.invoke(function, *arguments, **named)
    except Exception as raised:
        failure.log(function.__qualname__, raised)
        raise outcome(raised, calls.current.get()) from raised


def outcome(raised: BaseException, call: calls.Call | None) -> Failure:
    """Not sent, where that is certain: no connection, or the service said no. Else nobody knows."""
    known = failure.of(raised)
    # A service that says when to come back has not taken it.
    refused = known.status is not None and (
        known.status < 500 or (known.status == 503 and known.retry_after is not None)
    )
    certain = refused or _is_told(raised) or failure.not_connected(raised)
    # A second request that fails does not take back what the first one posted.
    if certain and not (call is not None and exchanges.wrote_to(call, _host(raised))):
        return known
    hint = "Look at the service whether it is there before it is sent again"
    return Failure("unknown_outcome", known.message, hint=hint, status=known.status)


def _is_told(raised: BaseException) -> bool:
    """The folder, or the server that it asked for something, says itself what became of it."""
    if isinstance(raised, HostError):
        return failure.told(raised) is not None or 0 < raised.status < 500
    return isinstance(raised, Failure)


def _host(raised: BaseException) -> str | None:
    """The host that a failed request was for, if it tells."""
    try:
        request = getattr(raised, "request", None)
        return urlsplit(str(request.url)).netloc if request is not None else None
    except (AttributeError, RuntimeError, ValueError):
        return None


def _sent(answer: Any) -> dict[str, Any]:
    if answer is None or isinstance(answer, bool):
        return {"sent": answer}
    return {"sent": True, "receipt": _receipt(answer)}


def _receipt(answer: Any) -> dict[str, Any] | None:
    if isinstance(answer, dict):
        return {key: str(answer[key]) if answer.get(key) is not None else None for key in ("id", "url")}
    if isinstance(answer, (str, int)) and not isinstance(answer, bool):
        return {"id": str(answer), "url": None}
    return None
