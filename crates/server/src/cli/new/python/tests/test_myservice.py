"""No server is needed: what the folder asks of one is put in its place."""

import asyncio
import hashlib
import hmac
import json
import types
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from integrations import utils
from integrations.myservice import dispatcher, router
from integrations.myservice.config import settings
from integrations.myservice.tools import rooms

SAMPLE = json.loads((Path(__file__).parent.parent / "fixtures" / "message.created.json").read_text())


@pytest.fixture
def asked(monkeypatch):
    """What was asked of the server."""
    calls = []

    async def get_or_create_session(**given):
        calls.append(given)
        return "s1"

    async def inject_message(**given):
        calls.append(given)
        return {"message_id": "m1", "session_id": "s1", "task_id": "t1"}

    monkeypatch.setattr(utils, "get_or_create_session", get_or_create_session)
    monkeypatch.setattr(utils, "inject_message", inject_message)
    monkeypatch.setattr(settings, "MYSERVICE_WEBHOOK_SECRET", "s3cret")
    return calls


def send(event, secret=b"s3cret"):
    app = FastAPI()
    app.include_router(router.router)
    body = json.dumps(event).encode()
    signature = "sha256=" + hmac.new(secret, body, hashlib.sha256).hexdigest()
    return TestClient(app).post("/webhook", content=body, headers={"X-Myservice-Signature": signature})


def test_a_new_message_is_answered_in_its_room(asked):
    assert send(SAMPLE["body"]).json() == {"status": "ok", "task_id": "t1"}
    session, message = asked
    assert session["client_id"] == "myservice:general"
    assert session["dispatch_config"] == {"type": "myservice", "room": "general"}
    assert message["content"] == "ada wrote: Who has a ladder?"


def test_what_is_not_signed_is_refused(asked):
    assert send(SAMPLE["body"], secret=b"other").status_code == 403
    assert asked == []


def test_other_events_start_nothing(asked):
    assert send({"event": "room.renamed"}).json()["status"] == "ignored"
    assert asked == []


@pytest.fixture
def service(monkeypatch):
    """Myservice, as far as these tests go: answers each request and remembers it."""
    requests = []

    def answer(request):
        requests.append(request)
        return httpx.Response(200, json={"id": 7, "topic": "Whatever there is"})

    client = httpx.AsyncClient
    transport = httpx.MockTransport(answer)
    monkeypatch.setattr(httpx, "AsyncClient", lambda **given: client(transport=transport, **given))
    return requests


def test_the_agent_can_read_a_room(service):
    assert "Whatever there is" in asyncio.run(rooms.myservice_get_room("general"))
    assert service[0].url.path == "/rooms/general"


def test_an_answer_is_posted_in_the_room_it_is_for(service):
    task = types.SimpleNamespace(dispatch_config={"room": "general"})
    assert asyncio.run(dispatcher.Dispatcher().deliver(task, "I do")) == {"id": "7"}
    assert (service[0].url.path, json.loads(service[0].content)) == ("/rooms/general/messages", {"text": "I do"})
