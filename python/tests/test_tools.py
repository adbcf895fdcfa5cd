"""Tools: what reaches them, what comes back, and what happens when they fail."""

import json
from typing import Any

import pytest
from harness import Start, Worker, eventually

FILES = {
    "__init__.py": '''
        """A folder for tests."""
        name = "Demo"
        version = "1.2"
    ''',
    "tools/_shared.py": "GREETING = 'hello'\n",
    "tools/greet.py": """
        import asyncio, math, sys, threading, time, uuid, datetime
        from integrations._register import register
        from app.agent import context
        from ._shared import GREETING

        def tool(name, properties=None, required=(), **more):
            return register({"type": "function", "function": {"name": name, "description": "Does " + name,
                "parameters": {"type": "object", "properties": properties or {}, "required": list(required)}, **more}})

        @tool("greet", {"who": {"type": "string"}, "times": {"type": "integer", "default": 1}}, ["who"], effect="read")
        async def greet(who, times):
            return " ".join([f"{GREETING} {who}"] * times)

        @tool("echo", {
            "whole": {"type": "integer"}, "number": {"type": "number"}, "yes": {"type": "boolean"}, "text": {"type": "string"},
            "list": {"type": "array", "items": {"type": "integer"}}, "object": {"type": "object"},
            "choice": {"enum": ["a", "b"]}, "either": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        })
        def echo(**given):
            return given

        @tool("where")
        def where():
            return {name: getattr(context, "current_" + name).get() for name in
                    ("bot_id", "session_id", "client_id", "dispatch_config", "channel_id")} | {
                    "thread": threading.current_thread() is not threading.main_thread()}

        @tool("strange")
        async def strange():
            return {"id": uuid.UUID(int=1), "at": datetime.date(2026, 1, 2), "nan": math.nan, "set": {1}, 7: b"x"}

        @tool("ring")
        async def ring():
            ring = []
            ring.append(ring)
            return ring

        @tool("deep")
        async def deep():
            whole = []
            for _ in range(5000):
                whole = [whole]
            return whole

        class Mute:
            def __str__(self):
                raise OSError("no words")

        @tool("mute")
        def mute():
            return Mute()

        @tool("fails")
        async def fails():
            raise KeyError("colour")

        @tool("waits_for_nothing")
        async def waits_for_nothing():
            task = asyncio.create_task(asyncio.sleep(30))
            await asyncio.sleep(0)
            task.cancel()
            await task

        @tool("fails_late")
        def fails_late():
            raise StopIteration

        @tool("leaves")
        def leaves():
            sys.exit(3)

        @tool("leaves_async")
        async def leaves_async():
            sys.exit("enough")

        @tool("lacks")
        def lacks():
            import there_is_no_such_thing

        @tool("takes_two", {"a": {"type": "string"}})
        def takes_two(a, b):
            return a + b

        @tool("own_type_error", {"a": {"type": "string"}})
        def own_type_error(a):
            return a + 1

        @tool("slow")
        def slow():
            time.sleep(3)

        @tool("slow_read", effect="read")
        async def slow_read():
            await asyncio.sleep(30)

        @tool("waits")
        async def waits():
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                print("waits was cancelled")
                raise

        @tool("picture")
        async def picture():
            print("a line")
            return {"client_action": {"type": "open"}, "injected_images": [{"mime_type": "image/png", "base64": "eA=="}]}
    """,
    "tools/marked.py": """
        def register(schema, *, source_dir=None):
            def decorator(func):
                func._tool_schema = schema
                return func
            return decorator

        @register({"type": "function", "function": {"name": "marked", "description": "Only carries its schema"}})
        async def marked():
            return "ok"
    """,
    "tools/second.py": """
        from integrations._register import register

        @register({"type": "function", "function": {"name": "greet", "description": "Wants a name that is taken"}})
        async def other_greet():
            return "never"
    """,
}


@pytest.fixture(scope="module")
def worker(start_once: Start) -> Worker:
    return start_once(FILES)


