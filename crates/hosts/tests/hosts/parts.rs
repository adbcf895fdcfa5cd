//! Parts of a Python folder take part as those of the program do.

use crate::world::{World, call, host, host_of, log, until};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tercel_hosts::Loaded;
use tercel_sdk::{Approval, Call, Dispatcher, Kind, Outbound, Push, Target, hook::Watches, host::Ids, sync::Change};
use uuid::Uuid;

const DISPATCHER: &str = r#"
from app.agent.dispatchers import register

sent = []


class Crm:
    limit = 500

    async def deliver(self, task, result, client_actions=None, extra_metadata=None):
        sent.append(["deliver", task.client_id, result, task.dispatch_config["place"]])
        if result == "refused":
            return False
        if result == "breaks":
            raise RuntimeError("the line is cut")
        print(sent[-1], flush=True)

    async def post_message(self, dispatch_config, text, *, bot_id=None, reply_in_thread=True, username=None,
                           icon_emoji=None, icon_url=None, client_actions=None, extra_metadata=None):
        print(["post", text, username], flush=True)
        return text != "refused"

    async def notify_start(self, task):
        task.dispatch_config["note"] = "seen"

    async def request_approval(self, *, dispatch_config, approval_id, bot_id, tool_name, arguments, reason):
        print(["approve", tool_name, arguments, reason], flush=True)


register("crm", Crm())
"#;

const HOOKS: &str = r#"
from app.agent.hooks import IntegrationMeta, register_hook, register_integration


def attribute(user):
    return {"username": user.display_name}


async def names(channels):
    return {channel.id: f"Room {channel.client_id[4:]}" for channel in channels if channel.client_id != "crm-9"}


register_integration(IntegrationMeta(integration_type="crm", client_id_prefix="crm-", user_attribution=attribute,
                                     resolve_display_names=names))


def who(user):
    return {"name": user.display_name}


def place(client_id):
    return {"type": "crm", "place": client_id} if client_id == "crm-mail-1" else None


register_integration(IntegrationMeta(integration_type="mail", client_id_prefix="crm-mail-", user_attribution=who,
                                     resolve_display_names=lambda channels: {c.id: "Post" for c in channels},
                                     resolve_dispatch_config=place))


async def after(ctx, **kwargs):
    print("after", ctx.bot_id, ctx.extra["tool_name"], flush=True)


def listen(ctx, **kwargs):
    return f"{len(ctx.audio)} bytes of {ctx.extra['audio_format']}"


register_hook("after_tool_call", after)
register_hook("before_transcription", listen)
"#;

async fn crm(world: &mut World) -> Loaded {
    world.write("crm/dispatcher.py", DISPATCHER);
    world.write("crm/hooks.py", HOOKS);
    world.write("crm/skills/crm.md", "---\nname: CRM\ndescription: How to\n---\nDo it.");
    let crm = world.load("crm").await;
    assert_eq!(crm.problems, [], "{:?}", log(&crm));
    crm
}

fn outbound(text: &str, task_id: Option<Uuid>) -> Outbound {
    Outbound {
        bot_name: None,
        id: Uuid::now_v7(),
        marker: "m".into(),
        text: text.into(),
        part: 1,
        parts: 1,
        attempt: 1,
        bot_id: "default".into(),
        task_id,
        session_id: None,
        created_at: "2026-01-01T00:00:00Z".into(),
        client_actions: Vec::new(),
    }
}

fn target() -> Target {
    Target::new("crm", json!({"place": "hall", "user_attribution": {"username": "Ann"}}))
}

async fn deliver(crm: &Loaded, text: &str, task: Option<Uuid>) -> tercel_sdk::Result<Value> {
    let ids = Ids { client_id: Some("crm-7".into()), task, ..Ids::default() };
    let dispatcher = &crm.integration.dispatchers["crm"];
    (dispatcher.deliver)(host_of(20.0, ids, BTreeMap::new()), Dispatcher::call(&target(), &outbound(text, task))).await
}

async fn printed(crm: &Loaded, line: &str) {
    until(&format!("{line} in {:?}", log(crm)), || log(crm).iter().any(|known| known == line)).await;
}

#[tokio::test]
async fn answers_of_runs_are_delivered_and_other_messages_posted() {
    let mut world = World::new();
    let crm = crm(&mut world).await;
    assert_eq!(crm.integration.dispatchers["crm"].limit, 500);
    deliver(&crm, "done", Some(Uuid::now_v7())).await.unwrap();
    printed(&crm, "['deliver', 'crm-7', 'done', 'hall']").await;
    deliver(&crm, "hello", None).await.unwrap();
    printed(&crm, "['post', 'hello', 'Ann']").await;
}

