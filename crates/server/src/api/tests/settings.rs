use super::*;
use serde_json::json;
use tercel_store::MASK;

const SETTINGS: &str = "/api/v1/admin/integrations/example/settings";

#[tokio::test]
async fn secrets_are_masked_and_a_mask_changes_nothing() {
    let server = server().await;
    let put = server.call("PUT", SETTINGS, json!({"settings": {"EXAMPLE_TOKEN": "hunter2-hunter2"}})).await;
    let token = |value: Value, source: &str, is_set: bool| json!({"key": "EXAMPLE_TOKEN", "description": "Token", "required": true, "secret": true, "value": value, "source": source, "is_set": is_set, "default": null});
    let address = |value: &str, source: &str| json!({"key": "EXAMPLE_API_URL", "description": "Address", "required": false, "secret": false, "value": value, "source": source, "is_set": true, "default": "https://api.example.com"});
    let set = json!({"settings": [token(json!(MASK), "db", true), address("https://api.example.com", "default")]});
    assert_eq!(put.json(), set);
    let again = json!({"settings": {"EXAMPLE_TOKEN": MASK, "EXAMPLE_API_URL": "https://api.example.com/v2"}});
    let put = server.call("PUT", SETTINGS, again).await;
    assert_eq!(
        put.json(),
        json!({"settings": [token(json!(MASK), "db", true), address("https://api.example.com/v2", "db")]})
    );
    let stored = server.app.catalog().integrations["example"].connections["default"].fields["token"].clone();
    assert_eq!(stored, "hunter2-hunter2");
    let rows = format!("{:?}", server.app.store.settings().await.unwrap());
    assert!(!rows.contains("hunter2"), "the secret is stored in the clear: {rows}");
    assert_eq!(server.call("DELETE", &format!("{SETTINGS}/EXAMPLE_TOKEN"), Value::Null).await.status, 204);
    let left = server.call("GET", SETTINGS, Value::Null).await.json();
    assert_eq!(left["settings"][0], token(Value::Null, "default", false));
}

#[tokio::test]
async fn a_key_that_nobody_declared_is_refused_with_the_nearest() {
    let server = server().await;
    let put = server.refusal("PUT", SETTINGS, json!({"settings": {"EXAMPLE_TOKN": "x"}})).await;
    assert_eq!(put, (422, "settings: there is no `EXAMPLE_TOKN`; did you mean `EXAMPLE_TOKEN`?".into()));
    let put = server.refusal("PUT", SETTINGS, json!({"settings": {"EXAMPLE_API_URL": "nonsense"}})).await;
    assert_eq!(put, (422, "EXAMPLE_API_URL: an address that begins with https:// or http:// is expected".into()));
    let unknown = server.refusal("GET", "/api/v1/admin/integrations/nothing/settings", Value::Null).await;
    assert_eq!(unknown, (404, "There is no integration `nothing`".into()));
}

#[tokio::test]
async fn a_connection_that_fails_its_test_is_saved_only_on_insistence() {
    let server = server().await;
    let path = "/api/v1/admin/integrations/example/connection";
    let stored = || server.app.catalog().integrations["example"].connections["default"].fields.get("token").cloned();
    let tried = server.call("POST", &format!("{path}/test"), json!({"token": ""})).await.json();
    assert_eq!((tried["ok"].clone(), tried["code"].clone()), (json!(false), json!("not_configured")));
    let tried = server.call("POST", &format!("{path}/connect"), json!({"token": "t0ken-value"})).await.json();
    assert_eq!((tried["code"].clone(), stored()), (json!("unsupported"), None));
    server.call("POST", &format!("{path}/connect?insist=true"), json!({"token": "t0ken-value"})).await;
    assert_eq!(stored().as_deref(), Some("t0ken-value"));
    let shown = server.call("GET", path, Value::Null).await.json();
    assert_eq!(shown["values"], json!({"token": MASK, "api_url": "https://api.example.com"}));
    assert_eq!(shown["health"]["code"], "unsupported");
    let unknown = server.refusal("POST", &format!("{path}/test"), json!({"tokn": "x"})).await;
    assert_eq!(unknown, (422, "fields: there is no `tokn`; did you mean `token`?".into()));
    let gone = server.call("POST", &format!("{path}/disconnect"), Value::Null).await.json();
    let left = json!({"api_url": "https://api.example.com"});
    assert_eq!((gone["connection"]["values"].clone(), stored()), (left, None));
}

#[tokio::test]
async fn the_list_has_what_a_card_shows() {
    let server = server_with(&[
        ("TERCEL_RATE", "0"),
        ("EXAMPLE_TOKEN", "from-the-environment"),
        ("BASE_URL", "https://t.example/"),
    ])
    .await;
    let list = server.call("GET", "/api/v1/admin/integrations", Value::Null).await.json();
    assert_eq!(
        list,
        json!({"integrations": [{
            "id": "example", "name": "Example", "version": "0.0.0", "source": "shipped", "way": "native",
            "icon": "Plug", "tier": "free", "locked": false, "has_router": false, "has_dispatcher": false, "has_hooks": false,
            "has_tools": false, "has_skills": false, "has_carapaces": false, "has_process": false, "process_status": null,
            "env_vars": [
                {"key": "EXAMPLE_TOKEN", "required": true, "secret": true, "description": "Token", "default": null, "is_set": true},
                {"key": "EXAMPLE_API_URL", "required": false, "secret": false, "description": "Address", "default": "https://api.example.com", "is_set": true},
            ],
            "webhook": null, "status": "ready", "error": null, "readme": "",
            "lacks": ["where the value of `token` comes from", "a README that says in steps how it is connected", "an icon"],
        }]})
    );
}
