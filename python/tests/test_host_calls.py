"""What folder code asks the server for: the right request, as the folder, in the course of its call."""

import json
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from harness import Request, Server, Start, Worker

from tercel_worker import host

SESSION = "00000000-0000-0000-0000-00000000000a"
CHANNEL = "00000000-0000-0000-0000-00000000000c"
BINDING = "00000000-0000-0000-0000-00000000000b"

FILES = {
    "tools/asks.py": """
        from sqlalchemy import select
        from fastapi import HTTPException
        from integrations import utils
        from integrations._register import register
        from integrations.slack.client import post_message
        from integrations.slack.uploads import upload_file, upload_image
        from app.agent import hooks
        from app.agent.bots import get_bot
        from app.db.engine import async_session
        from app.db.models import Bot, Channel, ChannelIntegration
        from app.services import api_keys, attachments, channels, sessions
        from app.tools.registry import get_local_tool_schemas

        def tool(function):
            return register({"type": "function", "function": {"name": function.__name__}})(function)

        @tool
        async def documents():
            async with async_session() as db:
                made = await utils.ingest_document("demo", "Title", "Text", metadata={"n": 1}, db=db)
                found = await utils.search_documents("dark mode", integration_id="demo", limit=5, db=db)
                await db.commit()
            return [str(made), type(made).__name__, found]

        @tool
        async def session(bot="b", config=None):
            made = await utils.get_or_create_session("demo:1", bot, dispatch_config=config, db=None)
            return [str(made), type(made).__name__]

        @tool
        async def unknown_bot():
            try:
                await utils.get_or_create_session(client_id="demo:1", bot_id="nobody", db=None)
            except HTTPException as refused:
                return [refused.status_code, refused.detail]

        @tool
        async def inject(session_id):
            try:
                return await utils.inject_message(session_id, "hello", "demo", run_agent=True, notify=False,
                    execution_config={"tools": ["x"]}, db=None)
            except ValueError as refused:
                return str(refused)

        @tool
        def bot():
            found = get_bot("b")
            return [found.id, found.name, found.display_name, found.avatar_url, found.integration_config]

        @tool
        async def rows(which):
            statement = {
                "exact": select(Channel).where(Channel.client_id == "demo:1"),
                "prefix": select(Channel).where(Channel.client_id.like("demo:%"), Channel.bot_id == "b"),
                "none": select(Channel).where(Channel.client_id.like("demo_1"), Channel.bot_id != "b"),
                "in": select(Channel).where(Channel.bot_id.in_(["b", "c"])).limit(1),
                "not": select(Channel).filter(Channel.client_id.startswith("demo:"), Channel.bot_id.not_in(["b"])),
                "case": select(Channel).where(Channel.client_id.ilike("DEMO:_"), Channel.thinking_display.is_(None)),
                "id": select(Channel).filter_by(id="CHANNEL_ID"),
                "gone": select(Channel).where(Channel.id == "nobody"),
                "bindings": select(ChannelIntegration).where(ChannelIntegration.client_id == "other:2"),
                "bots": select(Bot).where(Bot.id == "b"),
            }[which]
            async with async_session() as db:
                result = await db.execute(statement)
                first = (await db.execute(statement)).scalars().first()
                assert [row for (row,) in result] == result.scalars().all() == (await db.scalars(statement)).all()
                assert await db.scalar(statement) == first
            return [[row.id for row in result.scalars().all()], first and first.id]

        @tool
        async def one():
            async with async_session() as db:
                bot, nobody = await db.get(Bot, "b"), await db.get(Bot, "nobody")
                exactly = (await db.execute(select(Bot).where(Bot.id == "b"))).scalar_one_or_none()
                refused = []
                for make in (lambda: db.execute("SELECT 1"), lambda: db.scalars(select(Bot))):
                    try:
                        (await make()).one()
                    except (NotImplementedError, ValueError) as error:
                        refused.append(str(error))
            return [bot.id, nobody, exactly == bot, refused]

        @tool
        async def bound(client_id):
            pairs = await channels.resolve_all_channels_by_client_id(None, client_id)
            return [[str(channel.id), binding and binding.display_name] for channel, binding in pairs]

        @tool
        async def ensure():
            (channel, _), = await channels.resolve_all_channels_by_client_id(None, "demo:1")
            return str(await channels.ensure_active_session(None, channel))

        @tool
        async def echo(session_id):
            await sessions.store_dispatch_echo(session_id, "demo:1", "b", "posted", {"ts": "1"})

        @tool
        async def attach(message_id, url=None):
            data = None if url else b"hi"
            return await attachments.create_attachment(message_id, None, "a.txt", "text/plain", 2, "ann", "demo", data, url)

        @tool
        async def key(value):
            known = await api_keys.validate_api_key(None, value)
            return known and [known.name, api_keys.has_scope(known.scopes, "tasks:read"), api_keys.has_scope(known.scopes, "x:read")]

        @tool
        def schemas():
            return get_local_tool_schemas(["theirs", "key", "nobody's"])

        @tool
        async def prefixes():
            return [hooks.is_integration_client_id("github:o/r"), hooks.is_integration_client_id("web:1")]

        @tool
        async def slack():
            await upload_image(token="t", channel_id="C", thread_ts="1", reply_in_thread=True, action={"data": "eA=="})
            await upload_file(token=None, channel_id="C", filename="f", file_data=b"x")
            return await post_message("t", "C", "hi", thread_ts="1", reply_in_thread=False)

        @tool
        def tier():
            from scripts.user_profile import UserProfile
            from app.wizard.tiers import can_use
            return [UserProfile().tier, can_use("free", "demo_sync"), can_use("paid", "demo_sync")]
    """,
}

