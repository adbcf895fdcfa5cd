//! `tercel rehearse`: the whole way of an event, with what was recorded, and nothing is sent.

use crate::{folder, worlds::Rooms};
use serde_json::{Value, json};
use std::{fs, time::Duration};
use tercel_tests::{FakeModel, Options, Server, Turn, python::write, wait::until_within};

/// What the board says of itself, where the rehearsal of a new folder reads it.
const TOPIC: &str = "Whatever there is";

fn new(options: &Options, name: &str, way: &str) {
    options.run(&["new", name, "--as", way]).ok();
}

/// Exchanges text in a file of a folder, which has it.
fn change(options: &Options, file: &str, from: &str, to: &str) {
    let file = folder(options, file);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains(from), "{}:\n{text}", file.display());
    fs::write(file, text.replace(from, to)).unwrap();
}

#[test]
fn a_new_folder_shows_the_whole_way_and_sends_nothing() {
    let options = Options::new().with_python();
    for (name, way, verified) in [("board", "python", "code of the folder"), ("crm", "worker", "hmac")] {
        new(&options, name, way);
        let said = options.run(&["rehearse", &format!("integrations/{name}"), "--event", "message.created"]).ok();
        let session = format!("{name}:general");
        let target = format!("to {name} room=general");
        let read = format!("GET https://api.{name}.example/rooms/general · recorded, 200");
        for words in ["delivery", verified, &session, "complete", TOPIC, "withheld", &target, &read] {
            assert!(said.contains(words), "{name}: nothing of `{words}`:\n{said}");
        }
    }
    assert!(!options.data_directory().exists(), "a rehearsal leaves nothing behind");
    let said = options.run(&["rehearse", "board", "--event", "message.deleted"]).failed();
    assert!(said.contains("message.deleted") && said.contains("the samples are: message.created"), "{said}");
    let said = options.run(&["rehearse", "bord", "--event", "message.created"]).failed();
    assert!(said.contains("There is no folder bord"), "{said}");
}

#[test]
fn whichever_client_python_reads_with_gets_what_was_recorded() {
    let options = Options::new().with_python();
    new(&options, "board", "python");
    let tool = r#"
import json
import urllib.request

import httpx
import requests
from integrations._register import register

URL = "https://api.board.example/rooms/general"


@register({"type": "function", "effect": "read", "function": {"name": "board_get_room", "description": "d",
    "parameters": {"type": "object", "properties": {"room": {"type": "string"}}, "required": ["room"]}}})
async def board_get_room(room):
    async with httpx.AsyncClient() as client:
        return {
            "httpx": (await client.get(URL)).json()["topic"],
            "httpx, sync": httpx.get(URL).json()["topic"],
            "requests": requests.get(URL).json()["topic"],
            "urllib": json.load(urllib.request.urlopen(URL))["topic"],
            "plain": requests.get(URL.replace("https", "http")).json()["topic"],
            "written": requests.post(URL, json={"topic": "Mine"}).status_code,
            "unknown": requests.get(URL + "?page=2").status_code,
        }
"#;
    write(&folder(&options, "board"), &[("tools/rooms.py", tool)]);
    let said = options.run(&["rehearse", "board", "--event", "message.created", "--json"]).ok();
    let trace: Value = serde_json::from_str(&said).unwrap();
    let step = trace["steps"].as_array().unwrap().iter().find(|step| step["kind"] == "tool").unwrap();
    let read: Value = serde_json::from_str(step["output"]["content"].as_str().unwrap()).unwrap();
    let expected = json!({
        "httpx": TOPIC, "httpx, sync": TOPIC, "requests": TOPIC, "urllib": TOPIC, "plain": TOPIC,
        "written": 501, "unknown": 501,
    });
    assert_eq!(read, expected, "{trace:#}");
    let asked: Vec<(&str, &str)> = trace["asked"]
        .as_array()
        .unwrap()
        .iter()
        .map(|asked| (asked["method"].as_str().unwrap(), asked["outcome"].as_str().unwrap()))
        .collect();
    let recorded = [("GET", "recorded"); 5];
    assert_eq!(asked, [&recorded[..], &[("POST", "withheld"), ("GET", "missing")]].concat());
    assert_eq!(trace["asked"][5]["body"], "{\"topic\": \"Mine\"}");
}