#[tokio::test]
async fn what_was_not_sent_is_told_from_what_nobody_knows() {
    let mut world = World::new();
    let crm = crm(&mut world).await;
    let task = Some(Uuid::now_v7());
    assert_eq!(deliver(&crm, "refused", task).await.unwrap_err().kind, Kind::Network);
    for (attempt, kind) in [(1, Kind::Network), (2, Kind::Network), (3, Kind::Unsupported)] {
        let outbound = Outbound { attempt, ..outbound("refused", None) };
        let post = (crm.integration.dispatchers["crm"].deliver)(host(20.0), Dispatcher::call(&target(), &outbound));
        assert_eq!(post.await.unwrap_err().kind, kind, "no answer is held up by it for long");
    }
    let unknown = deliver(&crm, "breaks", task).await.unwrap_err();
    assert_eq!(unknown.kind, Kind::UnknownOutcome);
    assert!(unknown.message.contains("the line is cut"), "{}", unknown.message);
}

#[tokio::test]
async fn a_begun_run_changes_the_target_and_an_approval_is_asked_for() {
    let mut world = World::new();
    let crm = crm(&mut world).await;
    let dispatcher = &crm.integration.dispatchers["crm"];
    let start = dispatcher.start.clone().unwrap();
    let changed = start(host(20.0), Dispatcher::start_call(&target())).await.unwrap();
    assert_eq!(changed["note"], json!("seen"));
    assert_eq!(changed["place"], json!("hall"));
    let approval = Approval {
        id: Uuid::now_v7(),
        bot_id: "default".into(),
        tool: "drop".into(),
        arguments: json!({"n": 1}),
        reason: "it destroys".into(),
    };
    let ask = dispatcher.approval.clone().unwrap();
    ask(host(20.0), Dispatcher::approval_call(&target(), &approval)).await.unwrap();
    printed(&crm, "['approve', 'drop', {'n': 1}, 'it destroys']").await;
}

#[tokio::test]
async fn hooks_hear_and_answer() {
    let mut world = World::new();
    let crm = crm(&mut world).await;
    let hook = |event: &str| crm.integration.hooks.iter().find(|hook| hook.event == event).unwrap().clone();
    assert_eq!(hook("after_tool_call").watches, Watches::Stake);
    let ids = Ids { bot: Some("default".into()), ..Ids::default() };
    let event = json!({"context": {}, "tool_name": "x", "tool_args": {}, "duration_ms": 1});
    (hook("after_tool_call").handler)(host_of(20.0, ids, BTreeMap::new()), event.into()).await.unwrap();
    printed(&crm, "after default x").await;
    let event = json!({"context": {}, "audio_format": "ogg", "audio_size_bytes": 4, "source": "api"});
    let call = Call { json: event, blobs: vec![Bytes::from_static(b"\x00\xff\x00\xff")] };
    let transcript = (hook("before_transcription").handler)(host(20.0), call).await.unwrap();
    assert_eq!(transcript, json!("4 bytes of ogg"));
}

#[tokio::test]
async fn prefixes_people_and_skills_are_there() {
    let mut world = World::new();
    let crm = crm(&mut world).await;
    assert_eq!(crm.integration.prefixes, ["crm:", "crm-", "crm-mail-"]);
    assert_eq!(crm.integration.skills[0].id, "integrations/crm/crm");
    let attribute = crm.integration.user_attribution.clone().unwrap();
    let user = json!({"display_name": "Ann", "avatar_url": null, "integration_config": {}});
    for (kind, expected) in [("", json!({"username": "Ann"})), ("mail", json!({"name": "Ann"}))] {
        let ids = Ids { target: Some(Target::new(kind, Value::Null)), ..Ids::default() };
        let shown = attribute(host_of(20.0, ids, BTreeMap::new()), user.clone().into()).await.unwrap();
        assert_eq!(shown, expected, "{kind}");
    }
    let names = crm.integration.display_names.clone().unwrap();
    let named = names(host(20.0), json!(["crm-1", "crm-9", "crm-mail-2"]).into()).await.unwrap();
    assert_eq!(named, json!({"crm-1": "Room 1", "crm-mail-2": "Post"}), "each is asked for its own places");
    let target = crm.integration.place_target.clone().unwrap();
    let target = |place: &str| target(host(20.0), json!(place).into());
    assert_eq!(target("crm-mail-1").await.unwrap(), json!({"type": "crm", "place": "crm-mail-1"}));
    assert_eq!(target("crm-mail-2").await.unwrap(), Value::Null);
    assert_eq!(target("crm-1").await.unwrap(), Value::Null, "nobody says it of this one");
}

