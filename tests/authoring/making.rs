//! `tercel new`: what it makes works at once.

use crate::folder;
use serde_json::Value;
use std::{fs, process::Command};
use tercel_tests::{
    Options,
    python::{pytest, write},
};

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
