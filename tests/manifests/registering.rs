//! Services that are told where to send what happens.

use crate::world::{Service, put};
use serde_json::{Value, json};
use tercel_tests::{Options, Server, loopback::Reply, until};

const SIREN: &str = r#"
schema: 1
name: siren
fields:
  - {key: token, label: Token, type: password, required: true}
  - {key: secret, label: Secret, type: password, required: true}
http: {base: "SERVICE", auth: {bearer: token}}
webhook:
  verify: {bearer: secret}
  register:
    post: /hooks
    json: {url: "{{ webhook.url }}", secret: "{{ secrets.secret }}"}
    id: response.json.id
  unregister: {delete: "/hooks/{{ id }}", ok: "response.status in [204, 404]"}
events: [{name: rings, session: rings, prompt: "{{ body.text }}", run: store}]
"#;

fn options(service: &Service) -> Options {
    let options = Options::new()
        .allow_loopback()
        .env("BASE_URL", "https://tercel.example")
        .env("SIREN_TOKEN", "the-token-of-these-tests")
        .env("SIREN_SECRET", "the-secret-of-these-tests");
    put(&options, "siren", &SIREN.replace("SERVICE", &service.url()));
    options
}

fn takes(service: &Service) {
    let mut number = 0;
    service.on("POST /hooks", move |_| {
        number += 1;
        Reply::json(201, &json!({"id": format!("h{number}")}))
    });
}

fn registered(server: &Server) -> Value {
    server.get("/api/v1/admin/integrations/siren/webhook").expect(200)["registered"].clone()
}

#[test]
fn a_service_is_told_once_and_again_when_something_changes() {
    let service = Service::start();
    takes(&service);
    let mut server = Server::start(options(&service));
    let told = service.wait_for("POST /hooks", 1);
    let url = "https://tercel.example/integrations/siren/webhook";
    assert_eq!(told[0].json(), json!({"url": url, "secret": "the-secret-of-these-tests"}));
    assert_eq!(told[0].header("authorization"), "Bearer the-token-of-these-tests");
    until("it is shown", || (registered(&server)["url"] == url).then_some(()));
    server.restart();
    // This one is told after the start, so that the first would have been told again by now.
    let settings = json!({"settings": {"SIREN_SECRET": "another-secret-of-these-tests"}});
    server.put("/api/v1/admin/integrations/siren/settings", settings).expect(200);
    let told = service.wait_for("POST /hooks", 2);
    assert_eq!(told[1].json()["secret"], "another-secret-of-these-tests");
    server.stop();
    server.start_again_with(|options| options.env("BASE_URL", "https://moved.example"));
    let told = service.wait_for("POST /hooks", 3);
    assert_eq!(told[2].json()["url"], "https://moved.example/integrations/siren/webhook");
    assert_eq!(told.len(), 3);
    let stored = server.options.stored();
    assert!(!stored.contains("secret-of-these-tests"), "what was told is not kept");
}

#[test]
fn who_disconnects_is_sent_nothing_any_more() {
    let service = Service::start();
    takes(&service);
    let server = Server::start(options(&service));
    until("it was told", || registered(&server).is_object().then_some(()));
    service.on("DELETE /hooks/h1", |_| Reply::text(204, &[], ""));
    server.post("/api/v1/admin/integrations/siren/connection/disconnect", json!({})).expect(200);
    assert_eq!(service.wait_for("DELETE /hooks/h1", 1).len(), 1);
}

#[test]
fn a_service_that_says_no_is_told_again_and_meanwhile_somebody_here_is() {
    let service = Service::start();
    let mut first = true;
    service.on("POST /hooks", move |_| match std::mem::take(&mut first) {
        true => Reply::text(403, &[], "not yours"),
        false => Reply::json(201, &json!({"id": 7})),
    });
    let server = Server::start(options(&service));
    let notice = server.notice("registering:siren");
    assert!(notice["detail"].as_str().unwrap().contains("not yours"), "{notice:#}");
    assert!(registered(&server).is_null());
    let settings = json!({"settings": {"SIREN_SECRET": "another-secret-of-these-tests"}});
    server.put("/api/v1/admin/integrations/siren/settings", settings).expect(200);
    until("it was told with the other", || registered(&server).is_object().then_some(()));
    until("the notice is over", || {
        let open = server.list("/api/v1/notices?open=true");
        open.iter().all(|notice| notice["key"] != "registering:siren").then_some(())
    });
}

#[test]
fn without_an_address_of_its_own_the_server_tells_nobody() {
    let service = Service::start();
    takes(&service);
    let server = Server::start(options(&service).without("BASE_URL"));
    server.post("/api/v1/admin/integrations/siren/connection/disconnect", json!({})).expect(200);
    assert!(service.received().is_empty());
}

#[test]
fn each_account_is_told_an_address_of_its_own() {
    let service = Service::start();
    takes(&service);
    service.on("DELETE /hooks/h2", |_| Reply::text(204, &[], ""));
    let server = Server::start(options(&service));
    service.wait_for("POST /hooks", 1);
    let path = "/api/v1/admin/integrations/siren/connections/work";
    let values = json!({"token": "the-other-token-of-these-tests", "secret": "the-other-secret-of-these-tests"});
    // It has no test, which whoever connects it knows.
    server.post(&format!("{path}/connect?insist=true"), values).expect(200);
    let told = service.wait_for("POST /hooks", 2);
    let url = "https://tercel.example/integrations/siren/c/work/webhook";
    assert_eq!(told[1].json(), json!({"url": url, "secret": "the-other-secret-of-these-tests"}));
    assert_eq!(told[1].header("authorization"), "Bearer the-other-token-of-these-tests");
    server.post(&format!("{path}/disconnect"), json!({})).accepted();
    let gone = service.wait_for("DELETE /hooks/h2", 1);
    assert_eq!(gone[0].header("authorization"), "Bearer the-other-token-of-these-tests");
    assert_eq!(service.received().len(), 3, "the first account is left alone");
}
