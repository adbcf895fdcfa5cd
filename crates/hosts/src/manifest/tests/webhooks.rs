//! Webhooks: what the service is told about them, and schemes that the operator chooses.

use super::{made, wrong};
use bytes::Bytes;
use serde_json::json;
use std::time::{Duration, UNIX_EPOCH};
use tercel_sdk::{
    Dedupe, Kind, Refusal,
    integration::Sample,
    testing::{self, Fake},
};

const HOOK: &str = r#"
fields: [{key: token, type: password, required: true}]
http: {base: "https://api.forge.example", auth: {bearer: token}}
webhook:
  verify: {bearer: token}
  register: {post: /hooks, json: {url: "{{ webhook.url }}", secret: "{{ secrets.token }}"}, id: response.json.id}
  unregister: {delete: "/hooks/{{ id }}"}
events: [{name: a, session: s, prompt: p}]
"#;

#[tokio::test]
async fn a_service_is_told_where_to_send_and_that_nothing_is_to_come() {
    let (integration, fake) = (made(HOOK), Fake::new());
    let webhook = integration.webhook.clone().unwrap();
    let bench = testing::check(integration).with("token", "t0ken").world(&fake);
    fake.on("POST /hooks", 201, json!({"id": 7}));
    let url = "https://tercel.example/integrations/forge/webhook";
    let told = webhook.register.as_ref().unwrap()(bench.host(), json!({"url": url}).into()).await.unwrap();
    assert_eq!(told, json!({"id": 7}));
    assert_eq!(fake.requests()[0].body, format!(r#"{{"url":"{url}","secret":"t0ken"}}"#));
    fake.on("DELETE /hooks/7", 204, json!(""));
    let unregister = webhook.unregister.as_ref().unwrap();
    unregister(bench.host(), json!({"url": url, "id": 7}).into()).await.unwrap();
    let error = unregister(bench.host(), json!({"url": url, "id": null}).into()).await.unwrap_err();
    assert!(error.kind == Kind::Schema && fake.requests().len() == 2, "never all of them: {error}");
}

#[test]
fn what_is_told_to_a_service_is_a_request() {
    let hook = |rest: &str| {
        format!(
            "fields: [{{key: t, type: password}}]\nhttp: {{base: \"https://a.example\"}}\nwebhook: {{verify: {{bearer: t}}, {rest}}}\nevents: [{{name: a, session: s, prompt: p}}]\n"
        )
    };
    for (rest, said) in [
        ("register: {id: response.json.id}", "`register` needs a request"),
        ("unregister: {delete: /hooks}", "takes back what `register` did"),
        ("register: {post: /hooks, json: {url: \"{{ webhook.ulr }}\"}}", "is `webhook.url` meant?"),
        ("register: {post: /hooks}, unregister: {delete: \"/hooks/{{ ib }}\"}", "is `id` meant?"),
    ] {
        let words = wrong(&hook(rest));
        assert!(words.contains(said), "{rest}: {words}");
    }
}

const CHOSEN: &str = r#"
fields:
  - {key: scheme, type: text, options: [gitlab, bearer, standard], default: bearer}
  - {key: secret, type: password, required: true}
  - {key: id, type: text}
webhook: {verify: {chosen: {scheme: scheme, secret: secret}}, dedupe: {id: fields.id | fill(body)}}
events: [{name: a, session: s, prompt: "{{ body.text }}"}]
"#;

#[test]
fn the_operator_chooses_how_a_service_proves_who_it_is() {
    let body = json!({"text": "x", "n": 5});
    let sample = Sample { name: String::new(), headers: Default::default(), body, sign: None };
    let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    for scheme in ["gitlab", "bearer", "standard"] {
        let bench = testing::check(made(CHOSEN)).with("secret", secret).with("scheme", scheme);
        assert_eq!(bench.receive(&sample).unwrap().dedupe, Dedupe::Body, "{scheme}");
        let refused = bench.receive_raw(Default::default(), Bytes::from("{}"), UNIX_EPOCH + Duration::from_secs(1));
        assert!(matches!(refused, Err(Refusal::Signature(_))), "{scheme}: {refused:?}");
    }
    let bench = testing::check(made(CHOSEN)).with("secret", secret).with("id", "e/{n}");
    assert_eq!(bench.receive(&sample).unwrap().dedupe, Dedupe::SignedId("e/5".into()));
}

#[test]
fn what_can_be_chosen_is_a_scheme() {
    for (options, said) in [("", "needs `options`"), (", options: [bearer, none]", "`none` is no scheme")] {
        let text = format!(
            "fields: [{{key: how, type: text{options}}}, {{key: t, type: password}}]\n\
             webhook: {{verify: {{chosen: {{scheme: how, secret: t}}}}}}\nevents: [{{name: a, session: s, prompt: p}}]\n"
        );
        let words = wrong(&text);
        assert!(words.contains(said), "{words}");
    }
}
