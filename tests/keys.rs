//! A key can do exactly its scopes, on every route there is.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use tercel_tests::{Client, FakeGitHub, FakeModel, Options, Receiver, Server};

const NOWHERE: &str = "00000000-0000-7000-8000-000000000000";
const OPEN: &[&str] = &["/health", "/ready", "/openapi.json"];
/// Browsers come there with what nobody guesses in the address.
const FOR_BROWSERS: &[&str] = &["/api/v1/oauth/callback", "/api/v1/oauth/agree/{id}/{name}/{ticket}"];
/// Every key will do, whatever its scopes are.
const FOR_EVERY_KEY: &[&str] = &["/api/v1/keys/current", "/api/v1/features"];

/// Routes that must be there; what else is there is checked all the same.
const EXPECTED: &[&str] = &[
    "GET /api/v1/admin/integrations",
    "GET /api/v1/admin/integrations/{id}/settings",
    "PUT /api/v1/admin/integrations/{id}/settings",
    "DELETE /api/v1/admin/integrations/{id}/settings/{key}",
    "GET /api/v1/bots",
    "POST /api/v1/bots",
    "GET /api/v1/channels",
    "POST /api/v1/channels",
    "GET /api/v1/channels/{id}",
    "PUT /api/v1/channels/{id}",
    "DELETE /api/v1/channels/{id}",
    "POST /api/v1/channels/{id}/bindings",
    "GET /api/v1/deliveries",
    "GET /api/v1/deliveries/{id}",
    "POST /api/v1/deliveries/{id}/replay",
    "POST /api/v1/documents",
    "GET /api/v1/documents/search",
    "GET /api/v1/documents/{id}",
    "DELETE /api/v1/documents/{id}",
    "GET /api/v1/egress",
    "GET /api/v1/keys",
    "POST /api/v1/keys",
    "DELETE /api/v1/keys/{id}",
    "GET /api/v1/notices",
    "GET /api/v1/outbox",
    "POST /api/v1/outbox/{id}/retry",
    "POST /api/v1/outbox/{id}/drop",
    "GET /api/v1/records",
    "GET /api/v1/records/{collection}",
    "POST /api/v1/records/{collection}",
    "GET /api/v1/records/{collection}/{id}",
    "PUT /api/v1/records/{collection}/{id}",
    "DELETE /api/v1/records/{collection}/{id}",
    "POST /api/v1/admin/integrations/{id}/connection/sync",
    "POST /api/v1/admin/integrations/{id}/connections/{name}/sync",
    "GET /api/v1/syncs/{id}",
    "POST /api/v1/sessions",
    "GET /api/v1/sessions/{id}/messages",
    "POST /api/v1/sessions/{id}/messages",
    "GET /api/v1/tasks",
    "GET /api/v1/tasks/{id}",
    "POST /api/v1/tasks/{id}/cancel",
    "POST /api/v1/tasks/{id}/resume",
    "GET /api/v1/tasks/{id}/trace",
    "GET /api/v1/tasks/{id}/events",
    "GET /bots",
    "GET /metrics",
    "GET /health",
    "GET /ready",
    "GET /openapi.json",
];

struct Route {
    method: String,
    path: String,
}

impl Route {
    /// The contract's rule, in the contract's words: the first part after `/api/v1/`.
    fn scope(&self) -> Option<(String, &'static str)> {
        if FOR_EVERY_KEY.contains(&self.path.as_str())
            || OPEN.contains(&self.path.as_str())
            || FOR_BROWSERS.contains(&self.path.as_str())
            || self.path.starts_with("/integrations/")
        {
            return None;
        }
        let resource = match self.path.strip_prefix("/api/v1/") {
            Some(rest) => {
                let mut parts = rest.split('/');
                match parts.next().unwrap() {
                    "admin" => parts.next().unwrap(),
                    first => first,
                }
            }
            None if self.path == "/metrics" => "metrics",
            None if ["/chat", "/transcribe", "/bots", "/v1/"].iter().any(|start| self.path.starts_with(start)) => {
                "chat"
            }
            None => panic!("the contract gives `{}` no scope", self.path),
        };
        Some((resource.to_owned(), if self.method == "GET" { "read" } else { "write" }))
    }

