"""Slack for one app: its Web API, and the connections of socket mode, as both are documented. What tests do to it and
look at is below /test."""

import asyncio
import json
import sys
import uuid

from aiohttp import WSMsgType, web

_, APP_TOKEN, BOT_TOKEN = sys.argv[1:]
# Slack waits three seconds for an acknowledgement, sends again at once, then after a minute, then after five.
PATIENCE, AGAIN = 3.0, [0.2, 1.0, 2.0]


class Slack:
    def __init__(self):
        self.tickets = set()
        self.sockets = []
        # Why no connection is opened, and how often one was asked for.
        self.refusal = None
        self.opens = []
        # Whether handshakes fail.
        self.shut = False
        # Why nobody may react.
        self.lacks = None
        # By envelope: set when it is acknowledged.
        self.open = {}
        self.acknowledged = []
        self.sent = []
        self.given_up = []
        self.foreign = []
        self.posts = []
        self.reactions = {}
        self.reacted = []
        self.number = 100

    def ts(self):
        self.number += 1
        return f"1750000000.{self.number:06}"


slack = Slack()


def no(error, **more):
    return web.json_response({"ok": False, "error": error, **more})


def said(request, body):
    token = request.headers.get("Authorization", "").removeprefix("Bearer ")
    return token or body.get("token", "")


async def body_of(request):
    if request.content_type == "application/json":
        return await request.json()
    return dict(await request.post()) | dict(request.query)


async def open_connection(request):
    slack.opens.append(asyncio.get_running_loop().time())
    token = said(request, await body_of(request))
    if slack.refusal:
        return no(slack.refusal)
    if token.startswith("xoxb-"):
        return no("not_allowed_token_type")
    if token != APP_TOKEN:
        return no("invalid_auth" if token else "not_authed")
    ticket = uuid.uuid4().hex
    slack.tickets.add(ticket)
    return web.json_response({"ok": True, "url": f"ws://{request.host}/link/?ticket={ticket}&app_id=A0123456789"})


async def link(request):
    ticket = request.query.get("ticket")
    if ticket not in slack.tickets or slack.shut:
        return web.Response(status=408 if slack.shut else 401)
    slack.tickets.discard(ticket)
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    slack.sockets.append(socket)
    hello = {"num_connections": len(slack.sockets), "connection_info": {"app_id": "A0123456789"}}
    await socket.send_json(
        {"type": "hello", **hello, "debug_info": {"host": "applink-1", "approximate_connection_time": 18060}}
    )
    try:
        async for message in socket:
            if message.type != WSMsgType.TEXT:
                continue
            envelope = json.loads(message.data).get("envelope_id")
            waits = slack.open.get(envelope)
            if waits is None:
                slack.foreign.append(message.data)
            else:
                waits.set()
    finally:
        slack.sockets.remove(socket)
    return socket


async def deliver(payload, patience):
    """Until it is acknowledged, or was sent four times."""
    for attempt in range(4):
        while not slack.sockets:
            await asyncio.sleep(0.02)
        envelope, waits = str(uuid.uuid4()), asyncio.Event()
        slack.open[envelope] = waits
        what = {"envelope_id": envelope, "type": "events_api", "payload": payload, "accepts_response_payload": False}
        retry = {"retry_attempt": attempt, "retry_reason": "timeout" if attempt else ""}
        socket = slack.sockets[-1]
        slack.sent.append({"event_id": payload["event_id"], "attempt": attempt})
        try:
            await socket.send_json({**what, **retry})
            waiting = asyncio.ensure_future(waits.wait())
            until = asyncio.get_running_loop().time() + patience
            while not waits.is_set() and socket in slack.sockets and asyncio.get_running_loop().time() < until:
                await asyncio.wait([waiting], timeout=0.05)
            waiting.cancel()
        except ConnectionError:
            pass
        if waits.is_set():
            slack.acknowledged.append({"event_id": payload["event_id"], "attempt": attempt})
            return
        if attempt < 3:
            await asyncio.sleep(AGAIN[attempt])
    slack.given_up.append(payload["event_id"])


async def method(request):
    name = request.match_info["name"]
    body = await body_of(request)
    if said(request, body) != BOT_TOKEN:
        return no("invalid_auth")
    if name == "auth.test":
        return web.json_response(
            {"ok": True, "user": "tercel", "team": "Octo", "user_id": "U9876543210", "bot_id": "B1"}
        )
    if name == "chat.postMessage":
        ts = slack.ts()
        slack.posts.append({**body, "ts": ts})
        return web.json_response(
            {"ok": True, "channel": body["channel"], "ts": ts, "message": {"text": body.get("text")}}
        )
    if name in ("conversations.replies", "conversations.history"):
        said_by_us = [
            {"ts": post["ts"], "bot_id": "B1", "text": post.get("text"), "metadata": post.get("metadata")}
            for post in slack.posts
            if post.get("thread_ts") == request.query.get("ts")
        ]
        return web.json_response(
            {"ok": True, "messages": [{"ts": "1750000000.000100", "user": "U1", "text": "It broke."}, *said_by_us]}
        )
    if name in ("reactions.add", "reactions.remove"):
        at, emoji = (body["channel"], body["timestamp"]), body["name"]
        there = slack.reactions.setdefault(at, set())
        slack.reacted.append([name.removeprefix("reactions."), emoji, *at])
        if slack.lacks:
            return no("missing_scope", needed=slack.lacks)
        if name == "reactions.add":
            if emoji in there:
                return no("already_reacted")
            there.add(emoji)
        else:
            if emoji not in there:
                return no("no_reaction")
            there.discard(emoji)
        return web.json_response({"ok": True})
    return no("unknown_method")


async def test_state(request):
    reactions = {f"{channel} {ts}": sorted(emoji) for (channel, ts), emoji in slack.reactions.items()}
    shown = ("opens", "sent", "acknowledged", "given_up", "foreign", "posts", "reacted")
    state = {name: getattr(slack, name) for name in shown}
    return web.json_response({**state, "reactions": reactions, "connected": len(slack.sockets)})


async def test_do(request):
    body = await request.json()
    match body["do"]:
        case "event":
            slack.task = asyncio.ensure_future(deliver(body["payload"], body.get("patience", PATIENCE)))
        case "send":
            for socket in slack.sockets:
                await socket.send_str(body["text"])
        case "send_bytes":
            for socket in slack.sockets:
                await socket.send_bytes(bytes(body["bytes"]))
        case "disconnect":
            for socket in list(slack.sockets):
                await socket.send_json(
                    {"type": "disconnect", "reason": body["reason"], "debug_info": {"host": "applink-1"}}
                )
                if body["reason"] == "refresh_requested":
                    asyncio.get_running_loop().call_later(
                        1, lambda socket=socket: asyncio.ensure_future(socket.close())
                    )
        case "drop":
            for socket in list(slack.sockets):
                await socket.close()
        case "refuse":
            slack.refusal = body["error"]
        case "forbid":
            slack.lacks = body["scope"]
        case "shut":
            slack.shut = body["shut"]
    return web.json_response({})


async def main():
    app = web.Application()
    app.add_routes(
        [
            web.post("/api/apps.connections.open", open_connection),
            web.route("*", "/api/{name}", method),
            web.get("/link/", link),
            web.get("/test/state", test_state),
            web.post("/test/do", test_do),
        ]
    )
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print("ready", runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
