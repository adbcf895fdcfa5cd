"""Tests a connection and syncs records through a connector class, with a reason where it says only False."""

from collections.abc import Callable
from typing import Any

from tercel_worker import calls, failure, output
from tercel_worker.failure import Failure
from tercel_worker.folder import Folder
from tercel_worker.parts import dispatch


async def connect(folder: Folder, name: str, arguments: Any) -> Any:
    _, answer = await _connected(folder, arguments)
    return answer


async def test(folder: Folder, name: str, arguments: Any) -> Any:
    instance, answer = await _connected(folder, arguments)
    return answer if instance is None else await _tell(instance.test, instance)


async def sync(folder: Folder, name: str, arguments: Any) -> Any:
    instance, answer = await _connected(folder, arguments)
    if instance is None:
        raise Failure(answer["code"], answer["message"], details=answer["details"])
    records = arguments.get("records") or []
    if getattr(instance, "sync_results", False):
        return {"results": await _batch(instance, records)}
    return {"results": [await _one(instance, record) for record in records]}


async def _connected(folder: Folder, arguments: Any) -> tuple[Any, dict[str, Any]]:
    """An instance with its values, or why there is none."""
    if folder.connector is None:
        raise Failure("unsupported", f"{folder.id} has no connector")
    instance = folder.connector()
    answer = await _tell(lambda: instance.connect(dict(arguments.get("values") or {})), instance, "not_configured")
    return (instance if answer["ok"] else None), answer


async def _tell(function: Callable[[], Any], instance: Any, code: failure.Code | None = None) -> dict[str, Any]:
    """Asks a yes-or-no question; a no gets the reason that can be seen from here."""
    printed = output.capture()
    try:
        answer = await calls.invoke(function)
    except (Exception, SystemExit) as raised:
        failure.log(f"{type(instance).__name__}", raised)
        found = failure.of(raised)
        return _outcome(found.code, found.message, found.status, printed.text(), None, found.hint)
    if isinstance(answer, dict):
        return _outcome(
            "ok" if answer.get("ok") else answer.get("code") or "error",
            str(answer.get("message") or ""),
            answer.get("status"),
            printed.text(),
            answer.get("account"),
            answer.get("hint"),
            answer.get("account_id"),
        )
    account = getattr(instance, "account", None)
    if answer:
        account_id = getattr(instance, "account_id", None)
        account = account if isinstance(account, str) else None
        return _outcome("ok", "", None, printed.text(), account, account_id=account_id)
    if code == "not_configured":
        return _outcome(code, "A field that is needed has no value", None, printed.text())
    return _refused(printed.text())


def _refused(printed: str) -> dict[str, Any]:
    """What a bare False means, by the last request that was made for it."""
    call = calls.current.get()
    last = call.exchanges[-1] if call is not None and call.exchanges else None
    if last is None:
        return _outcome("error", "The test says no and gives no reason", None, printed)
    if last.status is not None:
        message = f"{last.host} answered {last.status}" + (", and the test says no" if last.status < 400 else "")
        return _outcome(failure.by_status(last.status), message, last.status, printed)
    found = failure.of(last.failure) if last.failure is not None else Failure("error", "no answer")
    return _outcome(found.code, f"{last.host}: {found.message}", None, printed)


def _outcome(
    code: str,
    message: str,
    status: int | None,
    details: str,
    account: Any = None,
    hint: str | None = None,
    account_id: Any = None,
) -> dict[str, Any]:
    return {
        "ok": code == "ok",
        "code": code,
        "message": message,
        "hint": hint,
        "account": account,
        # Services like to number their accounts.
        "account_id": str(account_id) if isinstance(account_id, str | int) and account_id != "" else None,
        "status": status,
        "details": details,
    }


async def _one(instance: Any, record: Any) -> dict[str, Any]:
    """One record: the class answers how many it did, and prints why it did not."""
    printed = output.capture()
    call = calls.current.get()
    if call is not None:
        # What was asked for other records says nothing of this one.
        call.exchanges.clear()
    try:
        done = await calls.invoke(instance.sync, [record])
    except (Exception, SystemExit) as raised:
        failure.log(f"{type(instance).__name__}.sync", raised)
        return _not_done(record, dispatch.outcome(raised, call), "")
    if isinstance(done, int) and done >= 1:
        return {"id": _id(record), "ok": True, "remote_id": None, "reason": None}
    if done is None:
        return _not_done(record, Failure("error", "sync() must return how many records it did, and returned None"), "")
    return _not_done(record, _swallowed(call), printed.text())


def _swallowed(call: calls.Call | None) -> Failure:
    """Why a class counted nothing as done, by the last request that was made for it."""
    last = call.exchanges[-1] if call is not None and call.exchanges else None
    if last is None:
        return Failure(_no(call), "The class counted the record as not done and gave no reason")
    if last.failure is not None:
        return dispatch.outcome(last.failure, call)
    status = last.status or 0
    code = failure.by_status(status)
    if _no(call) == "unknown_outcome" or code == "error":
        code = _no(call)
    return Failure(code, f"{last.host} answered {status}", status=status)


def _no(call: calls.Call | None) -> failure.Code:
    """What a no without a code means: it may be there all the same, if the service did not answer what was written."""
    written = [exchange for exchange in call.exchanges if exchange.writes] if call is not None else []
    return "unknown_outcome" if any(_may_have_happened(exchange) for exchange in written) else "schema"


def _may_have_happened(exchange: calls.Exchange) -> bool:
    if exchange.status is not None:
        return exchange.status >= 500
    return exchange.failure is None or not failure.not_connected(exchange.failure)


def _not_done(record: Any, why: Failure, printed: str) -> dict[str, Any]:
    reason = printed or why.message
    return {
        "id": _id(record),
        "ok": False,
        "remote_id": None,
        "reason": reason,
        "code": why.code,
        "status": why.status,
    }


async def _batch(instance: Any, records: list[Any]) -> list[dict[str, Any]]:
    try:
        answered = await calls.invoke(instance.sync, records)
    except (Exception, SystemExit) as raised:
        failure.log(f"{type(instance).__name__}.sync", raised)
        raise dispatch.outcome(raised, calls.current.get()) from raised
    if not isinstance(answered, list):
        message = "With sync_results, sync() returns a list of {id, remote_id, ok, reason}; what it did is not known"
        raise Failure("unknown_outcome", message)
    otherwise = _no(calls.current.get())
    by_id = {str(entry.get("id")): entry for entry in answered if isinstance(entry, dict)}
    return [_result(record, by_id.get(_id(record)), otherwise) for record in records]


def _result(record: Any, entry: dict[str, Any] | None, otherwise: failure.Code) -> dict[str, Any]:
    """`otherwise` is the code of a no that has none."""
    if entry is None:
        return _not_done(record, Failure("unknown_outcome", "sync() said nothing about it"), "")
    remote = entry.get("remote_id")
    ok, reason = bool(entry.get("ok")), entry.get("reason")
    return {
        "id": _id(record),
        "ok": ok,
        "remote_id": str(remote) if remote is not None else None,
        "reason": str(reason) if reason is not None else None,
        "code": "ok" if ok else entry.get("code") or otherwise,
    }


def _id(record: Any) -> str:
    return str(record.get("id", "")) if isinstance(record, dict) else ""
