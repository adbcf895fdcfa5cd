//! The shipped manifest for Discord, against a fake that answers as its webhooks are documented to.

use crate::world::{Service, card};
use serde_json::{Value, json};
use tercel_tests::{FakeModel, Options, Server, Turn, loopback::Reply, until};

const SECRET: &str = "of_the_tests-0123456789abcdefghijklmnopqrstuvwxyz";

struct World {
    server: Server,
    model: FakeModel,
    service: Service,
}

fn path() -> String {
    format!("/api/webhooks/1234567890/{SECRET}")
}

fn world() -> World {
    let (service, model) = (Service::start(), FakeModel::start());
    service.says(
        &format!("GET {}", path()),
        json!({"id": "1234567890", "type": 1, "name": "Deploys", "channel_id": "77"}),
    );
    service.on(&format!("POST {}", path()), |request| {
        let post = request.json();
        if post["content"].as_str().is_none_or(|text| text.is_empty() || text.chars().count() > 2000) {
            return Reply::json(400, &json!({"code": 50035, "message": "Invalid Form Body"}));
        }
        match request.query.get("wait").map(String::as_str) {
            Some("true") => Reply::json(200, &json!({"id": "900", "content": post["content"]})),
            _ => Reply::text(204, &[], ""),
        }
    });
    let url = format!("{}{}", service.url(), path());
    let options = Options::new().model(&model).env("DISCORD_WEBHOOK_URL", &url);
    World { server: Server::start(options), model, service }
}

impl World {
    fn say(&self, text: &str, target: Value) -> String {
        let text = text.to_owned();
        self.model.script(move |_| Turn::text(&text));
        let session = self.server.session("web:alice");
        self.server.ask_with(&session, json!({"content": "And?", "dispatch_config": target, "notify": false}))
    }
}

#[test]
fn an_answer_is_posted_and_mentions_nobody() {
    let world = world();
    assert_eq!(card(&world.server, "discord")["status"], "ready");
    let task =
        world.say("@everyone **done** \"really\"", json!({"type": "discord", "thread": "55", "name": "Reviewer"}));
    let sent = world.server.outbox(&task, &["sent"]);
    assert_eq!(sent["receipt"]["id"], "900", "{sent:#}");
    let posts = world.service.wait_for(&format!("POST {}", path()), 1);
    assert_eq!(
        posts[0].json(),
        json!({"content": "@everyone **done** \"really\"", "username": "Reviewer", "allowed_mentions": {"parse": []}})
    );
    assert_eq!((posts[0].query["wait"].as_str(), posts[0].query["thread_id"].as_str()), ("true", "55"));
}

#[test]
fn a_long_answer_comes_in_parts() {
    let world = world();
    let task = world.say(&"many words ".repeat(500), json!({"type": "discord"}));
    world.server.outbox(&task, &["sent"]);
    let posts = world.service.wait_for(&format!("POST {}", path()), 3);
    assert!(posts.iter().all(|post| post.json()["content"].as_str().unwrap().chars().count() <= 2000));
}

#[test]
fn the_test_posts_nothing_and_says_what_is_wrong() {
    let world = world();
    let test = |values| world.server.post("/api/v1/admin/integrations/discord/connection/test", values).expect(200);
    let good = test(json!({}));
    assert_eq!((&good["ok"], &good["account"]), (&json!(true), &json!("Deploys")), "{good:#}");
    let gone = format!("{}/api/webhooks/1/gone-0123456789abcdefghij", world.service.url());
    world.service.on("GET /api/webhooks/1/gone-0123456789abcdefghij", |_| {
        Reply::json(404, &json!({"message": "Unknown Webhook", "code": 10015}))
    });
    let bad = test(json!({"webhook_url": gone}));
    assert_eq!((&bad["ok"], &bad["code"]), (&json!(false), &json!("auth")), "{bad:#}");
    assert!(!bad.to_string().contains("gone-"), "{bad:#}");
    assert!(world.service.received().iter().all(|request| request.method == "GET"));
}

#[test]
fn its_limit_is_waited_for_and_a_lost_acknowledgement_is_a_persons_to_decide() {
    let world = world();
    let mut turn = 0;
    world.service.on(&format!("POST {}", path()), move |_| {
        turn += 1;
        match turn {
            1 => Reply::json(
                429,
                &json!({"message": "You are being rate limited.", "retry_after": 0.3, "global": false}),
            ),
            2 => Reply::json(200, &json!({"id": "901"})),
            _ => Reply::Close,
        }
    });
    let task = world.say("One", json!({"type": "discord"}));
    world.server.outbox(&task, &["sent"]);
    let task = world.say("Two", json!({"type": "discord"}));
    let held = world.server.outbox(&task, &["held"]);
    assert_eq!(held["error"]["code"], "unknown_outcome", "{held:#}");
    assert_eq!(world.service.wait_for(&format!("POST {}", path()), 3).len(), 3, "it is not sent again");
    assert!(!world.server.log().contains(SECRET) && !world.server.options.stored().contains(SECRET));
}

#[test]
fn an_answer_grows_in_its_message_and_one_that_is_gone_is_posted_again() {
    let world = world();
    let changed = format!("PATCH {}/messages/900", path());
    world.service.says(&changed, json!({"id": "900"}));
    let say = |text: &str| {
        let pieces: Vec<String> = text.split_inclusive(' ').map(str::to_owned).collect();
        world.model.script(move |_| Turn::Paced(pieces.clone(), std::time::Duration::from_millis(700)));
        let session = world.server.session("web:alice");
        let target = json!({"type": "discord", "thread": "55", "stream": true});
        let task = world.server.ask_with(&session, json!({"content": "?", "dispatch_config": target, "notify": false}));
        world.server.complete(&task);
    };
    say("The door is open.");
    let changes = until("the whole answer", || {
        let all = world.service.wait_for(&changed, 1);
        Some(all).filter(|all| all.last().is_some_and(|one| one.json()["content"] == "The door is open."))
    });
    assert!(changes.iter().all(|one| one.query["thread_id"] == "55"));
    world.service.on(&changed, |_| Reply::json(404, &json!({"message": "Unknown Message", "code": 10008})));
    say("The window is shut.");
    let posts = world.service.wait_for(&format!("POST {}", path()), 3);
    assert_eq!(posts[2].json()["content"], "The window is shut.");
    assert_eq!(card(&world.server, "discord")["status"], "ready", "the webhook is still known there");
}
