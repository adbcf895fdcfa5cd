//! Answers that are shown while they are written, by manifests that can change what they have posted.

use crate::world::{Service, put};
use serde_json::{Value, json};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tercel_tests::{FakeModel, Options, Server, Turn, loopback::Reply, until, wait::until_within};

const BOARD: &str = r#"
schema: 1
name: board
fields: [{key: url, label: Server, type: url, required: true}]
http: {base: "{{ fields.url }}"}
dispatch:
  target: {room: {type: string, default: hall}}
  text: {limit: 120}
  deliver: {post: /posts, json: {room: "{{ target.room }}", text: "{{ text }}", mark: "{{ marker }}"}, id: response.json.id}
  find: {get: /posts, found: "response.json | selectattr('mark', 'eq', marker) | first", id: found.id}
  update: {put: "/posts/{{ id }}", json: {text: "{{ text }}", mark: "{{ marker }}"}}
"#;
const PAUSE: Duration = Duration::from_millis(1_200);
const PIECES: [&str; 4] = ["The door", " is open,", " and so is", " the window."];
const WHOLE: &str = "The door is open, and so is the window.";
const BROKEN_OFF: &str = "This answer was not finished.";

#[derive(Clone, Default)]
struct Posts(Arc<Mutex<Vec<Option<Value>>>>);

impl Posts {
    /// What stands there now.
    fn standing(&self) -> Vec<String> {
        let text = |post: &Value| post["text"].as_str().unwrap().to_owned();
        self.0.lock().unwrap().iter().flatten().map(text).collect()
    }

    fn remove_all(&self) {
        self.0.lock().unwrap().iter_mut().for_each(|post| *post = None);
    }

    #[track_caller]
    fn become_these(&self, texts: &[&str]) {
        until_within(Duration::from_secs(20), &format!("{texts:?}"), || (self.standing() == texts).then_some(()));
    }
}

struct World {
    server: Server,
    model: FakeModel,
    service: Service,
    posts: Posts,
}

fn world() -> World {
    let (service, model, posts) = (Service::start(), FakeModel::start(), Posts::default());
    let made = posts.clone();
    service.on("POST /posts", move |request| {
        let mut posts = made.0.lock().unwrap();
        let id = posts.len() + 1;
        posts.push(Some(json!({"id": id, "text": request.json()["text"], "mark": request.json()["mark"]})));
        Reply::json(201, &json!({"id": id}))
    });
    let listed = posts.clone();
    service.on("GET /posts", move |_| Reply::json(200, &json!(*listed.0.lock().unwrap())));
    for id in 1..=4 {
        changes(&service, id, &posts);
    }
    let options = Options::new().model(&model).allow_loopback().env("BOARD_URL", &service.url());
    put(&options, "board", BOARD);
    World { server: Server::start(options), model, service, posts }
}

fn changes(service: &Service, id: usize, posts: &Posts) {
    let posts = posts.clone();
    service.on(&format!("PUT /posts/{id}"), move |request| {
        match posts.0.lock().unwrap().get_mut(id - 1).and_then(Option::as_mut) {
            Some(post) => {
                post["text"] = request.json()["text"].clone();
                Reply::json(200, &json!({}))
            }
            None => Reply::json(404, &json!({"message": "no such post"})),
        }
    });
}

impl World {
    fn ask(&self, turn: Turn, target: Value) -> String {
        self.model.queue([turn]);
        let session = self.server.session("web:alice");
        self.server.ask_with(&session, json!({"content": "And?", "dispatch_config": target, "notify": false}))
    }

    fn slowly(&self) -> String {
        self.ask(Turn::paced(&PIECES, PAUSE), json!({"type": "board", "stream": true}))
    }

    fn count(&self, method: &str) -> usize {
        self.service.received().iter().filter(|request| request.method == method).count()
    }

    /// The texts that a post was given, in order.
    fn changes(&self) -> Vec<String> {
        let all = self.service.received().into_iter().filter(|request| request.method == "PUT");
        all.map(|request| request.json()["text"].as_str().unwrap().to_owned()).collect()
    }

