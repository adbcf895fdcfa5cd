"""The server's API, as folder code uses it: a few connections that are kept, and errors that say what to do."""

import base64
import http.client
import json
import os
import queue
import uuid
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from tercel_worker import calls

TIMEOUT_SECONDS = 30.0
KEPT_CONNECTIONS = 8

_idle: "queue.LifoQueue[http.client.HTTPConnection]" = queue.LifoQueue(KEPT_CONNECTIONS)


class HostError(RuntimeError):
    """What the server answered when it did not do what was asked."""

    def __init__(self, status: int, detail: str, code: str = "error") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.code_name = code


def present() -> bool:
    """Whether there is a server to ask."""
    return bool(os.environ.get("AGENT_SERVER_URL"))


def segment(value: Any) -> str:
    """One segment of a path."""
    return quote(str(value), safe="")


def get(path: str, key: str | None = None, **query: Any) -> Any:
    return _answer("GET", path, query, None, key)[0]


def pages(path: str, **query: Any) -> Iterator[Any]:
    """All entries of a list, page after page."""
    target: str | None = path
    while target is not None:
        entries, link = _answer("GET", target, query, None, None)
        yield from entries
        target, query = _next(link), {}


def post(path: str, body: dict[str, Any]) -> Any:
    return _answer("POST", path, {}, body, None)[0]


async def get_async(path: str, key: str | None = None, **query: Any) -> Any:
    return await calls.in_thread(get, path, key, **query)


async def post_async(path: str, body: dict[str, Any]) -> Any:
    return await calls.in_thread(post, path, body)


def _next(link: str | None) -> str | None:
    for part in (link or "").split(","):
        target, _, relation = part.partition(";")
        if 'rel="next"' in relation:
            address = urlsplit(target.strip().strip("<>"))
            return f"{address.path}?{address.query}" if address.query else address.path
    return None


def _answer(
    method: str, path: str, query: dict[str, Any], body: dict[str, Any] | None, key: str | None
) -> tuple[Any, str | None]:
    given = {name: value for name, value in query.items() if value is not None}
    if given:
        path += ("&" if "?" in path else "?") + urlencode(given)
    headers = {"Authorization": f"Bearer {key or os.environ.get('AGENT_API_KEY', '')}", "Accept": "application/json"}
    call = calls.current.get()
    if call is not None and call.id:
        headers["Tercel-Call"] = call.id
    data = None
    if body is not None:
        data = json.dumps(body, default=str).encode()
        headers["Content-Type"] = "application/json"
        # With it the server knows a request again that was sent twice because a connection had gone.
        headers["Idempotency-Key"] = str(uuid.uuid4())
    status, received, link = _exchange(method, path, data, headers)
    if status >= 400:
        raise _error(status, received)
    return (json.loads(received) if received else None), link


def _exchange(method: str, path: str, data: bytes | None, headers: dict[str, str]) -> tuple[int, bytes, str | None]:
    address = urlsplit(os.environ.get("AGENT_SERVER_URL", ""))
    if not address.hostname:
        raise HostError(0, "AGENT_SERVER_URL is not set: this code asks a Tercel server for something and has none")
    target = address.path.rstrip("/") + path
    place, kind = address, http.client.HTTPSConnection if address.scheme == "https" else http.client.HTTPConnection
    # Where the network is closed the proxy is all that can be reached.
    proxy = urlsplit(os.environ.get("TERCEL_PROXY", ""))
    if proxy.hostname:
        place, target = proxy, f"{address.scheme}://{address.netloc}{target}"
        secret = base64.b64encode(f"{proxy.username}:{proxy.password}".encode()).decode()
        headers = {**headers, "Proxy-Authorization": f"Basic {secret}"}
    while True:
        try:
            connection, kept = _idle.get_nowait(), True
        except queue.Empty:
            connection, kept = kind(place.hostname or "", place.port, timeout=TIMEOUT_SECONDS), False
        try:
            if connection.sock is None:
                connection.connect()
            connection.request(method, target, data, headers)
            answer = connection.getresponse()
            received = answer.read()
        except (OSError, http.client.HTTPException) as raised:
            connection.close()
            # A kept connection may have been closed while nobody looked; a fresh one says how things are.
            if kept and not isinstance(raised, TimeoutError):
                continue
            raise HostError(0, f"The Tercel server at {address.netloc} cannot be reached: {raised}") from raised
        if answer.will_close:
            connection.close()
        else:
            _keep(connection)
        return answer.status, received, answer.getheader("Link")


def _keep(connection: http.client.HTTPConnection) -> None:
    try:
        _idle.put_nowait(connection)
    except queue.Full:
        connection.close()


def _error(status: int, received: bytes) -> HostError:
    try:
        body = json.loads(received)
        return HostError(status, str(body["detail"]), str(body.get("code", "error")))
    except (ValueError, KeyError, TypeError, AttributeError):
        return HostError(status, f"The Tercel server answered {status}")