def test_a_folder_says_what_tools_it_has(worker: Worker) -> None:
    described = worker.describe()
    assert (described["protocol"], described["name"], described["version"]) == (1, "Demo", "1.2")
    assert described["description"] == "A folder for tests."
    tools = {tool["name"]: tool for tool in described["tools"]}
    assert tools["greet"] == {
        "name": "greet",
        "description": "Does greet",
        "parameters": {
            "type": "object",
            "properties": {"who": {"type": "string"}, "times": {"type": "integer", "default": 1}},
            "required": ["who"],
        },
        "effect": "read",
        "idempotent": False,
    }
    assert "effect" not in tools["echo"]
    assert tools["marked"]["description"] == "Only carries its schema"


def test_a_name_that_is_taken_stays_with_the_first_and_the_problem_names_both(worker: Worker) -> None:
    assert worker.tool("greet", who="you") == {"result": "hello you"}
    assert worker.describe()["problems"] == [
        {
            "file": "tools/second.py",
            "line": None,
            "message": "The tool `greet` is in tools/greet.py already, which keeps it",
        }
    ]


def test_a_function_that_only_carries_its_schema_is_a_tool(worker: Worker) -> None:
    assert worker.tool("marked") == {"result": "ok"}


def test_defaults_of_the_schema_are_filled_in(worker: Worker) -> None:
    assert worker.tool("greet", who="you", times=None) == {"result": "hello you"}


@pytest.mark.parametrize(
    ("given", "reached"),
    [
        ({"whole": "12"}, {"whole": 12}),
        ({"whole": 12.0}, {"whole": 12}),
        ({"number": "1.5"}, {"number": 1.5}),
        ({"yes": "True"}, {"yes": True}),
        ({"text": 5}, {"text": "5"}),
        ({"list": '[1, "2"]'}, {"list": [1, 2]}),
        ({"object": '{"a": 1}'}, {"object": {"a": 1}}),
        ({"either": None}, {"either": None}),
        ({"whole": None}, {}),
        ({"unlisted": [1]}, {"unlisted": [1]}),
        ({"text": "Grüße, 日本 \U0001f600 \u0000"}, {"text": "Grüße, 日本 \U0001f600 \u0000"}),
    ],
)
def test_arguments_are_converted_where_nothing_is_lost(worker: Worker, given: Any, reached: Any) -> None:
    assert worker.tool("echo", **given) == {"result": reached}


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"whole": "12a"}, 'echo: whole must be a whole number, not "12a"'),
        ({"whole": 1.5}, "echo: whole must be a whole number, not 1.5"),
        ({"whole": True}, "echo: whole must be a whole number, not true"),
        ({"yes": 1}, "echo: yes must be true or false, not 1"),
        ({"list": [1, "x"]}, 'echo: list[1] must be a whole number, not "x"'),
        ({"choice": "c"}, 'echo: choice must be one of a, b, not "c"'),
        ({"number": "nan"}, 'echo: number must be a number, not "nan"'),
        ({"object": "[]"}, 'echo: object must be an object, not "[]"'),
    ],
)
def test_other_arguments_are_refused_in_words_for_the_model(worker: Worker, given: Any, says: str) -> None:
    error = worker.tool("echo", **given)["error"]
    assert (error["code"], error["message"]) == ("schema", says)


@pytest.mark.parametrize("arguments", [[], "text", 5])
def test_arguments_that_are_no_object_are_refused(worker: Worker, arguments: Any) -> None:
    assert worker.call("tool", "echo", arguments)["error"]["code"] == "schema"


def test_what_is_required_and_missing_is_named(worker: Worker) -> None:
    assert worker.tool("greet")["error"]["message"] == "greet: who is required"


def test_a_function_that_wants_more_than_its_schema_says_so(worker: Worker) -> None:
    assert worker.tool("takes_two", a="x")["error"]["message"] == "takes_two: missing a required argument: 'b'"


def test_a_type_error_of_the_tool_itself_is_its_failure(worker: Worker) -> None:
    error = worker.tool("own_type_error", a="x")["error"]
    assert error["code"] == "error"
    assert "own_type_error" in worker.wait_for_log('can only concatenate str (not "int") to str')


