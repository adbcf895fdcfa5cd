//! Every documented helper, called by the code of a folder and answered by the server itself.

use crate::world::{loads, options, put, root};
use serde_json::{Value, json};
use tercel_tests::{FakeModel, Server, Turn};

const ASKER: &[(&str, &str)] = &[
    (
        "hooks.py",
        "from app.agent.hooks import IntegrationMeta, register_integration\nregister_integration(IntegrationMeta('asker', 'asker:'))\n",
    ),
    (
        "tools/asks.py",
        r#"
from fastapi import HTTPException
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from integrations import utils
from integrations._register import register
from app.agent import context, hooks
from app.agent.bots import get_bot
from app.config import settings
from app.db.engine import async_session
from app.db.models import Bot, Channel, ChannelIntegration
from app.services import api_keys, attachments, channels, integration_settings, sessions
from app.services.approval_suggestions import build_suggestions
from app.tools.registry import get_local_tool_schemas


def tool(function):
    parameters = {"type": "object", "properties": {}}
    return register({"type": "function", "function": {"name": function.__name__, "description": "", "parameters": parameters}})(function)


@tool
async def asker_rows():
    async with async_session() as db:
        own = (await db.execute(select(Channel).where(Channel.client_id == "asker:room"))).scalars().first()
        like = (await db.execute(select(Channel).where(Channel.client_id.like("asker:%"), Channel.bot_id == "default"))).scalars().all()
        binding = (await db.execute(select(ChannelIntegration).where(ChannelIntegration.channel_id == own.id))).scalars().first()
        by_id, gone = await db.get(Channel, own.id), await db.get(Channel, "no-id")
        bots = await db.scalars(select(Bot))
        return {
            "own": [own.client_id, own.bot_id, own.integration, own.require_mention, own.passive_memory, own.display_name],
            "like": sorted(channel.client_id for channel in like),
            "binding": [binding.client_id, binding.channel_id == own.id, binding.dispatch_config, binding.display_name],
            "by_id": [by_id == own, gone],
            "bots": sorted(bot.id for bot in bots),
        }


@tool
async def asker_channels():
    (channel, binding), = await channels.resolve_all_channels_by_client_id(None, "asker:bound")
    session = await channels.ensure_active_session(None, channel)
    names = await hooks.resolve_all_display_names([channel])
    return {
        "found": [channel.client_id, binding.client_id],
        "session": str(session),
        "again": str(await channels.ensure_active_session(None, channel)),
        "names": list(names.values()),
        "ours": [channels.is_integration_client_id(place) for place in ("asker:x", "github:o/r", "web:1", None)],
        "prefixes": [prefix in hooks.get_all_client_id_prefixes() for prefix in ("asker:", "github:")],
    }


@tool
async def asker_talk():
    session = await utils.get_or_create_session("asker:room", "default", dispatch_config={"type": "none"}, db=None)
    said = await utils.inject_message(session, "A file comes", "asker", notify=False, db=None)
    file = await attachments.create_attachment(
        said["message_id"], None, "a.txt", "text/plain", 5, "ann", "asker", file_data=b"Seven", bot_id="default"
    )
    plan = await attachments.create_attachment(
        said["message_id"], None, "plan.pdf", "application/pdf", 9, None, "asker", url="https://files.example/plan.pdf"
    )
    loose = await attachments.create_attachment(None, None, "b.txt", "text/plain", 1, None, "asker", file_data=b"b")
    await sessions.store_dispatch_echo(session, "asker:room", "default", "It was posted there", {"ts": "1.2"})
    asked = await utils.inject_message(session, "What is in it?", "asker", run_agent=True, notify=False, db=None)
    wrong = []
    for make in (
        lambda: utils.get_or_create_session("asker:room", "nobody", db=None),
        lambda: utils.inject_message("00000000-0000-0000-0000-000000000000", "a", "asker", db=None),
        lambda: utils.inject_message("no-id", "a", "asker", db=None),
    ):
        try:
            await make()
        except HTTPException as refused:
            wrong.append(refused.status_code)
        except ValueError:
            wrong.append("ValueError")
    return {"session": str(session), "file": file, "plan": plan, "loose": sorted(loose), "task": asked["task_id"], "wrong": wrong}


@tool
async def asker_documents():
    one = await utils.ingest_document("asker", "Tea", "Green tea is steeped at eighty degrees", metadata={"n": 1}, db=None)
    found = await utils.search_documents("steeped", integration_id="asker", limit=5, db=None)
    return [str(one) == found[0]["id"], sorted(found[0])]


@tool
async def asker_knows():
    bot = get_bot("default")
    try:
        get_bot("nobody")
        nobody = None
    except HTTPException as refused:
        nobody = refused.status_code
    own = await api_keys.validate_api_key(None, settings.API_KEY)
    return {
        "bot": [bot.id, bot.name, bot.integration_config],
        "nobody": nobody,
        "key": [own.name, api_keys.has_scope(own.scopes, "documents:read"), api_keys.has_scope(own.scopes, "admin")],
        "wrong key": await api_keys.validate_api_key(None, "wrong"),
        "url": settings.BASE_URL,
        "schemas": [schema["function"]["name"] for schema in get_local_tool_schemas(["asker_rows", "github_get_pr", "nothing"])],
        "settings": [integration_settings.get_value("asker", "ASKER_X", "usual"), integration_settings.get_value("github", "GITHUB_TOKEN", "none")],
        "suggestions": [suggestion.label for suggestion in build_suggestions("run", {"command": "ls -l"})],
        "call": [context.current_bot_id.get(), context.current_session_id.get()],
    }


@tool
def asker_forms():
    from scripts.integrations import REGISTRY

    github = REGISTRY["github"]()
    return {
        "github": [github.label, github.tier, "token" in [field["key"] for field in github.fields()]],
        "tested": github.connect({"token": "t"}) and github.test(),
    }
"#,
    ),
];

