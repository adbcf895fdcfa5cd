"""As much of SQLAlchemy's names as the documents use, for folders that do not bring the real one."""

from app.db.query import select

__all__ = ["select"]
