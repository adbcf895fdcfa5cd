"""Dispatchers: what they are given, and what their answers and failures mean."""

import http.server
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from harness import Server, Start, Worker

FILES = {
    "dispatcher.py": """
        import asyncio, logging
        from app.agent.dispatchers import register, get, _registry

        class Demo:
            limit = 3900

            async def deliver(self, task, result, client_actions=None, extra_metadata=None):
                what = task.dispatch_config.get("do")
                if what == "receipt":
                    return {"id": 5, "url": "https://x/5"}
                if what == "id":
                    return "m1"
                if what == "seen":
                    return {"id": f"{task.id} {result} {client_actions} {extra_metadata} {task.outbound.marker}"}
                if what in ("requests", "requests_twice"):
                    import requests
                    if what == "requests_twice":
                        requests.post(task.dispatch_config["url"].replace("/409", "/200")).raise_for_status()
                    requests.post(task.dispatch_config["url"], timeout=0.5).raise_for_status()
                if what == "httpx":
                    import httpx
                    async with httpx.AsyncClient(timeout=0.5) as client:
                        (await client.post(task.dispatch_config["url"])).raise_for_status()
                if what == "urllib":
                    import urllib.request
                    await asyncio.to_thread(urllib.request.urlopen, task.dispatch_config["url"], b"x", 0.5)
                if what == "token":
                    from app.services.integration_settings import get_access_token_async
                    await get_access_token_async("demo")
                if what == "raise":
                    raise RuntimeError("something broke")
                if what == "hang":
                    await asyncio.sleep(30)
                return {"true": True, "false": False}.get(what)

            async def post_message(self, dispatch_config, text, *, bot_id=None, reply_in_thread=True, username=None,
                                   icon_emoji=None, icon_url=None, client_actions=None, extra_metadata=None):
                return text == f"{bot_id} {reply_in_thread} {username}"

            async def find(self, task):
                return {"id": "found", "url": None} if task.outbound.marker == "m-there" else None

            async def update(self, task, id, text):
                if id == "gone":
                    return False
                print(f"{id} becomes {text}")

            def notify_start(self, task):
                task.dispatch_config["message"] = "m1"

            async def request_approval(self, *, dispatch_config, approval_id, bot_id, tool_name, arguments, reason):
                print(f"asked for {approval_id}: {tool_name}({arguments}) by {bot_id} because {reason}")

        class Old:
            idempotent = True

            async def deliver(self, task, result, client_actions=None):
                return True

        register("demo", Demo())
        register("old", Old())
        assert get("demo") is _registry["demo"] and get(None) is None
    """,
}


@pytest.fixture(scope="module")
def worker(start_once: Start, server_once: Server) -> Worker:
    return start_once(FILES, {"AGENT_SERVER_URL": server_once.url, "AGENT_API_KEY": "k"})