fn asker() -> (Server, FakeModel) {
    let model = FakeModel::start();
    let options = options().model(&model).env("GITHUB_TOKEN", "t0ken-of-another");
    put(&root(&options), "asker", ASKER);
    let server = Server::start(options);
    let card = loads(&server, "asker");
    assert_eq!(card["problems"], json!([]), "{card:#}");
    (server, model)
}

#[track_caller]
fn ask(server: &Server, tool: &str) -> Value {
    let answer = server.post(&format!("/api/v1/tools/{tool}/call"), json!({})).expect(200);
    assert_eq!(answer["ok"], true, "{answer:#}");
    answer["result"].clone()
}

fn channel(server: &Server, body: Value, bound: &[&str]) {
    let made = server.post("/api/v1/channels", body).expect(201);
    for client_id in bound {
        let path = format!("/api/v1/channels/{}/bindings", made["id"].as_str().unwrap());
        let config = json!({"type": "none", "room": 1});
        server
            .post(&path, json!({"client_id": client_id, "display_name": "Bound", "dispatch_config": config}))
            .expect(201);
    }
}

#[test]
fn rows_are_selected_as_with_a_database() {
    let (server, _model) = asker();
    channel(
        &server,
        json!({"client_id": "asker:room", "display_name": "Room", "require_mention": true}),
        &["asker:extra"],
    );
    channel(&server, json!({"client_id": "asker:other"}), &[]);
    channel(&server, json!({"client_id": "web:1"}), &[]);
    let rows = ask(&server, "asker_rows");
    let expected = json!({
        "own": ["asker:room", "default", "asker", true, true, "Room"],
        "like": ["asker:other", "asker:room"],
        "binding": ["asker:extra", true, {"type": "none", "room": 1}, "Bound"],
        "by_id": [true, null],
        "bots": ["default"],
    });
    assert_eq!(rows, expected);
}

