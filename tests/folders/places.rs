//! What a folder says of its places and people, and what its dispatcher is told of the runs whose answers it delivers.

use crate::world::{loads, options, put, root};
use serde_json::{Value, json};
use tercel_tests::{FakeModel, Options, Receiver, Server, Turn, until};

/// A chat whose rooms are `hall-<n>`. What its dispatcher is called with goes to the service as it came.
const HALL: &[(&str, &str)] = &[
    (
        "hooks.py",
        r#"
import os
from app.agent.hooks import IntegrationMeta, register_integration


def attribution(user):
    fields = {"username": user.display_name} if user.display_name else {}
    picture = user.integration_config.get("picture")
    return {**fields, "icon_url": picture} if picture else fields


async def names(channels):
    return {channel.id: "Hall " + channel.client_id.removeprefix("hall-") for channel in channels}


def target(client_id):
    if client_id == "hall-closed":
        return None
    if client_id == "hall-broken":
        raise RuntimeError("the plan of the rooms is lost")
    return {"room": client_id, "token": "t0ken-of-the-room"}


register_integration(
    IntegrationMeta(
        integration_type="hall",
        client_id_prefix="hall-",
        user_attribution=attribution,
        resolve_display_names=names,
        resolve_dispatch_config=target,
    )
)
"#,
    ),
    (
        "dispatcher.py",
        r#"
import os
import httpx
from app.agent.dispatchers import register


def tell(**said):
    httpx.post(os.environ["HALL_URL"], json=said).raise_for_status()


class Hall:
    async def deliver(self, task, result, client_actions=None, extra_metadata=None):
        tell(how="deliver", text=result, task=vars(task) | {"outbound": None}, client_actions=client_actions,
             extra_metadata=extra_metadata)

    async def post_message(self, dispatch_config, text, *, bot_id=None, reply_in_thread=True, username=None,
                           icon_emoji=None, icon_url=None, client_actions=None, extra_metadata=None):
        tell(how="post", text=text, room=dispatch_config["room"], bot_id=bot_id, reply_in_thread=reply_in_thread,
             username=username, icon_url=icon_url)
        return dispatch_config["room"] != "full"


register("hall", Hall())
"#,
    ),
    ("setup.py", "SETUP = {'env_vars': [{'key': 'HALL_URL', 'required': True}]}\n"),
    (
        "tools/light.py",
        r#"
from integrations._register import register


@register({"type": "function", "effect": "read", "function": {"name": "hall_light", "description": "Switches it",
    "parameters": {"type": "object", "properties": {}}}})
def light():
    return {"client_action": {"type": "light", "on": True}, "text": "It is on"}
"#,
    ),
];

struct Hall {
    server: Server,
    model: FakeModel,
    service: Receiver,
}

impl Hall {
    fn start() -> Self {
        Self::start_with(|options| options)
    }

    fn start_with(change: impl FnOnce(Options) -> Options) -> Self {
        let (model, service) = (FakeModel::start(), Receiver::start());
        let options = change(options().model(&model).env("HALL_URL", &service.url()));
        put(&root(&options), "hall", HALL);
        let server = Server::start(options);
        loads(&server, "hall");
        Self { server, model, service }
    }

    fn told(&self, count: usize) -> Vec<Value> {
        self.service.wait_for(count).iter().map(|request| request.json()).collect()
    }

    fn channel(&self, body: Value) -> Value {
        self.server.post("/api/v1/channels", body).expect(201)
    }

    fn bind(&self, channel: &Value, client_id: &str) {
        let path = format!("/api/v1/channels/{}/bindings", channel["id"].as_str().unwrap());
        self.server.post(&path, json!({"client_id": client_id})).expect(201);
    }
}

#[test]
fn a_dispatcher_is_told_of_the_run_whose_answer_it_delivers() {
    let hall = Hall::start();
    hall.model.queue([Turn::call("hall_light", json!({})), Turn::text("There was light.")]);
    let channel = hall.channel(json!({"client_id": "hall-1"}));
    let session = hall.server.session("hall-1");
    let body = json!({
        "content": "Light!", "notify": false, "execution_config": {"tools": ["hall_light"]},
        "dispatch_type": "hall", "dispatch_config": {"room": "r", "token": "t0ken"},
    });
    let task = hall.server.ask_with(&session, body);
    hall.server.complete(&task);
    let said = &hall.told(1)[0];
    let expected = json!({
        "how": "deliver",
        "text": "There was light.",
        "task": {
            "id": task, "bot_id": "default", "client_id": "hall-1", "session_id": session, "channel_id": channel["id"],
            "dispatch_type": "hall", "dispatch_config": {"room": "r", "token": "t0ken"}, "outbound": null,
        },
        "client_actions": [{"type": "light", "on": true}],
        "extra_metadata": null,
    });
    assert_eq!(said, &expected);
}

