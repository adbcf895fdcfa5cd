//! The examples in a folder of an operator's, with the server that runs it: nothing else is changed anywhere.

use crate::examples::Examples;
use serde_json::{Value, json};
use std::{fs, path::Path, time::Duration};
use tercel_tests::{FakeModel, Options, Receiver, Server, Turn, python::write, wait::until_within};

/// An environment for Python is made once for each server.
const MAKING: Duration = Duration::from_secs(180);

/// A server with an operator's directory of folders, made of examples.
struct Place {
    server: Server,
    model: FakeModel,
}

impl Place {
    fn start(files: &[(&str, String)], change: impl FnOnce(Options) -> Options) -> Self {
        let model = FakeModel::start();
        let options = Options::new().model(&model).with_shared_python();
        let root = options.place().join("folders");
        for (name, text) in files {
            write(&root, &[(name, text)]);
        }
        bots(options.data_directory());
        let options = change(options.env("INTEGRATION_DIRS", root.to_str().unwrap()));
        Self { server: Server::start(options), model }
    }

    /// Waits until the folder is loaded and its environment is there.
    #[track_caller]
    fn card(&self, id: &str) -> Value {
        until_within(MAKING, &format!("`{id}` is loaded"), || {
            let all = self.server.get("/api/v1/admin/integrations").expect(200);
            let card = all["integrations"].as_array().unwrap().iter().find(|card| card["id"] == id)?.clone();
            let has_parts =
                ["has_router", "has_tools", "has_dispatcher", "has_hooks"].iter().any(|part| card[part] == true);
            if card["worker"]["state"] == "preparing" {
                return None;
            }
            (has_parts || card["status"] == "error" || !card["env_vars"].as_array().unwrap().is_empty()).then_some(card)
        })
    }

    fn log(&self, id: &str) -> String {
        self.server.options.run(&["logs", id]).ok()
    }
}

/// The bots that the documents name.
fn bots(data: &Path) {
    for (id, tools) in [("code_review_bot", "[my_tool]"), ("my_bot", "[]")] {
        let text = format!("id: {id}\nname: {id}\nmodel: scripted-1\ntools: {tools}\n");
        write(data, &[(&format!("bots/{id}.yaml"), &text)]);
    }
}

fn pull_request() -> Value {
    json!({
        "action": "opened",
        "pull_request": {"number": 42, "title": "Add dark mode", "html_url": "https://forge.example/pr/42"},
        "repository": {"full_name": "owner/repo"},
    })
}

#[test]
fn the_documented_folder_takes_part_in_a_run_from_the_webhook_to_the_answer() {
    let Some(examples) = Examples::read() else { return };
    let file = |name: &str| examples.get(name);
    let place = Place::start(
        &[
            ("mygithub/__init__.py", String::new()),
            ("mygithub/config.py", file("config")),
            ("mygithub/router.py", file("router")),
            ("mygithub/dispatcher.py", file("dispatcher")),
            ("mygithub/hooks.py", file("metadata") + &file("hook")),
            ("mygithub/tools/__init__.py", String::new()),
            ("mygithub/tools/my_tool.py", file("tool")),
        ],
        |options| options,
    );
    let card = place.card("mygithub");
    for part in ["has_router", "has_dispatcher", "has_hooks", "has_tools"] {
        assert_eq!(card[part], true, "{part}: {card:#}");
    }
    let variables: Vec<&Value> = card["env_vars"].as_array().unwrap().iter().map(|one| &one["key"]).collect();
    assert!(variables.contains(&&json!("MYGITHUB_TOKEN")), "{card:#}");

    place.model.script(|_| Turn::text("Looks good."));
    let headers = [("x-github-event", "pull_request"), ("content-type", "application/json")];
    let answer = place.server.call("POST", "/integrations/mygithub/webhook", &headers, pull_request().to_string());
    assert_eq!(answer.expect(200), json!({"ok": true}));
    let task = until_within(MAKING, "a run", || place.server.list("/api/v1/tasks").first().cloned());
    let task = place.server.complete(task["id"].as_str().unwrap());
    assert_eq!((&task["bot_id"], &task["result"]), (&json!("code_review_bot"), &json!("Looks good.")));
    let said = place.server.messages(task["session_id"].as_str().unwrap());
    assert!(said[0]["content"].as_str().unwrap().contains("PR #42 opened: Add dark mode"), "{said:#?}");

    // A message that somebody vouches for: with the tool, the hook and the dispatcher of the folder.
    place.model.script(|asked| match asked.results().is_empty() {
        true => Turn::call("my_tool", json!({})),
        false => Turn::text("To you."),
    });
    let session = json!({"client_id": "mygithub:7", "bot_id": "code_review_bot"});
    let session = place.server.post("/api/v1/sessions", session).expect(201);
    let target = json!({"webhook_url": "https://forge.example/hook"});
    // The example's post_message() says that it does not send the injected message, which does not hold the answer up.
    let body = json!({"content": "Say it there", "dispatch_type": "mygithub", "dispatch_config": target});
    let task = place.server.ask_with(session["session_id"].as_str().unwrap(), body);
    place.server.complete(&task);
    let asked = place.model.asked();
    assert!(asked.iter().any(|asked| asked.results().iter().any(|result| result.contains("ok"))), "{asked:#?}");
    place.server.outbox(&task, &["sent"]);
    // The hook prints for each tool that was called.
    until_within(MAKING, "the hook's words", || place.log("mygithub").contains("Tool my_tool took").then_some(()));
}