#[test]
fn channels_are_found_by_what_they_are_bound_to() {
    let (server, _model) = asker();
    channel(&server, json!({"client_id": "web:team", "display_name": "Team"}), &["asker:bound"]);
    let found = ask(&server, "asker_channels");
    assert_eq!((&found["found"], &found["names"]), (&json!(["web:team", "asker:bound"]), &json!(["Team"])));
    assert_eq!((&found["ours"], &found["prefixes"]), (&json!([true, true, false, false]), &json!([true, true])));
    assert_eq!(found["session"], found["again"]);
    assert_eq!(found["session"], server.session("web:team"));
}

#[test]
fn messages_files_and_echoes_are_in_the_session() {
    let (server, model) = asker();
    model.script(|_| Turn::text("Seven."));
    let talk = ask(&server, "asker_talk");
    assert_eq!(talk["wrong"], json!([404, "ValueError", "ValueError"]));
    server.complete(talk["task"].as_str().unwrap());
    let messages = server.messages(talk["session"].as_str().unwrap());
    let said: Vec<(&str, &str)> =
        messages.iter().map(|m| (m["role"].as_str().unwrap(), m["content"].as_str().unwrap())).collect();
    let expected = [
        ("user", "A file comes"),
        ("assistant", "It was posted there"),
        ("user", "What is in it?"),
        ("assistant", "Seven."),
    ];
    assert_eq!(said, expected);
    assert_eq!(messages[0]["attachments"], json!([talk["file"], talk["plan"]]));
    let about = json!({"posted_by": "ann", "source_integration": "asker", "bot_id": "default"});
    assert_eq!((&talk["file"]["filename"], &talk["file"]["metadata"]), (&json!("a.txt"), &about));
    assert_eq!(
        (&talk["plan"]["url"], &talk["plan"]["size_bytes"]),
        (&json!("https://files.example/plan.pdf"), &json!(9))
    );
    assert_eq!(talk["loose"], json!(["filename", "id", "mime_type", "size_bytes", "url"]));
    assert_eq!(&server.get(talk["file"]["url"].as_str().unwrap()).body[..], b"Seven");
    let metadata = &messages[1]["metadata"];
    assert_eq!((&metadata["ts"], &metadata["posting_bot_id"]), (&json!("1.2"), &json!("default")));
    let asked = model.asked()[0].0.to_string();
    assert!(
        asked.contains("a.txt (text/plain, 5 bytes)") && asked.contains("https://files.example/plan.pdf"),
        "{asked}"
    );
}

#[test]
fn documents_are_found_when_they_were_stored() {
    let (server, _model) = asker();
    let keys = ["content", "id", "integration_id", "metadata", "score", "session_id", "snippet", "title"];
    assert_eq!(ask(&server, "asker_documents"), json!([true, keys]));
}

#[test]
fn bots_keys_settings_and_tools_are_those_of_the_folder() {
    let (server, _model) = asker();
    let expected = json!({
        "bot": ["default", "Default", {}],
        "nobody": 404,
        "key": ["asker", true, false],
        "wrong key": null,
        "url": server.base,
        "schemas": ["asker_rows"],
        "settings": ["usual", "none"],
        "suggestions": ["Allow run (all bots)", "Allow run always", "Allow `ls *`", "Allow `ls -l`"],
        "call": [null, null],
    });
    assert_eq!(ask(&server, "asker_knows"), expected);
}

#[test]
fn the_forms_of_others_are_known_and_their_connections_are_not_the_folders_to_use() {
    let (server, _model) = asker();
    let forms = ask(&server, "asker_forms");
    assert_eq!(forms, json!({"github": ["GitHub", "free", true], "tested": false}));
    let printed = server.get("/api/v1/admin/integrations/asker/logs").expect(200).to_string();
    assert!(printed.contains("[github] Missing required scope: integrations:write"), "{printed}");
}
