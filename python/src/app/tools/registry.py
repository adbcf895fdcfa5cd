"""Where tools register."""

import os
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

from tercel_worker import origin

Function = TypeVar("Function", bound=Callable[..., Any])

# By name: function, schema, source_dir, and the module that registered it.
_tools: dict[str, dict[str, Any]] = {}

# Names that were taken: (name, module that has it, module that wanted it).
_refused: list[tuple[str, str, str]] = []


def register(schema: dict[str, Any], *, source_dir: str | None = None) -> Callable[[Function], Function]:
    """Makes a function a tool. Outside of a server it only carries its schema, as `_tool_schema`."""
    module = origin.caller()

    def decorate(function: Function) -> Function:
        function._tool_schema = schema  # type: ignore[attr-defined]
        if "AGENT_SERVER_URL" in os.environ or "TERCEL_INTEGRATION" in os.environ:
            _add(function, schema, source_dir, module)
        return function

    return decorate


def _add(function: Callable[..., Any], schema: Any, source_dir: str | None, module: str) -> None:
    try:
        name = schema["function"]["name"]
    except (KeyError, TypeError):
        raise ValueError('A tool\'s schema needs {"function": {"name": …}}') from None
    if not isinstance(name, str) or not name:
        raise ValueError("A tool's name must be text")
    taken = _tools.get(name)
    if taken is None:
        _tools[name] = {"function": function, "schema": schema, "source_dir": source_dir, "module": module}
    elif taken["function"] is not function:
        _refused.append((name, taken["module"], module))


def get_local_tool_schemas(names: Iterable[str]) -> list[dict[str, Any]]:
    """Schemas of the tools of these names, in this order: the folder's own, then those it may use of the server's."""
    from tercel_worker import host

    wanted = list(dict.fromkeys(names))
    found = {name: _tools[name]["schema"] for name in wanted if name in _tools}
    if len(found) < len(wanted) and host.present():
        for tool in host.pages("/api/v1/tools"):
            if tool["name"] in wanted:
                function = {key: tool[key] for key in ("name", "description", "parameters")}
                found.setdefault(tool["name"], {"type": "function", "function": function})
    return [found[name] for name in wanted if name in found]
