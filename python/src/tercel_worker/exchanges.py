"""Sees the requests that folder code makes with requests, httpx and urllib, so that a bare False has a reason.

Where there is a proxy, aiohttp takes it as the others do.
"""

import functools
import importlib.abc
import importlib.machinery
import importlib.util
import inspect
import os
import sys
from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any
from urllib.parse import urlsplit

from tercel_worker import calls, failure

# By module: classes with a method whose first argument is a request and whose answer has a status.
_SENDERS = {
    "requests.sessions": (("Session", "send"),),
    "httpx._client": (("Client", "send"), ("AsyncClient", "send")),
    "urllib.request": (("OpenerDirector", "open"),),
}
# The client that takes what the environment says of the network only when it is told to.
_CAREFUL = "aiohttp.client"


def watch() -> None:
    """Clients that are imported from now on tell the call they are used in."""
    for name in (*_SENDERS, _CAREFUL):
        if name in sys.modules:
            _wrap(sys.modules[name])
    sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in _SENDERS and name != _CAREFUL:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            execute = spec.loader.exec_module

            def exec_module(module: ModuleType) -> None:
                execute(module)
                _wrap(module)

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec


def _wrap(module: ModuleType) -> None:
    if module.__name__ == _CAREFUL:
        if os.environ.get("TERCEL_PROXY"):
            _trust(module.ClientSession)
        return
    for class_name, method in _SENDERS[module.__name__]:
        kind = getattr(module, class_name, None)
        if kind is not None:
            setattr(kind, method, _seen(getattr(kind, method)))


def _trust(session: Any) -> None:
    make = session.__init__

    @functools.wraps(make)
    def trusting(self: Any, *arguments: Any, **named: Any) -> None:
        make(self, *arguments, **{"trust_env": True, **named})

    session.__init__ = trusting


def _seen(send: Callable[..., Any]) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(send):

        @functools.wraps(send)
        async def send_async(client: Any, request: Any, *arguments: Any, **named: Any) -> Any:
            try:
                answer = await send(client, request, *arguments, **named)
            except BaseException as raised:
                _note(request, None, raised)
                raise
            _note(request, answer, None)
            return answer

        return send_async

    @functools.wraps(send)
    def send_sync(client: Any, request: Any, *arguments: Any, **named: Any) -> Any:
        try:
            answer = send(client, request, *arguments, **named)
        except BaseException as raised:
            _note(request, None, raised)
            raise
        _note(request, answer, None)
        return answer

    return send_sync


def _note(request: Any, answer: Any, raised: BaseException | None) -> None:
    call = calls.current.get()
    if call is None:
        return
    status = getattr(answer, "status_code", None) or getattr(answer, "status", None)
    if raised is not None:
        answered = failure.response(raised)
        status = answered[0] if answered else None
    url = request if isinstance(request, str) else str(getattr(request, "url", None) or request.full_url)
    method = getattr(request, "method", None) or (request.get_method() if hasattr(request, "get_method") else "GET")
    call.exchanges.append(calls.Exchange(method, urlsplit(url).netloc, status, raised))


def wrote_to(call: calls.Call, host: str | None) -> bool:
    """Something of this call may have changed the service already."""
    return any(
        exchange.writes and exchange.status is not None and exchange.status < 400 and host in (None, exchange.host)
        for exchange in call.exchanges
    )
