//! What is old goes by itself, while everything else goes on; what somebody may still need stays.

use serde_json::{Value, json};
use std::time::Duration;
use tercel_tests::{Engine, Options, Receiver, Server, Turn, World, events, until, wait::until_within};

/// Less than a tenth of a second, in days.
const AT_ONCE: &str = "0.000001";

fn forgetful(options: Options) -> Options {
    ["BODIES", "STEPS", "OUTBOX", "EGRESS", "NOTICES"]
        .into_iter()
        .fold(options, |options, what| options.env(&format!("TERCEL_KEEP_{what}"), AT_ONCE))
}

fn pruned(server: &Server, what: &str) -> u64 {
    let text = server.get("/metrics").text();
    let start = format!("tercel_pruned_rows_total{{what=\"{what}\"}} ");
    text.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok()).unwrap_or_default()
}

#[test]
fn what_is_old_goes_and_the_story_stays() {
    let world = World::start_with(forgetful);
    world.model.script(|_| Turn::text("Looks good."));
    let event = events::pull_request("opened", 1);
    let answer = world.server.github(&event).accepted();
    let (task, delivery) = (answer["tasks"][0].as_str().unwrap(), answer["delivery_id"].as_str().unwrap());
    world.server.complete(task);
    for what in ["bodies", "steps", "answers", "egress"] {
        until(&format!("{what} go"), || (pruned(&world.server, what) > 0).then_some(()));
    }
    until("all of the outbox is gone", || world.server.list("/api/v1/outbox").is_empty().then_some(()));
    world.github.wait_for_comments(1);

    let shown = world.server.get(&format!("/api/v1/deliveries/{delivery}")).expect(200);
    assert_eq!(
        (&shown["body"], &shown["event"], &shown["outcome"]),
        (&Value::Null, &json!("pull_request.opened"), &json!("run"))
    );
    let said = world.server.post(&format!("/api/v1/deliveries/{delivery}/replay"), json!({})).refused(404, "not_found");
    assert!(said.contains("retention"), "{said}");
    let trace = world.server.trace(task);
    assert_eq!((&trace["steps"], &trace["task"]["result"]), (&json!([]), &json!("Looks good.")), "{trace:#}");
    // What a repetition is known by has its own time.
    let again = world.server.github(&event).accepted();
    assert_eq!((&again["status"], world.model.calls()), (&json!("duplicate"), 1), "{again}");
    assert_eq!(world.github.posts(), 1);
}

#[test]
fn what_somebody_still_has_to_deal_with_stays_however_old_it_is() {
    let receiver = Receiver::start();
    receiver.answers(&[400]);
    let world = World::start_with(|options| forgetful(options).allow_loopback());
    world.model.script(|_| Turn::text("Hello."));
    let target = json!({"type": "webhook", "url": receiver.url()});
    let session =
        world.server.post("/api/v1/sessions", json!({"client_id": "a:b", "dispatch_config": target})).expect(201);
    let session = session["session_id"].as_str().unwrap();
    let dead = world.server.ask_with(session, json!({"content": "one", "notify": false}));
    world.server.outbox(&dead, &["dead"]);
    let sent = world.server.ask_with(session, json!({"content": "two", "notify": false}));
    world.server.complete(&sent);
    until("the answer that was sent goes", || (pruned(&world.server, "answers") > 0).then_some(()));
    until("its steps go", || (world.server.trace(&sent)["steps"] == json!([])).then_some(()));

    let row = world.server.outbox(&dead, &["dead"]);
    assert!(!world.server.trace(&dead)["steps"].as_array().unwrap().is_empty(), "its trace is still of use");
    let id = row["id"].as_str().unwrap();
    assert_eq!(world.server.get(&format!("/api/v1/outbox/{id}")).expect(200)["attempts"].as_array().unwrap().len(), 1);
    world.server.post(&format!("/api/v1/outbox/{id}/retry"), json!({})).accepted();
    until("it is sent after all, and goes", || {
        world.server.list("/api/v1/outbox").iter().all(|row| row["id"] != id).then_some(())
    });
    assert!(receiver.received().len() == 3);
}

#[test]
fn a_large_heap_goes_in_pieces_while_messages_are_taken() {
    let mut server = Server::start(Options::new());
    server.stop();
    let (id, body) = match Engine::tested() {
        Engine::Sqlite => ("randomblob(16)", "randomblob(4000)"),
        Engine::Postgres => ("gen_random_uuid()", "decode(repeat(md5(n::TEXT), 250), 'hex')"),
    };
    server.options.sql(&format!(
        "WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000) \
         INSERT INTO deliveries (id, integration, connection, event, state, outcome, verified_by, headers, body, generation, \
         received_at) SELECT {id}, 'github', 'default', 'e', 'processed', 'ignored', 'test', '{{}}', {body}, 1, n FROM n"
    ));
    server.start_again();
    let session = server.session("a:b");
    let mut longest = Duration::ZERO;
    until_within(Duration::from_secs(60), "all bodies are gone", || {
        let begun = std::time::Instant::now();
        server.post(&format!("/api/v1/sessions/{session}/messages"), json!({"content": "hello"})).expect(201);
        longest = longest.max(begun.elapsed());
        (pruned(&server, "bodies") == 20_000).then_some(())
    });
    assert!(longest < Duration::from_secs(2), "a client waited {longest:?}");
    // The room is used again, and the file does not shrink: said in the documents and by doctor.
    let doctor = server.options.run(&["doctor"]).out;
    let size = doctor.split("   size  ").nth(1).unwrap();
    assert!(size.contains("free for new rows") && size.contains("bodies 14 days"), "{doctor}");
    assert!(server.get("/metrics").text().contains("tercel_table_bytes{table=\"deliveries\"}"));
}

