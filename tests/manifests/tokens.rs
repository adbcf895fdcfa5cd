//! Integrations whose requests carry tokens that the server gets, against a token server and a service that checks them.

use crate::world::{Service, put};
use serde_json::{Value, json};
use std::{
    collections::BTreeMap,
    process::Command,
    sync::{Arc, Mutex},
};
use tercel_tests::{Options, Server, loopback::Reply};

const SHEETS: &str = r#"
schema: 1
name: sheets
fields:
  - {key: client_id, label: Client, type: text}
  - {key: client_secret, label: Secret, type: password}
  - {key: key_file, label: Key file, type: password, multiline: true}
http: {base: "SERVICE/v1", auth: AUTH}
test: {get: /me, account: response.json.name}
tools:
  - {name: sheets_rows, description: Lists rows., effect: read, args: {}, get: /rows, result: response.json}
"#;

const BY_CLIENT: &str = "{oauth2: {flow: client_credentials, token: \"SERVICE/token\", client: {id: client_id, secret: client_secret}, scopes: [rows]}}";

/// Gives tokens one after the other, and takes the last one that it gave.
fn service() -> (Service, Arc<Mutex<u32>>) {
    let service = Service::start();
    let given: Arc<Mutex<u32>> = Arc::default();
    let giving = given.clone();
    service.on("POST /token", move |_| {
        let mut given = giving.lock().unwrap();
        *given += 1;
        Reply::json(
            200,
            &json!({"access_token": format!("token-of-the-tests-{given}"), "expires_in": 3600, "token_type": "bearer"}),
        )
    });
    for path in ["me", "rows"] {
        let given = given.clone();
        service.on(&format!("GET /v1/{path}"), move |request| {
            let expected = format!("Bearer token-of-the-tests-{}", given.lock().unwrap());
            match request.header("authorization") == expected {
                true => Reply::json(200, &json!({"name": "robot", "quoted": expected})),
                false => Reply::json(401, &json!({"error": "expired"})),
            }
        });
    }
    (service, given)
}

fn server(service: &Service, auth: &str, values: &[(&str, &str)]) -> Server {
    let options =
        values.iter().fold(Options::new().allow_loopback(), |options, (name, value)| options.env(name, value));
    put(&options, "sheets", &SHEETS.replace("AUTH", auth).replace("SERVICE", &service.url()));
    Server::start(options)
}

fn rows(server: &Server) -> Value {
    server.post("/api/v1/tools/sheets_rows/call", json!({"arguments": {}})).expect(200)
}

const CLIENT: [(&str, &str); 2] =
    [("SHEETS_CLIENT_ID", "client"), ("SHEETS_CLIENT_SECRET", "secret-of-the-tests-0123456789")];

#[test]
fn one_token_serves_many_requests_until_the_service_does_not_take_it() {
    let (service, given) = service();
    let server = server(&service, BY_CLIENT, &CLIENT);
    for _ in 0..3 {
        rows(&server);
    }
    assert_eq!(service.wait_for("POST /token", 1).len(), 1);
    // As if somebody had revoked it.
    *given.lock().unwrap() += 1;
    let answer = rows(&server);
    assert_eq!(service.wait_for("POST /token", 2).len(), 2);
    assert!(!answer.to_string().contains("token-of-the-tests"), "what quotes the token is cut: {answer}");
    let everything = server.log() + &server.options.stored();
    assert!(!everything.contains("token-of-the-tests"), "tokens are kept nowhere");
}

#[test]
fn who_has_no_right_credentials_is_told_which_are_wrong() {
    let (service, _) = service();
    service.on("POST /token", |_| {
        Reply::json(401, &json!({"error": "invalid_client", "error_description": "Unknown client"}))
    });
    let server = server(&service, BY_CLIENT, &CLIENT);
    let tested = server.post("/api/v1/admin/integrations/sheets/connection/test", json!({})).expect(200);
    assert_eq!((&tested["ok"], &tested["code"]), (&json!(false), &json!("auth")), "{tested:#}");
    assert!(tested["hint"].as_str().unwrap().contains("SHEETS_CLIENT_ID and SHEETS_CLIENT_SECRET"), "{tested:#}");
}

#[test]
fn a_token_server_that_is_down_is_no_wrong_credential() {
    let (service, _) = service();
    service.on("POST /token", |_| Reply::Close);
    let server = server(&service, BY_CLIENT, &CLIENT);
    let tested = server.post("/api/v1/admin/integrations/sheets/connection/test", json!({})).expect(200);
    assert_eq!((&tested["ok"], &tested["code"]), (&json!(false), &json!("network")), "{tested:#}");
}

#[test]
fn where_a_person_has_to_agree_first_the_card_says_so() {
    let (service, _) = service();
    let auth = "{oauth2: {flow: code, authorize: \"SERVICE/authorize\", token: \"SERVICE/token\", client: {id: client_id, secret: client_secret}}}";
    let server = server(&service, auth, &CLIENT);
    let tested = server.post("/api/v1/admin/integrations/sheets/connection/test", json!({})).expect(200);
    assert_eq!((&tested["ok"], &tested["code"]), (&json!(false), &json!("not_configured")), "{tested:#}");
}

/// What Node prints: its cryptography is not ours.
fn node(script: &str, arguments: &[&str]) -> String {
    let output = Command::new("node").arg("-e").arg(script).arg("--").args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

const MAKE: &str = "\
const { privateKey, publicKey } = require('crypto').generateKeyPairSync('rsa', { modulusLength: 2048 });
const pem = (key, type) => key.export({ format: 'pem', type });
console.log(JSON.stringify({ private: pem(privateKey, 'pkcs8'), public: pem(publicKey, 'spki') }));
";

const VERIFY: &str = "\
const [key, token] = process.argv.slice(1);
const [header, claims, signature] = token.split('.');
const good = require('crypto').verify('RSA-SHA256', `${header}.${claims}`, key, Buffer.from(signature, 'base64url'));
console.log(good ? Buffer.from(claims, 'base64url').toString() : 'wrong');
";

#[test]
fn a_service_account_is_known_by_what_its_key_signs() {
    let (service, _) = service();
    let pair: Value = serde_json::from_str(&node(MAKE, &[])).unwrap();
    let file = json!({
        "type": "service_account",
        "client_email": "robot@sheets.example",
        "private_key_id": "k1",
        "private_key": pair["private"],
        "token_uri": format!("{}/token", service.url()),
    });
    let auth = "{service_account: {key: key_file, scopes: [rows, files]}}";
    let server = server(&service, auth, &[("SHEETS_KEY_FILE", &file.to_string())]);
    assert_eq!(rows(&server)["result"]["name"], "robot");
    let asked = service.wait_for("POST /token", 1);
    let form: BTreeMap<String, String> = url::form_urlencoded::parse(&asked[0].body).into_owned().collect();
    let claims: Value =
        serde_json::from_str(&node(VERIFY, &[pair["public"].as_str().unwrap(), &form["assertion"]])).unwrap();
    assert_eq!((&claims["iss"], &claims["scope"]), (&json!("robot@sheets.example"), &json!("rows files")));
}
