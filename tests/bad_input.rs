//! What strangers and broken senders send to the webhook: refused with a reason, without a trace in the database.

use flate2::{Compression, write::GzEncoder};
use serde_json::{Value, json};
use std::{io::Write, net::TcpStream, thread, time::Duration};
use tercel_tests::{Event, Options, Server, World, events, events::sign, github::LOGIN};

fn secret(world: &World, event: &Event, headers: &[(&str, &str)]) -> String {
    let answer = world.server.webhook(event, headers, event.bytes());
    let detail = answer.refused(403, "forbidden");
    assert!(detail.contains("sign") && !detail.contains(events::SECRET), "{detail}");
    detail
}

#[test]
fn a_request_whose_signature_is_not_ours_is_refused_and_leaves_nothing() {
    let world = World::start();
    let event = events::pull_request("opened", 1);
    let right = sign(events::SECRET, &event.bytes());
    let bad = [
        vec![],
        vec![("x-hub-signature-256", "")],
        vec![("x-hub-signature-256", "sha256=")],
        vec![("x-hub-signature-256", "sha256=00")],
        vec![("x-hub-signature-256", "not even hexadecimal ü")],
        vec![("x-hub-signature", right.as_str())],
        vec![("x-hub-signature-256", right.trim_start_matches("sha256="))],
    ];
    for headers in &bad {
        secret(&world, &event, headers);
    }
    secret(&world, &event, &[("x-hub-signature-256", &sign("another secret", &event.bytes()))]);
    secret(&world, &event, &[("x-hub-signature-256", &sign("", &event.bytes()))]);
    secret(&world, &event, &[("x-hub-signature-256", &sign(events::SECRET, b"another body"))]);

    assert_eq!(world.server.list("/api/v1/deliveries"), Vec::<Value>::new());
    assert_eq!(world.server.list("/api/v1/tasks"), Vec::<Value>::new());
    let metrics = world.server.get("/metrics").text();
    let counted = metrics.lines().any(|line| !line.starts_with('#') && line.contains("refus") && line.ends_with(" 10"));
    assert!(counted, "ten refusals are not counted:\n{metrics}");
    assert_eq!(world.server.github(&event).accepted()["status"], "processed", "the real one is taken all the same");
}

#[test]
fn without_a_secret_of_its_own_the_webhook_refuses_and_says_what_to_set() {
    for options in [
        Options::new(),
        Options::new().env("GITHUB_WEBHOOK_SECRET", ""),
        Options::new().env("GITHUB_WEBHOOK_SECRET", "  "),
    ] {
        let server = Server::start(options);
        let event = events::pull_request("opened", 1);
        for key in ["", "  ", events::SECRET] {
            let signature = sign(key, &event.bytes());
            let detail =
                server.webhook(&event, &[("x-hub-signature-256", &signature)], event.bytes()).refused(403, "forbidden");
            assert!(detail.contains("GITHUB_WEBHOOK_SECRET"), "{detail}");
        }
    }
}

#[test]
fn a_signed_body_that_is_not_the_json_of_an_event_is_refused_or_ignored() {
    let world = World::start();
    for name in ["pull_request", "issues", "issue_comment", "push", "ping", "never_heard_of", ""] {
        for body in [
            "",
            " ",
            "{",
            "null",
            "[]",
            "0",
            "\"text\"",
            "{}",
            "{\"action\":7}",
            "\u{feff}{}",
            "{\"action\":\"opened\",\"pull_request\":[]}",
        ] {
            let event = Event::new(name, Value::Null);
            let signature = sign(events::SECRET, body.as_bytes());
            let answer = world.server.webhook(&event, &[("x-hub-signature-256", &signature)], body);
            match answer.status {
                200 | 202 => assert_ne!(answer.json()["status"], "processed", "{name} {body:?}: {answer}"),
                _ => drop(answer.refused(400, "bad_request")),
            }
        }
    }
    let event = Event::new("pull_request", Value::Null);
    for body in ["", "{", "nonsense"] {
        let signature = sign(events::SECRET, body.as_bytes());
        world.server.webhook(&event, &[("x-hub-signature-256", &signature)], body).refused(400, "bad_request");
    }
    let nested = "[".repeat(200_000);
    let signature = sign(events::SECRET, nested.as_bytes());
    world.server.webhook(&event, &[("x-hub-signature-256", &signature)], nested).refused(400, "bad_request");
    assert_eq!(world.model.calls(), 0);
    world.server.get("/ready").expect(200);
}