#[test]
fn a_file_that_no_message_has_goes_after_a_day_with_its_bytes() {
    let mut world = World::start();
    let keep = |name: &str, data: &str| {
        let file = json!({"filename": name, "data": data});
        world.server.post("/api/v1/attachments", file).expect(201)[0]["id"].as_str().unwrap().to_owned()
    };
    // In base64: "lost", "kept"; the third has the bytes of the second.
    let [lost, kept, same] = [("lost.txt", "bG9zdA=="), ("kept.txt", "a2VwdA=="), ("same.txt", "a2VwdA==")]
        .map(|(name, data)| keep(name, data));
    world.server.post("/chat", json!({"message": "Read", "attachments": [{"id": kept}]})).expect(200);
    let directory = world.server.options.data_directory().to_owned();
    let files = || -> usize {
        let shelves = std::fs::read_dir(directory.join("attachments")).unwrap();
        shelves.map(|shelf| std::fs::read_dir(shelf.unwrap().path()).unwrap().count()).sum()
    };
    world.server.stop();
    // A crash between the bytes and their name leaves a file behind.
    std::fs::create_dir_all(directory.join("attachments/ff")).unwrap();
    let orphan = std::fs::File::create(directory.join("attachments/ff").join("f".repeat(64))).unwrap();
    orphan.set_modified(std::time::UNIX_EPOCH).unwrap();
    // A day goes by; one more was sent a moment ago.
    world.server.options.sql("UPDATE attachments SET created_at = 1, claimed_at = 0 RETURNING filename");
    world.server.start_again();
    let file = json!({"filename": "new.txt", "data": "bmV3"});
    let new = world.server.post("/api/v1/attachments", file).expect(201)[0]["id"].as_str().unwrap().to_owned();
    until("two are gone", || (pruned(&world.server, "attachments") == 2).then_some(()));
    until("their files are gone", || (files() == 2).then_some(()));
    let status = |id: &str| world.server.get(&format!("/api/v1/attachments/{id}/content")).status;
    assert_eq!([&lost, &same, &kept, &new].map(|id| status(id)), [404, 404, 200, 200]);
    let said = world.server.post("/chat", json!({"message": "a", "attachments": [{"id": lost}]}));
    assert!(said.refused(404, "not_found").contains("kept for a day"));
}

#[test]
fn zero_keeps_everything() {
    let world = World::start_with(|options| {
        forgetful(options).env("TERCEL_KEEP_BODIES", "0").env("TERCEL_KEEP_STEPS", "0").env("TERCEL_KEEP_OUTBOX", "0")
    });
    world.model.script(|_| Turn::text("Looks good."));
    let answer = world.server.github(&events::pull_request("opened", 1)).accepted();
    let task = answer["tasks"][0].as_str().unwrap();
    world.server.complete(task);
    world.server.outbox(task, &["sent"]);
    until("a pass is over", || (pruned(&world.server, "egress") > 0).then_some(()));
    let delivery = answer["delivery_id"].as_str().unwrap();
    assert!(world.server.get(&format!("/api/v1/deliveries/{delivery}")).expect(200)["body"].is_string());
    assert!(!world.server.trace(task)["steps"].as_array().unwrap().is_empty());
    assert_eq!(
        [pruned(&world.server, "bodies"), pruned(&world.server, "steps"), pruned(&world.server, "answers")],
        [0, 0, 0]
    );
}

#[test]
fn an_answer_for_another_session_gets_there_once_however_late_it_is_sent_again() {
    let mut world = World::start();
    let (from, to) = (world.server.session("web:alice"), world.server.session("web:bob"));
    let task = world
        .server
        .ask_with(&from, json!({"content": "hello", "dispatch_config": {"type": "internal", "session_id": to}}));
    let row = world.server.outbox(&task, &["sent"]);
    world.server.stop();
    // Weeks later, and nobody knows how the attempt ended.
    world.server.options.sql("UPDATE dedupe SET expires_at = expires_at - 30 * 86400000000");
    world.server.options.sql("UPDATE outbox SET state = 'held', unknown = TRUE WHERE state = 'sent'");
    world.server.start_again();
    world.server.post(&format!("/api/v1/outbox/{}/retry", row["id"].as_str().unwrap()), json!({})).accepted();
    world.server.outbox(&task, &["sent"]);
    assert_eq!(world.server.messages(&to).len(), 1);
}
