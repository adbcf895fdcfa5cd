//! The examples without a server: what a writer of folders sees in a checkout of their own, with pytest.

use crate::examples::Examples;
use serde_json::Value;
use std::fs;
use tempfile::tempdir;
use tercel_tests::{
    python::{pytest, python, write},
    tree::root,
};

#[test]
fn the_six_tests_pass_wherever_the_module_stands() {
    let Some(examples) = Examples::read() else { return };
    for (place, started) in [
        ("scripts/integrations/myservice.py", ""),
        ("more/scripts/integrations/myservice.py", "more"),
        ("integrations/myservice/connector.py", ""),
    ] {
        let directory = tempdir().unwrap();
        write(directory.path(), &[(place, &examples.get("module"))]);
        let start = directory.path().join(started);
        write(&start, &[("tests/test_integrations.py", &examples.get("tests"))]);
        assert_eq!(pytest(&start, "tests"), 6, "{place}");
    }
}

#[test]
fn the_example_configuration_is_what_the_class_saves() {
    let Some(examples) = Examples::read() else { return };
    let directory = tempdir().unwrap();
    let check = r#"
from pathlib import Path

import yaml

from scripts.integrations import REGISTRY
from scripts.integrations.myservice import MyServiceIntegration


def test_saved_and_loaded(tmp_path):
    example = yaml.safe_load(Path("config/integrations/myservice.yaml.example").read_text())
    keys = [field["key"] for field in MyServiceIntegration().fields()]
    assert list(example) == keys
    integration = MyServiceIntegration()
    assert not integration.connect(example)
    filled = dict.fromkeys(keys, "v")
    assert integration.connect(filled)
    integration.save_config(filled, tmp_path)
    assert integration.config_path(tmp_path) == tmp_path / "integrations" / "myservice.yaml"
    assert integration.load_config(tmp_path) == filled
    assert REGISTRY["myservice"].label == "My Service"
    assert MyServiceIntegration.tier == "free"
"#;
    write(
        directory.path(),
        &[
            ("scripts/integrations/myservice.py", &examples.get("module")),
            ("config/integrations/myservice.yaml.example", &examples.get("configuration")),
            ("tests/test_configuration.py", check),
        ],
    );
    assert_eq!(pytest(directory.path(), "tests"), 1);
}

#[test]
fn an_action_is_gated_by_its_tier() {
    let Some(examples) = Examples::read() else { return };
    let directory = tempdir().unwrap();
    let gate = examples.get("can_use");
    // The document's branch holds nothing but a comment, which is no statement.
    let comment = gate.lines().find(|line| line.trim().starts_with('#')).unwrap();
    let gate = gate.replace(comment, &format!("{comment}\n    shown.append('the button')"));
    let check = r#"
import types
from pathlib import Path

import pytest

from app.wizard import tiers


@pytest.mark.parametrize(("tier", "expected"), [("free", ["a hint"]), ("paid", ["the button"]), ("premium", ["the button"])])
def test_gate(monkeypatch, tier, expected):
    written = {}
    exec(Path("features.py").read_text(), written)
    for name, needed in written["FEATURES"].items():
        monkeypatch.setitem(tiers.FEATURES, name, needed)
    monkeypatch.setattr("scripts.user_profile.UserProfile.tier", tier, raising=False)
    shown = []
    st = types.SimpleNamespace(info=lambda text: shown.append("a hint"))
    exec(Path("gate.py").read_text(), {"st": st, "shown": shown})
    assert shown == expected
"#;
    write(
        directory.path(),
        &[("features.py", &examples.get("features")), ("gate.py", &gate), ("tests/test_gate.py", check)],
    );
    assert_eq!(pytest(directory.path(), "tests"), 3);
}

#[test]
fn every_file_of_a_folder_imports_without_a_server() {
    let Some(examples) = Examples::read() else { return };
    let directory = tempdir().unwrap();
    let files = [
        ("__init__.py", String::new()),
        ("config.py", examples.get("config")),
        ("router.py", examples.get("router")),
        ("dispatcher.py", examples.get("dispatcher")),
        ("hooks.py", examples.get("metadata") + &examples.get("hook") + &examples.get("transcription")),
        ("process.py", examples.get("process")),
        ("setup.py", examples.get("setup")),
        ("tools/__init__.py", String::new()),
        ("tools/my_tool.py", examples.get("tool")),
    ];
    let folder = directory.path().join("integrations/mygithub");
    for (name, text) in &files {
        write(&folder, &[(name, text)]);
    }
    let check = r#"
import asyncio

from app.agent import dispatchers, hooks
from integrations.mygithub import config, dispatcher, hooks as ours, process, router
from integrations.mygithub.tools.my_tool import my_tool


def test_registered():
    assert asyncio.run(my_tool()) == '{"result": "ok"}'
    assert my_tool._tool_schema["function"]["name"] == "my_tool"
    assert type(dispatchers.get("mygithub")).__name__ == "MyDispatcher"
    assert hooks.get_integration_meta("mygithub").client_id_prefix == "mygithub:"
    assert config.settings.MYGITHUB_TOKEN == ""
    assert [route.path for route in router.router.routes] == ["/webhook"]
    assert process.CMD[0] == "python"
"#;
    write(directory.path(), &[("tests/test_folder.py", check)]);
    assert_eq!(pytest(directory.path(), "tests"), 1);
    write(&folder, &[("listener.py", ""), ("README.md", "# GitHub\n")]);
    let said = python(directory.path(), &["-m", "tercel_worker.check", "integrations/mygithub"]);
    let report: Value = serde_json::from_str(&said.text).unwrap_or_else(|error| panic!("{error}: {}", said.text));
    let found = report["problems"].as_array().unwrap();
    let errors: Vec<_> = found.iter().filter(|one| one["level"] == "error").collect();
    assert!(errors.is_empty(), "the documented folder has nothing wrong with it: {errors:#?}");
}

#[test]
fn the_stub_is_enough_for_a_tool_outside_the_server() {
    let Some(examples) = Examples::read() else { return };
    let directory = tempdir().unwrap();
    let import = "from integrations._register import register";
    let tool = examples.get("tool");
    assert!(tool.contains(import));
    write(
        directory.path(),
        &[
            ("alone/_register.py", &examples.get("stub")),
            ("alone/my_tool.py", &tool.replace(import, "from _register import register")),
        ],
    );
    let said = python(
        &directory.path().join("alone"),
        &[
            "-I",
            "-c",
            "import sys; sys.path.insert(0, '.'); import my_tool; print(my_tool.my_tool._tool_schema['type'])",
        ],
    );
    assert!(said.good && said.text.trim() == "function", "{}", said.text);
}

#[test]
fn the_shipped_folder_passes_its_own_tests() {
    let directory = tempdir().unwrap();
    fs::create_dir(directory.path().join("integrations")).unwrap();
    std::os::unix::fs::symlink(root().join("integrations/example"), directory.path().join("integrations/example"))
        .unwrap();
    assert!(pytest(directory.path(), "integrations/example/tests") >= 4);
}

#[test]
fn the_shipped_folder_has_no_errors() {
    let said = python(&root(), &["-m", "tercel_worker.check", "integrations/example"]);
    let report: Value = serde_json::from_str(&said.text).unwrap_or_else(|error| panic!("{error}: {}", said.text));
    let problems = report["problems"].as_array().unwrap();
    // Whoever wants may ask whether it is there.
    assert!(problems.len() == 1 && problems[0]["message"].as_str().unwrap().contains("`ping`"), "{problems:#?}");
}
