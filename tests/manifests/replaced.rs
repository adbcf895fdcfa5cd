//! Tokens that cannot be stored: another server has the database, or somebody holds it.

use crate::provider::{Provider, begin, come_back, connection, songs};
use serde_json::json;
use std::{
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};
use tercel_tests::{Engine, Options, Server, disk::Lock, until, wait::until_within};

/// Two directories, one key: as two machines have it.
const KEY: &str = "abababababababababababababababababababababababababababababababab";

const LONG: Duration = Duration::from_secs(60);

fn options(provider: &Provider) -> Options {
    provider.options("code").env("ENCRYPTION_KEY", KEY)
}

/// The first one is frozen, and does not know that another one has its place.
fn replace(provider: &Provider, first: &Server) -> Server {
    first.freeze();
    first.options.cut_sessions();
    Server::start(options(provider).on_that_of(first))
}

fn has_its_place_again(mut other: Server, first: &Server) {
    other.stop();
    until_within(LONG, "it has its place again", || (first.get("/ready").status == 200).then_some(()));
}

#[test]
fn a_server_that_was_replaced_renews_nothing() {
    if !Engine::Postgres.is_tested() {
        return;
    }
    let provider = Provider::start();
    let first = provider.agreed(options(&provider));
    until("it was tested", || (connection(&first)["state"] == "connected").then_some(()));
    let other = replace(&provider, &first);
    until("it was tested", || (connection(&other)["state"] == "connected").then_some(()));
    provider.forget_access();
    let before = provider.asked("refresh_token");
    first.thaw();
    let told = songs(&first);
    assert!(told.status == 503 || told.json()["ok"] == false, "{told}");
    assert_eq!(provider.asked("refresh_token"), before, "it is not its turn");
    assert_eq!(songs(&other).expect(200)["ok"], true);
    assert_eq!(connection(&other)["consent"]["state"], "agreed");
    has_its_place_again(other, &first);
    assert_eq!(songs(&first).expect(200)["ok"], true);
    assert_eq!(provider.asked("refresh_token"), before + 1, "what the other one stored is used");
}

#[test]
fn what_a_replaced_server_could_not_store_is_not_put_over_what_somebody_agreed_to_since() {
    if !Engine::Postgres.is_tested() {
        return;
    }
    let provider = Arc::new(Provider::start());
    let first = Arc::new(provider.agreed(options(&provider)));
    until("it was tested", || (connection(&first)["state"] == "connected").then_some(()));
    provider.forget_access();
    let next = Arc::new(Mutex::new(None));
    let (replacing, replaced, options) = (next.clone(), first.clone(), options(&provider));
    // In the middle of a renewal: the service has been asked, and has not answered.
    provider.meanwhile("/token", move || {
        replaced.freeze();
        replaced.options.cut_sessions();
        *replacing.lock().unwrap() = Some(Server::start(options.on_that_of(&replaced)));
    });
    let asking = first.clone();
    let asked = thread::spawn(move || songs(&asking));
    let other = until_within(LONG, "another one is there", || next.lock().unwrap().take());
    (provider.state().person, provider.state().account) = ("eve".into(), 2);
    let page = come_back(&other, &provider.agree(begin(&other)["url"].as_str().unwrap()));
    assert_eq!(page.status, 200, "{page}");
    let before = provider.asked("refresh_token");
    first.thaw();
    asked.join().unwrap();
    has_its_place_again(other, &first);
    for _ in 0..2 {
        assert_eq!(songs(&first).expect(200)["ok"], true);
    }
    let consent = connection(&first)["consent"].clone();
    assert_eq!((&consent["state"], &consent["account"]), (&json!("agreed"), &json!("eve")), "{consent:#}");
    assert_eq!(provider.asked("refresh_token"), before, "what somebody agreed to is used");
}

#[test]
fn what_could_not_be_stored_at_first_is_stored_before_an_orderly_end() {
    let provider = Provider::start();
    let mut server = provider.agreed(provider.options("code"));
    until("it was tested", || (connection(&server)["state"] == "connected").then_some(()));
    provider.forget_access();
    let lock = Arc::new(Mutex::new(None));
    let (locking, options) = (lock.clone(), server.options.clone());
    provider.meanwhile("/token", move || *locking.lock().unwrap() = Some(Lock::against_writing(&options)));
    let asking = server.with_key(tercel_tests::server::KEY);
    let asked = thread::spawn(move || {
        asking.post("/api/v1/tools/music_songs/call", json!({"arguments": {}}));
    });
    until_within(LONG, "it could not be stored", || {
        server.log().contains("could not be stored, and is tried again").then_some(())
    });
    drop(lock.lock().unwrap().take());
    server.stop();
    asked.join().unwrap();
    server.start_again();
    assert_eq!(songs(&server).expect(200)["ok"], true);
    assert_eq!(connection(&server)["consent"]["state"], "agreed");
    assert_eq!(provider.asked("refresh_token"), 1, "the renewed one is used");
}