#[test]
fn a_folder_with_the_stub_of_its_own_has_its_tools() {
    let Some(examples) = Examples::read() else { return };
    let tool = examples.get("tool").replace("from integrations._register import", "from .._register import");
    let place = Place::start(
        &[
            ("alone/__init__.py", String::new()),
            ("alone/_register.py", examples.get("stub")),
            ("alone/tools/__init__.py", String::new()),
            ("alone/tools/my_tool.py", tool),
        ],
        |options| options,
    );
    assert_eq!(place.card("alone")["has_tools"], true);
    let said = place.server.options.run(&["call", "my_tool", "{}", "--yes"]).ok();
    assert!(said.contains("ok"), "{said}");
}

#[test]
fn a_hook_can_transcribe_instead_of_the_server() {
    let Some(examples) = Examples::read() else { return };
    let place = Place::start(&[("stt/hooks.py", examples.get("transcription"))], |options| options);
    place.card("stt");
    let answer = place.server.post("/transcribe", json!({"audio_data": "UklGRg==", "audio_format": "wav"})).expect(200);
    assert!(answer.to_string().contains("transcribed text"), "{answer}");
}

#[test]
fn the_tables_of_setup_are_on_the_card() {
    let Some(examples) = Examples::read() else { return };
    let tables = ["env_vars", "webhook", "sidebar_section", "dashboard_modules"].map(|name| examples.get(name));
    let setup = format!("SETUP = {{\n{}}}\n", tables.concat());
    let router = "from fastapi import APIRouter\n\nrouter = APIRouter()\n".to_owned();
    let place =
        Place::start(&[("myintegration/setup.py", setup), ("myintegration/router.py", router)], |options| options);
    let card = place.card("myintegration");
    let variables = card["env_vars"].as_array().unwrap();
    let variable = |key: &str| variables.iter().find(|one| one["key"] == key).unwrap_or_else(|| panic!("{card:#}"));
    assert_eq!(
        (&variable("MY_API_TOKEN")["required"], &variable("MY_API_TOKEN")["secret"]),
        (&json!(true), &json!(true))
    );
    assert_eq!(variable("MY_PORT")["default"], "8080");
    assert_eq!(card["webhook"]["path"], "/integrations/myintegration/webhook");
    let sections = place.server.get("/api/v1/admin/integrations/sidebar-sections").expect(200);
    let section = &sections["sections"][0];
    assert_eq!((&section["id"], &section["title"]), (&json!("my-dashboard"), &json!("MY DASHBOARD")));
    assert_eq!(section["items"].as_array().unwrap().len(), 3, "{sections:#}");
    let modules = place.server.get("/api/v1/admin/integrations/dashboard-modules").expect(200);
    assert_eq!(modules["modules"][0]["id"], "analytics", "{modules:#}");
}

#[test]
fn a_setup_with_dots_in_it_hurts_nobody() {
    let Some(examples) = Examples::read() else { return };
    let place = Place::start(
        &[("myintegration/setup.py", examples.get("setup")), ("myintegration/tools/my_tool.py", examples.get("tool"))],
        |options| options,
    );
    assert_eq!(place.card("myintegration")["has_tools"], true);
}

#[test]
fn folders_of_the_workspace_are_shown_and_wait_for_approval() {
    let Some(examples) = Examples::read() else { return };
    // The names of the printed tree, by how far each stands in.
    let tree = examples.get("workspace folders");
    for name in ["my_api_client/", "api_tool.py", "my_webhook/", "router.py", "setup.py", "handler.py"] {
        assert!(tree.contains(name), "{tree}");
    }
    let options = Options::new().with_shared_python();
    let workspace = options.data_directory().join("workspace/integrations");
    write(
        &workspace,
        &[
            ("my_api_client/tools/api_tool.py", &examples.get("tool")),
            ("my_webhook/router.py", "from fastapi import APIRouter\n\nrouter = APIRouter()\n"),
            ("my_webhook/setup.py", "SETUP = {}\n"),
            ("my_webhook/tools/handler.py", "open('ran', 'w')\n"),
        ],
    );
    let server = Server::start(options);
    let all = server.get("/api/v1/admin/integrations").expect(200);
    for id in ["my_api_client", "my_webhook"] {
        let card = all["integrations"].as_array().unwrap().iter().find(|card| card["id"] == id).unwrap();
        assert_eq!(card["status"], "awaiting_approval", "{card:#}");
    }
    assert!(!workspace.join("my_webhook/ran").exists() && !server.options.place().join("ran").exists());
    assert_eq!(server.options.run(&["call", "my_tool", "{}"]).status.code(), Some(1));
}