    /// Called on something that is not there, with a body that says nothing: only the check of the key matters.
    fn call(&self, client: &Client) -> (u16, String) {
        let mut path = self.path.clone();
        while let (Some(start), Some(end)) = (path.find('{'), path.find('}')) {
            path.replace_range(start..=end, NOWHERE);
        }
        let headers: &[(&str, &str)] = if self.method == "GET" { &[] } else { &[("content-type", "application/json")] };
        let answer = client.call(&self.method, &path, headers, if self.method == "GET" { "" } else { "{}" });
        (answer.status, answer.text())
    }
}

fn routes(server: &Server) -> Vec<Route> {
    let document = server.get("/openapi.json").expect(200);
    let mut routes = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for method in methods.as_object().unwrap().keys() {
            if ["get", "put", "post", "delete", "patch"].contains(&method.as_str()) {
                routes.push(Route { method: method.to_uppercase(), path: path.clone() });
            }
        }
    }
    routes
}

#[test]
fn every_route_of_the_contract_is_there() {
    let server = Server::start(Options::new());
    let there: BTreeSet<String> =
        routes(&server).iter().map(|route| format!("{} {}", route.method, route.path)).collect();
    // The name inside braces is nobody's business.
    let shape = |line: &str| {
        line.split('/').map(|part| if part.starts_with('{') { "{}" } else { part }).collect::<Vec<_>>().join("/")
    };
    let there: BTreeSet<String> = there.iter().map(|line| shape(line)).collect();
    let missing: Vec<&&str> = EXPECTED.iter().filter(|line| !there.contains(&shape(line))).collect();
    assert!(missing.is_empty(), "{missing:#?}\nThere are: {there:#?}");
}

