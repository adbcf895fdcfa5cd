//! One manifest of each kind: it loads as it is printed, and does what it says against a service.

use crate::world::{Service, card, put};
use serde_json::{Value, json};
use std::fs;
use tercel_tests::{FakeModel, Options, Server, Turn, loopback::Reply, tree::root, until};

fn example(name: &str) -> String {
    fs::read_to_string(root().join("tests/manifests/examples").join(format!("{name}.yaml"))).unwrap()
}

/// Lines that say something.
fn lines(text: &str) -> usize {
    text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#')).count()
}

#[test]
fn each_loads_and_has_nothing_wrong_with_it() {
    let options = Options::new();
    for name in ["myservice", "grafana", "spotify"] {
        let folder = put(&options, name, &example(name));
        let said = options.run(&["check", folder.to_str().unwrap()]).ok();
        assert!(said.contains("Nothing is wrong with it"), "{name}: {said}");
    }
    // This one has code.
    let folder = put(&options, "crm", &example("crm"));
    for file in ["worker.mjs", "listen.mjs"] {
        fs::write(folder.join(file), "").unwrap();
    }
    let said = options.run(&["check", folder.to_str().unwrap()]).ok();
    assert!(said.contains("it loads") || said.contains("Nothing is wrong"), "{said}");
    let server = Server::start(options);
    for name in ["myservice", "grafana", "spotify", "ntfy"] {
        let card = card(&server, name);
        assert_eq!((&card["status"], &card["way"]), (&json!("not_configured"), &json!("manifest")), "{card:#}");
    }
}

#[test]
fn what_ships_does_what_was_recorded_of_it() {
    let options = Options::new();
    for (name, recorded) in [
        ("airtable", 2),
        ("caldav", 2),
        ("discord", 2),
        ("home_assistant", 3),
        ("nextcloud", 3),
        ("notion", 2),
        ("ntfy", 2),
        ("slack", 3),
        ("slack_webhook", 2),
        ("telegram", 3),
        ("webhook", 0),
    ] {
        let folder = root().join("integrations").join(name);
        let said = options.run(&["check", folder.to_str().unwrap()]).ok();
        assert!(said.contains("Nothing is wrong with it"), "{name}: {said}");
        let files = fs::read_dir(folder.join("fixtures/recorded")).into_iter().flatten().count();
        assert_eq!(files, recorded, "{name}");
    }
    let folder = root().join("integrations/webhook");
    let options = options.env("WEBHOOK_SECRET", "s3cret-of-the-tests");
    let said = options.run(&["rehearse", folder.to_str().unwrap(), "--event", "received"]).ok();
    assert!(said.contains("webhook:events"), "{said}");
}

#[test]
fn they_are_short() {
    let phone = fs::read_to_string(root().join("integrations/ntfy/integration.yaml")).unwrap();
    assert!(lines(&phone) <= 30, "{}", lines(&phone));
    assert!(lines(&example("myservice")) <= 45, "{}", lines(&example("myservice")));
}

