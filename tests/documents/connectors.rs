//! The connector of the document, in each place where it may stand, with the server that shows its form.

use crate::examples::Examples;
use serde_json::{Value, json};
use std::time::Duration;
use tercel_tests::{Options, Server, python::write, wait::until_within};

const MAKING: Duration = Duration::from_secs(180);

#[test]
fn the_card_of_the_module_is_the_same_wherever_it_stands() {
    let Some(examples) = Examples::read() else { return };
    for file in [
        "scripts/integrations/myservice.py",
        "integrations/scripts/integrations/myservice.py",
        "integrations/myservice/connector.py",
    ] {
        let options = Options::new().with_shared_python();
        write(options.place(), &[(file, &examples.get("module"))]);
        let server = Server::start(options);
        let path = "/api/v1/admin/integrations/myservice/connection";
        let form = until_within(MAKING, file, || {
            let answer = server.get(path);
            (answer.status == 200)
                .then(|| answer.expect(200))
                .filter(|form| form["fields"].as_array().is_some_and(|all| all.len() == 2))
        });
        assert_eq!(
            (&form["name"], &form["label"], &form["tier"]),
            (&json!("myservice"), &json!("My Service"), &json!("free"))
        );
        let keys: Vec<&Value> = form["fields"].as_array().unwrap().iter().map(|field| &field["key"]).collect();
        assert_eq!(keys, ["api_key", "workspace_id"]);
        let answer = server.post(&format!("{path}/test"), json!({"api_key": " ", "workspace_id": "ws"})).expect(200);
        assert_eq!((&answer["ok"], &answer["code"]), (&json!(false), &json!("not_configured")), "{answer}");
    }
}
