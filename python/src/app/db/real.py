"""Statements of a SQLAlchemy that a folder brings itself, for tables of its own: ours are told from them, and read."""

from typing import Any

from app.db.query import Condition, Select, Table, columns


def table(rows: Table) -> Any:
    """Stands for our rows in a statement."""
    import sqlalchemy

    made: Any = sqlalchemy.table(rows.__name__, *(sqlalchemy.column(name) for name in columns(rows)))
    made.tercel_rows = rows
    return made


def expression(condition: Condition) -> Any:
    """Stands for our condition in a statement."""
    import sqlalchemy

    made: Any = sqlalchemy.column(condition.column) == sqlalchemy.literal(str(condition.value))
    made.tercel_condition = condition
    return made


def ours(statement: Any) -> Select | None:
    """What a statement selects of ours; None when it is about something else."""
    froms = statement.get_final_froms() if hasattr(statement, "get_final_froms") else ()
    rows = [getattr(one, "tercel_rows", None) for one in froms]
    if rows == [None] * len(rows):
        return None
    selected = Select(rows[0] if len(rows) == 1 else rows).where(*_conditions(statement.whereclause))
    most = getattr(statement, "_limit_clause", None)
    return selected if most is None else selected.limit(int(most.value))


def _conditions(clause: Any) -> list[Any]:
    """Those that all must hold. Anything else stays as it is, and is refused as no condition."""
    if clause is None:
        return []
    known = getattr(clause, "tercel_condition", None)
    if known is not None:
        return [known]
    operator = getattr(getattr(clause, "operator", None), "__name__", "")
    if operator == "and_":
        return [condition for inner in clause.clauses for condition in _conditions(inner)]
    column = getattr(clause, "left", None)
    # What filter_by() makes of a name and a value.
    if operator == "eq" and hasattr(getattr(column, "table", None), "tercel_rows"):
        return [Condition(column.name, "==", clause.right.value)]  # type: ignore[union-attr]
    return [clause]