    /// The row of the first part of the answer, when it was sent.
    #[track_caller]
    fn sent(&self, task: &str) -> Value {
        until_within(Duration::from_secs(60), "the answer is sent", || {
            let rows = self.server.list("/api/v1/outbox");
            rows.into_iter().find(|row| row["task_id"] == task && row["part"] == 1 && row["state"] == "sent")
        })
    }
}

#[test]
fn an_answer_grows_in_one_post_and_ends_as_exactly_what_was_said() {
    let world = world();
    let task = world.slowly();
    until("a beginning is shown", || Some(world.posts.standing()).filter(|posts| posts == &["The door …"]));
    let sent = world.sent(&task);
    assert_eq!(world.posts.standing(), [WHOLE]);
    let changes = world.changes();
    assert!((2..=5).contains(&changes.len()), "{changes:?}");
    for shown in &changes[..changes.len() - 1] {
        let text = shown.strip_suffix(" …").unwrap_or_else(|| panic!("{shown} looks like an answer"));
        assert!(WHOLE.starts_with(text), "{changes:?}");
    }
    assert_eq!((world.count("POST"), sent["receipt"]["id"].as_str()), (1, Some("1")), "{sent:#}");
    let task = world.server.task(&task);
    assert_eq!((&task["result"], &task["dispatch"]["state"]), (&json!(WHOLE), &json!("sent")), "{task:#}");
    let rows = world.server.list("/api/v1/outbox");
    assert_eq!(rows.iter().map(|row| row["part"].as_i64().unwrap()).collect::<Vec<_>>(), [1, 0], "{rows:#?}");
}

#[test]
fn nothing_grows_where_nobody_wants_it_or_nothing_takes_long() {
    let world = world();
    let task = world.ask(Turn::paced(&PIECES, PAUSE), json!({"type": "board"}));
    world.sent(&task);
    let task = world.ask(Turn::text("At once."), json!({"type": "board", "stream": true}));
    world.sent(&task);
    assert_eq!((world.posts.standing(), world.count("PUT")), (vec![WHOLE.to_owned(), "At once.".to_owned()], 0));
}

#[test]
fn a_service_that_is_asked_too_often_has_the_whole_answer_in_the_end() {
    let world = world();
    let (posts, mut asked) = (world.posts.clone(), 0);
    world.service.on("PUT /posts/1", move |request| {
        asked += 1;
        if asked <= 2 {
            return Reply::text(429, &[("retry-after", "1")], "slow down");
        }
        posts.0.lock().unwrap()[0] = Some(request.json());
        Reply::json(200, &json!({}))
    });
    world.sent(&world.slowly());
    assert_eq!((world.posts.standing(), world.count("POST")), (vec![WHOLE.to_owned()], 1));
}

#[test]
fn a_service_that_fails_at_every_change_gets_the_answer_as_a_post() {
    let world = world();
    world.service.on("PUT /posts/1", |_| Reply::json(500, &json!({})));
    world.sent(&world.slowly());
    assert_eq!(world.posts.standing(), ["The door …", WHOLE], "it is not lost for want of a change");
}

#[test]
fn an_answer_whose_beginning_was_removed_is_posted() {
    let world = world();
    let task = world.slowly();
    until("a beginning is shown", || (!world.posts.standing().is_empty()).then_some(()));
    world.posts.remove_all();
    let sent = world.sent(&task);
    assert_eq!((world.posts.standing(), sent["receipt"]["id"].as_str()), (vec![WHOLE.to_owned()], Some("2")));
}

#[test]
fn an_answer_whose_beginning_could_not_be_posted_is_posted() {
    let world = world();
    let (posts, mut is_first) = (world.posts.clone(), true);
    world.service.on("POST /posts", move |request| {
        if std::mem::take(&mut is_first) {
            return Reply::text(429, &[("retry-after", "2")], "slow down");
        }
        posts.0.lock().unwrap().push(Some(request.json()));
        Reply::json(201, &json!({"id": 1}))
    });
    world.sent(&world.slowly());
    assert_eq!((world.posts.standing(), world.count("PUT")), (vec![WHOLE.to_owned()], 0));
    assert!(world.server.list("/api/v1/notices?open=true").iter().all(|notice| !notice.to_string().contains("board")));
}

