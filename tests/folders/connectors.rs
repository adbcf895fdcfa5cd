//! A connector class behind the form that the server shows.

use crate::world::{loads, options, put, root};
use serde_json::json;
use tercel_tests::{Receiver, Server};

const LEDGER: &str = r#"
import requests
from scripts.integrations.base import IntegrationBase


class Ledger(IntegrationBase):
    name = "ledger"
    label = "The ledger"
    tier = "free"

    def fields(self):
        return [
            {"key": "address", "label": "Address", "type": "url", "required": True},
            {"key": "token", "label": "Token", "type": "password", "required": True},
            {"key": "all", "label": "Everything", "type": "checkbox", "required": False},
        ]

    def connect(self, config):
        self.config = config
        return bool(config.get("address", "").strip() and config.get("token", "").strip())

    def test(self):
        print("asking with", type(self.config["all"]).__name__)
        try:
            return requests.get(self.config["address"], headers={"x": self.config["token"]}, timeout=5).ok
        except requests.RequestException:
            return False
"#;

#[test]
fn a_class_is_given_the_values_of_the_connection_that_it_is_called_for() {
    let service = Receiver::start();
    let options = options();
    put(&root(&options), "ledger", &[("connector.py", LEDGER)]);
    let server = Server::start(options);
    loads(&server, "ledger");
    let path = "/api/v1/admin/integrations/ledger/connections";
    for (name, token) in [("default", "t0ken-one"), ("work", "t0ken-two")] {
        let values = json!({"address": service.url(), "token": token, "all": true});
        let connected = server.post(&format!("{path}/{name}/connect"), values).expect(200);
        assert_eq!((&connected["ok"], &connected["saved"]), (&json!(true), &json!(true)), "{connected:#}");
    }
    for (name, token) in [("work", "t0ken-two"), ("default", "t0ken-one")] {
        assert_eq!(server.post(&format!("{path}/{name}/test"), json!({})).expect(200)["ok"], true);
        assert_eq!(service.received().last().unwrap().header("x"), token);
        assert_eq!(server.get(&format!("{path}/{name}")).expect(200)["state"], "connected");
    }
    // A bare yes says that the service was asked when it was, and with what it answered.
    service.answers(&[401]);
    let said = server.post(&format!("{path}/work/test"), json!({"token": "other"})).expect(200);
    assert_eq!((&said["code"], &said["status"]), (&json!("auth"), &json!(401)), "{said:#}");
    assert_eq!(server.get(&format!("{path}/work")).expect(200)["state"], "connected", "a draft is a draft");
}

#[test]
fn a_bare_yes_or_no_has_a_reason_and_only_what_works_is_saved() {
    let service = Receiver::start();
    let options = options();
    put(&root(&options), "ledger", &[("connector.py", LEDGER)]);
    let server = Server::start(options);
    loads(&server, "ledger");
    let path = "/api/v1/admin/integrations/ledger/connection";
    let draft = |address: &str| json!({"address": address, "token": "t0ken-of-the-ledger", "all": true});
    let test = |how: &str, address: &str| server.post(&format!("{path}/{how}"), draft(address)).expect(200);
    let form = server.get(path).expect(200);
    let kinds: Vec<&str> =
        form["fields"].as_array().unwrap().iter().map(|field| field["type"].as_str().unwrap()).collect();
    assert_eq!((&form["label"], kinds), (&json!("The ledger"), vec!["url", "password", "checkbox"]));
    for (status, code) in [(401, "auth"), (403, "forbidden"), (404, "not_found"), (429, "rate_limited"), (500, "error")]
    {
        service.answers(&[status]);
        let said = test("connect", &service.url());
        assert_eq!((&said["ok"], &said["code"]), (&json!(false), &json!(code)), "{said:#}");
        assert!(said["message"].as_str().unwrap().contains("asking with bool"), "{said:#}");
    }
    assert_eq!(test("test", "http://127.0.0.1:1/")["code"], "network");
    assert_eq!(server.get(path).expect(200)["values"], json!({}), "nothing is saved that does not work");
    assert_eq!(test("connect", &service.url())["ok"], true);
    let saved = server.get(path).expect(200);
    assert_eq!((&saved["values"]["address"], &saved["health"]["code"]), (&json!(service.url()), &json!("ok")));
    assert!(!saved.to_string().contains("t0ken-of-the-ledger"), "{saved:#}");
}