#[test]
fn whichever_client_of_node_reads_gets_what_was_recorded() {
    let options = Options::new().with_python();
    new(&options, "crm", "worker");
    let by = r#"const by = (module, address) =>
  new Promise((resolve, reject) => {
    const read = async (answer) => resolve(JSON.parse(Buffer.concat(await answer.toArray())).topic);
    module.get(address, read).on("error", reject);
  });

// By part and name"#;
    change(&options, "crm/worker.mjs", "// By part and name", by);
    change(
        &options,
        "crm/worker.mjs",
        r#"({ room }) => crm("GET", `/rooms/${encodeURIComponent(room)}`),"#,
        r#"async ({ room }) => ({
    fetch: (await (await fetch(`${url}/rooms/${room}`)).json()).topic,
    https: await by(https, `${url}/rooms/${room}`),
    http: await by(http, `${url}/rooms/${room}`.replace("https", "http")),
    written: (await fetch(`${url}/rooms/${room}`, { method: "PUT", body: "{}" })).status,
  }),"#,
    );
    change(
        &options,
        "crm/worker.mjs",
        "import { createServer } from \"node:http\";",
        "import http, { createServer } from \"node:http\";\nimport https from \"node:https\";",
    );
    let said = options.run(&["rehearse", "crm", "--event", "message.created"]).ok();
    let expected = format!("{{\"fetch\":\"{TOPIC}\",\"https\":\"{TOPIC}\",\"http\":\"{TOPIC}\",\"written\":501}}");
    assert!(said.contains(&expected), "{said}");
    assert!(said.contains("PUT https://api.crm.example/rooms/general · withheld"), "{said}");
}

#[test]
fn reads_go_out_when_that_is_wanted_and_writes_do_not() {
    let rooms = Rooms::start();
    let options = Options::new().with_python();
    new(&options, "board", "python");
    let typing = "    async with async_session() as db:";
    let more = "    httpx.post(f\"{settings.BOARD_URL}/rooms/general/typing\")\n    async with async_session() as db:";
    change(&options, "board/router.py", typing, more);
    change(&options, "board/router.py", "import hmac\n", "import hmac\n\nimport httpx\n");
    let options = options.env("BOARD_URL", &rooms.url()).env("BOARD_TOKEN", "t0ken-of-the-test");
    let said = options.run(&["rehearse", "board", "--event", "message.created", "--live-reads"]).ok();
    assert!(
        said.contains("From outside") && said.contains("it went out") && said.contains("/typing · withheld"),
        "{said}"
    );
    assert_eq!(rooms.lines(), ["GET /rooms/general"]);
    assert_eq!(rooms.requests()[0].header("authorization"), "Bearer t0ken-of-the-test");
    assert!(!said.contains("t0ken"), "{said}");
}

#[test]
fn hosts_that_a_manifest_does_not_name_are_refused_in_a_rehearsal_too() {
    let options = Options::new().with_python();
    new(&options, "crm", "worker");
    change(&options, "crm/integration.yaml", "tools:", "permissions: {hosts: [other.example]}\ntools:");
    let said = options.run(&["rehearse", "crm", "--event", "message.created"]).ok();
    assert!(said.contains("CONNECT api.crm.example:443 · refused: `api.crm.example` may not be called"), "{said}");
}

#[test]
fn what_the_code_printed_and_where_it_failed_is_shown() {
    let options = Options::new().with_python();
    new(&options, "board", "python");
    change(
        &options,
        "board/router.py",
        "    message = event[\"message\"]",
        "    print(\"here\")\n    message = event[\"mesage\"]",
    );
    let said = options.run(&["rehearse", "board", "--event", "message.created"]);
    assert!(!said.status.success());
    for words in ["refused     500", "printed     ", "router.py\", line 24", "KeyError: 'mesage'"] {
        assert!(said.out.contains(words), "nothing of `{words}`:\n{}", said.out);
    }
    // Output and errors come in ways of their own, either of them first.
    let mut lines = said.out.lines().map(|line| line.strip_prefix("printed").unwrap_or(line).trim());
    assert!(lines.any(|line| line == "here"), "{}", said.out);
}

