//! People are told of what needs them, where they want to be told, and when it is over.

use serde_json::{Value, json};
use tercel_tests::{
    Options, Receiver, Server, Turn, World, events,
    github::{Fault, On},
    until,
};

fn world() -> (World, Receiver) {
    let receiver = Receiver::start();
    let world = World::start_with(Options::allow_loopback);
    let config = json!({"type": "webhook", "url": receiver.url(), "secret": "whsec_c2VjcmV0LW9mLXRoZS10ZXN0cw=="});
    let shown = world.server.put("/api/v1/notices/target", json!({"dispatch_config": config})).expect(200);
    assert_eq!(shown["dispatch_config"]["url"], config["url"]);
    assert_ne!(shown["dispatch_config"]["secret"], config["secret"], "it is masked");
    (world, receiver)
}

fn told(receiver: &Receiver) -> Vec<String> {
    receiver.received().iter().map(|request| request.json()["result"].as_str().unwrap().to_owned()).collect()
}

fn open(server: &Server) -> Vec<String> {
    let open = server.list("/api/v1/notices?open=true");
    open.iter().map(|notice| notice["key"].as_str().unwrap().to_owned()).collect()
}

/// A message whose answer goes to a place that says no.
fn lose(server: &Server, client: &str, nowhere: &Receiver) {
    nowhere.answers(&[404; 50]);
    let config = json!({"type": "webhook", "url": format!("{}/{client}", nowhere.url())});
    let body = json!({"client_id": client, "dispatch_config": config});
    let session = server.post("/api/v1/sessions", body).expect(201)["session_id"].as_str().unwrap().to_owned();
    let task = server.ask(&session, "hello");
    server.complete(&task);
    server.outbox(&task, &["dead"]);
}

#[test]
fn a_dead_letter_is_told_once_with_what_mends_it_and_where_to_look() {
    let (world, receiver) = world();
    let nowhere = Receiver::start();
    lose(&world.server, "web:a", &nowhere);
    lose(&world.server, "web:b", &nowhere);
    let notice = world.server.notice("dead:webhook");
    receiver.wait_for(1);
    until("it is counted", || (world.server.notice("dead:webhook")["count"].as_i64() >= Some(2)).then_some(()));
    let told = told(&receiver);
    assert_eq!(told.len(), 1, "{told:#?}");
    let link = format!("/api/v1/notices/{}", notice["id"].as_str().unwrap());
    for part in [notice["title"].as_str().unwrap(), "What helps: See GET /api/v1/outbox?state=dead", &link] {
        assert!(told[0].contains(part), "{part} in {told:#?}");
    }
    assert_eq!(world.server.get(&link).expect(200)["key"], "dead:webhook");
}

#[test]
fn a_notice_that_cannot_be_sent_makes_one_notice_and_no_further_message() {
    let (world, receiver) = world();
    receiver.answers(&[410; 50]);
    let nowhere = Receiver::start();
    lose(&world.server, "web:a", &nowhere);
    let notice = world.server.notice("Notices cannot be sent");
    assert_eq!(notice["key"], "notices");
    assert_eq!(receiver.received().len(), 1, "{:#?}", told(&receiver));
    let mut keys = open(&world.server);
    keys.sort();
    assert_eq!(keys, ["dead:webhook", "notices"]);
    // The next one that gets through closes it.
    receiver.answers(&[]);
    let body = json!({"scope": "server", "period": "day", "runs": 0});
    world.server.post("/api/v1/budgets", body).expect(201);
    let session = world.server.session("web:b");
    world
        .server
        .post(&format!("/api/v1/sessions/{session}/messages"), json!({"content": "x", "run_agent": true}))
        .expect(201);
    until("it is closed", || (!open(&world.server).contains(&"notices".to_owned())).then_some(()));
    assert!(told(&receiver).last().unwrap().contains("`server` has had its 0 runs"));
}

#[test]
fn of_many_at_once_ten_are_told_and_the_rest_in_one_message_that_waits() {
    let (world, receiver) = world();
    world.server.post("/api/v1/budgets", json!({"scope": "channel:*", "period": "hour", "runs": 0})).expect(201);
    for n in 1..=15 {
        let session = world.server.session(&format!("web:{n}"));
        let path = format!("/api/v1/sessions/{session}/messages");
        world.server.post(&path, json!({"content": "hello", "run_agent": true})).expect(201);
    }
    receiver.wait_for(10);
    let waiting: Vec<Value> =
        world.server.list("/api/v1/outbox").into_iter().filter(|row| row["state"] == "pending").collect();
    assert_eq!(waiting.len(), 1, "{waiting:#?}");
    let row = world.server.get(&format!("/api/v1/outbox/{}", waiting[0]["id"].as_str().unwrap())).expect(200);
    let text = row.to_string();
    assert!((11..=15).all(|n| text.contains(&format!("`channel:web:{n}`"))), "{row:#}");
    assert_eq!(open(&world.server).len(), 15);
}

