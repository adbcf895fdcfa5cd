//! The routes of the contract, each with exactly the keys it promises.

use serde_json::{Value, json};
use std::collections::BTreeSet;
use tercel_tests::{Answer, Turn, World, events, until};

#[track_caller]
fn keys(value: &Value) -> BTreeSet<&str> {
    value.as_object().unwrap_or_else(|| panic!("not an object: {value:#}")).keys().map(String::as_str).collect()
}

#[track_caller]
fn has_exactly(value: &Value, expected: &[&str]) {
    assert_eq!(keys(value), expected.iter().copied().collect(), "{value:#}");
}

#[track_caller]
fn has(value: &Value, expected: &[&str]) {
    let there = keys(value);
    let missing: Vec<_> = expected.iter().filter(|key| !there.contains(*key)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing: {value:#}");
}

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap_or_else(|| panic!("no id: {value:#}")).to_owned()
}

#[track_caller]
fn is_time(value: &Value) {
    let text = value.as_str().unwrap_or_else(|| panic!("not a time: {value}"));
    chrono::DateTime::parse_from_rfc3339(text).unwrap_or_else(|error| panic!("{text}: {error}"));
}

#[test]
fn documents_are_kept_found_and_deleted() {
    let world = World::start();
    let body = json!({"title": "PR #42: Add dark mode", "content": "The sky goes dim.", "integration_id": "mygithub", "session_id": null, "metadata": {"pr_number": 42}});
    let made = world.server.post("/api/v1/documents", body.clone()).expect(201);
    has_exactly(&made, &["id", "integration_id", "session_id", "title", "content", "metadata"]);
    let mut expected = body;
    expected["id"] = made["id"].clone();
    assert_eq!(made, expected);
    let path = format!("/api/v1/documents/{}", id_of(&made));
    assert_eq!(world.server.get(&path).expect(200), made);

    for q in ["dim", "dark", "DARK", "mode%20nowhere", "sky%20OR%20%22", "dark*", "%22dark"] {
        let found = world.server.list(&format!("/api/v1/documents/search?q={q}"));
        assert_eq!(found.len(), 1, "{q}: {found:#?}");
        has_exactly(
            &found[0],
            &["id", "integration_id", "session_id", "title", "content", "metadata", "score", "snippet"],
        );
        assert_eq!(found[0]["id"], made["id"]);
        assert!(found[0]["score"].is_number() && found[0]["snippet"].is_string());
    }
    for q in ["nowhere", "", "%22", "*", "-", "'%20OR%201=1--"] {
        assert_eq!(world.server.list(&format!("/api/v1/documents/search?q={q}")), Vec::<Value>::new(), "{q}");
    }
    world.server.delete(&path).expect(204);
    world.server.get(&path).expect(404);
    world.server.delete(&path).expect(404);
    assert_eq!(world.server.list("/api/v1/documents/search?q=dim"), Vec::<Value>::new());
}

#[test]
fn a_search_answers_its_limit_whenever_there_is_so_much() {
    let world = World::start();
    let session = world.server.session("web:alice");
    for n in 0..30 {
        let (integration, own) = if n % 3 == 0 { ("one", json!(session)) } else { ("two", Value::Null) };
        let body = json!({"title": format!("Note {n}"), "content": "About falcons and hawks.", "integration_id": integration, "session_id": own});
        world.server.post("/api/v1/documents", body).expect(201);
    }
    let best = json!({"title": "Falcons falcons", "content": "falcons falcons falcons", "integration_id": "two"});
    world.server.post("/api/v1/documents", best).expect(201);
    let search = |query: &str| world.server.list(&format!("/api/v1/documents/search?q=falcons{query}"));
    assert_eq!(search("").len(), 10, "ten unless told otherwise");
    assert_eq!(search("")[0]["title"], "Falcons falcons", "the best first");
    assert_eq!(search("&limit=31").len(), 31);
    let one = search("&integration_id=one&limit=10");
    assert!(one.len() == 10 && one.iter().all(|found| found["integration_id"] == "one"), "{one:#?}");
    assert_eq!(search(&format!("&session_id={session}&limit=50")).len(), 10);
    assert_eq!(search("&integration_id=nobody").len(), 0);
}

#[test]
fn documents_without_content_or_with_strange_parts_are_refused() {
    let world = World::start();
    for body in [
        json!({}),
        json!({"title": "No content"}),
        json!({"content": 7}),
        json!([]),
        json!({"content": "x", "session_id": "no id"}),
        json!({"content": "x", "metadata": "text"}),
    ] {
        let answer = world.server.post("/api/v1/documents", body.clone());
        assert_eq!(answer.status, 422, "{body}: {answer}");
        has(&answer.json(), &["detail", "code"]);
    }
    let broken =
        world.server.call("POST", "/api/v1/documents", &[("content-type", "application/json")], "{\"content\": ");
    assert!([400, 422].contains(&broken.status), "{broken}");
    let made = world.server.post("/api/v1/documents", json!({"content": "Only content."})).expect(201);
    assert_eq!(
        (&made["integration_id"], &made["session_id"], &made["metadata"]),
        (&Value::Null, &Value::Null, &json!({}))
    );
}

#[test]
fn a_session_is_got_when_it_is_there() {
    let world = World::start();
    let make = |body: Value| world.server.post("/api/v1/sessions", body).expect(201);
    let first = make(json!({"client_id": "web:alice"}));
    has_exactly(&first, &["session_id", "created"]);
    assert_eq!(first["created"], true);
    assert_eq!(
        make(json!({"client_id": "web:alice", "bot_id": "default"})),
        json!({"session_id": first["session_id"], "created": false})
    );
    let thread = make(json!({"client_id": "web:alice", "thread": "pr/42"}));
    assert_ne!(thread["session_id"], first["session_id"]);
    assert_eq!(make(json!({"client_id": "web:alice", "thread": "pr/42"}))["session_id"], thread["session_id"]);
    for body in [
        json!({}),
        json!({"client_id": ""}),
        json!({"client_id": 7}),
        json!({"client_id": "web:alice", "dispatch_config": "slack"}),
    ] {
        let answer = world.server.post("/api/v1/sessions", body.clone());
        assert_eq!(answer.status, 422, "{body}: {answer}");
    }
}

#[test]
fn many_callers_get_the_same_session() {
    let world = World::start();
    let made: Vec<Value> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..20)
            .map(|_| {
                scope.spawn(|| world.server.post("/api/v1/sessions", json!({"client_id": "web:alice"})).expect(201))
            })
            .collect();
        calls.into_iter().map(|call| call.join().unwrap()).collect()
    });
    let ids: BTreeSet<&str> = made.iter().map(|made| made["session_id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 1);
    assert_eq!(made.iter().filter(|made| made["created"] == true).count(), 1);
}

#[test]
fn a_message_is_stored_and_listed() {
    let world = World::start();
    let session = world.server.session("web:alice");
    let path = format!("/api/v1/sessions/{session}/messages");
    let made = world.server.post(&path, json!({"content": "Only to know", "source": "mygithub"})).expect(201);
    has_exactly(&made, &["message_id", "session_id", "task_id"]);
    assert_eq!((&made["session_id"], &made["task_id"]), (&json!(session), &Value::Null));
    let listed = world.server.messages(&session);
    has_exactly(&listed[0], &["id", "session_id", "role", "content", "created_at", "metadata", "attachments"]);
    assert_eq!(
        (&listed[0]["id"], &listed[0]["role"], &listed[0]["content"]),
        (&made["message_id"], &json!("user"), &json!("Only to know"))
    );
    is_time(&listed[0]["created_at"]);
    assert_eq!(world.model.calls(), 0);

    for body in [
        json!({}),
        json!({"content": 7}),
        json!({"content": "x", "execution_config": []}),
        json!({"content": "x", "dispatch_config": 7}),
    ] {
        let answer = world.server.post(&path, body.clone());
        assert_eq!(answer.status, 422, "{body}: {answer}");
    }
    let nowhere = "/api/v1/sessions/00000000-0000-7000-8000-000000000000/messages";
    world.server.post(nowhere, json!({"content": "x"})).expect(404);
    world.server.get(nowhere).expect(404);
}

#[test]
fn the_newest_messages_are_listed_oldest_first() {
    let world = World::start();
    let session = world.server.session("web:alice");
    for n in 1..=60 {
        world
            .server
            .post(&format!("/api/v1/sessions/{session}/messages"), json!({"content": format!("{n}")}))
            .expect(201);
    }
    let contents = |query: &str| -> Vec<String> {
        let list = world.server.list(&format!("/api/v1/sessions/{session}/messages{query}"));
        list.iter().map(|message| message["content"].as_str().unwrap().to_owned()).collect()
    };
    let numbers = |range: std::ops::RangeInclusive<u32>| range.map(|n| n.to_string()).collect::<Vec<_>>();
    assert_eq!(contents(""), numbers(11..=60));
    assert_eq!(contents("?limit=3"), numbers(58..=60));
    assert_eq!(contents("?limit=60"), numbers(1..=60));
}

#[test]
fn a_task_can_be_polled() {
    let world = World::start();
    let session = world.server.session("web:alice");
    let task = world.server.ask(&session, "hello");
    let done = world.server.complete(&task);
    let promised = [
        "id",
        "status",
        "bot_id",
        "session_id",
        "prompt",
        "result",
        "error",
        "dispatch_type",
        "dispatch",
        "created_at",
        "scheduled_at",
        "run_at",
        "started_at",
        "completed_at",
    ];
    has(&done, &promised);
    has(&done["dispatch"], &["state", "attempts"]);
    let shown =
        json!([done["id"], done["bot_id"], done["session_id"], done["prompt"], done["result"], done["dispatch_type"]]);
    assert_eq!(shown, json!([task, "default", session, "hello", "Understood.", "none"]));
    for key in ["created_at", "started_at", "completed_at"] {
        is_time(&done[key]);
    }
    let listed = world.server.list(&format!("/api/v1/tasks?session_id={session}"));
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &json!(task)));
    assert_eq!(world.server.list("/api/v1/tasks?status=complete").len(), 1);
    assert_eq!(world.server.list("/api/v1/tasks?status=failed").len(), 0);
    let odd = world.server.get("/api/v1/tasks?status=finished");
    assert_eq!(odd.status, 422, "{odd}");
    for path in ["", "/trace", "/events"] {
        world.server.get(&format!("/api/v1/tasks/00000000-0000-7000-8000-000000000000{path}")).expect(404);
    }
}

