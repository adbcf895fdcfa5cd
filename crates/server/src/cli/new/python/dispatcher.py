"""Posts answers to Myservice."""

from typing import Any

import httpx
from app.agent.dispatchers import register

from .config import settings


class Dispatcher:
    async def deliver(
        self,
        task: Any,
        result: str,
        client_actions: list[dict[str, Any]] | None = None,
        extra_metadata: dict[str, Any] | None = None,
    ) -> dict[str, str]:
        return await post(task.dispatch_config["room"], result)

    async def post_message(self, dispatch_config: dict[str, Any], text: str, **_: Any) -> bool:
        await post(dispatch_config["room"], text)
        return True


async def post(room: str, text: str) -> dict[str, str]:
    """What is answered is the receipt. A failing status is raised: the server decides whether to try again."""
    async with httpx.AsyncClient(base_url=settings.MYSERVICE_URL, timeout=10) as client:
        headers = {"Authorization": f"Bearer {settings.MYSERVICE_TOKEN}"}
        answer = await client.post(f"/rooms/{room}/messages", json={"text": text}, headers=headers)
    answer.raise_for_status()
    return {"id": str(answer.json()["id"])}


register("myservice", Dispatcher())
