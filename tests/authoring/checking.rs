//! `tercel check`: mistakes are told with file and line.

use crate::folder;
use serde_json::Value;
use std::fs;
use tercel_tests::{Options, python::write};

#[test]
fn a_check_says_file_and_line_and_ends_with_1_on_errors_only() {
    let options = Options::new();
    options.run(&["new", "board", "--as", "python"]).ok();
    let folder = folder(&options, "board");
    fs::remove_file(folder.join("README.md")).unwrap();
    let said = options.run(&["check", "integrations/board"]).ok();
    assert!(said.contains("README.md: warning: ") && said.contains("1 warning; it loads"), "{said}");
    write(&folder, &[("hooks.py", "import os\n\ndef f(:\n"), ("setup.py", "SETUP = {\"webook\": {}}\n")]);
    let said = options.run(&["check", "integrations/board"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.out.contains("hooks.py:3: error: SyntaxError"), "{}", said.out);
    assert!(said.out.contains("setup.py:1: error: SETUP has no `webook`; is `webhook` meant?"), "{}", said.out);
    let json: Value = serde_json::from_str(&options.run(&["check", "integrations/board", "--json"]).out).unwrap();
    let first = &json["problems"][0];
    assert_eq!((&first["file"], &first["level"]), (&"README.md".into(), &"warning".into()), "{json:#}");
}

#[test]
fn a_manifest_that_is_wrong_is_told_with_the_nearest_key() {
    let options = Options::new();
    let text = "schema: 1\nname: crm\nworker:\n  comand: [node, w.mjs]\n";
    write(&folder(&options, "crm"), &[("integration.yaml", text), ("README.md", "# CRM\n")]);
    let said = options.run(&["check", "integrations/crm"]);
    assert_eq!(said.status.code(), Some(1));
    assert!(said.out.contains("integration.yaml:4: error:") && said.out.contains("command"), "{}", said.out);
}

#[test]
fn what_is_no_folder_cannot_be_checked() {
    let options = Options::new();
    assert!(options.run(&["check", "nothing"]).failed().contains("nothing"));
    fs::write(options.place().join("file"), "").unwrap();
    assert!(options.run(&["check", "file"]).failed().contains("is no folder"));
}

/// Each mistake in the folder that `tercel new --as worker` makes, where it is told, and in which words.
const OF_A_WORKER: [(&str, &str, &str, &str, &str); 26] = [
    ("integration.yaml", "icon:", "icn:", "integration.yaml:7: error", "is `icon` meant?"),
    ("integration.yaml", "effect: read", "efect: read", "integration.yaml:21: error", "is `effect` meant?"),
    ("integration.yaml", "tools:", "tools: [", "integration.yaml:19: error", "block"),
    ("integration.yaml", "name: crm\n", "name: crn\n", "integration.yaml:3: error", "they must be the same"),
    (
        "integration.yaml",
        "key: webhook_secret",
        "key: token",
        "integration.yaml:16: error",
        "no field `webhook_secret`",
    ),
    ("integration.yaml", "key: token", "key: my-token", "integration.yaml:9: error", "cannot be the key of a field"),
    ("integration.yaml", "default: \"https://", "default: \"", "integration.yaml:11: error", "is no url"),
    (
        "integration.yaml",
        "label: Token,",
        "label: Token, env: PATH,",
        "integration.yaml:9: error",
        "the server sets itself",
    ),
    (
        "integration.yaml",
        "worker.mjs]",
        "wrker.mjs]",
        "integration.yaml:13: error",
        "`wrker.mjs`, which is not in this folder",
    ),
    ("integration.yaml", "[node, worker.mjs]", "[./worker.mjs]", "integration.yaml:13: error", "not executable"),
    (
        "integration.yaml",
        "[node,",
        "[no-such-program,",
        "integration.yaml:13: warning",
        "no `no-such-program` on this machine",
    ),
    ("integration.yaml", "secret: webhook_secret", "secret: secret", "integration.yaml:16: error", "no field `secret`"),
    (
        "integration.yaml",
        "  events: code",
        "  path: /integrations/crm/hook\n  events: code",
        "integration.yaml:17: error",
        "leave that out",
    ),
    (
        "integration.yaml",
        "name: crm_get_room",
        "name: get_room",
        "integration.yaml:19: error",
        "begins with the integration's",
    ),
    (
        "integration.yaml",
        "name: crm_get_room",
        "name: crm_get room",
        "integration.yaml:19: error",
        "cannot be the name of a tool",
    ),
    (
        "integration.yaml",
        "description: Read the name and the topic of a room.",
        "description: \"\"",
        "integration.yaml:19: error",
        "no description",
    ),
    (
        "integration.yaml",
        "{type: string, description: Id of the room}",
        "{type: str}",
        "integration.yaml:22: error",
        "has the type `str`",
    ),
    (
        "integration.yaml",
        "{type: string, description: Id of the room}",
        "string",
        "integration.yaml:22: error",
        "is a table",
    ),
    (
        "integration.yaml",
        "tools:",
        "permissions: {hosts: [\"https://a.example\"]}\ntools:",
        "integration.yaml:18: error",
        "is no host",
    ),
    (
        "integration.yaml",
        "tools:",
        "permissions: {api: [sessions]}\ntools:",
        "integration.yaml:18: error",
        "is no scope",
    ),
    (
        "integration.yaml",
        "tools:",
        "permissions: {env: [LD_PRELOAD]}\ntools:",
        "integration.yaml:18: error",
        "set by the server",
    ),
    (
        "integration.yaml",
        "tools:",
        "permissions: {paths: {read: [data]}}\ntools:",
        "integration.yaml:18: error",
        "is a path from /",
    ),
    ("worker.mjs", "const codes = {", "const codes = {{", "worker.mjs:", "SyntaxError"),
    ("skills/crm.md", "name: Crm", "name: [", "skills/crm.md:", "front matter"),
    ("skills/crm.md", "description: How to answer in Crm\n", "", "skills/crm.md:1: warning", "no `description`"),
    (
        "fixtures/message.created.json",
        "\"body\":",
        "\"body\"",
        "fixtures/message.created.json:3: error",
        "expected `:`",
    ),
];

#[test]
fn each_mistake_of_a_worker_is_told_where_it_is() {
    let options = Options::new();
    options.run(&["new", "crm", "--as", "worker"]).ok();
    let folder = folder(&options, "crm");
    let mut otherwise = Vec::new();
    for (file, from, to, place, words) in OF_A_WORKER {
        let file = folder.join(file);
        let good = fs::read_to_string(&file).unwrap();
        assert!(good.contains(from), "{}: `{from}`", file.display());
        fs::write(&file, good.replacen(from, to, 1)).unwrap();
        let said = options.run(&["check", "integrations/crm"]).out;
        if !said.lines().any(|line| line.starts_with(place) && line.contains(words)) {
            otherwise.push(format!("{to}\n{place}: {words}\n{said}"));
        }
        fs::write(&file, good).unwrap();
    }
    assert!(otherwise.is_empty(), "{}", otherwise.join("\n"));
    assert!(options.run(&["check", "integrations/crm"]).ok().contains("Nothing is wrong"));
}

#[test]
fn of_a_folder_in_rust_the_rest_is_told_and_the_code_left_to_the_compiler() {
    let options = Options::new();
    write(&options.place().join("integrations"), &[("lib.rs", "mod other;\n"), ("Cargo.toml", "")]);
    options.run(&["new", "crm", "--as", "native"]).ok();
    let said = options.run(&["check", "integrations/crm"]);
    assert_eq!(said.status.code(), Some(1));
    for words in ["mod.rs:1: error", "`mod crm;` is not in", "`crm::integration()` is not in", "cargo clippy"] {
        assert!(said.out.contains(words), "nothing of `{words}`:\n{}", said.out);
    }
    write(&options.place().join("integrations"), &[("lib.rs", "mod crm;\nfn all() { crm::integration() }\n")]);
    assert!(options.run(&["check", "integrations/crm"]).ok().contains("Nothing is wrong"));
    write(&folder(&options, "crm"), &[("fixtures/api.json", "{}")]);
    assert!(options.run(&["check", "integrations/crm"]).out.contains("fixtures/api.json:1: error"));
}
