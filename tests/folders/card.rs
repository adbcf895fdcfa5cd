//! What a folder adds to the pages of the server, and what its card says of its routes and its key.

use crate::world::{card, loads, options, put, root};
use serde_json::{Value, json};
use tercel_tests::Server;

const PANEL: &[(&str, &str)] = &[
    (
        "setup.py",
        r#"
SETUP = {
    "features": {"panel_sync": "premium", "panel_look": "free"},
    "api_permissions": ["documents:write", "sessions:read", "keys:write", "admin"],
    "sidebar_section": {
        "id": "panel",
        "items": [{"label": "Overview", "href": "/panel"}],
        "readiness_endpoint": "/api/v1/panel/readiness",
        "readiness_field": "overview",
    },
    "dashboard_modules": [{"id": "open"}, {"id": "won", "label": "Won deals", "icon": "Heart", "description": "By month"}],
}
"#,
    ),
    ("config.py", "IDENTITY_FIELDS = [{'key': 'user_id', 'label': 'User at the panel'}]\n"),
    (
        "router.py",
        r#"
import os
from fastapi import APIRouter, Depends, Request
from app.dependencies import verify_auth

router = APIRouter()


@router.get("/readiness")
def readiness(request: Request, deep: bool = False):
    return {"overview": {"ready": True, "deep": deep}, "scopes": request.headers.get("tercel-scopes")}


@router.get("/mc/won")
def won():
    return {"value": 7}


@router.get("/key")
def key():
    return {"key": os.environ["AGENT_API_KEY"]}


@router.post("/change")
def change(caller: str = Depends(verify_auth)):
    return {"changed": True}
"#,
    ),
    (
        "tools/gate.py",
        r#"
from app.wizard.tiers import can_use, tier_label
from scripts.user_profile import UserProfile
from integrations._register import register


@register({"type": "function", "function": {"name": "panel_gate", "description": "Says what may be used", "parameters":
    {"type": "object", "properties": {"feature": {"type": "string"}}}}})
def gate(feature):
    return {"tier": UserProfile().tier, "may": can_use(UserProfile().tier, feature), "label": tier_label(feature)}
"#,
    ),
];

fn panel() -> Server {
    let options = options().env("TERCEL_TIER", "paid");
    put(&root(&options), "panel", PANEL);
    let server = Server::start(options);
    let card = loads(&server, "panel");
    assert_eq!(card["problems"], json!([]), "{card:#}");
    server
}

#[test]
fn what_a_folder_adds_to_the_pages_is_listed_whole() {
    let server = panel();
    let sections = server.get("/api/v1/admin/integrations/sidebar-sections").expect(200);
    let section = json!({
        "integration_id": "panel", "id": "panel", "title": "PANEL", "icon": "Plug",
        "items": [{"label": "Overview", "href": "/panel", "icon": "Plug"}],
        "readiness_endpoint": "/api/v1/panel/readiness", "readiness_field": "overview",
    });
    assert_eq!(sections["sections"], json!([section]));
    let modules = server.get("/api/v1/admin/integrations/dashboard-modules").expect(200);
    let module = |id: &str, label: &str, icon: &str, description: &str| {
        json!({
            "integration_id": "panel", "id": id, "label": label, "icon": icon, "description": description,
            "api_base": format!("/integrations/panel/mc/{id}"),
        })
    };
    let expected = [module("open", "open", "Plug", ""), module("won", "Won deals", "Heart", "By month")];
    assert_eq!(modules["modules"], json!(expected));
    assert_eq!(server.get(modules["modules"][1]["api_base"].as_str().unwrap()).expect(200)["value"], 7);
    let icons = server.get("/api/v1/admin/integrations/icons").expect(200);
    assert_eq!((&icons["icons"]["panel"], &icons["icons"]["github"]), (&json!("Plug"), &json!("Code2")));
    server.post("/api/v1/admin/integrations/panel/disable", json!({})).expect(200);
    assert_eq!(server.get("/api/v1/admin/integrations/sidebar-sections").expect(200)["sections"], json!([]));
}

#[test]
fn a_section_is_asked_whether_it_is_ready() {
    let server = panel();
    let ready = server.get("/api/v1/panel/readiness?deep=true").expect(200);
    assert_eq!(ready, json!({"overview": {"ready": true, "deep": true}, "scopes": "admin"}));
    let reader = server.key(&["integrations:read"]);
    assert_eq!(reader.get("/api/v1/panel/readiness").expect(200)["scopes"], "integrations:read");
    server.anonymous().get("/api/v1/panel/readiness").refused(401, "unauthorized");
    server.key(&["tasks:read"]).get("/api/v1/panel/readiness").refused(403, "forbidden");
    server.post("/api/v1/panel/readiness", json!({})).refused(404, "not_found");
    server.get("/api/v1/panel/other").refused(404, "not_found");
}

