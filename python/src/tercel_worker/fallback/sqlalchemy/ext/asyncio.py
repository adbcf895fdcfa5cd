"""The session type that folders annotate with."""

from app.db.engine import AsyncSession

__all__ = ["AsyncSession"]