@pytest.mark.parametrize(
    ("tool", "code", "message"),
    [
        ("fails", "error", "KeyError: 'colour'"),
        ("mute", "error", "no words"),
        ("waits_for_nothing", "error", "CancelledError"),
        ("fails_late", "error", "StopIteration was raised"),
        ("leaves", "error", "The code wanted to end the process: SystemExit: 3"),
        ("leaves_async", "error", "The code wanted to end the process: SystemExit: enough"),
        ("lacks", "missing_dependency", "No module named 'there_is_no_such_thing'"),
        ("nothing", "not_found", "There is no tool `nothing` in demo"),
    ],
)
def test_a_failing_tool_fails_alone(worker: Worker, tool: str, code: str, message: str) -> None:
    error = worker.tool(tool)["error"]
    assert (error["code"], error["message"]) == (code, message)
    assert worker.tool("greet", who="still")["result"] == "hello still"


def test_whatever_a_tool_returns_becomes_json(worker: Worker) -> None:
    assert worker.tool("strange")["result"] == {
        "id": "00000000-0000-0000-0000-000000000001",
        "at": "2026-01-02",
        "nan": None,
        "set": [1],
        "7": "x",
    }
    assert worker.tool("ring") == {"result": [None]}
    assert worker.call("tool", "deep", {})["result"][0][0][0] is not None


def test_actions_and_pictures_pass_through_and_prints_reach_the_log(worker: Worker) -> None:
    assert worker.tool("picture")["result"] == {
        "client_action": {"type": "open"},
        "injected_images": [{"mime_type": "image/png", "base64": "eA=="}],
    }
    worker.wait_for_log("a line\n")


def test_each_call_knows_what_it_is_about_and_nothing_of_another(worker: Worker) -> None:
    about = {"bot_id": "b", "session_id": "s", "client_id": "demo:1", "dispatch_config": {"a": 1}}
    assert worker.call("tool", "where", {}, context=about)["result"] == {**about, "channel_id": None, "thread": True}
    assert set(worker.call("tool", "where", {})["result"].values()) == {None, True}


def test_arguments_may_be_huge(worker: Worker) -> None:
    text = "x" * 8_000_000
    assert worker.tool("echo", text=text) == {"result": {"text": text}}


def test_a_call_ends_at_its_deadline_and_the_log_says_where_it_stands(worker: Worker) -> None:
    error = worker.call("tool", "slow", {}, deadline_ms=200)["error"]
    assert (error["code"], error["message"]) == ("unknown_outcome", "tool slow was not done in 0.2 s")
    assert worker.call("tool", "slow_read", {}, deadline_ms=50)["error"]["code"] == "timeout"
    worker.wait_for_log("tool slow took longer than 0.2 s; it stands at ")
    assert "tools/greet.py:" in worker.log()
    assert worker.tool("greet", who="still")["result"] == "hello still"


def test_a_call_is_cancelled_when_the_server_hangs_up(worker: Worker) -> None:
    connection = worker.connect()
    request = {"call": "gone", "part": "tool", "name": "waits", "arguments": {}, "context": {}, "deadline_ms": 60_000}
    connection.request("POST", "/v1/call", json.dumps(request))
    eventually(lambda: worker.request("GET", "/v1/health").json()["calls"] == 1, "the open call")
    connection.close()
    worker.wait_for_log("waits was cancelled")
    eventually(lambda: worker.request("GET", "/v1/health").json()["calls"] == 0, "the end of the call")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b"null", b'{"call": "1"}', b"\xff", b"[" * 100_000])
def test_what_is_no_call_is_refused(worker: Worker, body: bytes) -> None:
    assert worker.request("POST", "/v1/call", body).status == 400


def test_an_unknown_part_is_unsupported(worker: Worker) -> None:
    assert worker.call("dance", "x")["error"]["code"] == "unsupported"
    assert worker.call("", "x")["error"]["code"] == "unsupported"


def test_what_the_protocol_does_not_know_is_not_found(worker: Worker) -> None:
    assert worker.request("GET", "/v1/other").status == 404
    assert worker.request("GET", "/v1/calls/never").status == 404
    assert worker.request("GET", "/integrations/demo/x").status == 404