#[test]
fn actions_of_a_folder_need_the_tiers_that_it_says() {
    let server = panel();
    let known = server.get("/api/v1/features").expect(200);
    let features = &known["features"];
    assert_eq!((&features["panel_sync"], &features["panel_look"]), (&json!("premium"), &json!("free")), "{known:#}");
    assert!(known["tier"] == "paid" && known["locked"]["panel_sync"].is_string(), "{known:#}");
    let gate = |feature: &str| {
        let arguments = json!({"arguments": {"feature": feature}});
        server.post("/api/v1/tools/panel_gate/call", arguments).expect(200)["result"].clone()
    };
    assert_eq!(gate("panel_sync"), json!({"tier": "paid", "may": false, "label": "⭐ Premium"}));
    assert_eq!(gate("panel_look"), json!({"tier": "paid", "may": true, "label": ""}));
    assert_eq!(gate("company_research"), json!({"tier": "paid", "may": true, "label": "🔒 Paid"}));
    assert_eq!(gate("nobody_lists_it"), json!({"tier": "paid", "may": true, "label": ""}));
}

#[test]
fn a_folder_that_the_tier_does_not_have_is_asked_nothing() {
    let options = options().env("TERCEL_TIER", "free");
    let setup = "SETUP = {'tier': 'paid', 'webhook': {'path': '/integrations/toll/webhook'}}\n";
    let router = "from fastapi import APIRouter\nrouter = APIRouter()\n\n\n@router.post('/webhook')\n@router.get('/hello')\ndef any():\n    return {}\n";
    let process = "CMD = ['python', '-c', 'import time; time.sleep(600)']\n";
    let files = [("setup.py", setup), ("router.py", router), ("process.py", process)];
    put(&root(&options), "toll", &files);
    let server = Server::start(options);
    let shown = loads(&server, "toll");
    let why = "`toll` needs the tier paid; the tier in force is free (TERCEL_TIER)";
    assert_eq!((&shown["locked"], &shown["error"], &shown["has_router"]), (&json!(true), &json!(why), &json!(true)));
    let sent = server.anonymous().call("POST", "/integrations/toll/webhook", &[], "{}");
    assert_eq!(sent.refused(403, "tier"), why);
    assert_eq!(server.anonymous().get("/integrations/toll/hello").refused(403, "tier"), why);
    let told = server.get("/api/v1/admin/integrations/toll/webhook").expect(200);
    assert_eq!((&told["refused"]["count"], &told["refused"]["reason"]), (&json!(1), &json!(why)));
    assert!(server.list("/api/v1/deliveries").is_empty());
    let card = card(&server, "toll");
    assert!(card["worker"]["pid"].is_null() && card["process_status"] != "running", "{card:#}");
}

#[test]
fn the_card_says_which_routes_are_open_to_everybody_and_what_the_key_may_do() {
    let server = panel();
    let card = card(&server, "panel");
    let routes: Vec<(&str, &str, bool)> = card["routes"]
        .as_array()
        .unwrap()
        .iter()
        .map(|route| {
            (
                route["path"].as_str().unwrap(),
                route["methods"][0].as_str().unwrap(),
                route["guarded"].as_bool().unwrap(),
            )
        })
        .collect();
    let expected =
        [("/readiness", "GET", false), ("/mc/won", "GET", false), ("/key", "GET", false), ("/change", "POST", true)];
    assert_eq!(routes, expected);
    assert_eq!(card["identity_fields"], json!([{"key": "user_id", "label": "User at the panel"}]));
    // No folder may have the others that it wants.
    assert_eq!(card["api_permissions"], json!(["documents:write", "sessions:read"]));
    let told = server.anonymous().get("/integrations/panel/key").expect(200);
    let key = server.with_key(told["key"].as_str().unwrap());
    assert_eq!(key.get("/api/v1/keys/current").expect(200)["scopes"], card["api_permissions"]);
    key.post("/api/v1/documents", json!({"content": "a"})).expect(201);
    let refused = key.post("/api/v1/sessions", json!({"client_id": "panel:a"})).refused(403, "forbidden");
    assert!(refused.contains("Missing required scope: sessions:write"), "{refused}");
    key.post("/api/v1/keys", json!({"name": "a", "scopes": ["tasks:read"]})).refused(403, "forbidden");
    // Its own key is let in by `verify_auth`, as is one that may change integrations.
    for (caller, status) in
        [(&key, 200), (&server.key(&["integrations:write"]), 200), (&server.key(&["integrations:read"]), 403)]
    {
        assert_eq!(caller.post("/integrations/panel/change", Value::Null).status, status);
    }
    assert_eq!(server.anonymous().post("/integrations/panel/change", Value::Null).status, 401);
}