#[test]
fn recorded_answers_that_cannot_be_used_are_told_before_anything_runs() {
    let options = Options::new().with_python();
    new(&options, "board", "python");
    write(&folder(&options, "board"), &[("fixtures/api.json", "[\n  {\"path\": \"/rooms\", \"bdy\": 1}\n]\n")]);
    let said = options.run(&["rehearse", "board", "--event", "message.created"]).failed();
    assert!(said.contains("fixtures/api.json:2: unknown field `bdy`"), "{said}");
    let said = options.run(&["check", "integrations/board"]);
    assert!(said.out.contains("fixtures/api.json:2: error: unknown field `bdy`"), "{}", said.out);
}

#[test]
fn what_ships_with_the_program_can_be_rehearsed_by_its_name() {
    let options = Options::new().with_python().without("API_KEY");
    let said = options.run(&["rehearse", "example", "--event", "ingest"]).ok();
    assert!(said.contains("delivery") && said.contains("reply"), "{said}");
}

#[test]
fn a_folder_imports_the_one_beside_it_also_in_a_rehearsal() {
    let options = Options::new().with_python();
    new(&options, "board", "python");
    write(
        &options.place().join("integrations"),
        &[("shared/words.py", "LABEL = 'wrote'\n"), ("shared/__init__.py", ""), ("shared/tools/t.py", "")],
    );
    change(
        &options,
        "board/router.py",
        "from integrations import utils",
        "from integrations import utils\nfrom integrations.shared.words import LABEL",
    );
    change(&options, "board/router.py", "{message['author']} wrote:", "{message['author']} {LABEL}:");
    let said = options.run(&["rehearse", "board", "--event", "message.created"]).ok();
    assert!(said.contains("board:general") && said.contains("complete"), "{said}");
}

/// From `new` beside a server that runs to the answer that the service gets.
#[test]
fn a_new_folder_is_taken_up_and_answers_the_event_that_is_sent() {
    for (name, way) in [("board", "python"), ("crm", "worker")] {
        let (rooms, model) = (Rooms::start(), FakeModel::start());
        let prefix = name.to_uppercase();
        let options = Options::new()
            .model(&model)
            .with_shared_python()
            .env(&format!("{prefix}_URL"), &rooms.url())
            .env(&format!("{prefix}_TOKEN"), "t0ken-of-the-test")
            .env(&format!("{prefix}_WEBHOOK_SECRET"), "s3cret-of-the-test");
        fs::create_dir(options.place().join("integrations")).unwrap();
        let server = Server::start(options);
        let refused = server.options.run(&["rehearse", name, "--event", "message.created", "--send"]).failed();
        assert!(refused.contains("There is no folder"), "{refused}");
        new(&server.options, name, way);
        until_within(Duration::from_secs(180), "it is taken up", || {
            let all = server.get("/api/v1/admin/integrations").expect(200);
            let card = all["integrations"].as_array().unwrap().iter().find(|card| card["id"] == name)?.clone();
            (card["status"] == "ready" && card["has_dispatcher"] == true).then_some(())
        });
        let send = ["rehearse", name, "--event", "message.created", "--send"];
        let wrong = server.options.clone().env(&format!("{prefix}_WEBHOOK_SECRET"), "an0ther");
        let said = wrong.run(&send).failed();
        assert!(said.contains("refused") && said.contains("This command signs with"), "{said}");
        let room = format!("{name}_get_room");
        model.script(move |asked| match asked.results().is_empty() {
            true => Turn::call(&room, json!({"room": "general"})),
            false => Turn::text("In the shed."),
        });
        let said = server.options.run(&send).ok();
        assert!(said.contains("sent to the running server") && said.contains("From outside"), "{said}");
        let posted = "POST /rooms/general/messages {\"text\":\"In the shed.\"}";
        let lines: Vec<String> = rooms.lines().iter().map(|line| line.replace("\": \"", "\":\"")).collect();
        assert_eq!(lines, ["GET /rooms/general", posted], "{way}");
        let said = server.options.run(&send).ok();
        assert!(said.contains("duplicate"), "{said}");
        assert_eq!(rooms.lines().len(), 2, "the same event is known");
    }
}
