//! A person agrees in the browser: what may come of it, and tokens that are renewed from then on.

use crate::{
    provider::{CONNECTION, Provider, SECRET, begin, come_back, connection, songs},
    world::put,
};
use serde_json::{Value, json};
use std::{fs, thread, time::Duration};
use tercel_tests::{Options, Receiver, Server, until, wait::until_within};

fn url(begun: &Value) -> &str {
    begun["url"].as_str().unwrap()
}

#[track_caller]
fn agreed(server: &Server, expected: &str) -> Value {
    let connection = connection(server);
    assert_eq!(connection["consent"]["state"], expected, "{connection:#}");
    connection
}

#[test]
fn somebody_agrees_in_the_browser_and_the_connection_works_with_no_token_to_be_seen() {
    let provider = Provider::start();
    let mut server = provider.server("code");
    let told = server.post(&format!("{CONNECTION}/test"), json!({})).expect(200);
    assert_eq!(told["code"], "not_configured", "{told:#}");
    assert!(connection(&server)["fields"][0]["help"].as_str().unwrap().ends_with("/api/v1/oauth/callback there"));

    let begun = begin(&server);
    assert_eq!(begun["flow"], "code");
    let before = agreed(&server, "none");
    assert!(before["consent"]["asking"]["ended"].is_null() && before["values"].as_object().unwrap().is_empty());
    assert!(!before.to_string().contains("state="), "who may only read is not given the address");
    let page = come_back(&server, &provider.agree(url(&begun)));
    assert_eq!((page.status, page.text().contains("music is connected as ada")), (200, true), "{page}");
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    let after = agreed(&server, "agreed");
    assert_eq!((&after["state"], &after["consent"]["account"]), (&json!("connected"), &json!("ada")));
    assert_eq!((&after["consent"]["scopes"], &after["consent"]["asking"]), (&json!(["read", "write"]), &Value::Null));

    let played = songs(&server).expect(200);
    assert_eq!(played["result"]["songs"], json!(["one"]));
    server.restart();
    songs(&server).expect(200);
    assert_eq!(provider.asked("refresh_token"), 0, "what counts still is used, also after a restart");
    let everything = format!("{played}{}{}{}", server.log(), server.options.stored(), connection(&server));
    for secret in ["access-of-the-tests", "refresh-of-the-tests", "code-of-the-tests"] {
        assert!(!everything.contains(secret), "{secret} is to be seen");
    }
}

#[test]
fn whoever_says_no_comes_late_or_is_a_stranger_connects_nothing() {
    let provider = Provider::start();
    let server = provider.server("code");
    let (first, second) = (begin(&server), begin(&server));
    for (what, address) in [
        ("who was asked before", provider.agree(url(&first))),
        ("a stranger", format!("{}x", provider.agree(url(&second)))),
        ("nobody", "http://127.0.0.1/api/v1/oauth/callback?code=c".into()),
    ] {
        let page = come_back(&server, &address);
        assert_eq!((page.status, page.text().contains("not known here")), (400, true), "{what}: {page}");
    }
    let page = come_back(&server, &provider.deny(url(&second)));
    assert_eq!((page.status, page.text().contains("The person said no")), (400, true), "{page}");
    assert!(!page.text().contains("<script>"), "{page}");
    let asking = agreed(&server, "none")["consent"]["asking"].clone();
    assert_eq!(asking["ended"]["code"], "forbidden", "{asking:#}");

    provider.state().codes_expire = true;
    let third = begin(&server);
    let page = come_back(&server, &provider.agree(url(&third)));
    assert_eq!((page.status, page.text().contains("invalid_grant")), (400, true), "{page}");
    provider.state().codes_expire = false;
    let page = come_back(&server, &provider.agree(url(&third)));
    assert_eq!(page.status, 400, "an address counts once: {page}");
    assert_eq!(songs(&server).expect(200)["ok"], false);

    let begun = begin(&server);
    let address = provider.agree(url(&begun));
    assert_eq!(come_back(&server, &address).status, 200);
    assert_eq!(come_back(&server, &address).status, 400, "and so does an answer");
    agreed(&server, "agreed");
    let values = json!({"client_id": "other client", "client_secret": "other-secret-0123456789"});
    let begun = server.post(&format!("{CONNECTION}/authorize"), values).expect(200);
    let address = format!("{}&", url(&begun).replace("other+client", "client+of+the+tests"));
    let page = come_back(&server, &provider.agree(&address));
    assert!(page.text().contains("MUSIC_CLIENT_ID and MUSIC_CLIENT_SECRET"), "{page}");
    assert_eq!(agreed(&server, "agreed")["values"]["client_id"], crate::provider::CLIENT, "what works is kept");
    songs(&server).expect(200);
}

