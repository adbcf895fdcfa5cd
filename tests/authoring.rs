//! What a person who writes an integration types: `new`, `check`, `rehearse`.

use serde_json::Value;
use std::{fs, path::Path, process::Command};
use tercel_tests::{
    Options,
    python::{pytest, write},
};

fn folder(options: &Options, name: &str) -> std::path::PathBuf {
    options.place().join("integrations").join(name)
}

#[test]
fn a_new_python_folder_passes_its_own_tests_and_the_check() {
    let options = Options::new();
    let said = options.run(&["new", "my_board", "--as", "python"]).ok();
    assert!(said.contains("integrations/my_board"), "{said}");
    assert_eq!(pytest(options.place(), "integrations/my_board"), 5);
    let said = options.run(&["check", "integrations/my_board"]).ok();
    assert!(said.contains("Nothing is wrong"), "{said}");
    assert!(!options.data_directory().exists(), "a check leaves nothing behind");
}

#[test]
fn a_new_worker_passes_its_own_tests_and_the_check() {
    let options = Options::new();
    options.run(&["new", "crm", "--as", "worker"]).ok();
    let tested = Command::new("node").arg("--test").current_dir(folder(&options, "crm")).output().unwrap();
    assert!(tested.status.success(), "{}", String::from_utf8_lossy(&tested.stdout));
    let said = options.run(&["check", "integrations/crm"]).ok();
    assert!(said.contains("Nothing is wrong"), "{said}");
    fs::remove_file(folder(&options, "crm").join("worker.mjs")).unwrap();
    let said = options.run(&["check", "integrations/crm"]);
    assert!(!said.status.success() && said.out.contains("`worker.mjs`, which is not in this folder"), "{said:?}");
}

#[test]
fn a_new_manifest_passes_the_check_and_shows_its_whole_way() {
    let options = Options::new();
    let said = options.run(&["new", "my_board", "--as", "manifest"]).ok();
    assert!(said.contains("integrations/my_board"), "{said}");
    let said = options.run(&["check", "integrations/my_board"]).ok();
    assert!(said.contains("Nothing is wrong"), "{said}");
    let schema = fs::read(options.place().join("integrations/integration.schema.json")).unwrap();
    assert!(serde_json::from_slice::<Value>(&schema).unwrap()["properties"]["fields"].is_object());
    let said = options.run(&["rehearse", "integrations/my_board", "--event", "message.created"]).ok();
    for words in ["delivery", "session", "my_board:general", "task", "complete", "withheld", "to my_board room=general"]
    {
        assert!(said.contains(words), "nothing of `{words}`:\n{said}");
    }
    assert!(!options.data_directory().exists(), "nothing is left behind");
    let said = options.run(&["rehearse", "integrations/my_board", "--event", "message.deleted"]).failed();
    assert!(said.contains("message.created"), "{said}");
    let file = folder(&options, "my_board").join("integration.yaml");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("{{ args.room }}", "{{ args.rom }}").replace("session:", "sesion:")).unwrap();
    let said = options.run(&["check", "integrations/my_board"]);
    assert!(said.out.contains("There is no key `sesion` here; is `session` meant?"), "{}", said.out);
    fs::write(&file, text.replace("{{ args.room }}", "{{ args.rom }}")).unwrap();
    let said = options.run(&["check", "integrations/my_board"]);
    assert!(said.out.contains("There is no `args.rom`; is `args.room` meant?"), "{}", said.out);
}

#[test]
fn a_new_native_one_needs_a_checkout_and_says_which_lines_to_add() {
    let options = Options::new();
    let said = options.run(&["new", "crm", "--as", "native"]).failed();
    assert!(said.contains("checkout"), "{said}");
    write(&options.place().join("integrations"), &[("lib.rs", ""), ("Cargo.toml", "")]);
    let said = options.run(&["new", "crm", "--as", "native"]).ok();
    assert!(said.contains("mod crm;") && said.contains("crm::integration(),"), "{said}");
    assert!(folder(&options, "crm").join("mod.rs").is_file());
}

#[test]
fn what_cannot_be_made_is_refused_and_nothing_is_changed() {
    let options = Options::new();
    let refused = |arguments: &[&str]| options.run(arguments).failed();
    assert!(refused(&["new", "my-board", "--as", "python"]).contains("Is `my_board` meant?"));
    assert!(refused(&["new", "board", "--as", "cobol"]).contains("cobol"));
    assert!(!options.place().join("integrations").exists());
    options.run(&["new", "board", "--as", "python"]).ok();
    let kept = fs::read(folder(&options, "board").join("router.py")).unwrap();
    assert!(refused(&["new", "board", "--as", "worker"]).contains("is there already"));
    assert_eq!(fs::read(folder(&options, "board").join("router.py")).unwrap(), kept);
}

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

#[test]
fn the_worker_package_can_be_found_for_tests() {
    let options = Options::new();
    let said = options.run(&["check", "--python-path"]).ok();
    assert!(Path::new(said.trim()).join("integrations/_register.py").is_file(), "{said}");
}

#[test]
fn a_rehearsal_of_a_folder_shows_the_whole_way_and_sends_nothing() {
    let options = Options::new().with_python();
    options.run(&["new", "board", "--as", "python"]).ok();
    let said = options.run(&["rehearse", "integrations/board", "--event", "message.created"]).ok();
    for words in ["delivery", "session", "board:general", "task", "complete", "withheld", "to board room=general"] {
        assert!(said.contains(words), "nothing of `{words}`:\n{said}");
    }
    assert!(!options.data_directory().exists(), "a rehearsal leaves nothing behind");
    let said = options.run(&["rehearse", "integrations/board", "--event", "message.deleted"]).failed();
    assert!(said.contains("message.deleted") && said.contains("fixtures"), "{said}");
    let said = options.run(&["rehearse", "integrations/board", "--event", "message.created", "--live-reads"]).failed();
    assert!(said.contains("no network"), "{said}");
}
