"""Rules that a person who is asked about a tool call may want to make of the answer."""

import re
import shlex
from dataclasses import dataclass
from typing import Any

# Longer values make no rule that anybody reads.
LONGEST = 80


@dataclass
class RuleSuggestion:
    label: str
    tool_name: str
    conditions: dict[str, Any]
    description: str
    scope: str = "bot"


def build_suggestions(tool_name: str, arguments: dict[str, Any] | None) -> list[RuleSuggestion]:
    """From the widest rule to the narrowest."""
    suggestions = [
        RuleSuggestion(
            f"Allow {tool_name} (all bots)", tool_name, {}, f"Every call of {tool_name} by any bot", "global"
        ),
        RuleSuggestion(f"Allow {tool_name} always", tool_name, {}, f"Every call of {tool_name} by this bot"),
    ]
    for name, value in (arguments or {}).items():
        if not isinstance(value, str) or not value.strip():
            continue
        if name == "command":
            suggestions += _command(tool_name, value.strip())
        elif "/" in value:
            suggestions += _path(tool_name, name, value)
    return suggestions


def _command(tool_name: str, command: str) -> list[RuleSuggestion]:
    try:
        words = shlex.split(command)
    except ValueError:
        words = command.split()
    program = words[0].rpartition("/")[2] if words else ""
    found = []
    if program:
        pattern = rf"^{re.escape(program)}(\s|$)"
        found.append(
            _rule(tool_name, f"Allow `{program} *`", "command", {"pattern": pattern}, f"Any `{program}` command")
        )
    if len(command) <= LONGEST:
        pattern = f"^{re.escape(command)}$"
        found.append(_rule(tool_name, f"Allow `{command}`", "command", {"pattern": pattern}, "Exactly this command"))
    return found


def _path(tool_name: str, name: str, value: str) -> list[RuleSuggestion]:
    below = value.rpartition("/")[0] + "/"
    found = [_rule(tool_name, f"Allow `{below}*`", name, {"prefix": below}, f"Anything below {below}")]
    if len(value) <= LONGEST:
        pattern = f"^{re.escape(value)}$"
        found.append(_rule(tool_name, f"Allow `{value}`", name, {"pattern": pattern}, f"Exactly this {name}"))
    return found


def _rule(tool_name: str, label: str, name: str, condition: dict[str, str], description: str) -> RuleSuggestion:
    return RuleSuggestion(label, tool_name, {"arguments": {name: condition}}, description)
