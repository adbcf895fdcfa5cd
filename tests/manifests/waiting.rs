//! A consent that is over: runs that need it wait, people are told where to agree again, and the runs go on then.

use crate::provider::{Provider, come_back, connection, go_on, link};
use serde_json::{Value, json};
use tercel_tests::{FakeModel, Server, Turn, until};

const WAITS: &str = "consent:music";

fn world(provider: &Provider) -> (Server, FakeModel) {
    let model = FakeModel::start();
    let server = provider.agreed(provider.options("code").model(&model));
    server.put("/api/v1/bots/default", json!({"id": "default", "tools": ["*"]})).accepted();
    model.script(|asked| match asked.results().as_slice() {
        [] => Turn::Calls(vec![("music_play".into(), json!({"song": "one"})), ("music_songs".into(), json!({}))]),
        results => Turn::text(&results.join(" ")),
    });
    (server, model)
}

#[test]
fn runs_wait_for_a_consent_and_go_on_when_somebody_has_agreed_again() {
    let provider = Provider::start();
    let (mut server, model) = world(&provider);
    provider.take_back();
    let session = server.session("web:alice");
    let task = server.ask(&session, "Play one");
    let waiting = server.wait_for(&task, &["waiting"]);
    assert_eq!(waiting["error"]["code"], "auth", "{waiting:#}");
    let over = until("it is tested", || Some(connection(&server)).filter(|shown| shown["state"] == "failing"));
    assert_eq!(over["consent"]["state"], "over", "{over:#}");
    let open = server.list("/api/v1/notices?open=true");
    assert_eq!(open.len(), 1, "one thing is wrong, and told once: {open:#?}");
    // Neither a restart nor somebody who is impatient makes it go on.
    server.kill9();
    server.start_again();
    server.post(&format!("/api/v1/tasks/{task}/resume"), json!({})).accepted();
    server.wait_for(&task, &["waiting"]);

    let path = link(&server);
    // Anybody can take the name of somebody else.
    for (taken_back, name) in [(1, "eve"), (2, "ada")] {
        let gone_on = go_on(&server, &path);
        assert_eq!(gone_on.status, 303, "{gone_on}");
        let address = gone_on.header("location").unwrap().to_owned();
        assert_eq!(
            go_on(&server, &path).header("location").unwrap(),
            address,
            "whoever comes first takes nothing away"
        );
        (provider.state().person, provider.state().account) = (name.into(), 2);
        let page = come_back(&server, &provider.agree(&address));
        let said = format!("`{name}` agreed, and `music` is connected as `ada`");
        assert_eq!((page.status, page.text().contains(&said)), (400, true), "{page}");
        server.wait_for(&task, &["waiting"]);
        assert_eq!(provider.state().revoked.len(), taken_back, "what the other one agreed to is taken back");
    }

    (provider.state().person, provider.state().account) = ("ada lovelace".into(), 1);
    let gone_on = go_on(&server, &path);
    let page = come_back(&server, &provider.agree(gone_on.header("location").unwrap()));
    assert_eq!(page.status, 200, "{page}");
    let done = server.complete(&task);
    assert!(done["result"].as_str().unwrap().contains("played"), "{done:#}");
    assert_eq!(model.calls(), 2, "the model is not asked again for what it has asked for");
    assert_eq!(provider.state().plays, 1);
    until("it is over", || {
        server.list("/api/v1/notices?open=true").iter().all(|one| one["key"] != WAITS).then_some(())
    });
    let other = path.replace("default", "other");
    for wrong in [path.clone(), other, format!("{path}x"), "/api/v1/oauth/agree/music/default/".into()] {
        assert!(server.anonymous().get(&wrong).status >= 400 && go_on(&server, &wrong).status >= 400, "{wrong}");
    }
}

#[test]
fn who_disconnects_lets_runs_go_on_without() {
    let provider = Provider::start();
    let (server, _model) = world(&provider);
    provider.take_back();
    let task = server.ask(&server.session("web:alice"), "Play one");
    server.wait_for(&task, &["waiting"]);
    server.post(&format!("{}/disconnect", crate::provider::CONNECTION), json!({})).accepted();
    let done = server.complete(&task);
    assert!(done["result"].as_str().unwrap().contains("not_configured"), "{done:#}");
    until("it is over", || server.list("/api/v1/notices?open=true").is_empty().then_some(()));
}

#[test]
fn without_an_id_of_the_account_nobody_can_agree_by_a_link() {
    let provider = Provider::start();
    let options = provider.options("code");
    crate::world::put(
        &options,
        "music",
        &provider.manifest("code", "read, write").replace(", account_id: response.json.id", ""),
    );
    let server = provider.agreed(options);
    provider.take_back();
    assert_eq!(crate::provider::songs(&server).expect(200)["error"]["code"], "auth");
    let notice: Value = server.notice(WAITS);
    assert!(
        notice["repair"]
            .as_str()
            .unwrap()
            .contains("POST /api/v1/admin/integrations/music/connections/default/authorize"),
        "{notice:#}"
    );
    assert!(server.anonymous().get("/api/v1/oauth/agree/music/default/AAAA").status >= 400);
}
