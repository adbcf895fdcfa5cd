"""Runs the worker: loads the folder, listens on the inherited socket, ends when it is told or nobody is left."""

import asyncio
import contextlib
import faulthandler
import os
import signal
import socket
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn

from tercel_worker import calls, exchanges, failure
from tercel_worker.asgi import Worker
from tercel_worker.folder import Folder, load

# From the wish to end until the process is ended without regard.
GRACE_SECONDS = 4.0
# The server keeps its connections open; it is the one to close them.
KEEP_ALIVE_SECONDS = 3_600


def run(snapshot: Path, id: str, siblings: list[Path], descriptor: int) -> int:
    # Before anything of the folder runs: it may hang.
    faulthandler.enable(sys.__stderr__ or 2)
    faulthandler.register(signal.SIGUSR1, sys.__stderr__ or 2, all_threads=True)
    exchanges.watch()
    # What the folder starts is not to hold the socket when the worker is gone.
    os.set_inheritable(descriptor, False)
    listener = socket.socket(fileno=descriptor)
    _end_with_the_server()
    with asyncio.Runner(loop_factory=_loop) as runner:
        return runner.run(_serve(snapshot, id, siblings, listener))


def _loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


async def _serve(snapshot: Path, id: str, siblings: list[Path], listener: socket.socket) -> int:
    folder = load(snapshot, id, siblings)
    calls.follow_tasks(asyncio.get_running_loop())
    async with contextlib.AsyncExitStack() as stack:
        worker = Worker(folder, await _routes(folder, stack))
        config = uvicorn.Config(
            worker,
            loop="none",
            lifespan="off",
            interface="asgi3",
            ws="none",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            date_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(GRACE_SECONDS),
        )
        # It raises the signal that ended it once more when it is done; what is to be closed is closed after that.
        signal.signal(signal.SIGTERM, lambda *_: None)
        await uvicorn.Server(config).serve([listener])
    return 0


async def _routes(folder: Folder, stack: contextlib.AsyncExitStack) -> Any:
    """The folder's router, with what it does at its start done."""
    router = folder.declared("router", "router")
    file = folder.path / "router.py"
    if router is None:
        if "router" in folder.modules:
            folder.problem(file, None, "There is no `router`, an APIRouter of FastAPI's, in it")
        return None
    try:
        from tercel_worker.routes import application

        app = application(router, folder.id)
    except (Exception, SystemExit) as raised:
        failure.log("Mounting the router", raised)
        folder.problem(file, None, f"The router cannot be mounted: {failure.words(raised)}")
        return None
    try:
        await stack.enter_async_context(app.router.lifespan_context(app))
    except (Exception, SystemExit) as raised:
        failure.log("Starting the router", raised)
        folder.problem(file, None, f"The router's start failed: {failure.words(raised)}")
    return app


def _end_with_the_server() -> None:
    def wait() -> None:
        with contextlib.suppress(OSError):
            while os.read(0, 4096):
                pass
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(GRACE_SECONDS)
        os._exit(1)

    threading.Thread(target=wait, name="stdin", daemon=True).start()
