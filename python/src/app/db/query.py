"""Conditions on columns, as folders write them, and what they select."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID


@dataclass(frozen=True)
class Condition:
    """One column compared with one value."""

    column: str
    operator: str
    value: Any

    def holds(self, row: Any) -> bool:
        value, wanted = _comparable(getattr(row, self.column)), _comparable(self.value)
        match self.operator:
            case "==":
                return bool(value == wanted)
            case "!=":
                return bool(value != wanted)
            case "in":
                return value in wanted
            case _:
                return isinstance(value, str) and _like(str(wanted)).fullmatch(value) is not None

    def prefix(self) -> str | None:
        """What a value must begin with for this condition to hold."""
        if self.operator != "like":
            return None
        return re.split(r"[%_\\]", str(self.value), maxsplit=1)[0] or None


def _comparable(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return [_comparable(one) for one in value] if isinstance(value, (list, tuple, set, frozenset)) else value


def _like(pattern: str) -> re.Pattern[str]:
    pieces = re.split(r"(\\.|%|_)", pattern)
    wild = {"%": ".*", "_": "."}
    return re.compile("".join(wild.get(piece) or re.escape(piece.removeprefix("\\")) for piece in pieces), re.DOTALL)


class Column:
    """A column that a condition is made with."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __eq__(self, value: object) -> Condition:  # type: ignore[override]
        return Condition(self._name, "==", value)

    def __ne__(self, value: object) -> Condition:  # type: ignore[override]
        return Condition(self._name, "!=", value)

    __hash__ = None  # type: ignore[assignment]

    def is_(self, value: Any) -> Condition:
        return Condition(self._name, "==", value)

    def in_(self, values: Any) -> Condition:
        return Condition(self._name, "in", list(values))

    def like(self, pattern: str) -> Condition:
        return Condition(self._name, "like", pattern)


class Table(type):
    """Fields of a row class are columns when asked of the class."""

    def __getattribute__(cls, name: str) -> Any:
        fields = type.__getattribute__(cls, "__dict__").get("__dataclass_fields__")
        return Column(name) if fields is not None and name in fields else type.__getattribute__(cls, name)


class Select:
    """What is wanted: rows of one table for which all conditions hold."""

    def __init__(self, table: Any, conditions: tuple[Condition, ...] = (), most: int | None = None) -> None:
        if not isinstance(table, Table):
            raise NotImplementedError("Only Channel, ChannelIntegration and Bot can be selected")
        self.table = table
        self.conditions = conditions
        self.most = most

    def where(self, *conditions: Any) -> "Select":
        for condition in conditions:
            if not isinstance(condition, Condition):
                raise NotImplementedError("A condition compares a column with a value: Channel.client_id == …")
        return Select(self.table, (*self.conditions, *conditions), self.most)

    def limit(self, most: int) -> "Select":
        return Select(self.table, self.conditions, most)

    def chosen(self, rows: Iterator[Any]) -> list[Any]:
        found = [row for row in rows if all(condition.holds(row) for condition in self.conditions)]
        return found if self.most is None else found[: self.most]


def select(table: Any) -> Select:
    return Select(table)
