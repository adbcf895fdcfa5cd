//! Who goes away in the middle, and what is left behind: nothing is lost that a service gave once, nothing counts on that
//! nobody wants, and whoever has to act is told.

use crate::{
    provider::{CLIENT, CONNECTION, Provider, SECRET, begin, come_back, connection, go_on, link, songs},
    world::put,
};
use serde_json::{Value, json};
use std::{io::Write, net::TcpStream, sync::mpsc, thread, time::Duration};
use tercel_tests::{Server, server::KEY, until, wait::pause};

/// Asks, and hangs up when `told` says so.
fn hangs_up(server: &Server, method: &str, path: &str, told: &mpsc::Receiver<()>) {
    let mut stream = TcpStream::connect(server.base.strip_prefix("http://").unwrap()).unwrap();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {KEY}\r\ncontent-type: application/json\r\n"
    );
    write!(stream, "{head}content-length: 2\r\n\r\n{{}}").unwrap();
    told.recv_timeout(Duration::from_secs(20)).expect("the service is asked");
}

/// The service takes its time with the next answer to this path, and says when it is asked.
fn is_slow(provider: &Provider, path: &'static str) -> mpsc::Receiver<()> {
    let (says, told) = mpsc::channel();
    provider.meanwhile(path, move || {
        says.send(()).unwrap();
        pause(Duration::from_millis(700));
    });
    told
}

fn open_notices(server: &Server) -> Vec<Value> {
    let all = server.list("/api/v1/notices?open=true");
    all.into_iter().filter(|notice| notice["key"] == "consent:music").collect()
}

/// A server whose person has taken back what they agreed to.
fn over(provider: &Provider) -> Server {
    let server = provider.agreed(provider.options("code"));
    provider.take_back();
    assert_eq!(songs(&server).expect(200)["error"]["code"], "auth");
    assert_eq!(open_notices(&server).len(), 1);
    server
}

#[test]
fn who_hangs_up_while_the_connection_is_tested_is_connected_all_the_same() {
    let provider = Provider::start();
    let server = provider.server("code");
    let address: url::Url = provider.agree(begin(&server)["url"].as_str().unwrap()).parse().unwrap();
    let told = is_slow(&provider, "/v1/me");
    hangs_up(&server, "GET", &format!("{}?{}", address.path(), address.query().unwrap()), &told);
    until("it is connected", || (connection(&server)["state"] == "connected").then_some(()));
    assert_eq!(songs(&server).expect(200)["ok"], true);
}

#[test]
fn who_hangs_up_while_it_is_disconnected_has_disconnected_it() {
    let provider = Provider::start();
    let server = provider.agreed(provider.options("code"));
    let told = is_slow(&provider, "/revoke");
    hangs_up(&server, "POST", &format!("{CONNECTION}/disconnect"), &told);
    until("it is disconnected", || (connection(&server)["consent"]["state"] == "none").then_some(()));
    assert_eq!(songs(&server).expect(200)["ok"], false);
}

#[test]
fn what_is_renewed_while_somebody_disconnects_is_taken_back() {
    let provider = Provider::start();
    let server = provider.agreed(provider.options("code"));
    provider.forget_access();
    let told = is_slow(&provider, "/token");
    let client = server.with_key(KEY);
    thread::scope(|scope| {
        let call = scope.spawn(|| songs(&server));
        told.recv_timeout(Duration::from_secs(20)).expect("a token is asked for");
        let gone = client.post(&format!("{CONNECTION}/disconnect"), json!({})).expect(200);
        assert_eq!(gone["revoked"], true, "{gone:#}");
        call.join().unwrap();
    });
    // The first refresh token is the third secret that was made, after the code and the access token.
    assert_eq!(provider.state().revoked, ["refresh-of-the-tests-5-0123456789"]);
}

#[test]
fn what_was_kept_of_somebody_who_is_not_asked_any_more_is_taken_back() {
    for then in ["authorize", "disconnect", "denied"] {
        let provider = Provider::start();
        let server = over(&provider);
        provider.state().fails = Some(503);
        let gone_on = go_on(&server, &link(&server));
        let address = provider.agree(gone_on.header("location").unwrap());
        let page = come_back(&server, &address);
        assert_eq!(page.status, 502, "{page}");
        assert_eq!(provider.state().revoked.len(), 0, "the service may still say who agreed");
        match then {
            "authorize" => _ = begin(&server),
            "disconnect" => _ = server.post(&format!("{CONNECTION}/disconnect"), json!({})).expect(200),
            _ => {
                let state = address.split("state=").nth(1).unwrap();
                let page = server.anonymous().get(&format!("/api/v1/oauth/callback?error=access_denied&state={state}"));
                assert_eq!(page.status, 400, "{page}");
            }
        }
        let revoked = provider.state().revoked.clone();
        assert!(revoked.len() == 1 && revoked[0].starts_with("refresh-"), "{then}: {revoked:?}");
    }
}

#[test]
fn a_consent_that_is_over_is_told_by_the_next_start_as_well() {
    let provider = Provider::start();
    let mut server = over(&provider);
    // As if the server had died before it told: what is stored says that it is over, and there is no notice.
    let notice = open_notices(&server).remove(0);
    let dismissed = server.post(&format!("/api/v1/notices/{}/dismiss", notice["id"].as_str().unwrap()), json!({}));
    assert_eq!(dismissed.status, 204);
    assert!(open_notices(&server).is_empty());
    server.kill9();
    server.start_again();
    until("it is told", || open_notices(&server).pop());
    let page = come_back(&server, &provider.agree(go_on(&server, &link(&server)).header("location").unwrap()));
    assert_eq!(page.status, 200, "{page}");
    until("it is over", || open_notices(&server).is_empty().then_some(()));
}

#[test]
fn a_version_that_needs_no_consent_waits_for_none() {
    let provider = Provider::start();
    let server = over(&provider);
    let manifest = provider.manifest("code", "read, write");
    let auth = manifest.lines().find(|line| line.trim().starts_with("auth:")).unwrap();
    put(&server.options, "music", &manifest.replace(auth, "  auth: {bearer: client_secret}"));
    until("nobody is asked any more", || open_notices(&server).is_empty().then_some(()));
    let values = json!({"client_id": CLIENT, "client_secret": SECRET});
    let refused = server.post(&format!("{CONNECTION}/authorize"), values);
    assert_eq!(refused.status, 422, "{refused}");
    // The service does not take this one, which is told like any other.
    server.post(&format!("{CONNECTION}/test"), json!({})).expect(200);
    server.notice("credentials:music");
}
