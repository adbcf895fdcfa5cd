"""Conditions on columns, as folders write them, and what they select."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, ClassVar
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
            case "not in":
                return value not in wanted
            case _:
                ignore = re.IGNORECASE if self.operator == "ilike" else 0
                return (
                    isinstance(value, str) and re.fullmatch(_like(str(wanted)), value, re.DOTALL | ignore) is not None
                )

    def prefix(self) -> str | None:
        """What a value must begin with for this condition to hold."""
        if self.operator != "like":
            return None
        return re.split(r"[%_\\]", str(self.value), maxsplit=1)[0] or None

    def __bool__(self) -> bool:
        raise TypeError("A condition is no truth: give it to where(…), several of them side by side")

    def __clause_element__(self) -> Any:
        from app.db import real

        return real.expression(self)


def _comparable(value: Any) -> Any:
    if isinstance(value, UUID):
        return str(value)
    return [_comparable(one) for one in value] if isinstance(value, (list, tuple, set, frozenset)) else value


def _like(pattern: str) -> str:
    pieces = re.split(r"(\\.|%|_)", pattern)
    wild = {"%": ".*", "_": "."}
    return "".join(wild.get(piece) or re.escape(piece.removeprefix("\\")) for piece in pieces)


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

    def is_not(self, value: Any) -> Condition:
        return Condition(self._name, "!=", value)

    def in_(self, values: Iterable[Any]) -> Condition:
        return Condition(self._name, "in", list(values))

    def not_in(self, values: Iterable[Any]) -> Condition:
        return Condition(self._name, "not in", list(values))

    def like(self, pattern: str) -> Condition:
        return Condition(self._name, "like", pattern)

    def ilike(self, pattern: str) -> Condition:
        return Condition(self._name, "ilike", pattern)

    def startswith(self, beginning: str) -> Condition:
        return Condition(self._name, "like", re.sub(r"([%_\\])", r"\\\1", beginning) + "%")

    isnot = is_not
    notin_ = not_in

    def __getattr__(self, name: str) -> Any:
        raise _missing(
            f"A column compares by == != is_ is_not in_ not_in like ilike startswith; it has no {name}", name
        )


class Table(type):
    """Fields of a row class are columns when asked of the class."""

    def __getattribute__(cls, name: str) -> Any:
        known = type.__getattribute__(cls, "__dict__").get("__dataclass_fields__")
        return Column(name) if known is not None and name in known else type.__getattribute__(cls, name)

    def __clause_element__(cls) -> Any:
        from app.db import real

        return real.table(cls)


def columns(table: Any) -> list[str]:
    return [field.name for field in fields(table)]


class Select:
    """What is wanted: rows of one table for which all conditions hold."""

    _HAS: ClassVar[str] = "select(…) has where(), filter(), filter_by() and limit() here"

    def __init__(self, table: Any, conditions: tuple[Condition, ...] = (), most: int | None = None) -> None:
        if not isinstance(table, Table):
            raise NotImplementedError("Only Channel, ChannelIntegration and Bot can be selected, each as a whole")
        self.table = table
        self.conditions = conditions
        self.most = most

    def where(self, *conditions: Any) -> "Select":
        for condition in conditions:
            if not isinstance(condition, Condition):
                raise NotImplementedError("A condition compares a column with a value: Channel.client_id == …")
        return Select(self.table, (*self.conditions, *conditions), self.most)

    filter = where

    def filter_by(self, **values: Any) -> "Select":
        known = columns(self.table)
        unknown = [name for name in values if name not in known]
        if unknown:
            raise _missing(f"{self.table.__name__} has no {unknown[0]}; it has {', '.join(known)}", unknown[0])
        return self.where(*(Condition(name, "==", value) for name, value in values.items()))

    def limit(self, most: int | None) -> "Select":
        return Select(self.table, self.conditions, most)

    def chosen(self, rows: Iterable[Any]) -> list[Any]:
        found = [row for row in rows if all(condition.holds(row) for condition in self.conditions)]
        return found if self.most is None else found[: self.most]

    def __getattr__(self, name: str) -> Any:
        raise _missing(f"{self._HAS}, and no {name}()", name)


def _missing(words: str, name: str) -> AttributeError:
    return AttributeError(words, name=name)


def select(*tables: Any) -> Select:
    return Select(tables[0] if len(tables) == 1 else tables)