#[test]
fn what_is_typed_at_a_bound_place_is_posted_there_under_the_name_of_who_typed_it() {
    let hall = Hall::start();
    hall.model.script(|_| Turn::text("Yes."));
    let channel = hall.channel(json!({"client_id": "web:team"}));
    // How it is answered is known to the folder.
    hall.bind(&channel, "hall-2");
    hall.bind(&channel, "hall-closed");
    let user = json!({"display_name": "Alice", "integration_config": {"hall": {"picture": "a.png"}, "other": {}}});
    hall.server.post("/chat", json!({"message": "Is it raining?", "client_id": "web:team", "user": user})).expect(200);
    let told = hall.told(2);
    let posted = json!({
        "how": "post", "text": "Is it raining?", "room": "hall-2", "bot_id": "default", "reply_in_thread": true,
        "username": "Alice", "icon_url": "a.png",
    });
    assert_eq!(told[0], posted);
    assert_eq!((&told[1]["how"], &told[1]["text"]), (&json!("deliver"), &json!("Yes.")));
    assert_eq!(told[1]["task"]["dispatch_config"], json!({"room": "hall-2", "token": "t0ken-of-the-room"}));
    assert!(!hall.server.get("/api/v1/outbox").text().contains("t0ken-of-the-room"));
    let shown = hall.server.get(&format!("/api/v1/channels/{}", channel["id"].as_str().unwrap())).expect(200);
    assert_eq!(shown["dispatch_config"], Value::Null, "nothing is kept of what the folder said");
}

#[test]
fn a_channel_of_a_place_is_answered_there_and_one_that_nobody_knows_a_way_to_is_told() {
    let hall = Hall::start();
    for (room, state) in [("hall-3", Some("hall")), ("hall-closed", None), ("hall-broken", None)] {
        hall.channel(json!({"client_id": room}));
        let task = hall.server.ask(&hall.server.session(room), "hello");
        let task = hall.server.complete(&task);
        assert_eq!(task["dispatch_type"], state.unwrap_or("none"), "{room}");
    }
    let told = hall.told(2);
    // From the API, so that it is shown with its source.
    assert_eq!(
        (&told[0]["how"], &told[0]["text"], &told[0]["room"]),
        (&json!("post"), &json!("[api] hello"), &json!("hall-3"))
    );
    assert_eq!(told[1]["task"]["dispatch_config"]["room"], "hall-3");
    let notice = hall.server.notice("hall");
    assert!(notice["detail"].as_str().unwrap().contains("the plan of the rooms is lost"), "{notice:#}");
}

#[test]
fn a_message_that_is_not_posted_does_not_hold_up_the_answer() {
    let hall = Hall::start();
    hall.model.script(|_| Turn::text("Come in."));
    let session = hall
        .server
        .post("/api/v1/sessions", json!({"client_id": "x:1", "dispatch_config": {"type": "hall", "room": "full"}}));
    let session = session.expect(201)["session_id"].as_str().unwrap().to_owned();
    let task = hall.server.ask(&session, "Is there room?");
    hall.server.outbox(&task, &["sent"]);
    let how: Vec<Value> = hall.told(4).iter().map(|said| said["how"].clone()).collect();
    assert_eq!(how, ["post", "post", "post", "deliver"], "not sent is tried again, but not for ever");
    let rows = hall.server.list("/api/v1/outbox?state=dead");
    assert_eq!((rows.len(), &rows[0]["text"]), (1, &json!("[api] Is there room?")), "{rows:#?}");
    assert!(rows[0]["error"]["message"].as_str().unwrap().contains("did not send"), "{rows:#?}");
    hall.server.notice("hall");
}

#[test]
fn channels_are_called_what_their_integration_calls_them() {
    let hall = Hall::start();
    let bound = hall.channel(json!({"client_id": "web:team"}));
    hall.bind(&bound, "hall-4");
    hall.channel(json!({"client_id": "hall-5"}));
    hall.channel(json!({"client_id": "hall-6", "display_name": "Ours"}));
    hall.channel(json!({"client_id": "elsewhere:7"}));
    let shown = until("the names", || {
        let list = hall.server.list("/api/v1/channels");
        list.iter().any(|channel| channel["display_name"] == "Hall 5").then_some(list)
    });
    let names: Vec<_> =
        shown.iter().map(|channel| (channel["client_id"].as_str().unwrap(), &channel["display_name"])).collect();
    let null = Value::Null;
    let expected =
        [("elsewhere:7", &null), ("hall-6", &json!("Ours")), ("hall-5", &json!("Hall 5")), ("web:team", &null)];
    assert_eq!(names, expected);
    assert_eq!(shown[3]["bindings"][0]["display_name"], "Hall 4");
    let whose: Vec<&Value> = shown.iter().map(|channel| &channel["integration"]).collect();
    assert_eq!(whose, [&null, &json!("hall"), &json!("hall"), &null]);
}