#[test]
fn refused_credentials_are_a_notice_until_they_are_taken() {
    let (world, _receiver) = world();
    let server = &world.server;
    server.post("/api/v1/bots", json!({"id": "reader", "tools": ["*"]})).expect(201);
    let body = json!({"client_id": "web:alice", "bot_id": "reader"});
    let session = server.post("/api/v1/sessions", body).expect(201)["session_id"].as_str().unwrap().to_owned();
    world.model.script(|asked| match asked.results().is_empty() {
        true => Turn::call("github_get_pr", json!({"repo": "octo/hello", "number": 1})),
        false => Turn::text("Read."),
    });
    world.github.fail(On::Everything, Fault::Status(401, Vec::new()));
    server.complete(&server.ask(&session, "Read it"));
    let notice = server.notice("credentials:github");
    assert!(notice["title"].as_str().unwrap().contains("`github` are refused"), "{notice:#}");
    world.github.recover();
    server.complete(&server.ask(&session, "Read it"));
    until("it is closed", || open(server).is_empty().then_some(()));
}

#[test]
fn an_end_without_a_word_is_told_with_its_times_and_an_orderly_one_is_not() {
    let (mut world, receiver) = world();
    world.server.restart();
    assert_eq!(open(&world.server), [""; 0]);
    world.server.kill9();
    world.server.start_again();
    let notice = world.server.notice("downtime");
    assert!(notice["detail"].as_str().unwrap().starts_with("From 20"), "{notice:#}");
    receiver.wait_for(1);
    assert!(told(&receiver)[0].starts_with("The server was not running\nFrom 20"));
    world.server.restart();
    until("an orderly end closes it", || open(&world.server).is_empty().then_some(()));
}

#[test]
fn the_target_is_kept_and_can_be_taken_away() {
    let (mut world, receiver) = world();
    world.server.restart();
    assert_eq!(world.server.get("/api/v1/notices/target").expect(200)["dispatch_config"]["url"], receiver.url());
    let nonsense = json!({"dispatch_config": {"type": "carrier-pigeon"}});
    world.server.put("/api/v1/notices/target", nonsense).refused(422, "invalid");
    world.server.delete("/api/v1/notices/target").expect(204);
    assert_eq!(world.server.get("/api/v1/notices/target").expect(200)["dispatch_config"], Value::Null);
    let nowhere = Receiver::start();
    lose(&world.server, "web:a", &nowhere);
    world.server.notice("dead:webhook");
    assert_eq!(told(&receiver), [""; 0]);
    world.server.github(&events::pull_request("opened", 1)).accepted();
}

/// The open notice with this key, once it has been raised so often.
fn counted(server: &Server, key: &str, times: i64) -> Value {
    until(&format!("{key} is raised {times} times"), || {
        let all = server.list("/api/v1/notices?open=true");
        all.into_iter().find(|notice| notice["key"] == key && notice["count"].as_i64() >= Some(times))
    })
}

#[test]
fn after_a_restart_a_model_that_is_still_away_is_the_same_trouble_until_it_answers() {
    let (mut world, _receiver) = world();
    world.model.script(|_| Turn::fails(401));
    let session = world.server.session("web:alice");
    let task = world.server.ask(&session, "hello");
    world.server.wait_for(&task, &["waiting"]);
    let before = counted(&world.server, "model", 1);
    world.server.restart();
    let after = counted(&world.server, "model", before["count"].as_i64().unwrap() + 1);
    assert_eq!(after["id"], before["id"], "nobody was told that it is over");
    world.model.script(|_| Turn::text("Here again."));
    world.server.restart();
    world.server.complete(&task);
    until("it is over", || open(&world.server).is_empty().then_some(()));
}

#[test]
fn after_a_restart_answers_that_still_wait_are_the_same_trouble_until_they_are_taken() {
    let (mut world, _receiver) = world();
    let place = Receiver::start();
    place.answers(&[401; 50]);
    let config = json!({"type": "webhook", "url": place.url()});
    let body = json!({"client_id": "web:alice", "dispatch_config": config});
    let session = world.server.post("/api/v1/sessions", body).expect(201)["session_id"].as_str().unwrap().to_owned();
    let task = world.server.ask(&session, "hello");
    world.server.outbox(&task, &["parked"]);
    let before = counted(&world.server, "parked:webhook", 1);
    world.server.restart();
    let after = counted(&world.server, "parked:webhook", 2);
    assert_eq!(after["id"], before["id"], "nobody was told that it is over");
    place.answers(&[]);
    world.server.restart();
    world.server.outbox(&task, &["sent"]);
    until("it is over", || open(&world.server).is_empty().then_some(()));
}

#[test]
fn credentials_that_are_refused_when_an_answer_is_sent_are_one_notice_until_they_are_taken() {
    let (mut world, _receiver) = world();
    world.github.fail(On::Everything, Fault::Status(401, Vec::new()));
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.outbox(&task, &["parked"]);
    let before = counted(&world.server, "credentials:github", 1);
    assert_eq!(open(&world.server), ["credentials:github"], "one cause, one notice");
    assert!(before["repair"].as_str().unwrap().contains("answers that wait are sent then"), "{before:#}");
    world.server.restart();
    let after = counted(&world.server, "credentials:github", before["count"].as_i64().unwrap() + 1);
    assert_eq!(after["id"], before["id"]);
    world.github.recover();
    let settings = json!({"settings": {"GITHUB_TOKEN": "ghp_another_one_0123456789"}});
    world.server.put("/api/v1/admin/integrations/github/settings", settings).expect(200);
    world.server.outbox(&task, &["sent"]);
    until("it is over", || open(&world.server).is_empty().then_some(()));
}