#[test]
fn a_key_can_do_exactly_its_scopes_on_every_route() {
    let server = Server::start(Options::new());
    let routes = routes(&server);
    let resources: BTreeSet<String> = routes.iter().filter_map(|route| Some(route.scope()?.0)).collect();
    let all: Vec<String> =
        resources.iter().flat_map(|name| [format!("{name}:read"), format!("{name}:write")]).collect();
    let (anonymous, stranger) = (server.anonymous(), server.with_key("tk_nobody_ever_made_this_key"));
    let mut wrong = Vec::new();
    for resource in &resources {
        let reader = server.key(&[&format!("{resource}:read")]);
        let writer = server.key(&[&format!("{resource}:write")]);
        let others: Vec<&str> =
            all.iter().map(String::as_str).filter(|scope| scope.split(':').next() != Some(resource)).collect();
        let other = server.key(&others);
        for route in &routes {
            let Some((own, level)) = route.scope() else { continue };
            if own != *resource {
                continue;
            }
            let missing = format!("Missing required scope: {own}:{level}");
            let mut check = |who: &str, client: &Client, wanted: Option<u16>| {
                let (status, body) = route.call(client);
                let fits = match wanted {
                    None => !matches!(status, 401 | 403 | 405 | 500..),
                    Some(403) => status == 403 && body.contains(&missing),
                    Some(wanted) => status == wanted,
                };
                if !fits {
                    wrong.push(format!("{} {} with {who}: {status} {body}", route.method, route.path));
                }
            };
            check("no key", &anonymous, Some(401));
            check("a key nobody made", &stranger, Some(401));
            check("every other scope", &other, Some(403));
            check("its read scope", &reader, if level == "read" { None } else { Some(403) });
            check("its write scope", &writer, None);
            check("admin", &server, None);
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_for_every_key_needs_one() {
    let server = Server::start(Options::new());
    let weak = server.key(&["tasks:read"]);
    for path in FOR_EVERY_KEY {
        weak.get(path).expect(200);
        server.anonymous().get(path).refused(401, "unauthorized");
    }
    assert_eq!(weak.get("/api/v1/keys/current").expect(200)["scopes"], json!(["tasks:read"]));
}

#[test]
fn open_routes_need_no_key() {
    let server = Server::start(Options::new());
    for path in OPEN {
        assert_eq!(server.anonymous().get(path).status, 200, "{path}");
    }
}

#[test]
fn a_key_is_shown_once_and_kept_as_a_hash() {
    let mut server = Server::start(Options::new());
    let made = server.post("/api/v1/keys", json!({"name": "ci", "scopes": ["tasks:read"]})).expect(201);
    let key = made["key"].as_str().unwrap().to_owned();
    assert_eq!(
        made.as_object().unwrap().keys().collect::<BTreeSet<_>>(),
        ["id", "key", "name", "scopes"].iter().map(|s| (*s).to_owned()).collect::<Vec<_>>().iter().collect()
    );
    let listed = server.get("/api/v1/keys").text();
    assert!(listed.contains("ci") && !listed.contains(&key), "{listed}");
    server.stop();
    for entry in std::fs::read_dir(server.options.data_directory()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "the key lies open in {path:?}");
    }
    server.start_again();
    server.with_key(&key).get("/api/v1/tasks").expect(200);
    assert!(!server.log().contains(&key));
}

#[test]
fn a_revoked_key_is_worth_nothing() {
    let server = Server::start(Options::new());
    let made = server.post("/api/v1/keys", json!({"name": "ci", "scopes": ["tasks:read"]})).expect(201);
    let client = server.with_key(made["key"].as_str().unwrap());
    client.get("/api/v1/tasks").expect(200);
    server.delete(&format!("/api/v1/keys/{}", made["id"].as_str().unwrap())).expect(204);
    client.get("/api/v1/tasks").expect(401);
}

#[test]
fn a_key_cannot_make_a_stronger_one() {
    let server = Server::start(Options::new());
    let weak = server.key(&["keys:write"]);
    for scopes in [json!(["admin"]), json!(["tasks:write"]), json!(["keys:write", "documents:read"])] {
        let answer = weak.post("/api/v1/keys", json!({"name": "more", "scopes": scopes}));
        assert_eq!(answer.status, 403, "{answer}");
    }
}

#[test]
fn a_key_with_a_scope_that_does_not_exist_is_not_made() {
    let server = Server::start(Options::new());
    for scopes in
        [json!(["everything"]), json!(["tasks"]), json!(["tasks:delete"]), json!([""]), json!("admin"), json!([])]
    {
        let answer = server.post("/api/v1/keys", json!({"name": "odd", "scopes": scopes}));
        assert_eq!(answer.status, 422, "{scopes}: {answer}");
    }
}

#[test]
fn bearers_that_are_no_keys_are_refused() {
    let server = Server::start(Options::new());
    for header in [
        "Bearer",
        "Bearer ",
        "Basic dGVzdDp0ZXN0",
        "bearer tests",
        &format!("Token {}", tercel_tests::server::KEY),
        &format!("Bearer {} ", "x".repeat(5_000)),
    ] {
        let answer = server.anonymous().call("GET", "/api/v1/tasks", &[("authorization", header)], "");
        answer.refused(401, "unauthorized");
    }
}

#[test]
fn a_server_that_everybody_can_reach_needs_a_key() {
    let failure = Server::until_it_dies(Options::new().without("API_KEY").env("TERCEL_LISTEN", "0.0.0.0:0"));
    assert!(!failure.status.success());
    assert!(failure.log.contains("API_KEY"), "{}", failure.log);
}

#[test]
fn secrets_in_settings_are_masked_and_a_mask_changes_nothing() {
    let model = FakeModel::start();
    let mut server = Server::start(Options::new().model(&model).env("GITHUB_TOKEN", "ghp_from_the_environment"));
    let path = "/api/v1/admin/integrations/github/settings";
    let setting = |server: &Server, key: &str| -> Value {
        let settings = server.get(path).expect(200);
        settings["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap().clone()
    };
    let before = setting(&server, "GITHUB_TOKEN");
    assert_eq!((&before["source"], &before["is_set"], &before["secret"]), (&json!("env"), &json!(true), &json!(true)));
    assert!(!before.to_string().contains("ghp_from_the_environment"), "{before}");

    server
        .put(path, json!({"settings": {"GITHUB_TOKEN": "ghp_from_the_database", "GITHUB_BOT": "reviewer"}}))
        .expect(200);
    let stored = setting(&server, "GITHUB_TOKEN");
    assert_eq!(stored["source"], "db");
    assert!(!server.get(path).text().contains("ghp_from"), "{stored}");
    server.put(path, json!({"settings": {"GITHUB_TOKEN": stored["value"]}})).expect(200);
    let github = FakeGitHub::start();
    let moved = json!({"settings": {"GITHUB_API_URL": github.url(), "GITHUB_TOKEN": "ghp_from_the_database"}});
    server.put(path, moved).expect(200);
    server.post("/api/v1/admin/integrations/github/connection/test", json!({})).expect(200);
    let used = github.requests().iter().map(|request| request.header("authorization").to_owned()).collect::<Vec<_>>();
    assert!(used.iter().all(|bearer| bearer == "Bearer ghp_from_the_database") && !used.is_empty(), "{used:?}");

    let odd = server.put(path, json!({"settings": {"GITHUB_TOKN": "x"}}));
    assert_eq!(odd.status, 422, "{odd}");
    assert!(odd.text().contains("GITHUB_TOKN"), "{odd}");
    server.stop();
    for entry in std::fs::read_dir(server.options.data_directory()).unwrap() {
        let path = entry.unwrap().path();
        let Ok(bytes) = std::fs::read(&path) else { continue };
        assert!(!bytes.windows(21).any(|window| window == b"ghp_from_the_database"), "the token lies open in {path:?}");
    }
    server.start_again();
    assert_eq!(setting(&server, "GITHUB_BOT")["value"], "reviewer");
    server.delete(&format!("{path}/GITHUB_TOKEN")).accepted();
    assert_eq!(setting(&server, "GITHUB_TOKEN")["source"], "env");
}

const GITHUB: &str = "/api/v1/admin/integrations/github";

/// Every way to say where GitHub is, with secrets beside the address.
fn ways(address: &str, secrets: &Value) -> Vec<(&'static str, String, Value)> {
    let mut ways = Vec::new();
    let mut fields = json!({"api_url": address});
    fields.as_object_mut().unwrap().extend(secrets.as_object().unwrap().clone());
    for call in ["connection/test", "connection/connect?insist=true", "connections/default/authorize"] {
        ways.push(("POST", format!("{GITHUB}/{call}"), fields.clone()));
    }
    let settings = fields.as_object().unwrap().iter();
    let settings = settings.map(|(key, value)| (format!("GITHUB_{}", key.to_uppercase()), value.clone()));
    let settings: serde_json::Map<String, Value> = settings.collect();
    ways.push(("PUT", format!("{GITHUB}/settings"), json!({"settings": settings})));
    ways
}

fn call(client: &Client, (method, path, body): &(&str, String, Value)) -> tercel_tests::Answer {
    client.call(method, path, &[("content-type", "application/json")], body.to_string())
}

#[test]
fn only_an_administrator_says_where_integrations_and_models_are() {
    let (github, elsewhere) = (FakeGitHub::start(), Receiver::start());
    let server = Server::start(Options::new().github(&github));
    let caller = server.key(&["integrations:write", "providers:write"]);
    for secrets in [json!({}), json!({"token": "ghp_of_the_caller_0123456789"})] {
        let mut ways = ways(&elsewhere.url(), &secrets);
        let new = ways[0].2.clone();
        ways.push(("POST", format!("{GITHUB}/connections/new/test"), new.clone()));
        ways.push(("POST", format!("{GITHUB}/connections/new/connect?insist=true"), new));
        for way in ways {
            let refused = call(&caller, &way).refused(403, "forbidden");
            assert!(refused.to_lowercase().contains("api_url") && refused.contains("`admin`"), "{way:?}: {refused}");
        }
    }
    // A form that is sent back says the address that is there.
    let same = json!({"api_url": github.url(), "token": "ghp_of_the_caller_0123456789"});
    assert_eq!(caller.post(&format!("{GITHUB}/connection/test"), same).expect(200)["ok"], true);
    let same = json!({"settings": {"GITHUB_API_URL": github.url(), "GITHUB_BOT": "reviewer"}});
    let told = caller.put(&format!("{GITHUB}/settings"), same).expect(200);
    let mut all = told["settings"].as_array().unwrap().iter();
    let address = all.find(|setting| setting["key"] == "GITHUB_API_URL").unwrap();
    assert_eq!(address["source"], "env", "{told:#}");

    let provider = |address: &str| json!({"kind": "openai", "base_url": address});
    let with_id = |address: &str| json!({"id": "other", "kind": "openai", "base_url": address});
    let refused = caller.post("/api/v1/providers", with_id(&elsewhere.url())).refused(403, "forbidden");
    assert!(refused.starts_with("base_url:"), "{refused}");
    caller.post("/api/v1/providers", json!({"id": "usual", "kind": "anthropic"})).expect(201);
    caller.put("/api/v1/providers/usual", provider(&elsewhere.url())).refused(403, "forbidden");
    server.post("/api/v1/providers", with_id("http://127.0.0.1:9/v1")).expect(201);
    caller.put("/api/v1/providers/other", provider("http://127.0.0.1:9/v1")).expect(200);
    caller.put("/api/v1/providers/other", provider("http://127.0.0.1:10/v1")).refused(403, "forbidden");
    assert!(elsewhere.received().is_empty(), "{:?}", elsewhere.received());
}

#[test]
fn a_secret_does_not_follow_an_address_unless_it_is_given_again() {
    let (github, elsewhere) = (FakeGitHub::start(), Receiver::start());
    let server = Server::start(Options::new());
    let stored = json!({"api_url": github.url(), "token": "ghp_stored_0123456789"});
    assert_eq!(server.post(&format!("{GITHUB}/connection/connect"), stored).expect(200)["ok"], true);
    for secrets in [json!({}), json!({"token": "••••••••"})] {
        for way in ways(&elsewhere.url(), &secrets) {
            let refused = call(&server, &way).refused(422, "invalid");
            let field = if way.0 == "PUT" { "GITHUB_TOKEN: enter it again" } else { "token: enter it again" };
            assert!(refused.starts_with(field), "{way:?}: {refused}");
        }
    }
    // What is stored was not entered for the usual address either.
    server.delete(&format!("{GITHUB}/settings/GITHUB_API_URL")).refused(422, "invalid");
    server.post(&format!("{GITHUB}/connection/test"), json!({"api_url": ""})).refused(422, "invalid");
    assert!(elsewhere.received().is_empty(), "{:?}", elsewhere.received());

    // Another path is no other server; with the secret, another server is possible.
    let path = json!({"settings": {"GITHUB_API_URL": format!("{}/", github.url())}});
    server.put(&format!("{GITHUB}/settings"), path).expect(200);
    let again = json!({"api_url": elsewhere.url(), "token": "ghp_entered_again_0123456789"});
    server.post(&format!("{GITHUB}/connection/test"), again).expect(200);
    let received = elsewhere.wait_for(1);
    let all: Vec<&str> = received.iter().map(|request| request.header("authorization")).collect();
    assert!(all.iter().all(|bearer| *bearer == "Bearer ghp_entered_again_0123456789"), "{all:?}");
}
