"""Two routes: one that says that the integration is there, one that keeps a text as a document."""

from uuid import UUID

from fastapi import APIRouter, Depends
from pydantic import BaseModel, Field

from app.db.engine import async_session
from app.dependencies import verify_auth
from integrations import utils

router = APIRouter()


class Text(BaseModel):
    title: str = Field(min_length=1, max_length=300)
    content: str = Field(min_length=1)


class Kept(BaseModel):
    id: UUID


@router.get("/ping")
async def ping() -> dict[str, bool]:
    return {"ok": True}


@router.post("/ingest", dependencies=[Depends(verify_auth)])
async def ingest(text: Text) -> Kept:
    async with async_session() as db:
        document = await utils.ingest_document(
            integration_id="example",
            title=text.title,
            content=text.content,
            db=db,
        )
    return Kept(id=document)
