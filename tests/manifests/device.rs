//! A person agrees on another device, with a code that they type.

use crate::provider::{CONNECTION, Provider, begin, connection, songs};
use serde_json::json;
use tercel_tests::{Server, until};

const GRANT: &str = "urn:ietf:params:oauth:grant-type:device_code";

fn asked(provider: &Provider, count: usize) {
    until(&format!("{count} questions"), || (provider.asked(GRANT) >= count).then_some(()));
}

fn ended(server: &Server) -> String {
    until("it is over", || connection(server)["consent"]["asking"]["ended"]["code"].as_str().map(str::to_owned))
}

#[test]
fn somebody_types_the_code_and_the_connection_works_also_when_the_server_died_meanwhile() {
    let provider = Provider::start();
    let mut server = provider.server("device");
    let begun = begin(&server);
    assert_eq!((&begun["flow"], &begun["user_code"]), (&json!("device"), &json!("WDJB-MJHT")), "{begun:#}");
    assert_eq!(begun["url"], "https://music.example/device");
    assert!(!connection(&server).to_string().contains("WDJB"), "who may only read is not given the code");
    asked(&provider, 1);
    server.kill9();
    server.start_again();
    provider.state().is_down = true;
    let before = provider.asked(GRANT);
    asked(&provider, before + 1);
    provider.state().is_down = false;
    provider.types(Ok(()));
    until("it is connected", || (connection(&server)["state"] == "connected").then_some(()));
    assert_eq!(songs(&server).expect(200)["ok"], true);
}

#[test]
fn a_code_that_is_refused_or_not_typed_in_time_connects_nothing() {
    let provider = Provider::start();
    let server = provider.server("device");
    for (why, code) in [("access_denied", "forbidden"), ("expired_token", "expired")] {
        begin(&server);
        provider.types(Err(why));
        assert_eq!(ended(&server), code);
        assert_eq!(connection(&server)["consent"]["state"], "none");
    }
    let wrong = json!({"client_id": "nobody", "client_secret": "nothing-0123456789"});
    let detail = server.post(&format!("{CONNECTION}/authorize"), wrong).refused(502, "upstream");
    assert!(detail.contains("invalid_client") && detail.contains("MUSIC_CLIENT_ID"), "{detail}");
    server.post(&format!("{CONNECTION}/authorize"), json!({})).refused(422, "invalid");
    assert_eq!(songs(&server).expect(200)["ok"], false);
}