#[test]
fn what_is_too_long_for_the_post_goes_on_in_others() {
    let world = world();
    let words: String = (0..60).map(|n| format!("word{n:02} ")).collect();
    let pieces: Vec<&str> = words.split_inclusive("9 ").collect();
    let task = world.ask(Turn::paced(&pieces, Duration::from_millis(500)), json!({"type": "board", "stream": true}));
    world.sent(&task);
    until("every part", || {
        let said = world.posts.standing().join(" ");
        (said.split_whitespace().eq(words.split_whitespace())).then_some(())
    });
    assert!(world.posts.standing().iter().all(|post| post.chars().count() <= 120), "{:?}", world.posts.standing());
    assert!(world.changes().iter().all(|text| text.chars().count() <= 120));
    assert_eq!(world.count("POST"), world.posts.standing().len());
}

#[test]
fn no_half_sentence_stays_of_a_run_that_was_stopped() {
    let world = world();
    let (turn, gate) = Turn::pieces(&["The door", " is open."]);
    gate.add_permits(1);
    let task = world.ask(turn, json!({"type": "board", "stream": true}));
    world.posts.become_these(&["The door …"]);
    world.server.post(&format!("/api/v1/tasks/{task}/cancel"), json!({})).expect(200);
    world.posts.become_these(&[BROKEN_OFF]);
    assert_eq!((world.server.task(&task)["status"].as_str(), world.count("POST")), (Some("cancelled"), 1));
}

#[test]
fn no_half_sentence_stays_of_a_run_that_waits_and_is_stopped_then() {
    let world = world();
    let (turn, gate) = Turn::pieces(&["The door", " is open."]);
    gate.add_permits(1);
    let task = world.ask(turn, json!({"type": "board", "stream": true}));
    world.posts.become_these(&["The door …"]);
    // The model breaks off, and has nothing to pay with when it is asked again.
    world.model.script(|_| Turn::exhausted());
    gate.close();
    world.server.wait_for(&task, &["waiting"]);
    assert_eq!(world.posts.standing(), ["The door …"], "it goes on");
    world.server.post(&format!("/api/v1/tasks/{task}/cancel"), json!({})).expect(200);
    world.posts.become_these(&[BROKEN_OFF]);
}

#[test]
fn a_death_in_the_middle_leaves_one_post_with_the_whole_answer() {
    let mut world = world();
    let (turn, gate) = Turn::pieces(&["The door", " is open."]);
    gate.add_permits(1);
    let task = world.ask(turn, json!({"type": "board", "stream": true}));
    world.posts.become_these(&["The door …"]);
    world.server.kill9();
    world.model.script(|_| Turn::paced(&PIECES, PAUSE));
    world.server.start_again();
    world.sent(&task);
    assert_eq!((world.posts.standing(), world.count("POST")), (vec![WHOLE.to_owned()], 1));
}

#[test]
fn slack_changes_its_messages() {
    let (service, model) = (Service::start(), FakeModel::start());
    service.says("POST /chat.postMessage", json!({"ok": true, "ts": "1700000000.000100"}));
    service.says("POST /chat.update", json!({"ok": true}));
    let options = Options::new().model(&model).env("SLACK_API_URL", &service.url());
    let options =
        options.env("SLACK_BOT_TOKEN", "xoxb-of-the-tests").env("SLACK_SIGNING_SECRET", "secret-of-the-tests");
    let server = Server::start(options);
    model.script(|_| Turn::paced(&PIECES, PAUSE));
    let session = server.session("web:alice");
    let target = json!({"type": "slack", "channel": "C0123456789", "stream": true});
    let task = server.ask_with(&session, json!({"content": "And?", "dispatch_config": target, "notify": false}));
    server.complete(&task);
    let last = until("the whole answer", || {
        let all = service.received().into_iter().filter(|request| request.path == "/chat.update");
        all.map(|request| request.json()).find(|change| change["text"] == WHOLE)
    });
    assert_eq!((&last["ts"], &last["channel"]), (&json!("1700000000.000100"), &json!("C0123456789")));
    assert_eq!(service.received().iter().filter(|request| request.path == "/chat.postMessage").count(), 1);
}