FILES["tools/asks.py"] = FILES["tools/asks.py"].replace("CHANNEL_ID", CHANNEL)

CHANNELS = [
    {
        "id": CHANNEL,
        "bot_id": "b",
        "client_id": "demo:1",
        "integration": "demo",
        "bindings": [
            {
                "id": BINDING,
                "channel_id": CHANNEL,
                "client_id": "other:2",
                "dispatch_config": {},
                "display_name": "#two",
            }
        ],
    },
    {"id": SESSION, "bot_id": "c", "client_id": "web:1", "bindings": []},
]


@pytest.fixture(scope="module")
def world(start_once: Start, server_once: Server) -> tuple[Worker, Server]:
    return start_once(FILES, {"AGENT_SERVER_URL": server_once.url, "AGENT_API_KEY": "secret"}), server_once


@pytest.fixture
def ask(world: tuple[Worker, Server]) -> Any:
    worker, server = world
    server.requests.clear()
    server.answers.clear()

    def ask(tool: str, answers: dict[str, Any], **arguments: Any) -> tuple[Any, list[Request]]:
        server.answers.update(answers)
        answer = worker.call("tool", tool, arguments, call="call-7")
        assert "result" in answer, answer
        return answer["result"], server.requests

    return ask


def test_a_request_bears_the_folder_s_key_and_its_call(ask: Any) -> None:
    _, requests = ask("bot", {"GET /api/v1/bots/b": {"id": "b"}})
    assert (requests[0].headers["authorization"], requests[0].headers["tercel-call"]) == ("Bearer secret", "call-7")


def test_documents_are_stored_and_found(ask: Any) -> None:
    found = [{"id": SESSION, "title": "T", "score": 1.5, "snippet": "s"}]
    answers = {"POST /api/v1/documents": (201, {"id": SESSION}), "GET /api/v1/documents/search": found}
    result, requests = ask("documents", answers)
    assert result == [SESSION, "UUID", found]
    assert requests[0].body == {
        "integration_id": "demo",
        "title": "Title",
        "content": "Text",
        "session_id": None,
        "metadata": {"n": 1},
    }
    assert requests[0].headers["idempotency-key"]
    assert requests[1].path == "/api/v1/documents/search?q=dark+mode&integration_id=demo&limit=5"


