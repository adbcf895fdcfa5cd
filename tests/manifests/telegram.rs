//! The shipped manifest for Telegram, against a fake that answers as its Bot API is documented to.

use crate::world::{Service, card};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use tercel_tests::{FakeModel, Options, Server, Turn, loopback::Reply, until};

const TOKEN: &str = "123456:AA-of_the_tests_0123456789abcdefgh";

struct World {
    server: Server,
    model: FakeModel,
    service: Service,
    updates: Arc<Mutex<Vec<Value>>>,
}

fn at(method: &str) -> String {
    format!("/bot{TOKEN}/{method}")
}

/// Keeps updates until an offset behind them is asked for.
fn telegram(service: &Service) -> Arc<Mutex<Vec<Value>>> {
    let updates: Arc<Mutex<Vec<Value>>> = Arc::default();
    let kept = updates.clone();
    service.says(
        &format!("GET {}", at("getMe")),
        json!({"ok": true, "result": {"id": 1, "is_bot": true, "username": "tercel_bot"}}),
    );
    service.says(&format!("POST {}", at("sendChatAction")), json!({"ok": true, "result": true}));
    service.on(&format!("GET {}", at("getUpdates")), move |request| {
        assert_eq!(request.query["allowed_updates"], r#"["message"]"#);
        let mut kept = kept.lock().unwrap();
        if let Some(offset) = request.query.get("offset").map(|offset| offset.parse::<i64>().unwrap()) {
            kept.retain(|update| update["update_id"].as_i64().unwrap() >= offset);
        }
        Reply::json(200, &json!({"ok": true, "result": *kept}))
    });
    let mut number = 500;
    service.on(&format!("POST {}", at("sendMessage")), move |request| {
        let post = request.json();
        if post["text"].as_str().is_none_or(|text| text.encode_utf16().count() > 4096) {
            return Reply::json(
                400,
                &json!({"ok": false, "error_code": 400, "description": "Bad Request: message is too long"}),
            );
        }
        number += 1;
        Reply::json(200, &json!({"ok": true, "result": {"message_id": number, "text": post["text"]}}))
    });
    updates
}

fn world(allowed: &str) -> World {
    let (service, model) = (Service::start(), FakeModel::start());
    let updates = telegram(&service);
    let options = Options::new().model(&model).env("TELEGRAM_API_URL", &service.url());
    let options = options.env("TELEGRAM_BOT_TOKEN", TOKEN).env("TELEGRAM_ALLOWED", allowed);
    World { server: Server::start(options), model, service, updates }
}

fn message(update: i64, chat: i64, more: Value) -> Value {
    let mut message = json!({
        "message_id": update * 10,
        "from": {"id": chat, "is_bot": false, "first_name": "Ada"},
        "chat": {"id": chat, "type": if chat > 0 { "private" } else { "supergroup" }},
        "date": 1_700_000_000,
    });
    message.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    json!({"update_id": update, "message": message})
}

impl World {
    fn sent(&self, count: usize) -> Vec<Value> {
        self.service.wait_for(&format!("POST {}", at("sendMessage")), count).iter().map(|post| post.json()).collect()
    }
}

#[test]
fn who_is_allowed_is_answered_where_they_wrote() {
    let world = world("42, -100");
    assert_eq!(card(&world.server, "telegram")["status"], "ready");
    world.model.script(|_| Turn::text("It is <b>fine</b>, *thanks*: {{ secrets.bot_token }}"));
    world.updates.lock().unwrap().extend([
        message(7, 42, json!({"text": "How is the door? {{ 7*7 }}"})),
        message(8, -100, json!({"text": "And here?", "message_thread_id": 5})),
        message(9, 42, json!({"photo": []})),
    ]);
    let mut sent = world.sent(2);
    sent.sort_by_key(|post| post["chat_id"].as_i64());
    let text = "It is <b>fine</b>, thanks: {{ secrets.bot_token }}";
    assert_eq!(
        sent,
        [
            json!({"chat_id": -100, "message_thread_id": 5, "text": text, "link_preview_options": {"is_disabled": true},
                   "reply_parameters": {"message_id": 80, "allow_sending_without_reply": true}}),
            json!({"chat_id": 42, "text": text, "link_preview_options": {"is_disabled": true},
                   "reply_parameters": {"message_id": 70, "allow_sending_without_reply": true}}),
        ]
    );
    let asked: Vec<String> = world.model.asked().iter().map(|asked| asked.question().to_owned()).collect();
    assert!(asked.iter().any(|text| text.contains("Ada: How is the door? {{ 7*7 }}")), "{asked:?}");
    world.service.wait_for(&format!("POST {}", at("sendChatAction")), 2);
    until("what was read is not asked for again", || world.updates.lock().unwrap().is_empty().then_some(()));
    assert_eq!(world.service.received().iter().filter(|one| one.path == at("sendMessage")).count(), 2);
}

#[test]
fn a_stranger_is_told_the_number_and_costs_nothing() {
    let world = world("42");
    world
        .updates
        .lock()
        .unwrap()
        .extend([message(7, 66, json!({"text": "Spend something"})), message(8, -66, json!({"text": "In a group"}))]);
    let sent = world.sent(1);
    assert_eq!(sent[0]["chat_id"], 66);
    assert!(sent[0]["text"].as_str().unwrap().contains("Its number is 66"), "{sent:#?}");
    until("both were read", || world.updates.lock().unwrap().is_empty().then_some(()));
    assert_eq!(world.model.asked().len(), 0);
    assert_eq!(world.sent(1).len(), 1, "nothing is written into groups that nobody allowed");
}

#[test]
fn a_restart_answers_nothing_twice_and_forgets_nothing() {
    let mut world = world("42");
    world.model.script(|_| Turn::text("Yes."));
    world.updates.lock().unwrap().push(message(7, 42, json!({"text": "One"})));
    world.sent(1);
    world.server.kill9();
    world.updates.lock().unwrap().push(message(8, 42, json!({"text": "Two"})));
    world.server.start_again();
    world.sent(2);
    until("what was read is not asked for again", || world.updates.lock().unwrap().is_empty().then_some(()));
    assert_eq!(world.sent(2).len(), 2);
}

#[test]
fn a_long_answer_comes_in_parts_that_are_taken() {
    let world = world("42");
    let long = "ünï 🎉 ".repeat(1500);
    let text = long.clone();
    world.model.script(move |_| Turn::text(&text));
    world.updates.lock().unwrap().push(message(7, 42, json!({"text": "All of it"})));
    let sent = until("all of it was sent", || {
        let sent = world.sent(1);
        let words: String = sent.iter().map(|post| format!("{} ", post["text"].as_str().unwrap())).collect();
        (words.split_whitespace().eq(long.split_whitespace())).then_some(sent)
    });
    assert!(sent.len() >= 3);
    assert!(sent[0]["reply_parameters"].is_object() && sent[1].get("reply_parameters").is_none());
}

#[test]
fn what_telegram_says_no_with_is_understood() {
    let world = world("42");
    let test = |values| world.server.post("/api/v1/admin/integrations/telegram/connection/test", values).expect(200);
    assert_eq!(test(json!({}))["account"], "tercel_bot");
    let other = "999:AA-wrong_token_0123456789abcdefghij";
    for status in [401, 404] {
        world.service.on(&format!("GET /bot{other}/getMe"), move |_| {
            Reply::json(status, &json!({"ok": false, "error_code": status, "description": "Unauthorized"}))
        });
        let wrong = test(json!({"bot_token": other}));
        assert_eq!((&wrong["ok"], &wrong["code"]), (&json!(false), &json!("auth")), "{wrong:#}");
        assert!(!wrong.to_string().contains(other), "{wrong:#}");
    }
    let mut first = true;
    world.service.on(&format!("POST {}", at("sendMessage")), move |_| match std::mem::take(&mut first) {
        true => Reply::json(429, &json!({"ok": false, "error_code": 429, "parameters": {"retry_after": 1}})),
        false => Reply::json(
            403,
            &json!({"ok": false, "error_code": 403, "description": "Forbidden: bot was blocked by the user"}),
        ),
    });
    let session = world.server.session("web:alice");
    let target = json!({"type": "telegram", "chat": 42});
    world.model.script(|_| Turn::text("Hello."));
    let task = world.server.ask_with(&session, json!({"content": "hello", "dispatch_config": target, "notify": false}));
    let dead = world.server.outbox(&task, &["dead"]);
    assert!(dead["error"]["message"].as_str().unwrap().contains("blocked by the user"), "{dead:#}");
    world.service.on(&format!("GET {}", at("getUpdates")), |_| {
        Reply::json(
            409,
            &json!({"ok": false, "error_code": 409, "description": "Conflict: terminated by other getUpdates request"}),
        )
    });
    let notice = world.server.notice("cannot be asked");
    assert!(notice["detail"].as_str().unwrap().contains("Another program"), "{notice:#}");
    assert!(!world.server.log().contains(TOKEN), "the token is in the log");
    assert!(!world.server.options.stored().contains(TOKEN), "the token is in the database");
}

#[test]
fn an_answer_grows_where_the_operator_wants_that() {
    let (service, model) = (Service::start(), FakeModel::start());
    let updates = telegram(&service);
    let kept: Arc<Mutex<Vec<Value>>> = Arc::default();
    let changes = kept.clone();
    service.on(&format!("POST {}", at("editMessageText")), move |request| {
        changes.lock().unwrap().push(request.json());
        let description = "Bad Request: message is not modified: specified new message content is the same";
        Reply::json(400, &json!({"ok": false, "error_code": 400, "description": description}))
    });
    let options = Options::new().model(&model).env("TELEGRAM_API_URL", &service.url());
    let options = options.env("TELEGRAM_BOT_TOKEN", TOKEN).env("TELEGRAM_ALLOWED", "42").env("TELEGRAM_STREAM", "true");
    let world = World { server: Server::start(options), model, service, updates };
    world.model.script(|_| Turn::paced(&["The door", " is open."], std::time::Duration::from_millis(1_200)));
    world.updates.lock().unwrap().push(message(7, 42, json!({"text": "How is the door?"})));
    assert_eq!(world.sent(1)[0]["text"], "The door …");
    let last = until("the whole answer", || {
        kept.lock().unwrap().iter().find(|change| change["text"] == "The door is open.").cloned()
    });
    assert_eq!((&last["message_id"], &last["chat_id"]), (&json!(501), &json!(42)), "{last:#}");
    assert_eq!(world.sent(1).len(), 1, "what is there already is no failure");
}