#[tokio::test]
async fn a_connector_is_tested_with_the_values_of_the_connection() {
    let mut world = World::new();
    world.write(
        "ledger/connector.py",
        r#"
from scripts.integrations.base import IntegrationBase


class Ledger(IntegrationBase):
    name = "ledger"
    label = "The ledger"
    tier = "paid"

    def fields(self):
        return [{"key": "token", "label": "Token", "type": "password", "required": True}]

    def connect(self, config):
        self.token = config.get("token")
        return bool(self.token)

    def test(self):
        return self.token == "right"
"#,
    );
    let ledger = world.load("ledger").await;
    assert_eq!(ledger.problems, [], "{:?}", log(&ledger));
    let it = &ledger.integration;
    assert_eq!(
        (it.label.as_str(), it.tier.as_str(), it.fields[0].env.as_str()),
        ("The ledger", "paid", "LEDGER_TOKEN")
    );
    let test = it.connector.clone().unwrap();
    let with = |token: &str| {
        let fields = BTreeMap::from([("token".to_owned(), token.to_owned())]);
        test(host_of(20.0, Ids::default(), fields), Value::Null.into())
    };
    assert_eq!(with("right").await.unwrap()["depth"], json!("auth"));
    assert_eq!(with("").await.unwrap_err().kind, Kind::NotConfigured);
    assert_eq!(with("wrong").await.unwrap_err().kind, Kind::Error);
    assert!(it.sync.is_none(), "the class does not say how");
}

#[tokio::test]
async fn records_are_pushed_one_by_one_or_all_at_once() {
    let mut world = World::new();
    let class = |name: &str, more: &str| {
        format!(
            r#"
from scripts.integrations.base import IntegrationBase


class Service(IntegrationBase):
    name = "{name}"
    label = "Service"

    def fields(self):
        return [{{"key": "token", "label": "Token", "type": "password", "required": True}}]

    def connect(self, config):
        self.token = config.get("token")
        return bool(self.token)

    def test(self):
        return True

{more}
"#
        )
    };
    let one_by_one = r#"
    def sync(self, jobs):
        print("jobs", [job["id"] for job in jobs], self.token, flush=True)
        if jobs[0].get("full"):
            print("there is no room")
            return 0
        return 1
"#;
    let batch = r#"
    sync_results = True

    def sync(self, jobs):
        if jobs[0]["id"] == "late":
            import time
            time.sleep(30)
        return [{"id": job["id"], "ok": n != 1, "remote_id": n, "reason": "twice" if n == 1 else None}
                for n, job in enumerate(jobs)]
"#;
    world.write("slow/connector.py", &class("slow", one_by_one));
    world.write("quick/connector.py", &class("quick", batch));
    let (slow, quick) = (world.load("slow").await, world.load("quick").await);
    assert_eq!((&slow.problems, &quick.problems), (&vec![], &vec![]), "{:?}", log(&slow));
    let push_within = |seconds: f32, loaded: &Loaded, token: &str, rows: Value| {
        let sync = loaded.integration.sync.clone().unwrap();
        let fields = BTreeMap::from([("token".to_owned(), token.to_owned())]);
        let push = |row: &Value| Push {
            id: row["id"].as_str().map_or_else(|| row["id"].to_string(), str::to_owned),
            key: "k".into(),
            change: Change::Create,
            remote_id: None,
            row: row.clone(),
        };
        let pushes: Vec<Push> = rows.as_array().unwrap().iter().map(push).collect();
        (sync.push)(host_of(seconds, Ids::default(), fields), json!(pushes).into())
    };
    // The first call of each starts an interpreter.
    let push = |loaded: &Loaded, token: &str, rows: Value| push_within(60.0, loaded, token, rows);
    let parts = [&slow, &quick].map(|loaded| loaded.integration.sync.clone().unwrap());
    assert_eq!(parts.each_ref().map(|part| (part.collection.as_str(), part.batch)), [("jobs", 1), ("jobs", 100)]);
    let pushed = push(&slow, "t", json!([{"id": 7}])).await.unwrap();
    assert_eq!(pushed, json!([{"id": "7"}]));
    printed(&slow, "jobs [7] t").await;
    let pushed = push(&slow, "t", json!([{"id": "a", "full": true}])).await.unwrap();
    assert_eq!(pushed[0]["error"]["code"], "schema");
    assert!(pushed[0]["error"]["message"].as_str().unwrap().contains("there is no room"), "{pushed}");
    assert_eq!(push(&slow, "", json!([{"id": 7}])).await.unwrap_err().kind, Kind::NotConfigured);
    let pushed = push(&quick, "t", json!([{"id": "a"}, {"id": "b"}, {"id": 3}])).await.unwrap();
    let twice = json!({"id": "b", "remote_id": "1", "error": {"code": "schema", "message": "twice"}});
    assert_eq!(pushed, json!([{"id": "a", "remote_id": "0"}, twice, {"id": "3", "remote_id": "2"}]));
    let late = push_within(3.0, &quick, "t", json!([{"id": "late"}])).await.unwrap_err();
    assert_eq!(late.kind, Kind::UnknownOutcome, "some of it may be there");
}

#[tokio::test]
async fn bare_tool_files_are_tools() {
    let place = tempfile::tempdir().unwrap();
    let tools = place.path().join("my-tools");
    std::fs::create_dir(&tools).unwrap();
    std::fs::write(tools.join("add.py"), crate::world::tool("add", "def add(a, b):\n    return a + b")).unwrap();
    let mut world = World::with(|config| config.tool_dirs.push(tools));
    let loaded = world.load("my_tools").await;
    assert_eq!(call(&loaded, "add", json!({"a": 2, "b": 3})).await.unwrap(), json!(5));
}