#[test]
fn every_file_of_the_documented_folder_is_loaded() {
    let Some(examples) = Examples::read() else { return };
    let tree = examples.get("folder structure");
    let names = ["__init__.py", "config.py", "router.py", "dispatcher.py", "hooks.py", "process.py", "my_tool.py"];
    assert!(names.iter().all(|name| tree.contains(name)), "{tree}");
    let mark = |name: &str| format!("print('loaded {name}')\n");
    let place = Place::start(
        &[
            ("mygithub/__init__.py", mark("__init__")),
            ("mygithub/config.py", mark("config")),
            (
                "mygithub/router.py",
                format!("import integrations.mygithub.config\n{}{}", mark("router"), examples.get("router")),
            ),
            ("mygithub/dispatcher.py", mark("dispatcher") + &examples.get("dispatcher")),
            ("mygithub/hooks.py", mark("hooks") + &examples.get("hook")),
            ("mygithub/process.py", mark("process") + &examples.get("process")),
            ("mygithub/tools/__init__.py", String::new()),
            ("mygithub/tools/my_tool.py", mark("my_tool") + &examples.get("tool")),
            ("mygithub/tools/_helpers.py", mark("_helpers")),
        ],
        |options| options,
    );
    assert_eq!(place.card("mygithub")["has_process"], true);
    let log = until_within(MAKING, "what it prints", || {
        Some(place.log("mygithub")).filter(|log| log.contains("loaded my_tool"))
    });
    for name in ["__init__", "dispatcher", "hooks", "config", "router", "my_tool"] {
        assert!(log.contains(&format!("loaded {name}")), "{name}:\n{log}");
    }
    assert!(!log.contains("loaded _helpers"), "{log}");
    let at = |name: &str| log.find(&format!("loaded {name}")).unwrap();
    assert!(at("dispatcher") < at("hooks") && at("hooks") < at("router") && at("router") < at("my_tool"), "{log}");
}

#[test]
fn the_process_starts_when_what_it_requires_is_set() {
    let Some(examples) = Examples::read() else { return };
    let listener = "import os, time\nprint('listening', sorted(k for k in os.environ if k.startswith('GITHUB')), flush=True)\n\
                    time.sleep(600)\n";
    let files = [
        ("mygithub/process.py", examples.get("process")),
        ("mygithub/listener.py", listener.to_owned()),
        ("mygithub/tools/my_tool.py", examples.get("tool")),
    ];
    let place = Place::start(&files, |options| options);
    place.card("mygithub");
    let state = |place: &Place| place.server.get("/api/v1/admin/integrations/mygithub/process").expect(200);
    assert_ne!(state(&place)["status"], "running", "nothing is set");
    let settings =
        json!({"settings": {"GITHUB_WEBHOOK_SECRET": "s3cret-of-the-test", "GITHUB_TOKEN": "t0ken-of-the-test"}});
    place.server.put("/api/v1/admin/integrations/mygithub/settings", settings).expect(200);
    until_within(MAKING, "the process runs", || (state(&place)["status"] == "running").then_some(()));
    until_within(MAKING, "it says so", || {
        let logs = place.server.get("/api/v1/admin/integrations/mygithub/process/logs").text();
        (logs.contains("listening") && logs.contains("GITHUB_TOKEN")).then_some(())
    });
}

