//! Requests that the code of a folder answers itself: passed on as they come, without what is not its business.

use crate::world::{World, options, put, root, stands};
use serde_json::{Value, json};
use tercel_tests::{Options, Server, server::KEY};

const PAGES: &[(&str, &str)] = &[(
    "router.py",
    r#"
import asyncio
from fastapi import APIRouter, BackgroundTasks, Request, Response
from fastapi.responses import HTMLResponse, StreamingResponse

router = APIRouter()


@router.get("/seen/{name}")
@router.put("/seen/{name}")
@router.patch("/seen/{name}")
@router.delete("/seen/{name}")
@router.post("/seen/{name}")
async def seen(name: str, request: Request):
    body = await request.body()
    return {"method": request.method, "name": name, "query": dict(request.query_params), "size": len(body),
            "headers": {key: value for key, value in request.headers.items()}}


@router.get("/page")
async def page():
    answer = HTMLResponse("<script>1</script>")
    answer.set_cookie("session", "stolen")
    answer.headers["clear-site-data"] = '"*"'
    return answer


@router.get("/slowly")
async def slowly():
    async def pieces():
        for number in range(3):
            yield f"{number}\n"
            await asyncio.sleep(0.01)
    return StreamingResponse(pieces(), media_type="text/plain")


@router.get("/breaks")
async def breaks():
    raise RuntimeError("oh")


@router.get("/webhook")
async def challenge(request: Request):
    return Response(request.query_params["hub.challenge"])
"#,
)];

fn pages(change: impl FnOnce(Options) -> Options) -> Server {
    let options = change(options());
    put(&root(&options), "pages", PAGES);
    let server = Server::start(options);
    stands(&server, "pages", "ready");
    server
}

#[test]
fn a_request_passes_with_its_method_path_query_and_body() {
    let server = pages(|options| options);
    for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
        let body = if method == "GET" { String::new() } else { "x".repeat(3_000_000) };
        let answer = server.anonymous().call(method, "/integrations/pages/seen/a%20b?x=1&y=%C3%BC", &[], body.clone());
        let seen = answer.expect(200);
        assert_eq!((&seen["method"], &seen["name"]), (&json!(method), &json!("a b")));
        assert_eq!(seen["query"], json!({"x": "1", "y": "ü"}));
        assert_eq!(seen["size"], body.len());
    }
    assert_eq!(server.anonymous().get("/integrations/pages/slowly").text(), "0\n1\n2\n");
    assert_eq!(server.anonymous().get("/integrations/pages/webhook?hub.challenge=42").text(), "42");
    assert_eq!(server.anonymous().get("/integrations/pages/nowhere").status, 404);
    assert_eq!(server.anonymous().get("/integrations/nobody/seen/a").status, 404);
    assert_eq!(server.anonymous().get("/integrations/pages/breaks").status, 500);
    assert_eq!(server.anonymous().get("/integrations/pages/seen/a").status, 200, "the next one is answered");
}

#[test]
fn a_body_larger_than_the_limit_is_not_passed_on_whole() {
    let server = pages(|options| options.env("TERCEL_MAX_BODY", "1000"));
    let answer = server.anonymous().call("POST", "/integrations/pages/seen/a", &[], "x".repeat(2_000));
    answer.refused(413, "too_large");
    assert_eq!(server.anonymous().call("POST", "/integrations/pages/seen/a", &[], "x").expect(200)["size"], 1);
}

#[test]
fn headers_that_are_not_the_codes_business_are_taken_away() {
    let server = pages(|options| options);
    let headers: &[(&str, &str)] = &[
        ("cookie", "admin=1"),
        ("x-forwarded-for", "6.6.6.6"),
        ("forwarded", "for=6.6.6.6"),
        ("tercel-scopes", "admin"),
        ("tercel-delivery", "x"),
        ("x-own", "kept"),
        ("authorization", "Bearer theirs"),
    ];
    let seen = |headers: &[(&str, &str)]| -> Value {
        server.anonymous().call("GET", "/integrations/pages/seen/a", headers, "").expect(200)["headers"].clone()
    };
    let passed = seen(headers);
    for gone in ["cookie", "forwarded", "tercel-scopes", "tercel-delivery"] {
        assert_eq!(passed[gone], Value::Null, "{gone}");
    }
    assert_eq!((&passed["x-own"], &passed["authorization"]), (&json!("kept"), &json!("Bearer theirs")));
    assert_eq!(passed["x-forwarded-for"], "127.0.0.1");
    // A key of ours says what it may, and stays here.
    let ours = seen(&[("authorization", &format!("Bearer {KEY}"))]);
    assert_eq!((&ours["authorization"], &ours["tercel-scopes"]), (&Value::Null, &json!("admin")));

    let page = server.anonymous().get("/integrations/pages/page");
    assert_eq!((page.header("set-cookie"), page.header("clear-site-data")), (None, None));
    assert_eq!(page.header("content-security-policy"), Some("sandbox allow-scripts allow-forms"));
    assert_eq!(page.header("x-content-type-options"), Some("nosniff"));
    assert!(page.header("content-type").is_some_and(|kind| kind.starts_with("text/html")));
}

#[test]
fn websockets_are_refused_in_words() {
    let server = pages(|options| options);
    let asks: &[(&str, &str)] = &[("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="), ("sec-websocket-version", "13")];
    let answer = server.anonymous().call("GET", "/integrations/pages/socket", asks, "");
    assert!(answer.refused(501, "not_implemented").contains("WebSockets"));
}

#[test]
fn the_address_for_webhooks_alone_serves_routes_of_folders_and_nothing_else() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let server = pages(|options| options.env("TERCEL_WEBHOOK_LISTEN", &format!("127.0.0.1:{port}")));
    let outside = tercel_tests::Client { base: format!("http://127.0.0.1:{port}"), key: None };
    assert_eq!(outside.get("/integrations/pages/seen/a").status, 200);
    assert_eq!(outside.get("/health").status, 404);
    drop(server);
}

#[test]
fn a_route_is_not_answered_by_a_folder_that_is_switched_off() {
    let world = World::start();
    world.server.post("/api/v1/admin/integrations/forge/disable", json!({})).expect(200);
    let refused = world.server.anonymous().get("/integrations/forge/anything");
    assert!(refused.refused(503, "unavailable").contains("switched off"));
}
