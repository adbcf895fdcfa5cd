//! A server with folders, and what is put into them.

use serde_json::{Value, json};
use std::{
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Path, PathBuf},
    sync::OnceLock,
    time::Duration,
};
use tercel_tests::{FakeModel, Options, Receiver, Server, environments::environments as shared, wait::until_within};

/// Loading a folder starts an interpreter, on a machine that has much else to do.
pub const PATIENCE: Duration = Duration::from_secs(180);

/// A folder in the documents' layout: takes webhooks, starts runs, sends answers to a service.
pub const FORGE: &[(&str, &str)] = &[
    ("__init__.py", "id = 'forge'\nname = 'Forge'\nversion = '1.2.0'\n"),
    (
        "setup.py",
        r#"
SETUP = {
    "icon": "Hammer",
    "env_vars": [
        {"key": "FORGE_URL", "required": True, "secret": False, "description": "Where it answers"},
        {"key": "FORGE_TOKEN", "required": False, "secret": True, "description": "From the account page"},
    ],
    "webhook": {"path": "/integrations/forge/webhook", "description": "Receives events"},
    "sidebar_section": {"id": "forge", "title": "Forge", "icon": "Hammer", "items": [{"label": "Board", "href": "/forge/board", "icon": "Hammer"}]},
    "dashboard_modules": [{"id": "analytics", "label": "Analytics", "icon": "BarChart3", "description": "Trends"}],
}
"#,
    ),
    (
        "router.py",
        r#"
import asyncio, os, pathlib
from fastapi import APIRouter, HTTPException, Request
from integrations import utils

router = APIRouter()
state = pathlib.Path(os.environ["INTEGRATION_STATE_DIR"])


def first_time(name: str) -> bool:
    mark = state / name
    if mark.exists():
        return False
    mark.touch()
    return True


@router.post("/webhook")
async def webhook(request: Request):
    data = await request.json()
    if request.headers.get("x-forge-signature") == "wrong":
        raise HTTPException(401, "Who are you?")
    if data.get("fails"):
        raise HTTPException(422, "No")
    # The mark is there before the message is, by which a test knows how far this came.
    hangs = data.get("hangs") and first_time(data["hangs"])
    session = await utils.get_or_create_session("forge:board", "default", dispatch_config={"type": "forge", "channel": "c1"}, db=None)
    done = await utils.inject_message(session, data["text"], source="forge", run_agent=data.get("run", True), notify=False,
                                      execution_config=data.get("config"), db=None)
    if hangs:
        await asyncio.sleep(600)
    if data.get("dies") and first_time(data["dies"]):
        os._exit(3)
    return {"took": data["text"], "task": done["task_id"], "delivery": request.headers.get("tercel-delivery")}
"#,
    ),
    (
        "dispatcher.py",
        r#"
import httpx
from app.agent.dispatchers import register
from integrations.forge.config import settings


class Forge:
    async def notify_start(self, task):
        task.dispatch_config["began"] = True

    async def deliver(self, task, result, client_actions=None, extra_metadata=None):
        config = task.dispatch_config
        async with httpx.AsyncClient() as client:
            answer = await client.post(settings.FORGE_URL, json={"text": result, "channel": config["channel"], "began": config.get("began", False)})
            answer.raise_for_status()

    async def post_message(self, dispatch_config, text, **kwargs) -> bool:
        return False


register("forge", Forge())
"#,
    ),
    (
        "config.py",
        "from pydantic_settings import BaseSettings\n\n\nclass Config(BaseSettings):\n    FORGE_URL: str = ''\n    FORGE_TOKEN: str = ''\n\n\nsettings = Config()\n",
    ),
    (
        "tools/board.py",
        r#"
import os
from integrations._register import register


@register({"type": "function", "function": {"name": "forge_note", "description": "Keeps a note", "parameters":
    {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]}}})
async def forge_note(text: str) -> str:
    print("noted", text)
    return f"noted {text} with {os.environ.get('FORGE_TOKEN') or 'nothing'}"
"#,
    ),
    ("skills/board.md", "---\nname: Board\ndescription: How to read it\n---\nRead it from the top.\n"),
];

/// Writes the files of a folder below a root.
pub fn put(root: &Path, id: &str, files: &[(&str, &str)]) -> PathBuf {
    let folder = root.join(id);
    for (path, text) in files {
        let path = folder.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text.trim_start()).unwrap();
    }
    folder
}

