//! Code of a folder that works with what a person agreed to: its class is asked about the tokens that are to be saved, and what
//! needs a consent that is over waits.

use crate::{
    provider::{CONNECTION, Provider, begin, come_back, connection, go_on, link},
    world::{card, put},
};
use serde_json::json;
use std::{fs, time::Duration};
use tercel_tests::{Answer, FakeModel, Options, Server, Turn, wait::until_within};

const LONG: Duration = Duration::from_secs(180);

const ASKING: &str = r#"
import httpx
from app.services.integration_settings import get_access_token


def ask(method, path):
    token = get_access_token("music")
    for _ in range(2):
        answer = httpx.request(method, f"SERVICE/v1{path}", headers={"Authorization": f"Bearer {token}"})
        if answer.status_code != 401:
            break
        token = get_access_token("music", refused=token)
    answer.raise_for_status()
    return answer.json()
"#;

const CLASS: &str = r#"
from integrations.music.asking import ask
from scripts.integrations.base import IntegrationBase


class Music(IntegrationBase):
    name = "music"
    label = "Music"
    tier = "free"

    def fields(self):
        return []

    def connect(self, config):
        return True

    def test(self):
        me = ask("GET", "/me")
        return {"ok": True, "account": me["name"], "account_id": me["id"]}
"#;

const TOOL: &str = r#"
from integrations._register import register
from integrations.music.asking import ask


@register({"type": "function", "function": {"name": "music_count", "description": "Counts songs.", "parameters": {"type": "object", "properties": {}}}})
def music_count():
    return {"songs": len(ask("GET", "/songs")["songs"])}
"#;

const DISPATCHER: &str = r#"
from app.agent.dispatchers import register
from integrations.music.asking import ask


class Music:
    def deliver(self, task, result, client_actions=None, extra_metadata=None):
        ask("POST", "/plays")
        return True

    def post_message(self, dispatch_config, text, **kwargs):
        return False


register("music", Music())
"#;

const TEST: &str = "test: {get: /me, account: response.json.name, account_id: response.json.id}\n";

fn options(provider: &Provider, manifest: &str, files: &[(&str, &str)]) -> Options {
    let options = provider.options("code").with_shared_python();
    let folder = put(&options, "music", manifest);
    for (path, text) in files.iter().chain(&[("asking.py", ASKING)]) {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.replace("SERVICE", &provider.service.url())).unwrap();
    }
    options
}

fn loads(server: &Server) {
    until_within(LONG, "the code is loaded", || {
        let card = card(server, "music");
        let is_there = card["worker"].is_object() && card["worker"]["state"] != "preparing";
        let status = card["status"].as_str().unwrap_or_default();
        (is_there && ["ready", "partial", "not_configured"].contains(&status)).then_some(())
    });
}

/// Somebody agrees at this address, as whoever this is at the service.
#[track_caller]
fn agrees(server: &Server, provider: &Provider, address: &str, name: &str, account: u32) -> Answer {
    (provider.state().person, provider.state().account) = (name.into(), account);
    loads(server);
    come_back(server, &provider.agree(address))
}

#[track_caller]
fn agrees_by_link(server: &Server, provider: &Provider, name: &str, account: u32) -> Answer {
    let gone_on = go_on(server, &link(server));
    assert_eq!(gone_on.status, 303, "{gone_on}");
    agrees(server, provider, gone_on.header("location").unwrap(), name, account)
}

#[test]
fn a_class_is_asked_about_the_tokens_that_are_to_be_saved() {
    let provider = Provider::start();
    let manifest = provider.manifest("code", "read, write").replace(TEST, "");
    assert!(!manifest.contains("test:"), "{manifest}");
    let server = Server::start(options(&provider, &manifest, &[("connector.py", CLASS)]));
    loads(&server);
    // The tokens of the first one count on, and say nothing of the second.
    for (name, account) in [("ada", 1), ("eve", 2)] {
        let begun = begin(&server);
        let page = agrees(&server, &provider, begun["url"].as_str().unwrap(), name, account);
        let said = format!("music is connected as {name}");
        assert_eq!((page.status, page.text().contains(&said)), (200, true), "{page}");
        assert_eq!(connection(&server)["consent"]["account"], name);
    }

    provider.take_back();
    until_within(LONG, "it is over", || {
        let tested = server.post(&format!("{CONNECTION}/test"), json!({})).expect(200);
        (tested["code"] == "auth").then_some(())
    });
    assert_eq!(connection(&server)["consent"]["state"], "over");
    let page = agrees_by_link(&server, &provider, "ada", 1);
    let said = "`ada` agreed, and `music` is connected as `eve`";
    assert_eq!((page.status, page.text().contains(said)), (400, true), "{page}");
    assert_eq!(connection(&server)["consent"]["state"], "over");
    let page = agrees_by_link(&server, &provider, "eve", 2);
    assert_eq!((page.status, page.text().contains("music is connected as eve")), (200, true), "{page}");
    assert_eq!(connection(&server)["consent"]["state"], "agreed");
}

#[test]
fn answers_and_runs_of_code_wait_for_a_consent_that_is_over() {
    let provider = Provider::start();
    let model = FakeModel::start();
    let tool = "  - {name: music_count, description: Counts songs., effect: read}\n";
    let manifest = provider.manifest("code", "read, write") + tool;
    let files = [("tools/count.py", TOOL), ("dispatcher.py", DISPATCHER)];
    let server = Server::start(options(&provider, &manifest, &files).model(&model));
    loads(&server);
    let begun = begin(&server);
    let page = agrees(&server, &provider, begun["url"].as_str().unwrap(), "ada", 1);
    assert_eq!(page.status, 200, "{page}");
    server.put("/api/v1/bots/default", json!({"id": "default", "tools": ["*"]})).accepted();
    loads(&server);
    let counted = server.post("/api/v1/tools/music_count/call", json!({"arguments": {}})).expect(200);
    assert_eq!(counted["result"], json!({"songs": 1}), "{counted:#}");

    provider.take_back();
    let target = json!({"type": "music"});
    let asked = json!({"content": "Play one", "dispatch_config": target, "notify": false});
    model.script(|_| Turn::text("Played."));
    let answered = server.ask_with(&server.session("web:alice"), asked);
    server.complete(&answered);
    let row = server.outbox(&answered, &["parked", "dead", "held"]);
    assert_eq!((&row["state"], &row["error"]["code"]), (&json!("parked"), &json!("auth")), "{row:#}");

    model.script(|asked| match asked.results().as_slice() {
        [] => Turn::call("music_count", json!({})),
        results => Turn::text(&results.join(" ")),
    });
    let counting = server.ask(&server.session("web:bob"), "Count them");
    let waiting = server.wait_for(&counting, &["waiting", "complete", "failed"]);
    assert_eq!((&waiting["status"], &waiting["error"]["code"]), (&json!("waiting"), &json!("auth")), "{waiting:#}");

    let page = agrees_by_link(&server, &provider, "ada", 1);
    assert_eq!(page.status, 200, "{page}");
    until_within(LONG, "the answer leaves", || {
        let rows = server.list("/api/v1/outbox");
        rows.iter().any(|row| row["task_id"] == answered.as_str() && row["state"] == "sent").then_some(())
    });
    assert_eq!(provider.state().plays, 1);
    until_within(LONG, "the run goes on", || (server.task(&counting)["status"] == "complete").then_some(()));
    assert!(server.task(&counting)["result"].as_str().unwrap().contains("songs"));
}
