"""Calls a tool with arguments that fit its schema."""

import inspect
from collections.abc import Callable
from typing import Any

from app.tools import registry
from tercel_worker import calls, origin, schema
from tercel_worker.failure import Failure
from tercel_worker.folder import Folder


def of(folder: Folder) -> dict[str, dict[str, Any]]:
    """The folder's own tools; those of siblings it imports are theirs."""
    return {name: tool for name, tool in registry._tools.items() if not origin.is_foreign(tool["module"], folder.id)}


async def call(folder: Folder, name: str, arguments: Any) -> Any:
    tool = registry._tools.get(name)
    if tool is None or origin.is_foreign(tool["module"], folder.id):
        raise Failure("not_found", f"There is no tool `{name}` in {folder.id}")
    try:
        fitted = schema.fit({} if arguments is None else arguments, parameters(tool))
    except schema.Mismatch as mismatch:
        raise Failure("schema", f"{name}: {mismatch}") from None
    if not isinstance(fitted, dict):
        raise Failure("schema", f"{name}: The arguments must be an object")
    unfit = _unfit(tool["function"], fitted)
    if unfit is not None:
        raise Failure("schema", f"{name}: {unfit}")
    return await calls.invoke(tool["function"], **fitted)


def parameters(tool: dict[str, Any]) -> dict[str, Any]:
    """The schema of a tool's arguments; one that has none takes none."""
    given = tool["schema"]["function"].get("parameters")
    return {"type": "object", **given} if isinstance(given, dict) else {"type": "object", "properties": {}}


def effect(tool: dict[str, Any]) -> str | None:
    """What the tool says that it does to the service; None when it does not say."""
    stated = tool["schema"].get("effect") or tool["schema"]["function"].get("effect")
    return stated if stated in ("read", "write", "destroy") else None


def is_idempotent(tool: dict[str, Any]) -> bool:
    return bool(tool["schema"].get("idempotent") or tool["schema"]["function"].get("idempotent"))


def is_repeatable(name: str) -> bool:
    tool = registry._tools.get(name)
    return tool is not None and (effect(tool) == "read" or is_idempotent(tool))


def _unfit(function: Callable[..., Any], arguments: dict[str, Any]) -> str | None:
    """Why the function cannot be called like this. Told before the call, so that its own TypeError is not mistaken."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return None
    try:
        signature.bind(**arguments)
    except TypeError as mismatch:
        return str(mismatch)
    return None
