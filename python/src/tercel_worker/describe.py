"""What a folder has, as the protocol's answer to `GET /v1/describe`."""

import inspect
import re
import sys
from collections.abc import Iterator
from typing import Any

from app.agent import hooks as registered_hooks
from app.tools import registry
from tercel_worker import PROTOCOL, origin
from tercel_worker import folder as folders
from tercel_worker.declared import Declared, Variable, from_setup, read
from tercel_worker.folder import Folder
from tercel_worker.parts import dispatch, hooks, tools
from tercel_worker.routes import describe as describe_routes


def describe(folder: Folder) -> dict[str, Any]:
    setup = folder.declared("setup", "SETUP")
    setup = setup if isinstance(setup, dict) else {}
    declared = _declared(folder)
    package = folder.package
    connector = _connector(folder)
    _report_refused(folder)
    return {
        "protocol": PROTOCOL,
        "name": getattr(package, "name", None) or (connector or {}).get("label") or folder.id,
        "version": str(getattr(package, "version", None) or getattr(package, "__version__", None) or "0.0.0"),
        "description": _first_line(getattr(package, "__doc__", None)),
        "icon": setup.get("icon"),
        "tier": setup.get("tier") or (connector or {}).get("tier"),
        "features": _features(setup),
        "variables": _variables(folder, setup, declared),
        "undeclared": _undeclared(folder, setup, declared),
        "fields": connector.pop("fields") if connector else [],
        "webhook": setup.get("webhook"),
        "routes": describe_routes(folder.declared("router", "router")),
        "tools": [_tool(name, tool) for name, tool in tools.of(folder).items()],
        "dispatchers": [_dispatcher(folder, kind, each) for kind, each in dispatch.of(folder).items()],
        "hooks": hooks.events(folder),
        "watches": "all" if setup.get("hooks") == "all" else "stake",
        "meta": [_meta(meta) for meta in _metas(folder)],
        "connector": connector,
        "process": _process(folder),
        "sidebar_section": setup.get("sidebar_section"),
        "dashboard_modules": setup.get("dashboard_modules") or [],
        "activation": setup.get("activation"),
        "identity_fields": _identity_fields(folder, declared),
        "api_permissions": _texts(setup.get("api_permissions")),
        "problems": [problem.as_json() for problem in folder.problems],
        "siblings": folders.siblings_of(folder),
    }


def _features(setup: dict[str, Any]) -> dict[str, str]:
    given = setup.get("features")
    return {str(name): str(tier) for name, tier in given.items()} if isinstance(given, dict) else {}


def _texts(given: Any) -> list[str]:
    """A list of words, or a text of them."""
    words = given.split() if isinstance(given, str) else given
    return [str(word) for word in words] if isinstance(words, (list, tuple, set)) else []


def _identity_fields(folder: Folder, declared: Declared) -> list[Any]:
    """As config.py has them now, when something has imported it; else as they stand in its source."""
    config = sys.modules.get(f"integrations.{folder.id}.config")
    given = getattr(config, "IDENTITY_FIELDS", declared.identity_fields)
    return list(given) if isinstance(given, (list, tuple)) else []


def _declared(folder: Folder) -> Declared:
    drop_in = folder.snapshot / "scripts" / "integrations" / f"{folder.id}.py"
    return read(folder.path if folder.path.is_dir() else drop_in)


def _variables(folder: Folder, setup: dict[str, Any], declared: Declared) -> list[dict[str, Any]]:
    """SETUP as it is after running, then what was read from the source."""
    entries = setup.get("env_vars")
    variables: dict[str, Variable] = {}
    for entry in entries if isinstance(entries, list) else []:
        variable = from_setup(entry, "setup.py", 0)
        if variable is not None:
            variables.setdefault(variable.key, variable)
    for variable in declared.variables:
        variables.setdefault(variable.key, variable)
    for key in _required(folder):
        variables.setdefault(key, Variable(key, True, False, "", None, "process.py", 0)).required = True
    return [
        {
            "key": variable.key,
            "required": variable.required,
            "secret": variable.secret,
            "description": variable.description,
            "default": variable.default,
        }
        for variable in variables.values()
    ]


def _required(folder: Folder) -> list[str]:
    required = folder.declared("process", "REQUIRED_ENV")
    return [str(key) for key in required] if isinstance(required, (list, tuple, set)) else []


def _undeclared(folder: Folder, setup: dict[str, Any], declared: Declared) -> list[str]:
    known = {variable["key"] for variable in _variables(folder, setup, declared)}
    return sorted({found.key for found in declared.reads} - known)


def _process(folder: Folder) -> dict[str, Any] | None:
    command = folder.declared("process", "CMD")
    if not isinstance(command, (list, tuple)) or not command:
        return None
    return {
        "description": str(folder.declared("process", "DESCRIPTION") or ""),
        "command": [str(word) for word in command],
        "required": _required(folder),
        "watch": [str(path) for path in folder.declared("process", "WATCH_PATHS") or []],
    }