#[test]
fn a_provider_that_is_down_when_the_browser_comes_back_is_asked_again_by_the_same_address() {
    let provider = Provider::start();
    let mut server = provider.server("code");
    let address = provider.agree(url(&begin(&server)));
    provider.state().is_down = true;
    let page = come_back(&server, &address);
    assert_eq!((page.status, page.text().contains("Load this page again")), (502, true), "{page}");
    server.kill9();
    server.start_again();
    provider.state().is_down = false;
    let landed = server.post(&format!("{CONNECTION}/authorize/landed"), json!({"address": address})).expect(200);
    assert_eq!((&landed["ok"], &landed["saved"], &landed["account"]), (&json!(true), &json!(true), &json!("ada")));
    let again = server.post(&format!("{CONNECTION}/authorize/landed"), json!({"address": address}));
    assert!(again.refused(422, "invalid").contains("begin again"));
    server.post(&format!("{CONNECTION}/authorize/landed"), json!({"address": "code"})).refused(422, "invalid");
}

#[test]
fn one_renews_for_all_and_what_was_renewed_is_kept_over_any_death() {
    let provider = Provider::start();
    provider.state().life = json!("0");
    let mut server = provider.agreed(provider.options("code"));
    until("it was tested", || (connection(&server)["state"] == "connected").then_some(()));
    provider.state().life = json!(3600);
    let before = provider.asked("refresh_token");
    let all = |server: &Server| {
        thread::scope(|scope| {
            let calls: Vec<_> = (0..8).map(|_| scope.spawn(|| songs(server).expect(200))).collect();
            calls.into_iter().for_each(|call| assert_eq!(call.join().unwrap()["ok"], true));
        });
    };
    all(&server);
    assert_eq!(provider.asked("refresh_token"), before + 1, "its time was over");
    provider.forget_access();
    all(&server);
    assert_eq!(provider.asked("refresh_token"), before + 2, "the service did not take it any more");
    server.kill9();
    server.start_again();
    provider.forget_access();
    all(&server);
    assert_eq!(provider.asked("refresh_token"), before + 3);
    agreed(&server, "agreed");
}

#[test]
fn a_provider_that_is_down_ends_no_consent() {
    let provider = Provider::start();
    let server = provider.agreed(provider.options("code"));
    provider.forget_access();
    provider.state().is_down = true;
    let failed = songs(&server).expect(200);
    assert_eq!((&failed["ok"], &failed["error"]["code"]), (&json!(false), &json!("network")), "{failed:#}");
    agreed(&server, "agreed");
    provider.state().is_down = false;
    assert_eq!(songs(&server).expect(200)["ok"], true);
}

#[test]
fn who_disconnects_takes_back_the_consent_at_the_service_as_well() {
    let provider = Provider::start();
    let server = provider.agreed(provider.options("code"));
    let gone = server.post(&format!("{CONNECTION}/disconnect"), json!({})).expect(200);
    assert_eq!(gone["revoked"], true, "{gone:#}");
    assert_eq!(provider.state().revoked.len(), 1);
    assert!(provider.state().revoked[0].starts_with("refresh-of-the-tests"));
    agreed(&server, "none");
    assert_eq!(songs(&server).expect(200)["ok"], false);
}

