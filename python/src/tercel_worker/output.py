"""What the folder prints: a line at once to the log, and to the call that printed it."""

import contextvars
import io
import logging
import sys
from typing import TextIO

# What one call may print before the rest is only in the log.
KEPT = 8_000

_printed: contextvars.ContextVar["Printed | None"] = contextvars.ContextVar("tercel_printed", default=None)


class Printed:
    """The text that was printed since `capture`."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0

    def add(self, text: str) -> None:
        if self._length < KEPT:
            self._parts.append(text[: KEPT - self._length])
            self._length += len(text)

    def text(self) -> str:
        return "".join(self._parts).strip()


def capture() -> Printed:
    """Keeps what is printed in this context from now on."""
    printed = Printed()
    _printed.set(printed)
    return printed


class _Tee(io.TextIOBase):
    """Standard output, and beside it whoever captures."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    def write(self, text: str) -> int:
        printed = _printed.get()
        if printed is not None:
            printed.add(text)
        return self._stream.write(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def isatty(self) -> bool:
        return False

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding

    @property
    def buffer(self) -> io.BufferedIOBase:
        return self._stream.buffer  # type: ignore[return-value]


def prepare() -> None:
    """Lines reach the log when they are written, and text that is no Unicode does not end the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    sys.stdout = _Tee(sys.stdout)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(levelname)s %(name)s: %(message)s")
    # At this level they would bury what the folder says itself.
    for name in ("httpx", "uvicorn.error"):
        logging.getLogger(name).setLevel(logging.WARNING)
