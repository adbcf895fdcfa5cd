//! Requests whose tokens the server gets.

use super::{bench, made, wrong};
use serde_json::json;
use tercel_sdk::{
    Kind,
    grant::{Authenticates, Flow, Grant},
    testing::{self, respond},
};

const BY_CLIENT: &str = r#"
fields: [{key: url, type: url}, {key: id, type: text}, {key: secret, type: password}]
http:
  base: "https://api.forge.example"
  auth: {oauth2: {flow: client_credentials, token: "{{ fields.url }}/token", client: {id: id, secret: secret, send: form}, scopes: [a, b], params: {audience: api}}}
tools: [{name: forge_do, description: A., args: {}, post: /do}, {name: forge_see, description: B., args: {}, get: /see}]
"#;

#[test]
fn what_a_token_is_got_with_is_told_to_the_server() {
    let integration = made(BY_CLIENT);
    let bench = testing::check(integration.clone()).with("url", "https://login.forge.example/");
    let Grant::OAuth(oauth) = integration.grant.unwrap()(&bench.host()).unwrap() else { panic!() };
    assert_eq!((oauth.flow, oauth.token.as_str()), (Flow::ClientCredentials, "https://login.forge.example/token"));
    assert_eq!(
        (oauth.client_id.as_str(), oauth.client_secret.as_deref(), oauth.send),
        ("id", Some("secret"), Authenticates::Form)
    );
    assert_eq!((oauth.scopes, oauth.params), (vec!["a".into(), "b".into()], vec![("audience".into(), "api".into())]));
}

#[tokio::test]
async fn a_token_that_is_not_taken_any_more_is_replaced_once() {
    let (bench, fake) = bench(BY_CLIENT);
    let bench = bench.tokens(&["token-one", "token-two"]);
    let answer = |request: &tercel_sdk::http::Request| match request.headers["authorization"] == "Bearer token-two" {
        true => Ok(respond(200, &[], r#"{"said": "you are token-two"}"#)),
        false => Ok(respond(401, &[], "token-one is over")),
    };
    fake.on_with("POST /do", answer);
    let answer = bench.call("forge_do", json!({})).await.unwrap();
    assert_eq!(answer, json!({"said": "you are ***"}), "the service quotes the token, and nobody else does");
    assert_eq!(fake.requests().len(), 2);
    fake.on("POST /do", 401, json!("no"));
    assert_eq!(bench.call("forge_do", json!({})).await.unwrap_err().kind, Kind::Auth);
    assert_eq!(fake.requests().len(), 3, "there is no third token, and nothing is sent without one");
    let error = bench.call("forge_see", json!({})).await.unwrap_err();
    assert!(error.message.contains("no more tokens"), "{error}");
}

#[test]
fn a_grant_that_cannot_work_is_said_before_it_is_tried() {
    let oauth = |rest: &str| {
        format!(
            "fields: [{{key: id, type: text}}, {{key: secret, type: password}}]\nhttp: {{auth: {{oauth2: {{token: \"https://a.example/t\", {rest}}}}}}}\n"
        )
    };
    for (rest, said) in [
        ("flow: code, client: {id: id, secret: secret}", "needs `authorize`"),
        ("flow: device, client: {id: id, secret: secret}", "needs `device`"),
        ("flow: client_credentials, client: {id: id}", "send: none"),
        ("flow: client_credentials, client: {id: id, secret: id}", "is to hold a secret"),
        ("flow: client_credentials, client: {id: ib, secret: secret}", "is `id` meant?"),
        ("flow: implicit, client: {id: id}", "none of code, device, client_credentials"),
    ] {
        let words = wrong(&oauth(rest));
        assert!(words.contains(said), "{rest}: {words}");
    }
}