#[test]
fn a_new_version_that_asks_for_more_works_with_the_old_consent_and_says_so() {
    let provider = Provider::start();
    let server = provider.agreed(provider.options("code"));
    put(&server.options, "music", &provider.manifest("code", "read, write, delete"));
    let notice = until("it is told", || {
        server.list("/api/v1/notices?open=true").into_iter().find(|notice| notice["key"] == "consent:music")
    });
    assert!(notice["detail"].as_str().unwrap().contains("delete"), "{notice:#}");
    assert_eq!(agreed(&server, "agreed")["consent"]["lacks"], json!(["delete"]));
    assert_eq!(songs(&server).expect(200)["ok"], true);
    put(&server.options, "music", &provider.manifest("code", "read, write"));
    until("it is over", || server.list("/api/v1/notices?open=true").is_empty().then_some(()));
}

const TOOL: &str = r#"
import httpx
from app.services.integration_settings import get_access_token
from integrations._register import register


@register({"type": "function", "function": {"name": "music_count", "description": "Counts songs.", "parameters": {"type": "object", "properties": {}}}})
def music_count():
    token = get_access_token("music")
    for _ in range(2):
        answer = httpx.get("SERVICE/v1/songs", headers={"Authorization": f"Bearer {token}"})
        if answer.status_code != 401:
            break
        token = get_access_token("music", refused=token)
    return {"status": answer.status_code, "songs": len(answer.json()["songs"])}
"#;

#[test]
fn code_of_a_folder_is_given_tokens_and_nobody_else_is() {
    let provider = Provider::start();
    let options = provider.options("code").with_shared_python();
    let tool = "  - {name: music_count, description: Counts songs., effect: read}\n";
    put(&options, "music", &(provider.manifest("code", "read, write") + tool));
    let tools = options.place().join("integrations/music/tools");
    fs::create_dir_all(&tools).unwrap();
    fs::write(tools.join("count.py"), TOOL.replace("SERVICE", &provider.service.url())).unwrap();
    let server = provider.agreed(options);
    until_within(Duration::from_secs(60), "the code is loaded", || {
        server.list("/api/v1/tools").iter().any(|tool| tool["name"] == "music_count").then_some(())
    });
    for renewed in 0..2 {
        let counted = server.post("/api/v1/tools/music_count/call", json!({"arguments": {}})).expect(200);
        assert_eq!(counted["result"], json!({"status": 200, "songs": 1}), "{counted:#}");
        assert_eq!(provider.asked("refresh_token"), renewed);
        provider.forget_access();
    }
    server.get(&format!("{CONNECTION}/token")).refused(403, "forbidden");
}

#[test]
fn what_somebody_agreed_to_does_not_follow_an_address() {
    let (provider, elsewhere) = (Provider::start(), Receiver::start());
    let (options, service) = (Options::new().allow_loopback(), provider.service.url());
    let field = format!("fields:\n  - {{key: server, label: Server, type: url, default: \"{service}\"}}\n");
    let manifest = provider.manifest("code", "read, write").replace("fields:\n", &field);
    let manifest = manifest.replace(&format!("base: \"{service}/v1\""), "base: \"{{ fields.server }}/v1\"");
    put(&options, "music", &manifest);
    let server = provider.agreed(options);
    assert_eq!(songs(&server).expect(200)["ok"], true);
    let moved = json!({"server": elsewhere.url()});
    let refused = server.post(&format!("{CONNECTION}/connect"), moved).refused(422, "invalid");
    assert!(refused.starts_with("client_secret: enter it again"), "{refused}");
    let moved = json!({"server": elsewhere.url(), "client_secret": SECRET});
    for how in ["test", "connect?insist=true"] {
        let refused = server.post(&format!("{CONNECTION}/{how}"), moved.clone()).refused(422, "invalid");
        assert!(refused.starts_with("server: ask again by `authorize`"), "{refused}");
    }
    server.post(&format!("{CONNECTION}/authorize"), moved).expect(200);
    assert!(elsewhere.received().is_empty(), "{:?}", elsewhere.received());
}
