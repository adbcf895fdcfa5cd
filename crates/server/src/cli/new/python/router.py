"""Takes what Myservice sends, and has the agent answer it."""

import hashlib
import hmac

from app.db.engine import async_session
from fastapi import APIRouter, HTTPException, Request
from integrations import utils

from .config import settings

router = APIRouter()


@router.post("/webhook")
async def receive(request: Request) -> dict[str, str]:
    body = await request.body()
    if not is_signed(body, request.headers.get("X-Myservice-Signature", "")):
        raise HTTPException(403, "The signature is not valid")
    event = await request.json()
    if event.get("event") != "message.created":
        return {"status": "ignored", "reason": "only new messages are answered"}
    message = event["message"]
    async with async_session() as db:
        session = await utils.get_or_create_session(
            client_id=f"myservice:{message['room']}",
            bot_id="default",
            dispatch_config={"type": "myservice", "room": message["room"]},
            db=db,
        )
        result = await utils.inject_message(
            session_id=session,
            content=f"{message['author']} wrote: {message['text']}",
            source="myservice",
            run_agent=True,
            execution_config={
                "system_preamble": f"This was written in room `{message['room']}`. Answer it in one paragraph.",
                "skills": ["integrations/myservice/myservice"],
                "tools": ["myservice_get_room"],
            },
            db=db,
        )
    return {"status": "ok", "task_id": str(result["task_id"])}


def is_signed(body: bytes, signature: str) -> bool:
    secret = settings.MYSERVICE_WEBHOOK_SECRET
    expected = "sha256=" + hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return bool(secret) and hmac.compare_digest(expected.encode(), signature.encode())