def test_a_session_is_got_or_made(ask: Any) -> None:
    made = {"POST /api/v1/sessions": (201, {"session_id": SESSION, "created": True})}
    assert ask("session", made)[0] == [SESSION, "UUID"]
    _, requests = ask("session", made, config={"type": "demo"})
    assert [request.body for request in requests] == [
        {"client_id": "demo:1", "bot_id": "b"},
        {"client_id": "demo:1", "bot_id": "b", "dispatch_config": {"type": "demo"}},
    ]


def test_a_bot_that_does_not_exist_is_a_404(ask: Any) -> None:
    refused = (400, {"detail": "There is no bot `nobody`", "code": "bad_request"})
    assert ask("unknown_bot", {"POST /api/v1/sessions": refused})[0] == [404, "There is no bot `nobody`"]


def test_a_message_is_injected_once_with_what_was_given(ask: Any) -> None:
    stored = {"message_id": "m", "session_id": SESSION, "task_id": None, "reason": "x"}
    path = f"/api/v1/sessions/{SESSION}/messages"
    result, requests = ask("inject", {f"POST {path}": (201, stored)}, session_id=SESSION)
    assert result == {"message_id": "m", "session_id": SESSION, "task_id": None}
    assert requests[0].body == {
        "content": "hello",
        "source": "demo",
        "run_agent": True,
        "notify": False,
        "execution_config": {"tools": ["x"]},
    }


def test_a_session_that_does_not_exist_is_a_value_error(ask: Any) -> None:
    malformed, requests = ask("inject", {}, session_id="../../keys?x=")
    assert (malformed, requests) == ("There is no session ../../keys?x=", [])
    unknown, requests = ask("inject", {}, session_id=SESSION)
    assert unknown == f"There is no session {SESSION}"
    assert [request.path for request in requests] == [f"/api/v1/sessions/{SESSION}/messages"]


def test_a_bot_has_its_documented_fields(ask: Any) -> None:
    bot: dict[str, Any] = {
        "id": "b",
        "name": None,
        "display_name": "Bee",
        "avatar_url": "u",
        "integration_config": {"demo": {}},
    }
    assert ask("bot", {"GET /api/v1/bots/b": bot})[0] == ["b", "b", "Bee", "u", {"demo": {}}]


@pytest.mark.parametrize(
    ("which", "path", "rows"),
    [
        ("exact", "/api/v1/channels?limit=500&client_id=demo%3A1", [CHANNEL]),
        ("prefix", "/api/v1/channels?limit=500&client_id_prefix=demo%3A", [CHANNEL]),
        ("none", "/api/v1/channels?limit=500&client_id_prefix=demo", []),
        ("in", "/api/v1/channels?limit=500", [CHANNEL]),
        ("not", "/api/v1/channels?limit=500&client_id_prefix=demo%3A", []),
        ("case", "/api/v1/channels?limit=500", [CHANNEL]),
        ("id", f"/api/v1/channels/{CHANNEL}", [CHANNEL]),
        ("gone", "/api/v1/channels/nobody", []),
        ("bindings", "/api/v1/channels?limit=500&client_id=other%3A2", [BINDING]),
        ("bots", "/api/v1/bots/b", ["b"]),
    ],
)
def test_rows_are_selected_by_their_columns(ask: Any, which: str, path: str, rows: list[str]) -> None:
    answers = {
        "GET /api/v1/channels": CHANNELS,
        f"GET /api/v1/channels/{CHANNEL}": CHANNELS[0],
        "GET /api/v1/bots/b": {"id": "b", "name": "Bee"},
    }
    result, requests = ask("rows", answers, which=which)
    assert requests[0].path == path
    assert result == [rows, rows[0] if rows else None]


def test_one_row_is_read_by_its_id_and_what_is_no_row_is_refused(ask: Any) -> None:
    answers = {"GET /api/v1/bots": [{"id": "a"}, {"id": "b"}], "GET /api/v1/bots/b": {"id": "b"}}
    bot, nobody, same, refused = ask("one", answers)[0]
    assert (bot, nobody, same) == ("b", None, True)
    assert refused[0].startswith("Folders read Channel, ChannelIntegration and Bot")
    assert refused[1].startswith("2 rows were found")


