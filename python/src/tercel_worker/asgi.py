"""Answers the server's requests: the protocol's own below /v1, and the folder's routes."""

import asyncio
import json
import traceback
from collections.abc import Awaitable, Callable
from typing import Any

from app.agent import context
from tercel_worker import PROTOCOL, calls, failure, parts
from tercel_worker.answers import Message, Receive, Scope, Send, body_of, dump, send_body, send_json
from tercel_worker.calls import Call, Calls
from tercel_worker.describe import describe
from tercel_worker.failure import Failure
from tercel_worker.folder import Folder

Application = Callable[[Scope, Receive, Send], Awaitable[None]]


class Worker:
    """The application that the server speaks to."""

    def __init__(self, folder: Folder, routes: Application | None) -> None:
        self.folder = folder
        self.routes = routes
        self.calls = Calls()
        self._prefix = f"/integrations/{folder.id}"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"]
        if path == "/v1/call":
            await self._call(receive, send)
        elif path.startswith("/v1/"):
            await self._control(scope["method"], path, send)
        else:
            await self._route(scope, receive, send)

    async def _control(self, method: str, path: str, send: Send) -> None:
        if path == "/v1/health":
            await send_json(send, 200, {"protocol": PROTOCOL, "calls": len(self.calls)})
        elif path == "/v1/describe":
            await send_json(send, 200, describe(self.folder))
        elif path == "/v1/drain" and method == "POST":
            await self.calls.drain()
            await send_json(send, 200, {"calls": 0})
        elif path.startswith("/v1/calls/"):
            known = await self.calls.ended(path.removeprefix("/v1/calls/"))
            await send_json(send, 200 if known else 404, {"ended": known})
        else:
            await send_json(send, 404, {"detail": f"There is no {method} {path} in version {PROTOCOL} of the protocol"})

    async def _call(self, receive: Receive, send: Send) -> None:
        try:
            request = json.loads(await body_of(receive))
            call = Call(str(request["call"]))
            part, name, arguments = request["part"], str(request["name"]), request.get("arguments")
            values, deadline = dict(request.get("context") or {}), request.get("deadline_ms")
        except (ValueError, KeyError, TypeError, RecursionError) as wrong:
            await send_json(send, 400, {"detail": f"This is no call of version {PROTOCOL}: {failure.words(wrong)}"})
            return
        if self.calls.draining:
            await send_json(send, 503, {"detail": "This worker is draining"})
            return
        self.calls.begin(call)
        try:
            context.set_all(values)
            work = asyncio.ensure_future(self._perform(part, name, arguments))
            gone = asyncio.ensure_future(_disconnected(receive))
            seconds = deadline / 1000 if isinstance(deadline, (int, float)) else None
            await asyncio.wait({work, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            gone.cancel()
            if work.done():
                await send_body(send, 200, work.result())
                return
            if not gone.done():
                print(
                    f"{part} {name} took longer than {seconds:g} s; it stands at {calls.place(call, work)}", flush=True
                )
            work.cancel()
            await send_json(send, 200, {"error": _late(part, name, seconds).as_json()})
        finally:
            self.calls.end(call)

    async def _perform(self, part: Any, name: str, arguments: Any) -> bytes:
        """The answer as it is sent; making JSON of a result may fail like the call itself."""
        try:
            return dump({"result": await parts.part(part)(self.folder, name, arguments)})
        except Failure as known:
            return dump({"error": known.as_json()})
        except asyncio.CancelledError as raised:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            # Not this call was cancelled, but something that it waited for.
            return dump({"error": failure.of(raised).as_json()})
        except (Exception, SystemExit, KeyboardInterrupt) as raised:
            failure.log(f"{part} {name}", raised)
            return dump({"error": failure.of(raised).as_json()})

    async def _route(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self.routes is None or not (scope["path"] + "/").startswith(self._prefix + "/"):
            await send_json(send, 404, {"detail": "Not Found"})
            return
        if self.calls.draining:
            await send_json(send, 503, {"detail": "This worker is draining"})
            return
        id, delivery = _as_the_server_says(scope)
        call = Call(id)
        self.calls.begin(call)
        context.set_all({})
        answer = _Answer(send, delivery)
        try:
            await self.routes(scope, receive, answer.send)
            await answer.end()
        except (SystemExit, KeyboardInterrupt):
            traceback.print_exc()
            if not answer.status:
                await send_json(send, 500, {"detail": "The code wanted to end the process"})
        except Exception as raised:
            failure.shorten(raised, self.folder.snapshot)
            # An answer that says so is whole; any other one breaks off, so that nobody takes it for done.
            if answer.status >= 500:
                await answer.end()
            raise
        finally:
            self.calls.end(call)


class _Answer:
    """Holds the last piece of a delivery's answer until everything behind it is done."""

    def __init__(self, send: Send, delivery: bool) -> None:
        self._send = send
        self._last: Message | None = None
        self.status = 0
        self.send = self._hold if delivery else self._pass

    async def _pass(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        await self._send(message)

    async def _hold(self, message: Message) -> None:
        self.status = message.get("status", self.status)
        if message["type"] == "http.response.body" and not message.get("more_body"):
            self._last = message
        else:
            await self._send(message)

    async def end(self) -> None:
        if self._last is not None:
            await self._send(self._last)


def _as_the_server_says(scope: Scope) -> tuple[str, bool]:
    """The call's id and whether it is a delivery; what the caller sees goes where frameworks look for it."""
    id, delivery, host = "", False, None
    for name, value in scope["headers"]:
        if name == b"tercel-call":
            id = value.decode("latin-1")
        elif name == b"tercel-delivery":
            delivery = True
        elif name == b"x-forwarded-for":
            scope["client"] = (value.decode("latin-1").split(",")[0].strip(), 0)
        elif name == b"x-forwarded-proto":
            scope["scheme"] = value.decode("latin-1")
        elif name == b"x-forwarded-host":
            host = value
    if host is not None:
        scope["headers"] = [(name, host if name == b"host" else value) for name, value in scope["headers"]]
    return id, delivery


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _late(part: Any, name: str, seconds: float | None) -> Failure:
    message = f"{part} {name} was " + (f"not done in {seconds:g} s" if seconds is not None else "given up")
    if parts.may_have_happened(part, name):
        return Failure("unknown_outcome", message, hint="Look whether it happened before it is done again")
    return Failure("timeout", message)