#[test]
fn lists_go_on_where_the_link_says() {
    let world = World::start();
    let session = world.server.session("web:alice");
    for n in 0..7 {
        world.server.ask(&session, &format!("{n}"));
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/tasks?limit=3".to_owned();
    loop {
        let answer: Answer = world.server.get(&path);
        let page = answer.expect(200);
        let page = page.as_array().unwrap();
        assert!(page.len() <= 3 && !page.is_empty());
        seen.extend(page.iter().map(id_of));
        let Some(link) = answer.header("link") else { break };
        assert!(link.contains("rel=\"next\""), "{link}");
        let target = link.split(['<', '>']).nth(1).unwrap();
        path = target.trim_start_matches(&world.server.base).to_owned();
    }
    assert_eq!((seen.len(), seen.iter().collect::<BTreeSet<_>>().len()), (7, 7));
    for odd in ["?limit=0", "?limit=-1", "?limit=many", "?cursor=nonsense"] {
        let answer = world.server.get(&format!("/api/v1/tasks{odd}"));
        assert_eq!(answer.status, 422, "{odd}: {answer}");
    }
}

#[test]
fn ids_that_are_none_are_not_found_or_refused() {
    let world = World::start();
    for path in [
        "/api/v1/tasks/1",
        "/api/v1/documents/x",
        "/api/v1/deliveries/'",
        "/api/v1/channels/0",
        "/api/v1/sessions/x/messages",
    ] {
        let answer = world.server.get(path);
        assert!([404, 422].contains(&answer.status), "{path}: {answer}");
        has(&answer.json(), &["detail", "code"]);
    }
    let nowhere = world.server.get("/api/v1/nothing/here");
    has(&nowhere.expect(404), &["detail", "code"]);
    let wrong = world.server.delete("/api/v1/tasks");
    has(&wrong.expect(405), &["detail", "code"]);
}

#[test]
fn bots_are_made_changed_and_deleted() {
    let world = World::start();
    let bot = json!({"id": "reviewer", "name": "Reviewer", "model": "another", "system_prompt": "You are exact.", "tools": ["github_get_pr"], "temperature": 0.5});
    let made = world.server.post("/api/v1/bots", bot.clone()).expect(201);
    for (key, value) in bot.as_object().unwrap() {
        assert_eq!(&made[key], value, "{made:#}");
    }
    let again = world.server.post("/api/v1/bots", bot);
    assert_eq!(again.status, 409, "{again}");
    let session =
        world.server.post("/api/v1/sessions", json!({"client_id": "web:alice", "bot_id": "reviewer"})).expect(201);
    world.server.complete(&world.server.ask(session["session_id"].as_str().unwrap(), "hello"));
    let asked = world.model.asked().remove(0);
    assert_eq!(
        (asked.model(), asked.tools(), &asked.0["temperature"]),
        ("another", vec!["github_get_pr"], &json!(0.5))
    );
    assert_eq!(asked.said_by("system")[0], "You are exact.");

    let ids = |list: Vec<Value>| list.iter().map(id_of).collect::<BTreeSet<_>>();
    let both: BTreeSet<String> = ["default".to_owned(), "reviewer".to_owned()].into();
    assert_eq!(ids(world.server.list("/api/v1/bots")), both);
    assert_eq!(ids(world.server.key(&["chat:read"]).get("/bots").expect(200).as_array().unwrap().clone()), both);
    world.server.put("/api/v1/bots/reviewer", json!({"id": "reviewer", "system_prompt": "You are kind."})).expect(200);
    assert_eq!(world.server.get("/api/v1/bots/reviewer").expect(200)["system_prompt"], "You are kind.");
    world.server.delete("/api/v1/bots/reviewer").expect(204);
    world.server.get("/api/v1/bots/reviewer").expect(404);
    let last = world.server.delete("/api/v1/bots/default");
    assert_eq!(last.status, 409, "a bot `default` always exists: {last}");
}

#[test]
fn a_bot_with_strange_parts_is_refused() {
    let world = World::start();
    for bot in [
        json!({}),
        json!({"id": ""}),
        json!({"id": "a b"}),
        json!({"id": "x", "tools": "all"}),
        json!({"id": "x", "tool": []}),
        json!({"id": "x", "temperature": "hot"}),
    ] {
        let answer = world.server.post("/api/v1/bots", bot.clone());
        assert_eq!(answer.status, 422, "{bot}: {answer}");
    }
    let answer = world.server.post("/api/v1/bots", json!({"id": "x", "tool": []}));
    assert!(answer.text().contains("tool"), "{answer}");
}

#[test]
fn bots_are_seeded_from_files() {
    let mut world = World::start();
    world.server.stop();
    let bots = world.server.options.data_directory().join("bots");
    std::fs::create_dir_all(&bots).unwrap();
    std::fs::write(bots.join("reviewer.yaml"), "id: reviewer\nname: Reviewer\nsystem_prompt: You are exact.\n")
        .unwrap();
    world.server.start_again();
    assert_eq!(world.server.get("/api/v1/bots/reviewer").expect(200)["system_prompt"], "You are exact.");
}

#[test]
fn a_bound_channel_hears_what_its_filter_lets_through() {
    let world = World::start();
    world.server.post("/api/v1/bots", json!({"id": "reviewer"})).expect(201);
    let channel = world
        .server
        .post("/api/v1/channels", json!({"client_id": "web:team", "bot_id": "reviewer", "display_name": "Team"}))
        .expect(201);
    assert_eq!(
        (&channel["client_id"], &channel["bot_id"], &channel["display_name"]),
        (&json!("web:team"), &json!("reviewer"), &json!("Team"))
    );
    let path = format!("/api/v1/channels/{}", id_of(&channel));
    let binding = world
        .server
        .post(
            &format!("{path}/bindings"),
            json!({"client_id": "github:octo/hello", "event_filter": ["pull_request.opened"]}),
        )
        .expect(201);
    assert_eq!(
        (&binding["client_id"], &binding["event_filter"]),
        (&json!("github:octo/hello"), &json!(["pull_request.opened"]))
    );
    assert!(world.server.get(&path).expect(200).to_string().contains("github:octo/hello"));

    let task = world.server.github_task(&events::pull_request("opened", 1));
    assert_eq!(world.server.complete(&task)["bot_id"], "reviewer");
    world.github.wait_for_comments(1);
    let session = world.server.trace(&task)["session"].clone();
    assert_eq!(session["client_id"], "web:team", "{session:#}");
    let filtered = world.server.github(&events::issues("opened", 2)).accepted();
    assert!(
        filtered["tasks"]
            .as_array()
            .unwrap()
            .iter()
            .all(|id| world.server.task(id.as_str().unwrap())["bot_id"] != "reviewer"),
        "{filtered}"
    );

    world.server.delete(&format!("{path}/bindings/{}", id_of(&binding))).expect(204);
    let task = world.server.github_task(&events::pull_request("opened", 3));
    assert_eq!(world.server.task(&task)["bot_id"], "default", "unbound: the integration's own bot");
}

#[test]
fn every_bound_channel_gets_the_event() {
    let world = World::start();
    for name in ["one", "two"] {
        let channel = world.server.post("/api/v1/channels", json!({"client_id": format!("web:{name}")})).expect(201);
        world
            .server
            .post(&format!("/api/v1/channels/{}/bindings", id_of(&channel)), json!({"client_id": "github:octo/hello"}))
            .expect(201);
    }
    let answer = world.server.github(&events::pull_request("opened", 1)).accepted();
    assert_eq!(answer["tasks"].as_array().map(Vec::len), Some(2), "{answer}");
}

#[test]
fn channels_are_listed_changed_and_deleted() {
    let world = World::start();
    let made = world.server.post("/api/v1/channels", json!({"client_id": "web:team"})).expect(201);
    has(&made, &["id", "bot_id", "client_id", "require_mention", "display_name"]);
    let again = world.server.post("/api/v1/channels", json!({"client_id": "web:team"}));
    assert_eq!(again.status, 409, "{again}");
    let path = format!("/api/v1/channels/{}", id_of(&made));
    let changed = world
        .server
        .put(&path, json!({"client_id": "web:team", "display_name": "The team", "require_mention": true}))
        .expect(200);
    assert_eq!((&changed["display_name"], &changed["require_mention"]), (&json!("The team"), &json!(true)));
    assert_eq!(world.server.list("/api/v1/channels").len(), 1);
    let unknown = world.server.post("/api/v1/channels", json!({"client_id": "web:other", "bot_id": "nobody"}));
    assert!([400, 422].contains(&unknown.status), "{unknown}");
    world.server.delete(&path).expect(204);
    world.server.get(&path).expect(404);
}

#[test]
fn the_answer_goes_where_the_channel_says() {
    let world = World::start();
    let config = json!({"type": "github", "repo": "octo/elsewhere", "number": 9});
    world.server.post("/api/v1/channels", json!({"client_id": "web:team", "dispatch_config": config})).expect(201);
    let session = world.server.session("web:team");
    world.server.complete(&world.server.ask(&session, "hello"));
    let comment = world.github.wait_for_comments(1).remove(0);
    assert_eq!((comment.repository.as_str(), comment.number), ("octo/elsewhere", 9));
    // What the message says goes before what the channel says.
    let own = json!({"type": "github", "repo": "octo/own", "number": 3});
    world.server.complete(&world.server.ask_with(&session, json!({"content": "hello", "dispatch_config": own})));
    assert_eq!(world.github.wait_for_comments(2)[1].repository, "octo/own");
    world.server.complete(&world.server.ask_with(&session, json!({"content": "hello", "dispatch_type": "none"})));
    assert_eq!(world.github.comments().len(), 2);
}

#[test]
fn the_integrations_are_described() {
    let world = World::start();
    let list = world.server.get("/api/v1/admin/integrations").expect(200);
    let github =
        list["integrations"].as_array().unwrap().iter().find(|integration| integration["id"] == "github").unwrap();
    has_exactly(
        github,
        &[
            "id",
            "name",
            "version",
            "source",
            "way",
            "icon",
            "tier",
            "locked",
            "has_router",
            "has_dispatcher",
            "has_hooks",
            "has_tools",
            "has_skills",
            "has_carapaces",
            "has_process",
            "process_status",
            "env_vars",
            "webhook",
            "status",
            "error",
            "readme",
        ],
    );
    let told = json!([
        github["way"],
        github["tier"],
        github["locked"],
        github["has_router"],
        github["has_dispatcher"],
        github["has_tools"],
        github["status"],
        github["error"]
    ]);
    assert_eq!(told, json!(["native", "free", false, true, true, true, "ready", null]));
    has_exactly(&github["webhook"], &["path", "url", "description"]);
    assert_eq!(github["webhook"]["path"], events::PATH);
    let names: BTreeSet<&str> =
        github["env_vars"].as_array().unwrap().iter().map(|var| var["key"].as_str().unwrap()).collect();
    assert!(
        names.is_superset(
            &["GITHUB_TOKEN", "GITHUB_WEBHOOK_SECRET", "GITHUB_BOT_LOGIN", "GITHUB_BOT", "GITHUB_API_URL"].into()
        ),
        "{names:?}"
    );
    has_exactly(&github["env_vars"][0], &["key", "required", "secret", "description", "default", "is_set"]);
    let settings = world.server.get("/api/v1/admin/integrations/github/settings").expect(200);
    has_exactly(
        &settings["settings"][0],
        &["key", "description", "required", "secret", "value", "source", "is_set", "default"],
    );
    world.server.get("/api/v1/admin/integrations/nobody/settings").expect(404);
}

#[test]
fn a_connection_is_tested_before_it_is_saved() {
    let world = World::start();
    let path = "/api/v1/admin/integrations/github/connection";
    let shown = world.server.get(path).expect(200);
    has_exactly(&shown, &["name", "label", "tier", "fields", "values", "health"]);
    let good = world.server.post(&format!("{path}/test"), json!({"token": "ghp_draft"})).expect(200);
    has_exactly(&good, &["ok", "code", "message", "hint", "account"]);
    assert_eq!((&good["ok"], &good["code"], &good["account"]), (&json!(true), &json!("ok"), &json!("tercel-bot")));
    assert_eq!(world.github.requests().last().unwrap().header("authorization"), "Bearer ghp_draft");

    use tercel_tests::github::{Fault, On};
    for (status, code) in [(401, "auth"), (403, "forbidden"), (404, "not_found")] {
        world.github.fail_times(1, On::User, Fault::Status(status, vec![]));
        let bad = world.server.post(&format!("{path}/connect"), json!({"token": "ghp_bad"})).expect(200);
        assert_eq!((&bad["ok"], &bad["code"]), (&json!(false), &json!(code)), "{bad}");
        assert!(bad["message"].as_str().is_some_and(|text| !text.is_empty()) && bad["hint"].is_string(), "{bad}");
    }
    let setting = |key: &str| {
        let settings = world.server.get("/api/v1/admin/integrations/github/settings").expect(200);
        settings["settings"].as_array().unwrap().iter().find(|setting| setting["key"] == key).unwrap()["source"].clone()
    };
    assert_eq!(setting("GITHUB_TOKEN"), "env", "nothing is saved unless the test passes");
    world.server.post(&format!("{path}/connect"), json!({"token": "ghp_good"})).expect(200);
    assert_eq!(setting("GITHUB_TOKEN"), "db");
    world.server.post(&format!("{path}/disconnect"), json!({})).accepted();
    assert_eq!(setting("GITHUB_TOKEN"), "env");
}

#[test]
fn metrics_health_and_the_description_are_there() {
    let world = World::start();
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);
    let metrics = world.server.key(&["metrics:read"]).get("/metrics");
    assert_eq!(metrics.status, 200, "{metrics}");
    for about in ["queue", "outbox", "commit", "wal"] {
        assert!(metrics.text().to_lowercase().contains(about), "nothing about `{about}`:\n{metrics}");
    }
    assert!(!metrics.text().contains("octo/hello"), "names of strangers are no labels");
    has(&world.server.get("/health").expect(200), &["status"]);
    let document = world.server.get("/openapi.json").expect(200);
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
}

