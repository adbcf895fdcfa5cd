"""A class for each connection form of the server, so that REGISTRY has those that are not written in Python."""

import logging
from collections.abc import Mapping
from typing import Any, ClassVar

from scripts.integrations.base import IntegrationBase
from tercel_worker import host
from tercel_worker.host import HostError

logger = logging.getLogger(__name__)


class _Remote(IntegrationBase):
    """Asks the server, which has the form, the credentials and the code."""

    _fields: ClassVar[list[dict[str, Any]]] = []

    def __init__(self) -> None:
        self._config: dict[str, Any] = {}

    def fields(self) -> list[dict[str, Any]]:
        return [dict(field) for field in self._fields]

    def connect(self, config: dict[str, Any]) -> bool:
        self._config = dict(config)
        required = [field["key"] for field in self._fields if field.get("required")]
        return all(str(self._config.get(key) or "").strip() for key in required)

    def test(self) -> bool:
        try:
            answer = host.post(f"{_path(self.name)}/test", self._config)
        except HostError as refused:
            print(f"[{self.name}] {refused}")
            return False
        if not answer["ok"]:
            print(f"[{self.name}] {answer['code']}: {answer['message']}")
        return bool(answer["ok"])

    def sync(self, jobs: list[dict[str, Any]]) -> int:
        """Hands the records to the server, which syncs them by and by."""
        try:
            host.post(f"{_path(self.name)}/sync", {"records": jobs})
        except HostError as refused:
            print(f"[{self.name}] {refused}")
            return 0
        return len(jobs)


def _path(name: str) -> str:
    return f"/api/v1/admin/integrations/{host.segment(name)}/connection"


def classes() -> Mapping[str, type[IntegrationBase]]:
    """By name; none where there is no server or its key may not see them."""
    if not host.present():
        return {}
    try:
        forms = host.get("/api/v1/admin/integrations/forms")["forms"]
    except HostError as refused:
        logger.warning("The server's own connection forms are not in REGISTRY: %s", refused)
        return {}
    return {form["name"]: _class(form["name"], form) for form in forms}


def _class(name: str, form: dict[str, Any]) -> type[IntegrationBase]:
    values = {"name": name, "label": form["label"], "tier": form["tier"], "_fields": form["fields"]}
    return type(f"{name.title().replace('_', '')}Integration", (_Remote,), values)