#[test]
fn bytes_that_are_no_text_are_refused() {
    let world = World::start();
    let event = Event::new("issues", Value::Null);
    let body = vec![0xff, 0xfe, 0x00, 0x80];
    let signature = sign(events::SECRET, &body);
    world.server.webhook(&event, &[("x-hub-signature-256", &signature)], body).refused(400, "bad_request");
}

#[test]
fn a_body_as_a_form_is_taken_like_one_as_json() {
    let world = World::start();
    let event = events::issues("opened", 5);
    let form: String =
        url::form_urlencoded::Serializer::new(String::new()).append_pair("payload", &event.body.to_string()).finish();
    let headers = [
        ("content-type", "application/x-www-form-urlencoded"),
        ("x-hub-signature-256", &sign(events::SECRET, form.as_bytes())),
    ];
    let answer = world.server.webhook(&event, &headers, form).accepted();
    assert_eq!(answer["status"], "processed");
}

#[test]
fn a_huge_body_is_refused_before_it_costs_memory() {
    let world = World::start();
    let event = events::pull_request("opened", 1);
    let body = vec![b' '; 200 << 20];
    let signature = sign(events::SECRET, &body);
    // The server may answer and hang up while the body is still on its way.
    for (path, headers) in [
        (
            events::PATH,
            vec![
                ("x-hub-signature-256", signature.as_str()),
                ("x-github-event", "issues"),
                ("x-github-delivery", &event.delivery),
            ],
        ),
        ("/api/v1/documents", vec![("content-type", "application/json")]),
    ] {
        if let Ok(answer) = world.server.try_call("POST", path, &headers, body.clone()) {
            answer.refused(413, "too_large");
        }
    }
    assert!(world.server.peak_memory() < 150, "{} MiB at the peak", world.server.peak_memory());
    assert_eq!(world.server.github(&event).accepted()["status"], "processed");
}

#[test]
fn large_bodies_that_never_end_cost_little_memory_and_keep_no_webhook_out() {
    let world = World::start();
    let address = world.server.base.trim_start_matches("http://");
    let body = vec![b' '; 20 << 20];
    let head = format!("POST {} HTTP/1.1\r\nhost: here\r\ncontent-length: {}\r\n\r\n", events::PATH, body.len() + 1);
    let send = || {
        let mut connection = TcpStream::connect(address).unwrap();
        connection.set_write_timeout(Some(Duration::from_secs(60))).unwrap();
        // The server may answer and hang up while the body is still on its way.
        let _ = connection.write_all(head.as_bytes()).and_then(|()| connection.write_all(&body));
        connection
    };
    let open: Vec<TcpStream> = thread::scope(|scope| {
        let senders: Vec<_> = (0..60).map(|_| scope.spawn(send)).collect();
        senders.into_iter().map(|sender| sender.join().unwrap()).collect()
    });
    assert_eq!(world.server.github(&events::pull_request("opened", 1)).accepted()["status"], "processed");
    assert!(world.server.peak_memory() < 400, "{} MiB at the peak", world.server.peak_memory());
    drop(open);
}