def test_a_list_is_read_page_after_page(ask: Any, world: tuple[Worker, Server]) -> None:
    link = f'<{world[1].url}/api/v1/channels?limit=500&cursor=2>; rel="next"'
    answers = {
        "GET /api/v1/channels": (200, CHANNELS[1:], {"Link": link}),
        "GET /api/v1/channels?limit=500&cursor=2": CHANNELS[:1],
    }
    assert ask("rows", answers, which="prefix")[0] == [[CHANNEL], CHANNEL]


def test_channels_are_resolved_by_their_own_place_and_by_bindings(ask: Any) -> None:
    answers = {"GET /api/v1/channels": CHANNELS, "POST /api/v1/sessions": (201, {"session_id": SESSION})}
    assert ask("bound", answers, client_id="demo:1")[0] == [[CHANNEL, None]]
    assert ask("bound", answers, client_id="other:2")[0] == [[CHANNEL, "#two"]]
    result, requests = ask("ensure", answers)
    assert (result, requests[-1].body) == (SESSION, {"client_id": "demo:1", "bot_id": "b"})


def test_what_was_posted_elsewhere_is_kept_as_the_assistant_s(ask: Any) -> None:
    path = f"/api/v1/sessions/{SESSION}/messages"
    _, requests = ask("echo", {f"POST {path}": (201, {})}, session_id=SESSION)
    assert requests[0].body == {
        "content": "posted",
        "source": "demo",
        "role": "assistant",
        "run_agent": False,
        "notify": False,
        "metadata": {"ts": "1", "client_id": "demo:1", "posting_bot_id": "b"},
    }


def test_a_file_is_attached_to_its_message(ask: Any) -> None:
    answers = {"POST /api/v1/attachments": (201, [{"id": "a"}])}
    stored, requests = ask("attach", answers, message_id=SESSION)
    about = {
        "filename": "a.txt",
        "mime_type": "text/plain",
        "metadata": {"posted_by": "ann", "source_integration": "demo"},
        "message_id": SESSION,
    }
    assert (stored, requests[-1].body) == ({"id": "a"}, {**about, "data": "aGk="})
    _, requests = ask("attach", answers, message_id=SESSION, url="https://x/a.txt")
    assert requests[-1].body == {**about, "url": "https://x/a.txt", "size_bytes": 2}
    _, requests = ask("attach", answers, message_id=None)
    assert requests[-1].body == {"filename": "a.txt", "mime_type": "text/plain", "data": "aGk="}


def test_a_key_is_checked_with_itself(ask: Any) -> None:
    current = {"id": "1", "name": "ci", "scopes": ["tasks:write"]}
    result, requests = ask("key", {"GET /api/v1/keys/current": current}, value="theirs")
    assert result == ["ci", True, False]
    assert requests[0].headers["authorization"] == "Bearer theirs"
    unknown = {"GET /api/v1/keys/current": (401, {"detail": "unknown", "code": "unauthorized"})}
    assert ask("key", unknown, value="x")[0] is None
    assert ask("key", {}, value="")[0] is None


def test_schemas_of_other_tools_come_from_the_server(ask: Any) -> None:
    tool = {
        "name": "theirs",
        "description": "d",
        "parameters": {"type": "object"},
        "effect": "read",
        "integration": "x",
    }
    result, _ = ask("schemas", {"GET /api/v1/tools": [tool, {**tool, "name": "unwanted"}]})
    function = {"name": "theirs", "description": "d", "parameters": {"type": "object"}}
    assert result == [{"type": "function", "function": function}, {"type": "function", "function": {"name": "key"}}]


def test_places_of_all_integrations_are_known(ask: Any) -> None:
    assert ask("prefixes", {"GET /api/v1/channels/prefixes": {"prefixes": ["github:"]}})[0] == [True, False]


