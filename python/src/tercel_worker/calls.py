"""Calls that are open: whose they are, what they started, how their functions are run."""

import asyncio
import contextvars
import inspect
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

# Functions that are not async run here; one that hangs keeps its thread.
THREADS = 64
# Ended calls that can still be asked for.
REMEMBERED = 1_000
# What a call left running may go on for this long while the worker drains.
LEFT_RUNNING_SECONDS = 5.0

current: contextvars.ContextVar["Call | None"] = contextvars.ContextVar("tercel_call", default=None)

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="call")


@dataclass(slots=True, eq=False)
class Exchange:
    """A request that folder code made, and how it ended."""

    method: str
    host: str
    status: int | None
    failure: BaseException | None = None

    @property
    def writes(self) -> bool:
        return self.method.upper() not in ("GET", "HEAD", "OPTIONS")


@dataclass(slots=True, eq=False)
class Call:
    id: str
    exchanges: list[Exchange] = field(default_factory=list)
    # What it started and did not wait for.
    started: set["asyncio.Task[Any]"] = field(default_factory=set)
    thread: int | None = None


class Calls:
    """The open calls of this process."""

    def __init__(self) -> None:
        self._open: set[Call] = set()
        self._ended: OrderedDict[str, Call] = OrderedDict()
        self._changed = asyncio.Event()
        self.draining = False

    def __len__(self) -> int:
        """Those that are open, and those that were given up and whose function still runs in its thread."""
        return len(self._open) + sum(call.thread is not None for call in self._ended.values())

    def begin(self, call: Call) -> None:
        self._open.add(call)
        current.set(call)

    def end(self, call: Call) -> None:
        self._open.discard(call)
        call.exchanges.clear()
        self._ended[call.id] = call
        if len(self._ended) > REMEMBERED:
            self._ended.popitem(last=False)
        self._changed.set()

    async def ended(self, id: str) -> bool:
        """Waits until all that the call started has ended; false if there was no such call."""
        while any(call.id == id for call in self._open):
            await self._change()
        call = self._ended.get(id)
        if call is None:
            return False
        while call.started:
            await asyncio.wait(set(call.started))
        return True

    async def drain(self) -> None:
        self.draining = True
        while self._open:
            await self._change()
        left = {task for call in self._ended.values() for task in call.started}
        if left:
            await asyncio.wait(left, timeout=LEFT_RUNNING_SECONDS)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()


def follow_tasks(loop: asyncio.AbstractEventLoop) -> None:
    """From now on a call knows the tasks that it starts."""

    def start(
        loop: asyncio.AbstractEventLoop,
        coroutine: Coroutine[Any, Any, Any] | Generator[Any, None, Any],
        **options: Any,
    ) -> "asyncio.Task[Any]":
        task: asyncio.Task[Any] = asyncio.Task(coroutine, loop=loop, **options)
        call = current.get()
        if call is not None:
            call.started.add(task)
            task.add_done_callback(call.started.discard)
        return task

    loop.set_task_factory(start)


async def invoke(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    """Calls a function of the folder's: on the loop if it is async, else in a thread."""
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        return await function(*arguments, **named)
    result = await in_thread(function, *arguments, **named)
    return await result if inspect.isawaitable(result) else result


async def in_thread(function: Callable[..., Any], *arguments: Any, **named: Any) -> Any:
    context = contextvars.copy_context()

    def run() -> tuple[Any, BaseException | None]:
        call = current.get()
        if call is not None:
            call.thread = threading.get_ident()
        # A future takes neither StopIteration nor what ends the interpreter.
        try:
            return function(*arguments, **named), None
        except BaseException as raised:
            return None, raised
        finally:
            if call is not None:
                call.thread = None

    result, raised = await asyncio.get_running_loop().run_in_executor(_threads, context.run, run)
    if raised is not None:
        if isinstance(raised, StopIteration):
            raise RuntimeError("StopIteration was raised") from raised
        raise raised
    return result


def threads_end() -> bool:
    """Whether all threads that an exit of the process would wait for end within a second."""
    _threads.shutdown(wait=False, cancel_futures=True)
    until = time.monotonic() + 1
    others = [thread for thread in threading.enumerate() if thread is not threading.current_thread()]
    for thread in others:
        if not thread.daemon:
            thread.join(max(0.0, until - time.monotonic()))
    return not any(thread.is_alive() and not thread.daemon for thread in others)


def place(call: Call, task: "asyncio.Task[Any]") -> str:
    """Where a call stands, for the log: `tools/slow.py:12`."""
    frame = sys._current_frames().get(call.thread) if call.thread is not None else None
    if frame is None:
        stack = task.get_stack()
        awaited = _awaited(task)
        frame = awaited or (stack[-1] if stack else None)
    return f"{frame.f_code.co_filename}:{frame.f_lineno}" if frame is not None else "an unknown place"


def _awaited(task: "asyncio.Task[Any]") -> Any:
    """The innermost frame that a waiting task stands in."""
    frame: Any = None
    inner: Any = task.get_coro()
    while inner is not None and hasattr(inner, "cr_frame"):
        frame, inner = inner.cr_frame or frame, inner.cr_await
    return frame
