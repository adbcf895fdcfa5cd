"""What an exception of folder code means: one of the codes of the protocol, and words for a person."""

import sys
import traceback
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from pathlib import Path
from time import time
from typing import Any, Literal, cast, get_args

from tercel_worker.host import HostError

Code = Literal[
    "not_configured",
    "auth",
    "forbidden",
    "not_found",
    "network",
    "timeout",
    "rate_limited",
    "schema",
    "missing_dependency",
    "unsupported",
    "error",
    "unknown_outcome",
]

DETAILS = 4_000


@dataclass(eq=False)
class Failure(Exception):
    """How a call failed, as the protocol says it."""

    code: Code
    message: str
    hint: str | None = None
    status: int | None = None
    retry_after: float | None = None
    details: str = ""

    def __str__(self) -> str:
        return self.message

    def as_json(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "message": self.message,
            "hint": self.hint,
            "status": self.status,
            "retry_after": self.retry_after,
            "details": self.details[-DETAILS:],
        }


def of(raised: BaseException) -> Failure:
    """What is known about an exception."""
    if isinstance(raised, Failure):
        return raised
    message = words(raised)
    if isinstance(raised, ModuleNotFoundError):
        hint = f"Name the package of `{raised.name}` in requirements.txt"
        return Failure("missing_dependency", message, hint=hint)
    if isinstance(raised, (SystemExit, KeyboardInterrupt)):
        return Failure("error", f"The code wanted to end the process: {message}")
    if isinstance(raised, HostError):
        # Its status is the server's, and no service has answered it.
        return Failure(told(raised) or by_status(raised.status), message)
    answered = response(raised)
    if answered is not None:
        status, headers = answered
        return Failure(by_status(status), message, status=status, retry_after=retry_after(headers))
    if not_connected(raised):
        return Failure("network", message)
    if timed_out(raised):
        return Failure("timeout", message)
    if isinstance(raised, ConnectionError) or _named(raised, "NetworkError", "ConnectionError", "RemoteProtocolError"):
        return Failure("network", message)
    return Failure("error", message)


def told(refused: HostError) -> Code | None:
    """The code of what the server answered, if it says what that means for whoever asked."""
    is_one = refused.code_name != "error" and refused.code_name in get_args(Code)
    return cast(Code, refused.code_name) if is_one else None


def words(raised: BaseException) -> str:
    """The exception's own words, with its class where they say nothing without it."""
    text = str(raised).strip()
    name = type(raised).__name__
    if not text:
        return name
    return f"{name}: {text}" if isinstance(raised, (LookupError, SystemExit)) else text


def by_status(status: int) -> Code:
    """The code of an answer that did not do what was asked."""
    match status:
        case 401:
            return "auth"
        case 402 | 403 | 407 | 451:
            return "forbidden"
        case 404 | 410:
            return "not_found"
        case 408 | 502 | 503 | 504:
            return "network"
        case 429:
            return "rate_limited"
        case 405 | 426:
            return "unsupported"
        case _ if 300 <= status < 400:
            return "unsupported"
        case _ if 400 <= status < 500:
            return "schema"
        case _:
            return "error"


def response(raised: BaseException) -> tuple[int, Any] | None:
    """Status and headers that a service answered with, as requests, httpx, aiohttp and urllib carry them."""
    answer = getattr(raised, "response", None)
    for holder, name in (
        (answer, "status_code"),
        (answer, "status"),
        (raised, "status_code"),
        (raised, "status"),
        (raised, "code"),
    ):
        status = getattr(holder, name, None)
        if isinstance(status, int) and 100 <= status < 600:
            return status, getattr(holder, "headers", None)
    return None


def retry_after(headers: Any) -> float | None:
    """Seconds, from a number or a date."""
    value = headers.get("Retry-After") if hasattr(headers, "get") else None
    if not isinstance(value, str):
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None


# What clients raise when no connection came about: requests and urllib3, httpx, aiohttp, the standard library. With a
# proxy in between, that it would not connect.
_NOT_CONNECTED = (
    "gaierror",
    "SSLCertVerificationError",
    "ConnectError",
    "ConnectTimeout",
    "PoolTimeout",
    "NewConnectionError",
    "ConnectTimeoutError",
    "NameResolutionError",
    "ProxyError",
    "ClientConnectorError",
    "UnsupportedProtocol",
    "InvalidURL",
)


def not_connected(raised: BaseException) -> bool:
    """Nothing was sent: the name is unknown, or nobody took the connection."""
    if isinstance(raised, ConnectionRefusedError) or _named(raised, *_NOT_CONNECTED):
        return True
    # requests.ConnectionError(MaxRetryError(reason=NewConnectionError)), urllib.URLError(reason=gaierror)
    inner = getattr(raised, "reason", None) or (raised.args[0] if raised.args else None)
    return isinstance(inner, BaseException) and inner is not raised and not_connected(inner)


def timed_out(raised: BaseException) -> bool:
    return isinstance(raised, TimeoutError) or _named(raised, "Timeout", "TimeoutException")


def _named(raised: BaseException, *names: str) -> bool:
    return any(kind.__name__ in names for kind in type(raised).__mro__)


def log(label: str, raised: BaseException) -> None:
    """The traceback goes to the folder's log, where whoever wrote the folder looks."""
    print(f"{label} failed:\n" + "".join(traceback.format_exception(raised)).rstrip(), file=sys.stderr, flush=True)


def shorten(raised: BaseException, place: Path) -> None:
    """Takes the frames out of a traceback that lie between the server and the folder's code."""
    own = raised.__traceback__
    while own is not None and not Path(own.tb_frame.f_code.co_filename).is_relative_to(place):
        own = own.tb_next
    raised.__traceback__ = own or raised.__traceback__
