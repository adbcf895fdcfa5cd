"""The folder's FastAPI router, as the server reaches it."""

import concurrent.futures
import http.client
import time

import pytest
from harness import Start, Worker

FILES = {
    "router.py": """
        import asyncio, hmac, sys, time
        from contextlib import asynccontextmanager
        from fastapi import APIRouter, BackgroundTasks, Depends, File, Form, HTTPException, Request, UploadFile
        from fastapi.responses import StreamingResponse
        from app.dependencies import verify_admin_auth, verify_auth
        from tercel_worker import calls

        started = []

        @asynccontextmanager
        async def lifespan(app):
            started.append("start")
            yield
            print("the router ended")

        router = APIRouter(lifespan=lifespan)

        def signed(request):
            return hmac.compare_digest("a", "a")

        @router.post("/webhook")
        async def webhook(request: Request):
            signed(request)
            return {"body": (await request.body()).decode("latin-1"), "query": dict(request.query_params),
                    "header": request.headers.get("X-Event"), "client": request.client and request.client.host,
                    "url": str(request.url), "started": started, "call": calls.current.get().id}

        @router.get("/items/{item}")
        async def item(item: int):
            if item == 404:
                raise HTTPException(404, "no such item")
            return {"item": item}

        @router.get("/stream")
        async def stream():
            async def pieces():
                for piece in ("one\\n", "two\\n"):
                    yield piece
                    await asyncio.sleep(0.2)
            return StreamingResponse(pieces(), media_type="text/plain", headers={"X-Mine": "yes"})

        @router.post("/upload")
        async def upload(file: UploadFile = File(...), note: str = Form("")):
            content = await file.read()
            return {"name": file.filename, "size": len(content), "note": note}

        @router.post("/later")
        async def later(background: BackgroundTasks):
            def work():
                time.sleep(0.3)
                print("the background is done")
            background.add_task(work)
            return {"ok": True}

        @router.post("/later_fails")
        async def later_fails(background: BackgroundTasks):
            def work():
                raise RuntimeError("behind the answer")
            background.add_task(work)
            return {"ok": True}

        @router.post("/started")
        async def started_task():
            async def work():
                await asyncio.sleep(0.3)
                print("the task is done")
            asyncio.create_task(work())
            return {"ok": True}

        @router.get("/fails")
        async def fails():
            raise RuntimeError("the route failed")

        @router.get("/leaves")
        async def leaves():
            sys.exit(1)

        @router.get("/sync")
        def sync_route():
            return "sync"

        @router.get("/any", dependencies=[Depends(verify_auth)])
        async def any_key():
            return "any"

        @router.get("/admin")
        async def admin(_: str = Depends(verify_admin_auth)):
            return "admin"
    """,
}


@pytest.fixture(scope="module")
def worker(start_once: Start) -> Worker:
    return start_once(FILES, {"AGENT_API_KEY": "own-key"})


def test_a_request_arrives_as_it_was_sent(worker: Worker) -> None:
    headers = {
        "X-Event": "push",
        "Host": "worker",
        "x-forwarded-host": "agents.example",
        "tercel-call": "c7",
        "x-forwarded-for": "203.0.113.9, 10.0.0.1",
        "x-forwarded-proto": "https",
    }
    body = bytes(range(256))
    assert worker.request("POST", "/integrations/demo/webhook?a=1&b=%20x", body, headers).json() == {
        "body": body.decode("latin-1"),
        "query": {"a": "1", "b": " x"},
        "header": "push",
        "client": "203.0.113.9",
        "url": "https://agents.example/integrations/demo/webhook?a=1&b=%20x",
        "started": ["start"],
        "call": "c7",
    }


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/integrations/demo/items/5", 200, '{"item":5}'),
        ("/integrations/demo/items/404", 404, '{"detail":"no such item"}'),
        ("/integrations/demo/items/x", 422, "int_parsing"),
        ("/integrations/demo/nothing", 404, "Not Found"),
        ("/integrations/demo2/items/5", 404, "Not Found"),
        ("/integrations/demo/openapi.json", 404, "Not Found"),
        ("/integrations/demo/webhook", 405, "Method Not Allowed"),
        ("/integrations/demo/sync", 200, '"sync"'),
    ],
)
def test_the_framework_answers_as_it_always_does(worker: Worker, path: str, status: int, text: str) -> None:
    answer = worker.request("GET", path)
    assert answer.status == status
    assert text in answer.body.decode()


def test_a_route_that_fails_or_leaves_is_a_500_and_the_next_one_works(worker: Worker) -> None:
    assert worker.request("GET", "/integrations/demo/fails").status == 500
    worker.wait_for_log("RuntimeError: the route failed")
    assert "router.py" in worker.log()
    assert "starlette" not in worker.log(), "frames of others tell nobody anything"
    assert worker.request("GET", "/integrations/demo/leaves").status == 500
    assert worker.request("GET", "/integrations/demo/fails", None, {"tercel-delivery": "d"}).status == 500
    assert worker.request("GET", "/integrations/demo/items/1").status == 200


def test_a_stream_arrives_piece_by_piece(worker: Worker) -> None:
    connection = worker.connect()
    connection.request("GET", "/integrations/demo/stream")
    answer = connection.getresponse()
    begun = time.monotonic()
    assert (answer.getheader("X-Mine"), answer.readline()) == ("yes", b"one\n")
    assert time.monotonic() - begun < 0.15
    assert answer.read() == b"two\n"
    connection.close()