def test_the_tier_and_features_of_folders_come_from_the_server(ask: Any) -> None:
    features = {"tier": "paid", "features": {"demo_sync": "paid"}}
    assert ask("tier", {"GET /api/v1/features": features})[0] == ["paid", False, True]


def test_slack_is_the_server_s(ask: Any, world: tuple[Worker, Server]) -> None:
    good = {"ok": True, "result": None}
    tools = ("slack_post_message", "slack_upload_image", "slack_upload_file")
    result, requests = ask("slack", {f"POST /api/v1/tools/{tool}/call": good for tool in tools})
    assert result is True
    assert [request.body["arguments"] for request in requests] == [
        {"channel_id": "C", "thread_ts": "1", "data": "eA==", "filename": "image.png"},
        {"channel_id": "C", "data": "eA==", "filename": "f"},
        {"channel_id": "C", "text": "hi"},
    ]
    refused = {"ok": False, "error": {"code": "auth", "message": "no"}}
    assert ask("slack", {"POST /api/v1/tools/slack_post_message/call": refused})[0] is False
    world[1].answers.clear()
    message = world[0].tool("slack")["error"]["message"]
    assert message == "This server has no Slack integration: add one before its client is used"


def test_a_server_that_is_away_and_one_that_fails_are_told_apart(start: Start, server: Server) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    away = start(FILES, {"AGENT_SERVER_URL": f"http://127.0.0.1:{port}", "AGENT_API_KEY": "k"})
    assert f"The Tercel server at 127.0.0.1:{port} cannot be reached" in away.tool("bot")["error"]["message"]
    server.answers = {"GET /api/v1/bots/b": (403, {"detail": "Missing required scope: bots:read", "code": "forbidden"})}
    refusing = start(FILES, {"AGENT_SERVER_URL": server.url, "AGENT_API_KEY": "k"})
    error = refusing.tool("bot")["error"]
    assert (error["code"], error["message"]) == ("forbidden", "Missing required scope: bots:read")
    server.answers = {"GET /api/v1/bots/b": (409, {"detail": "Nobody has agreed", "code": "not_configured"})}
    assert refusing.tool("bot")["error"]["code"] == "not_configured"
    server.answers = {"GET /api/v1/bots/b": (403, "a proxy says no")}
    assert refusing.tool("bot")["error"]["code"] == "forbidden"


def test_a_kept_connection_that_was_closed_is_opened_again(start: Start) -> None:
    """A server that closes each connection after its first answer, without having said so."""
    listening = socket.create_server(("127.0.0.1", 0))
    keys: list[str] = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, connection.makefile("rb") as stream:
                lines = [line.decode().strip() for line in iter(stream.readline, b"\r\n")]
                length = next(int(line[15:]) for line in lines if line.lower().startswith("content-length:"))
                stream.read(length)
                keys.append(next(line for line in lines if line.lower().startswith("idempotency-key:")))
                body = json.dumps({"session_id": SESSION}).encode()
                connection.sendall(b"HTTP/1.1 201 Created\r\nContent-Length: %d\r\n\r\n" % len(body) + body)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{listening.getsockname()[1]}"
    worker = start(FILES, {"AGENT_SERVER_URL": address, "AGENT_API_KEY": "k"})
    assert [worker.tool("session")["result"][0] for _ in range(3)] == [SESSION] * 3
    assert len(set(keys)) == 3
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()
    thread.join()


def test_where_the_network_is_closed_the_api_is_asked_through_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    class Proxy(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append((self.path, self.headers["Proxy-Authorization"]))
            self.send_response(200)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"[]")

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, daemon=True).start()
        monkeypatch.setenv("AGENT_SERVER_URL", "http://api.invalid:8000")
        monkeypatch.setenv("TERCEL_PROXY", f"http://tercel:t0ken@127.0.0.1:{proxy.server_port}")
        assert host.get("/api/v1/documents") == []
        proxy.shutdown()
    assert asked == [("http://api.invalid:8000/api/v1/documents", "Basic dGVyY2VsOnQwa2Vu")]
