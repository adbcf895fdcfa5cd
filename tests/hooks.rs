//! Addresses outside are told what happens in runs: those of `HOOK_WEBHOOK_URLS` once, managed ones until they took it.

use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::{Value, json};
use sha2::Sha256;
use std::{
    collections::{BTreeSet, HashMap},
    fs,
    time::{Duration, Instant},
};
use tercel_tests::{
    Receiver, Server, Turn, World, events,
    github::reads_pull_request,
    loopback::{Loopback, Reply, Request},
    until,
    wait::until_within,
};

/// A run that calls a tool has all of these, in this order.
const OF_A_RUN: [&str; 9] = [
    "before_context_assembly",
    "before_llm_call",
    "after_llm_call",
    "before_tool_execution",
    "after_tool_call",
    "before_llm_call",
    "after_llm_call",
    "after_response",
    "after_task_complete",
];

fn names(requests: &[Request]) -> Vec<String> {
    requests.iter().map(|request| request.json()["event"].as_str().unwrap_or_default().to_owned()).collect()
}

/// A run that reads a pull request and answers; its id.
fn run_with_a_tool(world: &World) -> String {
    world.model.script(|asked| match asked.results().is_empty() {
        true => reads_pull_request(1),
        false => Turn::text("Read."),
    });
    let task = world.server.github_task(&events::pull_request("opened", events::unique()));
    world.server.complete(&task);
    task
}

fn said(server: &Server) -> String {
    let task = server.ask(&server.session(&format!("web:{}", events::unique())), "hello");
    server.complete(&task);
    task
}

/// Its id and its secret.
fn hook(server: &Server, body: Value) -> (String, String) {
    let made = server.post("/api/v1/hooks", body).expect(201);
    (made["id"].as_str().unwrap().to_owned(), made["secret"].as_str().unwrap().to_owned())
}

/// Which of the signatures of a request are right.
fn verified(request: &Request, secret: &str) -> Vec<bool> {
    let key = BASE64.decode(secret.strip_prefix("whsec_").unwrap()).unwrap();
    let mut mac = Hmac::<Sha256>::new_from_slice(&key).unwrap();
    mac.update(format!("{}.{}.", request.header("webhook-id"), request.header("webhook-timestamp")).as_bytes());
    mac.update(&request.body);
    let right = format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()));
    request.header("webhook-signature").split(' ').map(|signature| signature == right).collect()
}

fn state(server: &Server, id: &str) -> Value {
    server.get(&format!("/api/v1/hooks/{id}")).expect(200)
}

