//! A delivery that is processed once more says the same as when it came, and nobody reads in it what it was proved by.

use crate::world::put;
use serde_json::{Value, json};
use tercel_tests::{Options, Server};

const SECRET: &str = "the-secret-of-these-tests";

const BOARD: &str = r#"
schema: 1
name: board
fields: [{key: secret, label: Secret, type: password, required: true}]
webhook: {verify: {header: {name: X-Board-Proof, secret: secret}}}
events:
  - name: moved
    when: "headers['board-event'] == 'card' and headers['x-event-key'] == 'card:moved'"
    session: board
    prompt: "{{ body.text }}"
    run: store
"#;

#[test]
fn a_replay_is_read_by_the_headers_that_the_delivery_came_with() {
    let options = Options::new().env("BOARD_SECRET", SECRET);
    put(&options, "board", BOARD);
    let server = Server::start(options);
    let headers = [
        ("board-event", "card"),
        ("x-event-key", "card:moved"),
        ("x-board-proof", SECRET),
        ("x-board-copy", SECRET),
        ("x-api-key", "of-some-gateway"),
        ("authorization", "Bearer of-some-gateway"),
        ("cookie", "session=of-some-gateway"),
    ];
    let event = json!({"text": "moved"}).to_string();
    let taken = server.anonymous().call("POST", "/integrations/board/webhook", &headers, event).expect(200);
    assert_eq!(taken["status"], "stored", "{taken}");

    let path = format!("/api/v1/deliveries/{}", taken["delivery_id"].as_str().unwrap());
    let replayed = server.post(&format!("{path}/replay"), json!({})).expect(202);
    assert_eq!((&replayed["status"], &replayed["generation"]), (&json!("stored"), &json!(2)), "{replayed}");
    assert_eq!(server.messages(&server.session("board:board")).len(), 2);

    let shown = server.get(&path).expect(200)["headers"].clone();
    assert_eq!((&shown["board-event"], &shown["x-event-key"]), (&json!("card"), &json!("card:moved")), "{shown}");
    for name in ["x-board-proof", "x-api-key", "authorization", "cookie"] {
        assert_eq!(shown[name], Value::Null, "{name}");
    }
    let stored = server.options.stored();
    assert!(!stored.contains(SECRET) && !stored.contains("of-some-gateway"), "a secret is stored");
}
