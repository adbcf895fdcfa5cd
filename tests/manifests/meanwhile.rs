//! What happens while a person agrees: a service that fails, somebody else who decides otherwise, and links that are looked at.

use crate::{
    provider::{CLIENT, CONNECTION, Provider, SECRET, begin, come_back, connection, go_on, link, songs},
    world::put,
};
use serde_json::{Value, json};
use std::{fs, thread, time::Duration};
use tercel_tests::{Server, until, wait::until_within};

/// A server whose person has taken back what they agreed to; the link by which they agree again.
fn over(provider: &Provider, flow: &str) -> (Server, String) {
    let server = match flow {
        "device" => {
            let server = provider.server(flow);
            begin(&server);
            provider.types(Ok(()));
            until("it is connected", || (connection(&server)["state"] == "connected").then_some(()));
            server
        }
        _ => provider.agreed(provider.options(flow)),
    };
    provider.take_back();
    assert_eq!(songs(&server).expect(200)["error"]["code"], "auth");
    let link = link(&server);
    (server, link)
}

#[track_caller]
fn goes_on(server: &Server, link: &str) -> String {
    let gone_on = go_on(server, link);
    assert_eq!(gone_on.status, 303, "{gone_on}");
    gone_on.header("location").unwrap().to_owned()
}

#[test]
fn a_service_that_fails_while_the_same_person_agrees_again_takes_nothing_back() {
    let provider = Provider::start();
    let (mut server, link) = over(&provider, "code");
    let before = provider.asked("authorization_code");
    provider.state().fails = Some(503);
    let address = provider.agree(&goes_on(&server, &link));
    let page = come_back(&server, &address);
    assert_eq!((page.status, page.text().contains("Load this page again")), (502, true), "{page}");
    let stored = format!("{}{}{}", server.log(), server.options.stored(), connection(&server));
    assert!(!stored.contains("-of-the-tests-"), "what is kept is sealed");
    server.kill9();
    server.start_again();
    provider.state().fails = None;
    let page = come_back(&server, &address);
    assert_eq!((page.status, page.text().contains("connected as ada")), (200, true), "{page}");
    assert_eq!(provider.asked("authorization_code"), before + 1, "what the service gave is kept");
    assert_eq!(songs(&server).expect(200)["ok"], true);

    provider.take_back();
    assert_eq!(songs(&server).expect(200)["error"]["code"], "auth");
    provider.state().fails = Some(403);
    let page = come_back(&server, &provider.agree(&goes_on(&server, &crate::provider::link(&server))));
    assert_eq!((page.status, page.text().contains("Nobody can tell which account agreed")), (400, true), "{page}");
    assert_eq!(connection(&server)["consent"]["state"], "over", "nobody knows whose it is");
    assert_eq!(provider.state().revoked.len(), 0);
}

#[test]
fn a_device_by_which_the_same_person_agrees_again_waits_for_a_service_that_fails() {
    let provider = Provider::start();
    let (server, link) = over(&provider, "device");
    provider.state().fails = Some(503);
    assert_eq!(go_on(&server, &link).status, 200);
    provider.types(Ok(()));
    let tests = || provider.service.received().iter().filter(|request| request.path == "/v1/me").count();
    let before = tests();
    until_within(Duration::from_secs(60), "it is tested", || (tests() > before + 5).then_some(()));
    provider.state().fails = None;
    until_within(Duration::from_secs(60), "it is agreed to", || {
        (connection(&server)["consent"]["state"] == "agreed").then_some(())
    });
    assert_eq!((songs(&server).expect(200)["ok"].clone(), provider.state().revoked.len()), (json!(true), 0));
}

#[test]
fn a_record_that_is_wrong_does_not_hide_who_agreed() {
    const SYNC: &str = r#"
sync:
  collection: jobs
  by: record.id
  row: {title: "{{ record.title }}"}
  upsert: {batch: 2, post: /batch, json: {rows: "{{ items }}", keys: "{{ keys }}"}, ids: response.json.ids}
"#;
    let provider = Provider::start();
    let options = provider.options("code");
    put(&options, "music", &(provider.manifest("code", "read, write") + SYNC));
    let server = Server::start(options);
    server.post("/api/v1/records/jobs", json!({"records": [{"id": 1}]})).expect(200);
    let begun = begin(&server);
    let page = come_back(&server, &provider.agree(begun["url"].as_str().unwrap()));
    assert_eq!((page.status, page.text().contains("the test of music fails")), (200, true), "{page}");
    assert_eq!(connection(&server)["consent"]["account"], "ada");
    provider.take_back();
    assert_eq!(songs(&server).expect(200)["error"]["code"], "auth");
    let page = come_back(&server, &provider.agree(&goes_on(&server, &link(&server))));
    assert_eq!(page.status, 200, "{page}");
    assert_eq!((songs(&server).expect(200)["ok"].clone(), provider.state().revoked.len()), (json!(true), 0));
}

