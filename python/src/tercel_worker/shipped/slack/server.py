"""Calls a tool of the server's Slack integration."""

from typing import Any

from tercel_worker import host
from tercel_worker.host import HostError


class NoSlack(HostError):
    """This server has no Slack integration."""


async def call(tool: str, arguments: dict[str, Any]) -> Any:
    given = {key: value for key, value in arguments.items() if value is not None}
    try:
        answer = await host.post_async(f"/api/v1/tools/{host.segment(tool)}/call", {"arguments": given})
    except HostError as refused:
        if refused.status == 404:
            raise NoSlack(404, "This server has no Slack integration: add one before its client is used") from refused
        raise
    if not answer["ok"]:
        error = answer.get("error") or {}
        raise HostError(0, str(error.get("message", "Slack did not say why")), str(error.get("code", "error")))
    return answer.get("result")