def _tool(name: str, tool: dict[str, Any]) -> dict[str, Any]:
    described = {
        "name": name,
        "description": str(tool["schema"]["function"].get("description") or inspect.getdoc(tool["function"]) or ""),
        "parameters": tools.parameters(tool),
        "idempotent": tools.is_idempotent(tool),
    }
    effect = tools.effect(tool)
    return {**described, "effect": effect} if effect is not None else described


# What a dispatcher may have beside what it must have.
_OPTIONAL = ("find", "update", "notify_start", "request_approval")


def _dispatcher(folder: Folder, kind: str, dispatcher: Any) -> dict[str, Any]:
    for name in ("deliver", "post_message"):
        function = getattr(dispatcher, name, None)
        if function is not None and not _takes(function, "extra_metadata"):
            file, line = _place(function)
            folder.problem(folder.path / (file or "dispatcher.py"), line, f"{name}() must accept extra_metadata")
    limit = getattr(dispatcher, "limit", None)
    return {
        "type": kind,
        "limit": limit if isinstance(limit, int) else None,
        "idempotent": bool(getattr(dispatcher, "idempotent", False)),
        **{name: callable(getattr(dispatcher, name, None)) for name in _OPTIONAL},
    }


def _takes(function: Any, name: str) -> bool:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(one.name == name or one.kind is inspect.Parameter.VAR_KEYWORD for one in parameters)


def _place(function: Any) -> tuple[str | None, int | None]:
    code = getattr(inspect.unwrap(function), "__code__", None)
    return (code.co_filename, code.co_firstlineno) if code is not None else (None, None)


def _metas(folder: Folder) -> list[registered_hooks.IntegrationMeta]:
    return [
        meta
        for kind, meta in registered_hooks._meta_registry.items()
        if not origin.is_foreign(registered_hooks._meta_modules.get(kind, ""), folder.id)
    ]


def _meta(meta: registered_hooks.IntegrationMeta) -> dict[str, Any]:
    functions = ("user_attribution", "resolve_display_names", "resolve_dispatch_config")
    return {
        "integration_type": meta.integration_type,
        "client_id_prefix": meta.client_id_prefix,
        **{name: getattr(meta, name) is not None for name in functions},
    }


def _connector(folder: Folder) -> dict[str, Any] | None:
    if folder.connector is None:
        return None
    from scripts.integrations.base import IntegrationBase

    kind = folder.connector
    try:
        fields = kind().fields()
    except (Exception, SystemExit) as raised:
        file, line = _place(kind.fields)
        folder.problem(folder.path / (file or "connector.py"), line, f"fields() failed: {raised}")
        fields = []
    return {
        "name": kind.name,
        "label": getattr(kind, "label", kind.name),
        "tier": getattr(kind, "tier", "free"),
        "sync": kind.sync is not IntegrationBase.sync,
        "sync_results": bool(getattr(kind, "sync_results", False)),
        "fields": list(_fields(folder, fields)),
    }


_FIELD: dict[str, type] = {
    "key": str,
    "label": str,
    "type": str,
    "required": bool,
    "secret": bool,
    "placeholder": str,
    "help": str,
    "env": str,
    "pattern": str,
    "multiline": bool,
    "generate": bool,
}


def _fields(folder: Folder, given: Any) -> Iterator[dict[str, Any]]:
    """The form in the words of the protocol."""
    file = folder.path / "connector.py"
    if not isinstance(given, list):
        folder.problem(file, None, "fields() must return a list of tables")
        return
    for field in given:
        if not isinstance(field, dict) or not isinstance(field.get("key"), str):
            folder.problem(file, None, f"A field is a table with a `key`, not {field!r}")
            continue
        shown = {name: kind(field[name]) for name, kind in _FIELD.items() if field.get(name) is not None}
        if field.get("default") is not None:
            shown["default"] = field["default"]
        if isinstance(field.get("options"), (list, tuple)):
            shown["options"] = [str(one.get("value") if isinstance(one, dict) else one) for one in field["options"]]
        seconds = _seconds(field.get("rotate"))
        if seconds is not None:
            shown["rotate"] = seconds
        yield shown


def _seconds(given: Any) -> int | None:
    """A number of seconds, or a text such as 24h."""
    if isinstance(given, (int, float)) and not isinstance(given, bool):
        return int(given) if 0 <= given < 10**9 else None
    match = re.fullmatch(r"(\d{1,6})([smhd])", given) if isinstance(given, str) else None
    return int(match[1]) * {"s": 1, "m": 60, "h": 3600, "d": 86_400}[match[2]] if match else None


def _report_refused(folder: Folder) -> None:
    for name, first, second in registry._refused:
        if not origin.is_foreign(second, folder.id):
            where = [
                module.rpartition(f"integrations.{folder.id}.")[2].replace(".", "/") + ".py"
                for module in (first, second)
            ]
            folder.problem(folder.path / where[1], None, f"The tool `{name}` is in {where[0]} already, which keeps it")


def _first_line(text: Any) -> str:
    return text.strip().splitlines()[0] if isinstance(text, str) and text.strip() else ""