#[test]
fn a_tool_that_is_a_request_answers_an_agent() {
    let (service, model) = (Service::start(), FakeModel::start());
    service.on("GET /v1/records", |request| {
        let page = request.query.get("cursor").map_or("first", String::as_str);
        match page {
            "first" => Reply::json(200, &json!({"items": [{"title": "Rust"}], "next_cursor": "2"})),
            _ => Reply::json(200, &json!({"items": [{"title": "Rustic"}], "next_cursor": null})),
        }
    });
    let options = Options::new().model(&model).allow_loopback();
    let options = options.env("MYSERVICE_API_KEY", "sk-of-the-tests-0123456789").env("MYSERVICE_WORKSPACE_ID", "ws_1");
    put(&options, "myservice", &example("myservice").replace("https://api.myservice.com", &service.url()));
    let server = Server::start(options);
    assert_eq!(card(&server, "myservice")["status"], "ready");
    model.script(|asked| match !asked.results().is_empty() {
        true => Turn::text("Two."),
        false => Turn::call("myservice_search", json!({"text": "rust & \"co\""})),
    });
    let session = server.session("web:alice");
    let config = json!({"tools": ["myservice_search"]});
    let task = server.ask_with(&session, json!({"content": "Any Rust?", "execution_config": config}));
    server.complete(&task);
    let trace = server.trace(&task);
    assert!(
        trace.to_string().contains(r#"[\"Rust\",\"Rustic\"]"#) || trace.to_string().contains(r#"["Rust","Rustic"]"#),
        "{trace:#}"
    );
    // The connection is tested at its own time.
    let asked: Vec<_> = service.received().into_iter().filter(|request| request.path != "/v1/ping").collect();
    assert_eq!((asked[0].query["q"].as_str(), asked[0].query["limit"].as_str()), ("rust & \"co\"", "10"));
    assert_eq!(asked[1].query["cursor"], "2");
    assert!(!trace.to_string().contains("sk-of-the-tests"), "{trace:#}");
}

fn alerts(server: &Server, bearer: &str, body: &Value) -> tercel_tests::Answer {
    let bearer = format!("Bearer {bearer}");
    server.anonymous().call("POST", "/integrations/grafana/webhook", &[("authorization", &bearer)], body.to_string())
}

#[test]
fn alerts_are_runs_of_their_threads_and_what_is_over_is_passed_on() {
    let (service, model) = (Service::start(), FakeModel::start());
    service.says("POST /hook", json!({}));
    let options =
        Options::new().model(&model).allow_loopback().env("GRAFANA_WEBHOOK_SECRET", "graf-s3cret-of-the-tests");
    put(&options, "grafana", &without_waiting(&example("grafana")));
    let server = Server::start(options);
    let target = json!({"type": "webhook", "url": format!("{}/hook", service.url())});
    server.post("/api/v1/channels", json!({"client_id": "grafana:alerts", "dispatch_config": target})).accepted();
    model.script(|_| Turn::text("The disk is full: remove something."));
    let body = json!({"groupKey": "g", "status": "firing", "alerts": [
        {"status": "firing", "labels": {"alertname": "disk"}, "annotations": {"summary": "{{ 7*7 }} full"}, "generatorURL": "https://g.example/1", "startsAt": "t1", "fingerprint": "f1"},
        {"status": "firing", "labels": {"alertname": "cpu"}, "annotations": {}, "startsAt": "t1", "fingerprint": "f2"},
    ]});
    alerts(&server, "wrong", &body).refused(403, "forbidden");
    let taken = alerts(&server, "graf-s3cret-of-the-tests", &body).expect(200);
    assert_eq!((&taken["status"], taken["tasks"].as_array().unwrap().len()), (&json!("processed"), 2), "{taken:#}");
    let tasks: Vec<Value> =
        taken["tasks"].as_array().unwrap().iter().map(|task| server.complete(task.as_str().unwrap())).collect();
    let prompts: Vec<&str> = tasks.iter().map(|task| task["prompt"].as_str().unwrap()).collect();
    assert_eq!(prompts, ["disk: {{ 7*7 }} full https://g.example/1", "cpu:  "]);
    assert_ne!(tasks[0]["session_id"], tasks[1]["session_id"], "each thread has a session of its own");
    let again = alerts(&server, "graf-s3cret-of-the-tests", &body).expect(200);
    assert_eq!(again["status"], "duplicate", "{again:#}");
    let over = json!({"groupKey": "g", "status": "resolved", "alerts": [
        {"status": "resolved", "labels": {"alertname": "disk"}, "startsAt": "t1", "fingerprint": "f1"}]});
    let asked = model.asked().len();
    alerts(&server, "graf-s3cret-of-the-tests", &over).expect(200);
    until("what is over is passed on", || {
        let posts = service.received();
        posts.iter().any(|post| post.json()["result"] == "Resolved: disk").then_some(())
    });
    assert_eq!(model.asked().len(), asked, "no model is asked about that");
    let results: Vec<Value> = service.received().iter().map(|post| post.json()["result"].clone()).collect();
    assert_eq!(results.iter().filter(|result| **result == json!("The disk is full: remove something.")).count(), 2);
    assert_eq!(results.len(), 3, "{results:#?}");
}

/// Without what makes runs wait.
fn without_waiting(text: &str) -> String {
    let kept =
        |line: &&str| !["merge:", "cooldown:", "shelf_life:"].iter().any(|key| line.trim_start().starts_with(key));
    text.lines().filter(kept).map(|line| format!("{line}\n")).collect()
}

#[test]
fn what_a_service_has_new_is_kept_once() {
    let service = Service::start();
    let track = |name: &str, at: &str| json!({"track": {"name": name}, "played_at": at});
    let (first, second) = (track("One", "2026-01-01T00:00:01Z"), track("Two", "2026-01-01T00:00:02Z"));
    let items = std::sync::Arc::new(std::sync::Mutex::new(vec![first.clone()]));
    let shared = items.clone();
    service.on("GET /v1/me/player/recently-played", move |_| {
        Reply::json(200, &json!({"items": *shared.lock().unwrap(), "cursors": {"after": null}}))
    });
    // As it is, but with a token that somebody has typed in, and asked more often.
    let text = example("spotify").replace("https://api.spotify.com", &service.url()).replace("every: 5m", "every: 1s");
    let (before, rest) = text.split_once("    oauth2:").unwrap();
    let (_, after) = rest.split_once("test:").unwrap();
    let text = format!("{before}    bearer: client_secret\ntest:{after}");
    let options = Options::new()
        .allow_loopback()
        .env("SPOTIFY_CLIENT_ID", "c")
        .env("SPOTIFY_CLIENT_SECRET", "spotify-s3cret-of-the-tests");
    put(&options, "spotify", &text);
    let mut server = Server::start(options);
    let asked = service.wait_for("GET /v1/me/player/recently-played", 1);
    assert_eq!(asked[0].header("authorization"), "Bearer spotify-s3cret-of-the-tests");
    assert_eq!(asked[0].query.get("after"), None);
    service.wait_for("GET /v1/me/player/recently-played", 2);
    assert_eq!(server.list("/api/v1/deliveries?integration=spotify").len(), 0, "what was there is passed over");
    items.lock().unwrap().push(second);
    let kept = until("what is new is kept", || {
        Some(server.list("/api/v1/deliveries?integration=spotify")).filter(|list| !list.is_empty())
    });
    assert_eq!((kept.len(), &kept[0]["event"]), (1, &json!("played")), "{kept:#?}");
    server.restart();
    let count = service.received().len();
    service.wait_for("GET /v1/me/player/recently-played", count + 1);
    assert_eq!(server.list("/api/v1/deliveries?integration=spotify").len(), 1);
    let session = server.session("spotify:history");
    let said: Vec<Value> = server.messages(&session).iter().map(|message| message["content"].clone()).collect();
    assert_eq!(said, ["Two"]);
}

#[test]
fn what_ships_has_all_that_a_good_integration_has() {
    let server = Server::start(Options::new());
    let all = server.get("/api/v1/admin/integrations").expect(200);
    let mut all: Vec<(String, Value)> = all["integrations"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["id"].as_str().unwrap().to_owned(), one["lacks"].clone()))
        .collect();
    let folders = fs::read_dir(root().join("integrations")).unwrap().map(|entry| entry.unwrap());
    let mut shipped: Vec<String> = folders
        .filter(|entry| entry.path().is_dir() && !entry.file_name().to_str().unwrap().starts_with(['.', '_']))
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    shipped.sort();
    all.sort_by(|one, other| one.0.cmp(&other.0));
    assert_eq!(all, shipped.into_iter().map(|id| (id, json!([]))).collect::<Vec<_>>());
}

#[test]
fn what_an_integration_lacks_is_said_where_they_are_listed() {
    let options = Options::new();
    put(
        &options,
        "bare",
        "schema: 1\nname: bare\nfields: [{key: url, type: url, required: true}]\n\
        http: {base: \"{{ fields.url }}\"}\ntools: [{name: bare_get, description: Gets., effect: read, get: /}]\n",
    );
    let server = Server::start(options);
    let lacks = card(&server, "bare")["lacks"].to_string();
    for lack in ["the value of `url`", "a test of its connection", "a skill", "README", "an icon"] {
        assert!(lacks.contains(lack), "{lack}: {lacks}");
    }
    let said = server.options.run(&["integrations", "list"]).ok();
    let line = said.lines().find(|line| line.starts_with("bare ")).unwrap_or_else(|| panic!("{said}"));
    assert!(line.contains("lacks where the value of `url` comes from; a test"), "{said}");
    assert!(said.lines().any(|line| line.starts_with("ntfy ") && !line.contains("lacks")), "{said}");
}
