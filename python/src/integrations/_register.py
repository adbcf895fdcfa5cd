"""Where tools register; the name that folders import."""

from app.tools.registry import register

__all__ = ["register"]