#[test]
fn the_helpers_do_what_the_document_says() {
    let Some(examples) = Examples::read() else { return };
    let indented: String = examples.get("helpers").lines().map(|line| format!("    {line}\n")).collect();
    let tool = format!(
        "from integrations._register import register\n\n\
         async def run():\n{indented}\n    return doc_id, docs, session_id, result\n\n\
         @register({{\"type\": \"function\", \"function\": {{\"name\": \"helpers\", \"description\": \"d\", \
         \"parameters\": {{\"type\": \"object\", \"properties\": {{}}}}}}}})\n\
         async def helpers():\n    doc_id, docs, session_id, result = await run()\n    \
         return {{\"doc_id\": str(doc_id), \"docs\": docs, \"session_id\": str(session_id), \"result\": result}}\n"
    );
    let place = Place::start(&[("mygithub/tools/helpers.py", tool)], |options| options);
    place.card("mygithub");
    place.model.script(|_| Turn::text("Reviewed."));
    let said: Value =
        serde_json::from_str(&place.server.options.run(&["call", "helpers", "{}", "--yes"]).ok()).unwrap();
    let document = place.server.get(&format!("/api/v1/documents/{}", said["doc_id"].as_str().unwrap())).expect(200);
    assert_eq!((&document["title"], &document["metadata"]["pr_number"]), (&json!("PR #42: Add dark mode"), &json!(42)));
    assert_eq!(said["docs"][0]["id"], said["doc_id"], "{said:#}");
    assert_eq!(said["result"]["session_id"], said["session_id"]);
    let task = place.server.complete(said["result"]["task_id"].as_str().unwrap());
    assert_eq!(task["prompt"], "New PR from alice: Add dark mode");
    let asked = place.model.asked();
    assert!(asked.iter().any(|asked| asked.0.to_string().contains("Review this PR...")), "the preamble is given");
}

#[test]
fn an_execution_config_counts_for_one_run() {
    let Some(examples) = Examples::read() else { return };
    let indented: String = examples.get("execution_config").lines().map(|line| format!("    {line}\n")).collect();
    let tool = format!(
        "from integrations import utils\nfrom integrations._register import register\nfrom app.db.engine import async_session\n\n\
         @register({{\"type\": \"function\", \"function\": {{\"name\": \"detect\", \"description\": \"d\", \
         \"parameters\": {{\"type\": \"object\", \"properties\": {{}}}}}}}})\n\
         async def detect():\n    db = async_session()\n    content = \"Somebody is at the door\"\n    \
         session_id = await utils.get_or_create_session(client_id=\"myintegration:door\", bot_id=\"my_bot\", db=db)\n\
         {indented}    return result\n"
    );
    let place = Place::start(&[("myintegration/tools/detect.py", tool)], |options| options);
    place.card("myintegration");
    place.model.script(|_| Turn::text("I see."));
    let said: Value = serde_json::from_str(&place.server.options.run(&["call", "detect", "{}", "--yes"]).ok()).unwrap();
    place.server.complete(said["task_id"].as_str().unwrap());
    let later = place.server.ask(said["session_id"].as_str().unwrap(), "And now?");
    place.server.complete(&later);
    let preamble = "You are responding to a detection event...";
    let asked: Vec<bool> = place.model.asked().iter().map(|asked| asked.0.to_string().contains(preamble)).collect();
    assert_eq!(asked, [true, false]);
    // What the example names is not there, which is told and stops nothing.
    let trace = place.server.trace(said["task_id"].as_str().unwrap()).to_string();
    assert!(trace.contains("frigate_event_snapshot"), "{trace}");
}

#[test]
fn hook_events_are_posted_in_the_documented_shape() {
    let Some(examples) = Examples::read() else { return };
    let printed = examples.json("hook payload");
    let receiver = Receiver::start();
    let place = Place::start(&[("mygithub/tools/my_tool.py", examples.get("tool"))], |options| {
        options.allow_loopback().env("HOOK_WEBHOOK_URLS", &receiver.url())
    });
    place.card("mygithub");
    place.model.script(|asked| match asked.results().is_empty() {
        true => Turn::call("my_tool", json!({})),
        false => Turn::text("Done."),
    });
    let session = place.server.post("/api/v1/sessions", json!({"client_id": "web:123", "bot_id": "code_review_bot"}));
    let task = place.server.ask(session.expect(201)["session_id"].as_str().unwrap(), "hello");
    place.server.complete(&task);
    let posted = until_within(MAKING, "the event", || {
        let bodies = receiver.received().into_iter().filter_map(|one| serde_json::from_slice::<Value>(&one.body).ok());
        bodies.into_iter().find(|body| body["event"] == printed["event"])
    });
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(keys(&posted), keys(&printed));
    assert_eq!(keys(&posted["context"]), keys(&printed["context"]));
    for key in keys(&printed["data"]) {
        assert!(!posted["data"][&key].is_null(), "{key}: {posted:#}");
    }
    assert_eq!(posted["context"]["client_id"], printed["context"]["client_id"]);
}

#[test]
fn the_scaffold_of_python_is_loaded_by_a_server_that_runs() {
    let model = FakeModel::start();
    let options = Options::new().model(&model).with_shared_python();
    fs::create_dir(options.place().join("integrations")).unwrap();
    let place = Place { server: Server::start(options), model };
    place.server.options.run(&["new", "board", "--as", "python"]).ok();
    until_within(MAKING, "the whole of it", || (place.card("board")["has_dispatcher"] == true).then_some(()));
}
