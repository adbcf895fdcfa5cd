//! Parts of a Python folder take part as those of the program do.

use crate::world::{World, call, host, host_of, log, until};
use bytes::Bytes;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tercel_hosts::Loaded;
use tercel_sdk::{Approval, Call, Dispatcher, Kind, Outbound, Target, hook::Watches, host::Ids};
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
        return True

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


register_integration(IntegrationMeta(integration_type="crm", client_id_prefix="crm-", user_attribution=attribute))


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
    assert_eq!(crm.integration.prefixes, ["crm:", "crm-"]);
    assert_eq!(crm.integration.skills[0].id, "integrations/crm/crm");
    let attribute = crm.integration.user_attribution.clone().unwrap();
    let user = json!({"display_name": "Ann", "avatar_url": null, "integration_config": {}});
    assert_eq!(attribute(host(20.0), user.into()).await.unwrap(), json!({"username": "Ann"}));
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
