"""What the agent can look up."""

import json

import httpx
from integrations._register import register

from ..config import settings


@register(
    {
        "type": "function",
        "effect": "read",
        "function": {
            "name": "myservice_get_room",
            "description": "Read the name and the topic of a room.",
            "parameters": {
                "type": "object",
                "properties": {"room": {"type": "string", "description": "Id of the room"}},
                "required": ["room"],
            },
        },
    }
)
async def myservice_get_room(room: str) -> str:
    async with httpx.AsyncClient(base_url=settings.MYSERVICE_URL, timeout=10) as client:
        answer = await client.get(f"/rooms/{room}", headers={"Authorization": f"Bearer {settings.MYSERVICE_TOKEN}"})
    answer.raise_for_status()
    return json.dumps(answer.json())
