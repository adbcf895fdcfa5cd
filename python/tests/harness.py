"""A worker as the server starts it, with a folder that the test writes, and a server for it to ask."""

import contextlib
import http.client
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

SOURCE = Path(__file__).parent.parent / "src"
ID = "demo"


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("worker", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Worker:
    """A worker process and the socket it was given."""

    def __init__(self, root: Path, environment: dict[str, str], siblings: tuple[Path, ...] = (), id: str = ID) -> None:
        self.root = root
        self._socket_path = str(root / "s")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(self._socket_path)
        self._listener.listen(64)
        self._listener.set_inheritable(True)
        self._log = (root / "log").open("w+b")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tercel_worker", str(root / "snapshot"), id, *map(str, siblings)],
            pass_fds=[self._listener.fileno()],
            stdin=subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            cwd=root / "snapshot",
            env={
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(SOURCE),
                "TERCEL_PROTOCOL": "1",
                "TERCEL_SOCKET": str(self._listener.fileno()),
                "TERCEL_INTEGRATION": id,
                **environment,
            },
        )
        self._listener.close()

    def connect(self) -> http.client.HTTPConnection:
        return _Connection(self._socket_path)

    def request(
        self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Answer:
        with contextlib.closing(self.connect()) as connection:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def describe(self) -> Any:
        return self.request("GET", "/v1/describe").json()

    def call(self, part: str, name: str, arguments: Any = None, **more: Any) -> Any:
        """What the worker answers: {"result": …} or {"error": …}."""
        request = {
            "call": "c1",
            "part": part,
            "name": name,
            "arguments": arguments,
            "context": {},
            "deadline_ms": 10_000,
        }
        answer = self.request("POST", "/v1/call", json.dumps({**request, **more}).encode())
        assert answer.status == 200, answer.body
        return answer.json()

    def tool(self, name: str, **arguments: Any) -> Any:
        return self.call("tool", name, arguments)

    def log(self) -> str:
        return (self.root / "log").read_text(errors="replace")

    def wait_for_log(self, text: str) -> str:
        eventually(lambda: text in self.log(), f"{text!r} in the log")
        return self.log()

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._log.close()


def eventually(look: Callable[[], Any], what: str) -> Any:
    """The first thing that is something; no longer than 10 s."""
    until = time.monotonic() + 10
    while time.monotonic() < until:
        found = look()
        if found:
            return found
        time.sleep(0.01)
    raise AssertionError(f"never saw {what}")


def write(directory: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = directory / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")


Start = Callable[..., Worker]


def starter(directory: Path) -> Iterator[Start]:
    workers: list[Worker] = []

    def start(
        files: dict[str, str],
        environment: dict[str, str] | None = None,
        siblings: dict[str, dict[str, str]] | None = None,
        beside: dict[str, str] | None = None,
        id: str = ID,
    ) -> Worker:
        root = directory / str(len(workers))
        (root / "snapshot").mkdir(parents=True)
        if files:
            write(root / "snapshot" / "integrations" / id, files)
        write(root / "snapshot", beside or {})
        for sibling, its_files in (siblings or {}).items():
            write(root / "siblings" / sibling, its_files)
        workers.append(Worker(root, environment or {}, (root / "siblings",) if siblings else (), id))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Server:
    """A stand-in for the server's API: answers what the test says, remembers what it was asked."""

    url: str
    answers: dict[str, Any] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def last(self) -> Request:
        return self.requests[-1]


def serve() -> Iterator[Server]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            received = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                body = json.loads(received) if received else None
            except ValueError:
                body = received
            headers = {key.lower(): value for key, value in self.headers.items()}
            known.requests.append(Request(self.command, self.path, headers, body))
            given = known.answers.get(f"{self.command} {self.path}")
            if given is None:
                given = known.answers.get(f"{self.command} {self.path.partition('?')[0]}")
            if given is None:
                given = (404, {"detail": f"There is no {self.path}", "code": "not_found"})
            status, answer, *more = given if isinstance(given, tuple) else (200, given)
            data = json.dumps(answer).encode()
            self.send_response(status)
            for key, value in (more[0] if more else {}).items():
                self.send_header(key, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = _answer  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True

    with Quiet(("127.0.0.1", 0), Handler) as listening:
        known = Server(f"http://127.0.0.1:{listening.server_address[1]}")
        thread = threading.Thread(target=lambda: listening.serve_forever(0.01))
        thread.start()
        yield known
        listening.shutdown()
        thread.join()
