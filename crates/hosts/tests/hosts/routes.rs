//! Requests that a folder's router answers: as they come, and as it answers them.

use crate::world::{World, host, log};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use tercel_hosts::Loaded;
use tercel_sdk::{Kind, Result, routes::Body};

const ROUTER: &str = r#"
import asyncio
import time

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

router = APIRouter()


@router.post("/webhook")
async def webhook(request: Request):
    body = await request.body()
    return {"length": len(body), "query": dict(request.query_params), "header": request.headers.get("x-given"),
            "path": request.url.path}


@router.get("/stream")
async def pieces():
    async def parts():
        for number in range(3):
            yield f"{number}\n"
            await asyncio.sleep(0.05)
    return StreamingResponse(parts(), media_type="text/plain")


@router.get("/teapot")
async def teapot():
    return Response(b"\x00\xff", status_code=418, headers={"x-kind": "short"}, media_type="application/octet-stream")


@router.get("/dies")
async def dies():
    import os
    os._exit(5)


@router.get("/hangs")
def hangs():
    time.sleep(3600)
"#;

async fn crm(world: &mut World) -> Loaded {
    world.write("crm/router.py", ROUTER);
    world
        .write("crm/setup.py", "SETUP = {'webhook': {'path': '/integrations/crm/webhook', 'description': 'Events'}}\n");
    let crm = world.load("crm").await;
    assert_eq!(crm.problems, [], "{:?}", log(&crm));
    crm
}

async fn ask(crm: &Loaded, request: Request<Body>, seconds: f32) -> Result<Response<Body>> {
    (crm.integration.routes.as_ref().unwrap().serve)(host(seconds), request).await
}

fn get(path: &str) -> Request<Body> {
    let uri = format!("/integrations/crm{path}");
    Request::builder().uri(uri).body(stream::empty().boxed()).unwrap()
}

async fn whole(answer: Response<Body>) -> Vec<u8> {
    answer.into_body().try_collect::<Vec<Bytes>>().await.unwrap().concat()
}

#[tokio::test]
async fn body_query_headers_and_path_arrive_as_they_were_sent() {
    let mut world = World::new();
    let crm = crm(&mut world).await;
    let routes = crm.integration.routes.as_ref().unwrap();
    assert_eq!((routes.webhook.as_deref(), routes.webhook_description.as_str()), (Some("/webhook"), "Events"));
    let body = stream::iter([Ok(Bytes::from_static(b"abc")), Ok(Bytes::from_static(b"\x00\xff"))]).boxed();
    let request = Request::builder().method("POST").uri("/integrations/crm/webhook?a=1&b=%20").header("x-given", "yes");
    let answer = ask(&crm, request.header("content-length", "5").body(body).unwrap(), 20.0).await.unwrap();
    let said: Value = serde_json::from_slice(&whole(answer).await).unwrap();
    let expected =
        json!({"length": 5, "query": {"a": "1", "b": " "}, "header": "yes", "path": "/integrations/crm/webhook"});
    assert_eq!(said, expected);
}

#[tokio::test]
async fn answers_come_in_pieces_with_their_status_and_headers() {
    let mut world = World::new();
    let crm = crm(&mut world).await;
    let mut body = ask(&crm, get("/stream"), 20.0).await.unwrap().into_body();
    assert_eq!(body.next().await.unwrap().unwrap(), "0\n");
    assert_eq!(body.try_collect::<Vec<Bytes>>().await.unwrap().concat(), b"1\n2\n");
    let answer = ask(&crm, get("/teapot"), 20.0).await.unwrap();
    assert_eq!((answer.status(), answer.headers()["x-kind"].as_bytes()), (StatusCode::IM_A_TEAPOT, &b"short"[..]));
    assert_eq!(whole(answer).await, b"\x00\xff");
    assert_eq!(ask(&crm, get("/nothing"), 20.0).await.unwrap().status(), StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_route_that_dies_is_unknown_and_one_that_hangs_is_late_with_its_line() {
    let mut world = World::new();
    let crm = crm(&mut world).await;
    let died = ask(&crm, get("/dies"), 20.0).await.err().unwrap();
    assert_eq!(died.kind, Kind::UnknownOutcome);
    assert!(died.message.contains("code 5"), "{}", died.message);
    assert_eq!(ask(&crm, get("/teapot"), 20.0).await.unwrap().status(), StatusCode::IM_A_TEAPOT);
    let late = ask(&crm, get("/hangs"), 2.0).await.err().unwrap();
    assert_eq!(late.kind, Kind::Timeout);
    assert!(late.message.contains("router.py line"), "{}", late.message);
    assert_eq!(ask(&crm, get("/teapot"), 20.0).await.unwrap().status(), StatusCode::IM_A_TEAPOT);
}