@pytest.fixture(scope="module")
def service() -> Iterator[str]:
    """A service that answers the status in the path; /drop hangs up without an answer, /hang does not answer."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            match self.path:
                case "/drop":
                    self.connection.shutdown(socket.SHUT_RDWR)
                case "/hang":
                    ended.wait(5)
                case _:
                    self.send_response(int(self.path[1:4]))
                    if self.path.endswith("7"):
                        self.send_header("Retry-After", "7")
                    self.send_header("Content-Length", "0")
                    self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    ended = threading.Event()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        listening.daemon_threads = True
        thread = threading.Thread(target=lambda: listening.serve_forever(0.01))
        thread.start()
        yield f"http://127.0.0.1:{listening.server_address[1]}"
        ended.set()
        listening.shutdown()
        thread.join()


def deliver(worker: Worker, do: str, url: str = "", **more: Any) -> Any:
    task = {"id": "t1", "bot_id": "b", "dispatch_type": "demo", "dispatch_config": {"do": do, "url": url}}
    given = {
        "task": task,
        "result": "done",
        "client_actions": [1],
        "extra_metadata": {"a": 1},
        "outbound": {"marker": "m"},
    }
    return worker.call("deliver", "demo", given, **more)


def test_dispatchers_are_described_with_what_they_can_do(worker: Worker) -> None:
    described = worker.describe()
    can = {"find": True, "update": True, "notify_start": True, "request_approval": True}
    assert described["dispatchers"] == [
        {"type": "demo", "limit": 3900, "idempotent": False, **can},
        {
            "type": "old",
            "limit": None,
            "idempotent": True,
            "find": False,
            "update": False,
            "notify_start": False,
            "request_approval": False,
        },
    ]
    assert [(p["file"], p["message"]) for p in described["problems"]] == [
        ("dispatcher.py", "deliver() must accept extra_metadata")
    ]


@pytest.mark.parametrize(
    ("do", "answer"),
    [
        ("none", {"sent": None}),
        ("true", {"sent": True}),
        ("false", {"sent": False}),
        ("id", {"sent": True, "receipt": {"id": "m1", "url": None}}),
        ("receipt", {"sent": True, "receipt": {"id": "5", "url": "https://x/5"}}),
        ("seen", {"sent": True, "receipt": {"id": "t1 done [1] {'a': 1} m", "url": None}}),
    ],
)
def test_an_answer_says_whether_it_was_sent(worker: Worker, do: str, answer: Any) -> None:
    assert deliver(worker, do) == {"result": answer}


@pytest.mark.parametrize("client", ["requests", "httpx", "urllib"])
@pytest.mark.parametrize(
    ("path", "code", "status"),
    [
        ("/400", "schema", 400),
        ("/401", "auth", 401),
        ("/403", "forbidden", 403),
        ("/404", "not_found", 404),
        ("/408", "network", 408),
        ("/409", "schema", 409),
        ("/429/7", "rate_limited", 429),
        ("/500", "unknown_outcome", 500),
        ("/503/7", "network", 503),
        ("/503", "unknown_outcome", 503),
        ("/drop", "unknown_outcome", None),
    ],
)
def test_a_refusal_was_not_sent_and_of_anything_else_nobody_knows(
    worker: Worker, service: str, client: str, path: str, code: str, status: int | None
) -> None:
    error = deliver(worker, client, service + path)["error"]
    assert (error["code"], error["status"]) == (code, status)
    assert error["retry_after"] == (7.0 if path.endswith("7") else None)


@pytest.mark.parametrize("client", ["requests", "httpx", "urllib"])
@pytest.mark.parametrize("url", ["http://127.0.0.1:1/", "http://nobody.invalid/"])
def test_where_nobody_listens_nothing_was_sent(worker: Worker, client: str, url: str) -> None:
    assert deliver(worker, client, url)["error"]["code"] == "network"


@pytest.mark.parametrize("client", ["requests", "httpx"])
def test_a_service_that_does_not_answer_may_have_it(worker: Worker, service: str, client: str) -> None:
    assert deliver(worker, client, service + "/hang")["error"]["code"] == "unknown_outcome"


def test_a_refusal_after_something_was_posted_is_not_certain(worker: Worker, service: str) -> None:
    assert deliver(worker, "requests", service + "/409")["error"]["code"] == "schema"
    assert deliver(worker, "requests_twice", service + "/409")["error"]["code"] == "unknown_outcome"


@pytest.mark.parametrize(
    ("status", "said", "code"),
    [
        (409, "auth", "auth"),
        (409, "not_configured", "not_configured"),
        (502, "network", "network"),
        (409, "conflict", "schema"),
        (403, "forbidden", "forbidden"),
        (504, "timeout", "timeout"),
        (500, "internal", "unknown_outcome"),
        (503, "unavailable", "unknown_outcome"),
        (502, "error", "unknown_outcome"),
    ],
)
def test_what_the_server_says_no_with_is_no_answer_of_the_service(
    worker: Worker, server_once: Server, status: int, said: str, code: str
) -> None:
    path = "GET /api/v1/admin/integrations/demo/connections/default/token"
    server_once.answers[path] = (status, {"detail": "Agree again", "code": said})
    error = deliver(worker, "token")["error"]
    assert (error["code"], error["message"], error["status"]) == (code, "Agree again", None)


def test_any_other_exception_and_a_passed_deadline_are_unknown(worker: Worker) -> None:
    error = deliver(worker, "raise")["error"]
    assert (error["code"], error["message"]) == ("unknown_outcome", "something broke")
    worker.wait_for_log('raise RuntimeError("something broke")')
    assert deliver(worker, "hang", deadline_ms=100)["error"]["code"] == "unknown_outcome"


def test_a_dispatcher_that_cannot_be_called_as_documented_sent_nothing(worker: Worker) -> None:
    error = worker.call("deliver", "old", {"task": {}, "result": "x"})["error"]
    assert error["code"] == "schema"
    assert "extra_metadata" in error["message"]


def test_a_message_of_its_own_is_posted_with_what_was_given(worker: Worker) -> None:
    given = {"dispatch_config": {}, "text": "b False u", "bot_id": "b", "reply_in_thread": False, "username": "u"}
    assert worker.call("post_message", "demo", given) == {"result": {"sent": True}}
    assert worker.call("post_message", "demo", {**given, "text": "other"}) == {"result": {"sent": False}}


def test_a_post_is_found_by_its_marker_or_not(worker: Worker) -> None:
    there = {"task": {}, "outbound": {"marker": "m-there"}}
    assert worker.call("find", "demo", there) == {"result": {"id": "found", "url": None}}
    assert worker.call("find", "demo", {"task": {}, "outbound": {"marker": "m"}}) == {"result": None}


def test_a_post_gets_another_text_or_cannot_be_changed(worker: Worker) -> None:
    given = {"task": {}, "id": "m1", "result": "more"}
    assert worker.call("update", "demo", given) == {"result": {"sent": None}}
    worker.wait_for_log("m1 becomes more")
    assert worker.call("update", "demo", {**given, "id": "gone"}) == {"result": {"sent": False}}
    # It would lose them.
    assert worker.call("update", "demo", {**given, "client_actions": [1]})["error"]["code"] == "schema"


def test_what_notify_start_leaves_in_the_config_comes_back(worker: Worker) -> None:
    answer = worker.call("notify_start", "demo", {"task": {"dispatch_config": {"a": 1}}})
    assert answer == {"result": {"dispatch_config": {"a": 1, "message": "m1"}}}


def test_an_approval_is_asked_for(worker: Worker) -> None:
    given = {"approval_id": "a1", "bot_id": "b", "tool_name": "t", "arguments": {"x": 1}, "reason": "r"}
    assert worker.call("request_approval", "demo", {"dispatch_config": {}, **given}) == {"result": None}
    worker.wait_for_log("asked for a1: t({'x': 1}) by b because r")


def test_what_a_dispatcher_does_not_have_is_unsupported(worker: Worker) -> None:
    assert worker.call("find", "old", {"task": {}})["error"]["code"] == "unsupported"
    assert worker.call("deliver", "nobody", {"task": {}})["error"]["code"] == "not_found"
