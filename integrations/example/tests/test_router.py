"""Without a server: the package stands in for it, and says so where a server is needed."""

from fastapi import FastAPI
from fastapi.testclient import TestClient
from integrations.example.router import router

from app.dependencies import verify_auth
from integrations import utils

KEPT = "0190b4a2-0000-7000-8000-000000000001"


def client() -> TestClient:
    app = FastAPI()
    app.include_router(router)
    return TestClient(app)


def test_ping_says_that_it_is_there() -> None:
    assert client().get("/ping").json() == {"ok": True}


def test_nothing_is_kept_for_somebody_unknown() -> None:
    answer = client().post("/ingest", json={"title": "t", "content": "c"})
    assert answer.status_code in (401, 403)


def test_a_text_is_kept_as_a_document(monkeypatch) -> None:
    kept = []

    async def ingest_document(**document) -> str:
        kept.append(document)
        return KEPT

    monkeypatch.setattr(utils, "ingest_document", ingest_document)
    known = client()
    known.app.dependency_overrides[verify_auth] = lambda: None
    assert known.post("/ingest", json={"title": "t", "content": "c"}).json() == {"id": KEPT}
    assert [(one["integration_id"], one["title"], one["content"]) for one in kept] == [("example", "t", "c")]


def test_a_text_without_words_is_refused() -> None:
    known = client()
    known.app.dependency_overrides[verify_auth] = lambda: None
    assert known.post("/ingest", json={"title": "", "content": ""}).status_code == 422