/// Where the operator puts folders.
pub fn root(options: &Options) -> PathBuf {
    options.place().join("integrations")
}

/// What installs packages may need of this machine.
const INSTALLING: [&str; 8] = [
    "HTTPS_PROXY",
    "NO_PROXY",
    "PIP_CERT",
    "PIP_FIND_LINKS",
    "PIP_INDEX_URL",
    "SSL_CERT_FILE",
    "UV_FIND_LINKS",
    "UV_INDEX_URL",
];

/// Options without an environment for Python.
pub fn fresh() -> Options {
    let options = Options::new();
    // The user that runs the code gets through to what is its own.
    fs::set_permissions(options.place(), fs::Permissions::from_mode(0o711)).unwrap();
    INSTALLING.iter().fold(options, |options, name| match std::env::var_os(name) {
        Some(value) => options.env(name, value.to_str().unwrap()),
        None => options,
    })
}

/// Options with an environment for Python that is made once for all tests.
pub fn options() -> Options {
    let options = fresh();
    share(environments(), &options);
    options
}

/// Takes minutes where nothing is there yet: packages are installed.
pub fn environments() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let shared = shared(env!("CARGO_TARGET_TMPDIR"));
        let options = fresh();
        share(&shared, &options);
        put(&root(&options), "plain", &[("router.py", "from fastapi import APIRouter\nrouter = APIRouter()\n")]);
        let server = Server::start(options);
        until_within(Duration::from_secs(240), "an environment for Python", || {
            let card = card(&server, "plain");
            (card["status"] == "ready").then_some(())
        });
        shared
    })
}

fn share(environments: &Path, options: &Options) {
    fs::create_dir_all(options.data_directory()).unwrap();
    symlink(environments, options.data_directory().join("envs")).unwrap();
}

/// What the API says of one integration.
#[track_caller]
pub fn card(server: &Server, id: &str) -> Value {
    let all = server.get("/api/v1/admin/integrations").expect(200);
    let all = all["integrations"].as_array().unwrap();
    all.iter().find(|one| one["id"] == id).cloned().unwrap_or_else(|| json!({"id": id, "status": "not there"}))
}

/// Waits until an integration stands like this.
#[track_caller]
pub fn stands(server: &Server, id: &str, status: &str) -> Value {
    let mut last = Value::Null;
    let start = std::time::Instant::now();
    while start.elapsed() < PATIENCE {
        last = card(server, id);
        if last["status"] == status {
            return last;
        }
        tercel_tests::wait::pause(Duration::from_millis(20));
    }
    panic!("`{id}` did not become {status}: {last:#}")
}

/// Waits until an integration can be used.
#[track_caller]
pub fn loads(server: &Server, id: &str) -> Value {
    until_within(PATIENCE, &format!("`{id}` is loaded"), || {
        let card = card(server, id);
        let is_there = card["worker"].is_object() && card["worker"]["state"] != "preparing";
        let status = card["status"].as_str().unwrap();
        (is_there && ["ready", "partial", "not_configured"].contains(&status)).then_some(card)
    })
}

/// A server with the forge, the service that it speaks to, and a model.
pub struct World {
    pub server: Server,
    pub model: FakeModel,
    pub service: Receiver,
}

impl World {
    pub fn start() -> Self {
        Self::start_with(|_| {}, |options| options)
    }

    pub fn start_with(prepare: impl FnOnce(&Options), change: impl FnOnce(Options) -> Options) -> Self {
        let (model, service) = (FakeModel::start(), Receiver::start());
        let options = change(options().model(&model).env("FORGE_URL", &service.url()));
        put(&root(&options), "forge", FORGE);
        prepare(&options);
        let server = Server::start(options);
        loads(&server, "forge");
        Self { server, model, service }
    }

    /// An event, as the service sends it.
    #[track_caller]
    pub fn event(&self, headers: &[(&str, &str)], body: Value) -> tercel_tests::Answer {
        self.server.anonymous().call("POST", "/integrations/forge/webhook", headers, body.to_string())
    }

    /// The newest delivery of the forge, when it is in that state.
    #[track_caller]
    pub fn delivery(&self, state: &str) -> Value {
        until_within(PATIENCE, &format!("a delivery that is {state}"), || {
            let all = self.server.list("/api/v1/deliveries?integration=forge");
            all.into_iter().find(|delivery| delivery["state"] == state)
        })
    }
}