#[test]
fn a_compressed_bomb_does_not_go_off() {
    let world = World::start();
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    for _ in 0..512 {
        encoder.write_all(&vec![b' '; 1 << 20]).unwrap();
    }
    let bomb = encoder.finish().unwrap();
    let event = events::pull_request("opened", 1);
    let signature = sign(events::SECRET, &bomb);
    let packed = ("content-encoding", "gzip");
    let signed = [("x-github-event", "pull_request"), ("x-hub-signature-256", signature.as_str()), packed];
    for (path, headers) in
        [(events::PATH, signed.as_slice()), ("/api/v1/documents", &[("content-type", "application/json"), packed])]
    {
        // The server may answer and hang up while the body is still on its way.
        if let Ok(answer) = world.server.try_call("POST", path, headers, bomb.clone()) {
            answer.refused(415, "unsupported_encoding");
        }
        world.server.call("POST", path, headers, "short").refused(415, "unsupported_encoding");
    }
    assert_eq!(world.server.list("/api/v1/deliveries"), Vec::<Value>::new());
    assert!(world.server.peak_memory() < 150, "{} MiB at the peak", world.server.peak_memory());
    assert_eq!(world.server.github(&event).accepted()["status"], "processed");
}

#[test]
fn an_event_nobody_knows_is_listed_as_ignored_with_a_reason() {
    let world = World::start();
    let event =
        Event::new("weather_report", json!({"action": "rain", "repository": events::repository(events::REPOSITORY)}));
    let answer = world.server.github(&event).accepted();
    assert_eq!((&answer["status"], &answer["tasks"]), (&json!("ignored"), &json!([])));
    let list = world.server.list("/api/v1/deliveries");
    assert_eq!((list.len(), &list[0]["state"], &list[0]["outcome"]), (1, &json!("processed"), &json!("ignored")));
    assert_eq!(list[0]["event"], "weather_report.rain");
    assert!(list[0]["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{list:#?}");
    assert_eq!(world.model.calls(), 0);
}

#[test]
fn a_request_without_the_names_github_gives_is_not_an_error_of_ours() {
    let world = World::start();
    let event = events::pull_request("opened", 1);
    let signature = sign(events::SECRET, &event.bytes());
    let json = ("content-type", "application/json");
    let signed = ("x-hub-signature-256", signature.as_str());
    let without_event =
        world.server.call("POST", events::PATH, &[json, signed, ("x-github-delivery", "1")], event.bytes());
    assert!([200, 202, 400].contains(&without_event.status), "{without_event}");
    let without_id =
        world.server.call("POST", events::PATH, &[json, signed, ("x-github-event", "pull_request")], event.bytes());
    assert!([200, 202, 400].contains(&without_id.status), "{without_id}");
}

#[test]
fn a_ping_is_answered_with_a_pong() {
    let world = World::start();
    let answer = world.server.github(&events::ping()).expect(200);
    assert_eq!(answer, json!({"status": "pong"}));
}

#[test]
fn an_integration_that_is_not_there_is_not_found() {
    let world = World::start();
    for path in ["/integrations/nobody/webhook", "/integrations/..%2fgithub/webhook", "/integrations/GitHub/webhook"] {
        world.server.post(path, json!({})).refused(404, "not_found");
    }
    let answer = world.server.get(events::PATH);
    assert!([404, 405].contains(&answer.status), "{answer}");
}

#[test]
fn the_agents_own_comment_is_not_answered() {
    let world = World::start();
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);
    let own = world.github.wait_for_comments(1).remove(0);
    let calls = world.model.calls();

    let echo = world.server.github(&events::comment(1, LOGIN, &own.body)).accepted();
    assert_eq!((&echo["status"], &echo["tasks"]), (&json!("ignored"), &json!([])));
    assert!(echo["reason"].as_str().is_some_and(|reason| !reason.is_empty()), "{echo}");
    assert_eq!(world.model.calls(), calls);
}

#[test]
fn a_person_who_uses_the_agents_login_is_answered() {
    let world = World::start();
    let task = world.server.github_task(&events::comment(1, LOGIN, "And what do you think of this?"));
    world.server.complete(&task);
    world.github.wait_for_comments(1);
}

#[test]
fn a_stranger_who_copies_the_agents_comment_is_answered() {
    let world = World::start();
    let task = world.server.github_task(&events::pull_request("opened", 1));
    world.server.complete(&task);
    let own = world.github.wait_for_comments(1).remove(0);
    let task = world.server.github_task(&events::comment(1, "mallory", &own.body));
    world.server.complete(&task);
    world.github.wait_for_comments(2);
}