#[test]
fn a_later_test_says_who_agreed_while_the_service_failed() {
    let provider = Provider::start();
    provider.state().fails = Some(503);
    let server = provider.agreed(provider.options("code"));
    assert_eq!(connection(&server)["consent"]["account"], Value::Null);
    provider.state().fails = None;
    server.post(&format!("{CONNECTION}/test"), json!({})).expect(200);
    assert_eq!(connection(&server)["consent"]["account"], "ada");
    provider.take_back();
    assert_eq!(songs(&server).expect(200)["error"]["code"], "auth");
    let page = come_back(&server, &provider.agree(&goes_on(&server, &link(&server))));
    assert_eq!(page.status, 200, "{page}");
}

#[test]
fn who_disconnects_or_begins_anew_while_somebody_agrees_is_heard() {
    for decides in ["disconnect", "authorize"] {
        let provider = Provider::start();
        let server = provider.server("code");
        let address = provider.agree(begin(&server)["url"].as_str().unwrap());
        let key = server.key(&["integrations:write"]);
        let values =
            if decides == "authorize" { json!({"client_id": CLIENT, "client_secret": SECRET}) } else { json!({}) };
        provider.meanwhile("/v1/me", move || _ = key.post(&format!("{CONNECTION}/{decides}"), values).expect(200));
        let page = come_back(&server, &address);
        assert_eq!((page.status, page.text().contains("began anew meanwhile")), (400, true), "{decides}: {page}");
        assert_eq!(provider.state().revoked.len(), 1, "{decides}: what nobody wants any more is taken back");
        let consent = connection(&server)["consent"].clone();
        assert_eq!(consent["state"], "none", "{decides}: {consent:#}");
        assert_eq!(consent["asking"].is_object(), decides == "authorize", "{consent:#}");
        assert!(consent["asking"]["ended"].is_null(), "{decides}: {consent:#}");
    }
}

#[test]
fn a_link_that_is_looked_at_changes_nothing_and_takes_no_question_away() {
    let provider = Provider::start();
    let (server, link) = over(&provider, "code");
    let begun = begin(&server);
    for _ in 0..2 {
        let page = server.anonymous().get(&link);
        assert_eq!((page.status, page.text().contains("<form method=\"post\"><button>")), (200, true), "{page}");
        assert!(page.text().contains("music is connected as ada"), "{page}");
        let policy = page.header("content-security-policy").unwrap();
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("form-action"), "{policy}");
    }
    let refused = go_on(&server, &link);
    assert_eq!((refused.status, refused.text().contains("Somebody else is asked")), (400, true), "{refused}");
    let page = come_back(&server, &provider.agree(begun["url"].as_str().unwrap()));
    assert_eq!(page.status, 200, "{page}");
    assert_eq!(server.anonymous().get(&link).status, 400);
}

#[test]
fn many_who_follow_a_link_at_once_are_given_one_code() {
    let provider = Provider::start();
    let (server, link) = over(&provider, "device");
    let codes = || provider.service.received().iter().filter(|request| request.path == "/device").count();
    let before = codes();
    assert_eq!((server.anonymous().get(&link).status, codes()), (200, before), "who only looks is given none");
    thread::scope(|scope| {
        let all: Vec<_> = (0..8).map(|_| scope.spawn(|| go_on(&server, &link).text().contains("WDJB-MJHT"))).collect();
        assert!(all.into_iter().all(|one| one.join().unwrap()));
    });
    assert_eq!(codes(), before + 1);
}

#[test]
fn what_somebody_agreed_to_stands_in_the_connection_file_and_outlives_a_restart() {
    let provider = Provider::start();
    let options = provider.options("code");
    let directory = options.place().join("config/integrations");
    fs::create_dir_all(&directory).unwrap();
    let file = directory.join("music.yaml");
    fs::write(&file, "client_id: before\nclient_secret: before-0123456789\n").unwrap();
    let mut server = Server::start(options);
    until("it is taken over", || (connection(&server)["values"]["client_id"] == "before").then_some(()));
    let page = come_back(&server, &provider.agree(begin(&server)["url"].as_str().unwrap()));
    assert_eq!(page.status, 200, "{page}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(CLIENT) && !text.contains(SECRET) && !text.contains("before"), "{text}");
    server.restart();
    assert_eq!(connection(&server)["values"]["client_id"], CLIENT);
    assert_eq!(songs(&server).expect(200)["ok"], true);
}

#[test]
fn a_service_that_never_answers_holds_up_nobody_who_agrees_elsewhere() {
    let (hanging, provider) = (Provider::start(), Provider::start());
    let options = provider.options("code");
    let films =
        hanging.manifest("code", "read, write").replace("name: music", "name: films").replace("music_", "films_");
    put(&options, "films", &films);
    let server = Server::start(options);
    let values = json!({"client_id": CLIENT, "client_secret": SECRET});
    let begun = server.post(&CONNECTION.replace("music", "films").replace("default", "default/authorize"), values);
    let stuck = hanging.agree(begun.expect(200)["url"].as_str().unwrap());
    let address = provider.agree(begin(&server)["url"].as_str().unwrap());
    hanging.state().hangs = true;
    thread::scope(|scope| {
        let waits = scope.spawn(|| come_back(&server, &stuck).status);
        until("it waits", || (hanging.asked("authorization_code") > 0).then_some(()));
        assert_eq!(come_back(&server, &address).status, 200);
        assert!(!waits.is_finished());
        assert_eq!(waits.join().unwrap(), 502);
    });
}