#[test]
fn notices_are_one_for_one_trouble() {
    let world = World::start();
    world.model.script(|_| Turn::fails(401));
    for number in 1..=3 {
        let task = world.server.github_task(&events::pull_request("opened", number));
        world.server.wait_for(&task, &["waiting"]);
    }
    let notices = until("the notice counts three", || {
        let list = world.server.list("/api/v1/notices?open=true");
        list.iter().any(|notice| notice["count"].as_u64() >= Some(3)).then_some(list)
    });
    assert_eq!(notices.len(), 1, "{notices:#?}");
    has(
        &notices[0],
        &["id", "key", "severity", "title", "detail", "repair", "count", "first_at", "last_at", "closed_at"],
    );
}

#[test]
fn a_shutdown_lets_a_request_finish() {
    let mut world = World::start();
    let before = world.github.requests().len();
    world.github.delay(std::time::Duration::from_millis(400));
    let client = world.server.key(&["admin"]);
    let asking = std::thread::spawn(move || {
        client.post("/api/v1/admin/integrations/github/connection/test", json!({})).expect(200)
    });
    until("the test is under way", || (world.github.requests().len() > before).then_some(()));
    world.server.stop();
    assert_eq!(asking.join().unwrap()["ok"], true);
}

#[test]
fn a_key_that_asks_too_often_is_told_to_wait() {
    let world = World::start_with(|options| options.env("TERCEL_RATE", "20"));
    let key = world.server.key(&["tasks:read"]);
    let refused = (0..500)
        .map(|_| key.get("/api/v1/tasks"))
        .find(|answer| answer.status != 200)
        .expect("500 requests are too many");
    refused.refused(429, "rate_limited");
    assert!(refused.header("retry-after").is_some(), "{:?}", refused.headers);
    assert_eq!(world.server.get("/api/v1/tasks").status, 200, "another key has its own");
    until("it may ask again", || (key.get("/api/v1/tasks").status == 200).then_some(()));
}