fn ended(requests: &[Request]) -> BTreeSet<String> {
    let over = requests.iter().map(Request::json).filter(|event| event["event"] == "after_task_complete");
    over.map(|event| event["data"]["task_id"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_address_of_the_settings_is_told_of_every_event_as_documented() {
    let (one, other) = (Receiver::start(), Receiver::start());
    let urls = format!("{}, {}", one.url(), other.url());
    let world = World::start_with(|options| options.env("HOOK_WEBHOOK_URLS", &urls));
    let task = run_with_a_tool(&world);
    let expected: BTreeSet<String> = OF_A_RUN.map(str::to_owned).into();
    for receiver in [&one, &other] {
        let requests = receiver.wait_for(9);
        assert_eq!(names(&requests).into_iter().collect::<BTreeSet<_>>(), expected);
        let event = requests.iter().map(Request::json).find(|event| event["event"] == "after_tool_call").unwrap();
        let keys: Vec<&String> = event.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["event", "timestamp", "context", "data"]);
        assert_eq!(event["data"]["tool_name"], "github_get_pr");
        assert!(event["data"]["tool_args"].is_object() && event["data"]["duration_ms"].is_u64(), "{event:#}");
        assert!(event["timestamp"].as_str().unwrap().ends_with("+00:00"), "{event:#}");
        assert_eq!(event["context"]["correlation_id"], task.as_str());
        let over = requests.iter().map(Request::json).find(|event| event["event"] == "after_task_complete").unwrap();
        assert_eq!(over["data"], json!({"task_id": task, "task_type": "agent", "status": "complete"}));
    }
    let body = json!({"audio_data": BASE64.encode(b"RIFF"), "audio_format": "wav"});
    world.server.post("/transcribe", body).refused(501, "not_configured");
    let heard = one.wait_for(10)[9].json();
    assert_eq!(heard["event"], "before_transcription");
    assert_eq!(heard["data"], json!({"audio_format": "wav", "audio_size_bytes": 4, "source": "api"}));
}

#[test]
fn addresses_that_hang_or_are_away_hold_no_run_up_and_are_counted() {
    let hangs = Loopback::start(|_| std::future::ready(Reply::Never));
    let mut away = Loopback::start(|_| std::future::ready(Reply::Close));
    away.shut();
    let urls = format!("{}/?secret=of-the-address,{}", hangs.url(), away.url());
    let world = World::start_with(|options| options.env("HOOK_WEBHOOK_URLS", &urls).env("TERCEL_LOG", "debug"));
    let start = Instant::now();
    let tasks = 60;
    for _ in 0..tasks {
        said(&world.server);
    }
    let took = start.elapsed();
    assert!(took < Duration::from_secs(30), "{tasks} runs took {took:?}");
    let count = |outcome: &str| {
        let (text, name) =
            (world.server.get("/metrics").text(), format!("tercel_hook_webhooks_total{{outcome=\"{outcome}\"}}"));
        text.lines().find_map(|line| line.strip_prefix(&name)?.trim().parse::<u64>().ok()).unwrap_or_default()
    };
    until("what was not taken is counted", || (count("failed") > 0 && count("dropped") > 0).then_some(()));
    let doctor = world.server.options.run(&["doctor"]).out;
    assert!(
        doctor.contains("`127.0.0.1`, which HOOK_WEBHOOK_URLS names, did not take what was sent to it last"),
        "{doctor}"
    );
    assert!(!world.server.log().contains("of-the-address"));
}

#[test]
fn an_address_that_is_none_keeps_the_server_from_starting() {
    let options = tercel_tests::Options::new().env("HOOK_WEBHOOK_URLS", "https://example.com/x ftp://secret@host");
    let failure = Server::until_it_dies(options);
    assert!(failure.log.contains("HOOK_WEBHOOK_URLS: number 2 does not begin with https://"), "{}", failure.log);
    assert!(!failure.log.contains("secret"));
}

#[test]
fn a_managed_hook_is_told_in_order_and_signed() {
    let (world, receiver) = (World::start(), Receiver::start());
    let (_, secret) = hook(&world.server, json!({"url": receiver.url()}));
    let task = run_with_a_tool(&world);
    let requests = receiver.wait_for(9);
    assert_eq!(names(&requests), OF_A_RUN);
    for request in &requests {
        assert_eq!(verified(request, &secret), [true]);
        assert_eq!(request.json()["context"]["correlation_id"], task.as_str());
    }
    let ids: BTreeSet<&str> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!(ids.len(), 9, "each event has an id of its own");
}

#[test]
fn a_hook_is_told_only_what_it_wants() {
    let (world, receiver) = (World::start(), Receiver::start());
    world.server.post("/api/v1/bots", json!({"id": "other"})).expect(201);
    let filters = [
        json!({"events": ["after_task_complete", "after_tool_call"]}),
        json!({"events": ["after_task_complete"], "bot_id": "other"}),
        json!({"events": ["after_task_complete"], "integration": "github"}),
        json!({"events": ["after_task_complete"], "enabled": false}),
    ];
    for (n, mut filter) in filters.into_iter().enumerate() {
        filter["url"] = json!(format!("{}/{n}", receiver.url()));
        hook(&world.server, filter);
    }
    let of_github = run_with_a_tool(&world);
    let of_api = said(&world.server);
    let opened = world.server.post("/api/v1/sessions", json!({"client_id": "web:z", "bot_id": "other"})).expect(201);
    let of_other = world.server.ask(opened["session_id"].as_str().unwrap(), "hello");
    world.server.complete(&of_other);
    let requests = receiver.wait_for(6);
    let told = |n: usize| {
        let own: Vec<Request> =
            requests.iter().filter(|request| request.path == format!("/hook/{n}")).cloned().collect();
        (names(&own), ended(&own))
    };
    let set = |tasks: &[&String]| tasks.iter().map(|task| (*task).clone()).collect::<BTreeSet<_>>();
    let (all, tasks) = told(0);
    assert_eq!(all, ["after_tool_call", "after_task_complete", "after_task_complete", "after_task_complete"]);
    assert_eq!(tasks, set(&[&of_github, &of_api, &of_other]));
    assert_eq!(told(1), (vec!["after_task_complete".to_owned()], set(&[&of_other])));
    assert_eq!(told(2), (vec!["after_task_complete".to_owned()], set(&[&of_github])));
    assert_eq!(told(3).0, [""; 0]);
}

#[test]
fn nothing_is_lost_when_the_receiver_is_away_and_the_server_is_killed() {
    let mut world = World::start();
    let shared = std::sync::Arc::new(std::sync::Mutex::new(Vec::<Request>::new()));
    let kept = shared.clone();
    let mut receiver = Loopback::start(move |request| {
        kept.lock().unwrap().push(request);
        std::future::ready(Reply::text(204, &[], ""))
    });
    hook(&world.server, json!({"url": receiver.url()}));
    let mut tasks = BTreeSet::from([said(&world.server)]);
    until("the first run is told", || (ended(&shared.lock().unwrap()) == tasks).then_some(()));
    receiver.shut();
    for _ in 0..5 {
        tasks.insert(said(&world.server));
    }
    world.server.kill9();
    world.server.start_again();
    tasks.insert(said(&world.server));
    receiver.open();
    let all = until_within(Duration::from_secs(40), "all runs are told", || {
        let requests = shared.lock().unwrap().clone();
        (ended(&requests) == tasks).then_some(requests)
    });
    // What came twice came under the same id, and nothing else did.
    let mut bodies: HashMap<String, bytes::Bytes> = HashMap::new();
    let mut once = Vec::new();
    for request in all {
        match bodies.insert(request.header("webhook-id").to_owned(), request.body.clone()) {
            Some(before) => assert_eq!(before, request.body),
            None => once.push(request.json()["event"].as_str().unwrap().to_owned()),
        }
    }
    assert_eq!(once.iter().filter(|name| *name == "after_task_complete").count(), 7);
    assert_eq!(once.iter().filter(|name| *name == "after_llm_call").count(), 7);
}

#[test]
fn what_was_refused_is_sent_again_under_the_same_id_and_shown() {
    let (world, receiver) = (World::start(), Receiver::start());
    let (id, secret) = hook(&world.server, json!({"url": receiver.url(), "events": ["after_response"]}));
    receiver.answers(&[500, 429]);
    said(&world.server);
    let requests = until_within(Duration::from_secs(30), "three attempts", || {
        Some(receiver.received()).filter(|received| received.len() >= 3)
    });
    let ids: BTreeSet<&str> = requests.iter().map(|request| request.header("webhook-id")).collect();
    assert_eq!(ids.len(), 1);
    assert!(requests.iter().all(|request| verified(request, &secret) == [true]));
    let attempts = until("all are noted", || {
        Some(world.server.list(&format!("/api/v1/hooks/{id}/attempts"))).filter(|attempts| attempts.len() == 3)
    });
    let seen: Vec<(&Value, &Value)> =
        attempts.iter().map(|attempt| (&attempt["outcome"], &attempt["status"])).collect();
    let expected = [("delivered", 200), ("failed", 429), ("failed", 500)].map(|(a, b)| (json!(a), json!(b)));
    assert_eq!(seen, expected.iter().map(|(a, b)| (a, b)).collect::<Vec<_>>());
    assert_eq!(state(&world.server, &id)["state"], "active");
    // Once more, because the receiver lost it.
    let again = world.server.post(&format!("/api/v1/hooks/{id}/attempts/1/redeliver"), json!({})).expect(200);
    assert_eq!((&again["outcome"], &again["event"]), (&json!("delivered"), &json!("after_response")));
    let last = receiver.received().pop().unwrap();
    assert_eq!((last.header("webhook-id"), &last.body), (requests[0].header("webhook-id"), &requests[0].body));
    world.server.post(&format!("/api/v1/hooks/{id}/attempts/99/redeliver"), json!({})).refused(404, "not_found");
}

#[test]
fn who_answers_gone_is_disabled_with_a_notice_and_told_what_was_missed_when_asked_to() {
    let (world, receiver) = (World::start(), Receiver::start());
    let body = json!({"url": receiver.url(), "events": ["after_task_complete"]});
    let (id, _) = hook(&world.server, body.clone());
    let since = chrono::Utc::now();
    receiver.answers(&[410]);
    let refused = said(&world.server);
    let notice = world.server.notice(&format!("hook:{id}"));
    assert!(notice["title"].as_str().unwrap().contains("is disabled"), "{notice:#}");
    let doctor = world.server.options.run(&["doctor"]).out;
    assert!(doctor.contains("is disabled: Its address answered 410"), "{doctor}");
    assert_eq!(doctor.matches("is disabled").count(), 1, "said once: {doctor}");
    let shown = state(&world.server, &id);
    assert_eq!((&shown["state"], &shown["enabled"]), (&json!("disabled"), &json!(false)));
    assert!(shown["reason"].as_str().unwrap().contains("410"), "{shown:#}");
    world.server.post(&format!("/api/v1/hooks/{id}/replay"), json!({"since": since})).refused(409, "conflict");
    world.server.put(&format!("/api/v1/hooks/{id}"), body).expect(200);
    until("the notice is closed", || world.server.list("/api/v1/notices?open=true").is_empty().then_some(()));
    let next = said(&world.server);
    until("it is told of what happens now", || ended(&receiver.received()).contains(&next).then_some(()));
    assert_eq!(receiver.received().len(), 2, "and not by itself of what it missed");
    world.server.post(&format!("/api/v1/hooks/{id}/replay"), json!({"since": since})).expect(200);
    let all = receiver.wait_for(4);
    assert_eq!(ended(&all[2..]), BTreeSet::from([refused, next]));
}

#[test]
fn two_secrets_count_while_one_is_rotated_and_none_is_shown_again() {
    let (mut world, receiver) = (World::start(), Receiver::start());
    let (id, old) = hook(&world.server, json!({"url": receiver.url(), "events": ["after_response"]}));
    let rotate = |query: &str| -> String {
        let made = world.server.post(&format!("/api/v1/hooks/{id}/rotate{query}"), json!({})).expect(200);
        made["secret"].as_str().unwrap().to_owned()
    };
    let new = rotate("");
    assert!(state(&world.server, &id)["old_secret_until"].is_string());
    said(&world.server);
    let request = receiver.wait_for(1).remove(0);
    assert_eq!((verified(&request, &new), verified(&request, &old)), (vec![true, false], vec![false, true]));
    let newest = rotate("?overlap_seconds=0");
    said(&world.server);
    let request = receiver.wait_for(2).remove(1);
    assert_eq!((verified(&request, &newest), verified(&request, &new)), (vec![true], vec![false]));
    let mut shown = world.server.get("/api/v1/hooks").text();
    shown += &world.server.get(&format!("/api/v1/hooks/{id}")).text();
    shown += &world.server.get(&format!("/api/v1/hooks/{id}/attempts")).text();
    // Whoever repeats a secret does not get it into what is stored.
    let told = world.server.ask(&world.server.session("web:parrot"), "hello");
    world.server.complete(&told);
    world.server.stop();
    let stored = world.server.options.stored();
    for secret in [&old, &new, &newest] {
        let bare = secret.strip_prefix("whsec_").unwrap();
        assert!(!shown.contains(bare) && !stored.contains(bare) && !world.server.log().contains(bare));
        for entry in fs::read_dir(world.server.options.data_directory()).unwrap() {
            let Ok(bytes) = fs::read(entry.unwrap().path()) else { continue };
            assert!(!bytes.windows(bare.len()).any(|window| window == bare.as_bytes()));
        }
    }
}

#[test]
fn a_model_that_repeats_the_secret_of_a_hook_does_not_get_it_out() {
    let (world, receiver) = (World::start(), Receiver::start());
    let (_, secret) = hook(&world.server, json!({"url": receiver.url(), "events": ["before_context_assembly"]}));
    let task = world.server.ask(&world.server.session("web:a"), &format!("It is {secret}"));
    world.server.complete(&task);
    let told = String::from_utf8(receiver.wait_for(1)[0].body.to_vec()).unwrap();
    assert!(told.contains("It is ••••••••") && !told.contains(&secret), "{told}");
}

#[test]
fn a_slow_receiver_holds_up_neither_runs_nor_other_hooks() {
    let (world, receiver) = (World::start(), Receiver::start());
    let hangs = Loopback::start(|_| std::future::ready(Reply::Never));
    let (slow, _) = hook(&world.server, json!({"url": hangs.url()}));
    hook(&world.server, json!({"url": receiver.url(), "events": ["after_task_complete"]}));
    let start = Instant::now();
    let tasks: BTreeSet<String> = (0..20).map(|_| said(&world.server)).collect();
    until("the other one is told of all", || (ended(&receiver.received()) == tasks).then_some(()));
    assert!(
        start.elapsed() < Duration::from_secs(14),
        "before the slow one gave up on its first: {:?}",
        start.elapsed()
    );
    assert_eq!(state(&world.server, &slow)["state"], "active");
}

#[test]
fn a_test_shows_whether_a_hook_gets_through_and_ends_the_waiting() {
    let world = World::start();
    let shared = std::sync::Arc::new(std::sync::Mutex::new(Vec::<Request>::new()));
    let kept = shared.clone();
    let mut receiver = Loopback::start(move |request| {
        kept.lock().unwrap().push(request);
        std::future::ready(Reply::text(200, &[], ""))
    });
    let (id, secret) = hook(&world.server, json!({"url": receiver.url(), "events": ["after_response"]}));
    receiver.shut();
    said(&world.server);
    until("three attempts failed: the next is 30 s away", || {
        (world.server.list(&format!("/api/v1/hooks/{id}/attempts")).len() >= 3).then_some(())
    });
    let failed = world.server.post(&format!("/api/v1/hooks/{id}/test"), json!({})).expect(200);
    assert_eq!((&failed["outcome"], &failed["status"]), (&json!("failed"), &Value::Null));
    assert_eq!(state(&world.server, &id)["state"], "failing");
    let doctor = world.server.options.run(&["doctor"]).out;
    let row = doctor.lines().find(|line| line.contains("Nothing has got through to `127.0.0.1` for")).expect(&doctor);
    assert!(row.starts_with("warn  hooks"), "{row}");
    assert!(doctor.contains(&format!("POST /api/v1/hooks/{id}/test")), "{doctor}");
    receiver.open();
    let passed = world.server.post(&format!("/api/v1/hooks/{id}/test"), json!({})).expect(200);
    assert_eq!((&passed["outcome"], &passed["event"]), (&json!("delivered"), &json!("test")));
    until("what waited went at once", || (shared.lock().unwrap().len() == 2).then_some(()));
    until("the doctor is content", || {
        world.server.options.run(&["doctor"]).out.contains("What is sent to 1 of 1 gets through").then_some(())
    });
    let requests = shared.lock().unwrap().clone();
    assert_eq!(names(&requests), ["test", "after_response"]);
    assert_eq!(requests[0].json()["data"], json!({"hook_id": id}));
    assert_eq!(verified(&requests[0], &secret), [true]);
}

#[test]
fn an_address_of_a_caller_who_is_no_administrator_is_a_public_one() {
    let (world, receiver) = (World::start(), Receiver::start());
    let caller = world.server.key(&["hooks:write"]);
    for url in [receiver.url().as_str(), "http://169.254.169.254/latest", "http://[::1]:1/", "http://10.1.2.3/"] {
        let detail = caller.post("/api/v1/hooks", json!({"url": url})).refused(422, "invalid");
        assert!(detail.starts_with("url: "), "{detail}");
    }
    // A name shows what it is only when it is resolved.
    let local = receiver.url().replace("127.0.0.1", "localhost");
    let made = caller.post("/api/v1/hooks", json!({"url": local})).expect(201);
    let path = format!("/api/v1/hooks/{}", made["id"].as_str().unwrap());
    let tried = caller.post(&format!("{path}/test"), json!({})).expect(200);
    assert!(tried["error"].as_str().unwrap().contains("may not be called"), "{tried:#}");
    assert_eq!(receiver.received().len(), 0);
    // Once an administrator has written it, it may be any, until somebody else writes another.
    world.server.put(&path, json!({"url": local})).expect(200);
    caller.put(&path, json!({"url": local, "description": "ours"})).expect(200);
    assert_eq!(caller.post(&format!("{path}/test"), json!({})).expect(200)["outcome"], "delivered");
    caller.put(&path, json!({"url": format!("{local}/other")})).expect(200);
    assert_eq!(caller.post(&format!("{path}/test"), json!({})).expect(200)["outcome"], "failed");
}

#[test]
fn what_is_no_hook_is_refused_with_the_field_that_is_wrong() {
    let world = World::start();
    let url = "https://example.com/hook";
    for (body, field) in [
        (json!({}), "url"),
        (json!({"url": ""}), "url"),
        (json!({"url": "example.com"}), "url"),
        (json!({"url": "ftp://example.com"}), "url"),
        (json!({"url": "https://user:password@example.com/"}), "url"),
        (json!({"url": format!("{url}?{}", "x".repeat(3000))}), "url"),
        (json!({"url": url, "events": ["after_tool_calls"]}), "events"),
        (json!({"url": url, "events": "after_tool_call"}), "events"),
        (json!({"url": url, "channel_id": "x"}), "channel_id"),
        (json!({"url": url, "bot_id": ""}), "bot_id"),
        (json!({"url": url, "description": "a\nb"}), "description"),
        (json!({"url": url, "colour": "red"}), "colour"),
    ] {
        let detail = world.server.post("/api/v1/hooks", body.clone()).refused(422, "invalid");
        assert!(detail.contains(field), "{body}: {detail}");
    }
    let near = world.server.post("/api/v1/hooks", json!({"url": url, "events": ["after_tool_calls"]})).text();
    assert!(near.contains("did you mean `after_tool_call`"), "{near}");
    let nowhere = "/api/v1/hooks/00000000-0000-7000-8000-000000000000";
    world.server.get(nowhere).refused(404, "not_found");
    world.server.put(nowhere, json!({"url": url})).refused(404, "not_found");
    world.server.delete(nowhere).refused(404, "not_found");
    for path in ["test", "rotate", "attempts/1/redeliver"] {
        world.server.post(&format!("{nowhere}/{path}"), json!({})).refused(404, "not_found");
    }
    let keyed = [("content-type", "application/json"), ("idempotency-key", "one")];
    let body = json!({"url": url, "enabled": false}).to_string();
    let id = world.server.call("POST", "/api/v1/hooks", &keyed, body.clone()).expect(201)["id"].clone();
    world.server.call("POST", "/api/v1/hooks", &keyed, body).refused(409, "conflict");
    let listed = world.server.list("/api/v1/hooks");
    assert_eq!((listed.len(), &listed[0]["id"]), (1, &id));
    let path = format!("/api/v1/hooks/{}", id.as_str().unwrap());
    world.server.post(&format!("{path}/rotate?overlap_seconds=99999999"), json!({})).refused(422, "invalid");
    world.server.delete(&path).expect(204);
    assert_eq!(world.server.list("/api/v1/hooks").len(), 0);
}