def test_a_file_can_be_uploaded(worker: Worker) -> None:
    content = b"\x00\xff" * 700_000
    body = (
        b'--b\r\nContent-Disposition: form-data; name="note"\r\n\r\nGr\xc3\xbc\xc3\x9fe\r\n'
        b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n\r\n' + content + b"\r\n--b--\r\n"
    )
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    answer = worker.request("POST", "/integrations/demo/upload", body, headers)
    assert answer.json() == {"name": "a.bin", "size": len(content), "note": "Grüße"}


def test_the_answer_of_a_delivery_ends_when_its_background_tasks_have(worker: Worker) -> None:
    answer = worker.request("POST", "/integrations/demo/later", b"", {"tercel-delivery": "d1"})
    assert "the background is done" in worker.log()
    assert answer.json() == {"ok": True}


def test_a_background_task_that_fails_breaks_the_delivery_off(worker: Worker) -> None:
    assert worker.request("POST", "/integrations/demo/later_fails", b"").json() == {"ok": True}
    with pytest.raises((http.client.IncompleteRead, http.client.RemoteDisconnected, ConnectionError)):
        worker.request("POST", "/integrations/demo/later_fails", b"", {"tercel-delivery": "d2"})


def test_what_a_request_started_can_be_waited_for(worker: Worker) -> None:
    worker.request("POST", "/integrations/demo/started", b"", {"tercel-call": "c9"})
    assert "the task is done" not in worker.log()
    assert worker.request("GET", "/v1/calls/c9").status == 200
    assert "the task is done" in worker.log()
    assert worker.request("GET", "/v1/calls/c10").status == 404


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("any", {}, 401),
        ("any", {"tercel-scopes": ""}, 403),
        ("any", {"tercel-scopes": "integrations:read"}, 403),
        ("any", {"tercel-scopes": "tasks:read integrations:write"}, 200),
        ("any", {"tercel-scopes": "self"}, 200),
        ("any", {"tercel-scopes": "admin"}, 200),
        ("any", {"Authorization": "Bearer own-key"}, 200),
        ("any", {"Authorization": "Bearer own-ke\u00e9"}, 401),
        ("any", {"Authorization": "Basic own-key"}, 401),
        ("admin", {"tercel-scopes": "integrations:write"}, 403),
        ("admin", {"tercel-scopes": "self"}, 403),
        ("admin", {"tercel-scopes": "admin"}, 200),
        ("admin", {"Authorization": "Bearer own-key"}, 403),
    ],
)
def test_dependencies_let_in_whom_the_server_vouches_for(
    worker: Worker, path: str, headers: dict[str, str], status: int
) -> None:
    assert worker.request("GET", f"/integrations/demo/{path}", None, headers).status == status


def test_routes_are_listed_with_whether_somebody_checks_the_caller(worker: Worker) -> None:
    routes = {route["path"]: (route["methods"], route["guarded"]) for route in worker.describe()["routes"]}
    assert routes["/webhook"] == (["POST"], True)
    assert routes["/items/{item}"] == (["GET"], False)
    assert routes["/any"] == (["GET"], True)
    assert routes["/admin"] == (["GET"], True)


def test_many_requests_at_once_are_told_apart(worker: Worker) -> None:
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        asked = [f"c{number}" for number in range(200)]
        answers = pool.map(
            lambda call: worker.request("POST", "/integrations/demo/webhook", b"", {"tercel-call": call}).json()[
                "call"
            ],
            asked,
        )
        assert list(answers) == asked


def test_routers_in_routers_are_listed_and_reached(start: Start) -> None:
    worker = start(
        {
            "router.py": """
                from fastapi import APIRouter, Depends
                inner = APIRouter(prefix="/inner")

                @inner.get("/x")
                async def x():
                    return 1

                router = APIRouter()
                router.include_router(inner, prefix="/outer")
            """
        }
    )
    assert worker.describe()["routes"] == [{"methods": ["GET"], "path": "/outer/inner/x", "guarded": False}]
    assert worker.request("GET", "/integrations/demo/outer/inner/x").json() == 1


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "There is no `router`"),
        ("router = 5\n", "The router cannot be mounted"),
        (
            """
            from fastapi import APIRouter
            async def start():
                raise OSError("no broker")
            router = APIRouter(on_startup=[start])
            """,
            "The router's start failed: no broker",
        ),
    ],
)
def test_a_router_that_does_not_work_is_a_problem(start: Start, text: str, says: str) -> None:
    problems = start({"router.py": text}).describe()["problems"]
    assert [(problem["file"], problem["message"].startswith(says)) for problem in problems] == [("router.py", True)]


def test_draining_lets_open_requests_end_and_takes_no_new_ones(start: Start) -> None:
    worker = start(FILES)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        open_one = pool.submit(worker.request, "POST", "/integrations/demo/later", b"", {"tercel-delivery": "d"})
        while worker.request("GET", "/v1/health").json()["calls"] == 0:
            pass
        drained = worker.request("POST", "/v1/drain")
        assert open_one.done() or "the background is done" in worker.log()
        assert open_one.result().json() == {"ok": True}
        assert drained.status == 200
    assert worker.request("POST", "/integrations/demo/webhook", b"").status == 503
    assert worker.request("GET", "/v1/health").status == 200
    worker.process.terminate()
    assert worker.process.wait(10) == 0
    assert "the router ended" in worker.log()
