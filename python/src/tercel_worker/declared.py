"""What a folder declares, read from its source without running it: `python -m tercel_worker.declared <folder>`."""

import json
import re
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tercel_worker import source
from tercel_worker.problem import Problem

# A settings field or variable with one of these in its name is a secret unless its declaration says otherwise.
_SECRET = re.compile(r"TOKEN|SECRET|PASSWORD|PASSWD|PRIVATE|CREDENTIAL|API_?KEY|_KEY$", re.IGNORECASE)

# What the server sets itself is no setting of a folder's.
_RESERVED = re.compile(r"^(TERCEL_|AGENT_|LD_|PYTHON|LC_|INTEGRATION_STATE_DIR$|PATH$|HOME$|TMPDIR$|LANG$)")


@dataclass
class Variable:
    """An environment variable that something of the folder declares."""

    key: str
    required: bool
    secret: bool
    description: str
    default: str | None
    file: str
    line: int


@dataclass
class Read:
    """A place that reads an environment variable by a literal name."""

    key: str
    file: str
    line: int


@dataclass
class Declared:
    variables: list[Variable] = field(default_factory=list)
    reads: list[Read] = field(default_factory=list)
    setup: Any = None
    process: dict[str, Any] | None = None
    fields: list[Any] | None = None
    connector: str | None = None
    identity_fields: list[Any] = field(default_factory=list)
    imports: list[str] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)


def read(folder: Path) -> Declared:
    """Reads a folder, or a connector that is a single file."""
    declared = Declared()
    single = folder.is_file()
    files = [folder] if single else sorted(folder.rglob("*.py"))
    modules: dict[str, source.Module] = {}
    for file in files:
        shown = file.name if single else str(file.relative_to(folder))
        if any(part.startswith(".") or part == "__pycache__" for part in Path(shown).parts):
            continue
        try:
            modules[shown] = source.parse(file, shown)
        except (SyntaxError, ValueError) as wrong:
            line = wrong.lineno if isinstance(wrong, SyntaxError) else None
            message = wrong.msg if isinstance(wrong, SyntaxError) else str(wrong)
            declared.problems.append(Problem(shown, line, f"{type(wrong).__name__}: {message}"))
    own = folder.stem if single else folder.name
    _setup(declared, modules.get("setup.py"))
    _process(declared, modules.get("process.py"))
    _identity_fields(declared, modules.get("config.py"))
    for module in modules.values():
        _settings(declared, module)
        _connector(declared, module)
        declared.reads += [
            Read(key, module.shown, line) for key, line in source.environment_names(module, own) if _is_ours(key)
        ]
    declared.imports = sorted({name for module in modules.values() for name in source.folders_imported(module)} - {own})
    return declared


def _is_ours(key: str) -> bool:
    return not _RESERVED.match(key)


def _add(declared: Declared, variable: Variable) -> None:
    """The first declaration says what a variable is; later ones can only make it required."""
    if not variable.key or not _is_ours(variable.key):
        return
    for known in declared.variables:
        if known.key == variable.key:
            known.required = known.required or variable.required
            return
    declared.variables.append(variable)


def as_text(value: Any) -> str:
    """A default as the environment would hold it; what is no text is JSON, as settings classes read it."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


def from_setup(entry: Any, file: str, line: int) -> Variable | None:
    """One of SETUP's env_vars."""
    if not isinstance(entry, dict) or not isinstance(entry.get("key"), str):
        return None
    default = entry.get("default")
    return Variable(
        entry["key"],
        bool(entry.get("required", False)),
        bool(entry.get("secret", False)),
        str(entry.get("description") or ""),
        None if default is None else as_text(default),
        file,
        line,
    )


def _setup(declared: Declared, module: source.Module | None) -> None:
    found = module.constants.get("SETUP") if module is not None else None
    if module is None or found is None:
        return
    value = source.literal(found, module)
    if isinstance(value, dict):
        declared.setup = value
        entries = value.get("env_vars")
        for entry in entries if isinstance(entries, list) else []:
            variable = from_setup(entry, module.shown, source.line_of_text(found, entry))
            if variable is not None:
                _add(declared, variable)


def _identity_fields(declared: Declared, module: source.Module | None) -> None:
    found = module.constants.get("IDENTITY_FIELDS") if module is not None else None
    value = source.literal(found, module) if module is not None and found is not None else None
    if isinstance(value, list):
        declared.identity_fields = value


def _process(declared: Declared, module: source.Module | None) -> None:
    if module is None:
        return
    values = {
        name: source.literal(module.constants[name], module) if name in module.constants else None
        for name in ("DESCRIPTION", "CMD", "REQUIRED_ENV", "WATCH_PATHS")
    }
    required = values["REQUIRED_ENV"] if isinstance(values["REQUIRED_ENV"], (list, tuple)) else []
    declared.process = {
        "description": values["DESCRIPTION"] or "",
        "command": list(values["CMD"] or []),
        "required": [str(key) for key in required],
        "watch": [str(path) for path in values["WATCH_PATHS"] or []],
    }
    line = module.constants["REQUIRED_ENV"].lineno if "REQUIRED_ENV" in module.constants else 1
    for key in declared.process["required"]:
        _add(declared, Variable(key, True, bool(_SECRET.search(key)), "", None, module.shown, line))


def _settings(declared: Declared, module: source.Module) -> None:
    for found in source.settings_fields(module):
        secret = "Secret" in found.annotation or bool(_SECRET.search(found.key))
        # An empty text is how such classes say "may be left out".
        default = None if found.default in (None, "") else as_text(found.default)
        _add(
            declared, Variable(found.key, found.required, secret, found.description, default, module.shown, found.line)
        )


def _connector(declared: Declared, module: source.Module) -> None:
    found = source.connector(module)
    if found is not None and declared.connector is None:
        declared.connector = found.name
        declared.fields = found.fields


def main() -> None:
    if len(sys.argv) != 2 or not Path(sys.argv[1]).exists():
        print("usage: python -m tercel_worker.declared <folder>", file=sys.stderr)
        sys.exit(2)
    json.dump(asdict(read(Path(sys.argv[1]))), sys.stdout, default=str)


if __name__ == "__main__":
    main()
