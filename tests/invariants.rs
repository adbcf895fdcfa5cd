//! What holds for the source of the whole program, whoever writes in it.

use serde_json::Value;
use std::{collections::BTreeSet, fs};
use tercel_tests::{
    Options, Server,
    tree::{Source, program_text, root, sources},
};

/// Fails with every line of these files that `bad` finds something in.
fn no_line(files: impl IntoIterator<Item = Source>, bad: impl Fn(&str) -> bool) {
    let mut found = Vec::new();
    let mut looked_at = 0;
    for file in files {
        looked_at += 1;
        found.extend(
            program_text(&file.text)
                .lines()
                .filter(|line| bad(line))
                .map(|line| format!("{}: {}", file.path, line.trim())),
        );
    }
    assert!(looked_at > 0, "no file was looked at");
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Words of a line, as an identifier or a text would have them: `GITHUB_TOKEN` has the word `github`.
fn words(line: &str) -> impl Iterator<Item = String> + '_ {
    line.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).map(str::to_lowercase)
}

fn integrations() -> BTreeSet<String> {
    let folders = fs::read_dir(root().join("integrations")).unwrap().map(Result::unwrap);
    let folders = folders.filter(|entry| entry.file_type().unwrap().is_dir());
    folders
        .map(|entry| entry.file_name().into_string().unwrap())
        .filter(|name| !name.starts_with(['.', '_']) && name != "target")
        .collect()
}

#[test]
fn the_core_names_no_integration() {
    let mut names = integrations();
    assert!(!names.is_empty());
    // These are words as well.
    for word in ["webhook", "example"] {
        names.remove(word);
    }
    // Public signature schemes are called after those who made them.
    let files = sources("crates", &[".rs", ".sql", ".toml", ".md", ".json", ".yaml"]).into_iter();
    let mut found = Vec::new();
    for file in files.filter(|file| file.path != "crates/sdk/src/signature.rs") {
        let lines = file.text.lines().filter(|line| words(line).any(|word| names.contains(&word)));
        found.extend(lines.map(|line| format!("{}: {}", file.path, line.trim())));
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn only_the_store_writes_sql() {
    let statements = ["select ", "insert into ", "delete from ", "create table ", "pragma ", "begin immediate"];
    let files = ["crates", "integrations", "tests"].into_iter().flat_map(|place| sources(place, &[".rs"]));
    // Tests that are about the database itself look at it from outside.
    let about_it = ["invariants.rs", "disk.rs", "retention.rs", "harness/disk.rs", "harness/options.rs", "postgres/"];
    let files = files.filter(|file| {
        let test = file.path.strip_prefix("tests/");
        !file.path.starts_with("crates/store/")
            && !test.is_some_and(|test| about_it.iter().any(|place| test.starts_with(place)))
    });
    no_line(files, |line| {
        let line = line.trim().to_lowercase();
        let in_text = |statement: &&str| {
            line.contains(&format!("\"{statement}")) || (line.starts_with(*statement) && line.ends_with('\\'))
        };
        let update = line.find("\"update ").is_some_and(|start| line[start..].contains(" set "));
        statements.iter().any(in_text) || update || line.contains("sqlx::") || line.contains("rusqlite::")
    });
}

#[test]
fn only_the_configuration_reads_the_environment() {
    let files = ["crates", "integrations"].into_iter().flat_map(|place| sources(place, &[".rs"]));
    // Tests run in the environment of whoever starts them.
    let is_program = |path: &str| !path.ends_with("build.rs") && !path.contains("/tests/");
    let files = files.filter(|file| is_program(&file.path) && !file.path.starts_with("crates/server/src/config"));
    no_line(files, |line| {
        let reads = ["env::var", "env::vars", "var_os(", "dotenvy::", "option_env!"];
        reads.iter().any(|call| line.contains(call)) || (line.contains("use std::env") && !line.contains("consts"))
    });
}

#[test]
fn the_agent_decides_without_clock_database_or_network() {
    let manifest = fs::read_to_string(root().join("crates/agent/Cargo.toml")).unwrap();
    let dependencies = manifest.split("[dependencies]").nth(1).unwrap().split("\n[").next().unwrap();
    let names =
        dependencies.lines().filter_map(|line| line.split(['.', ' ', '=']).next()).filter(|name| !name.is_empty());
    let allowed = ["jsonschema", "schemars", "serde", "serde_json", "tercel-sdk", "thiserror", "uuid", "anyhow"];
    let more: Vec<&str> = names.filter(|name| !allowed.contains(name)).collect();
    assert!(more.is_empty(), "a pure crate has no use for {more:?}");
    no_line(sources("crates/agent/src", &[".rs"]), |line| {
        [
            "SystemTime",
            "Instant",
            "Utc::",
            "std::net",
            "std::fs",
            "std::process",
            "tokio",
            "async fn",
            "thread::",
            "rand::",
            "now_v7",
            "new_v4",
        ]
        .iter()
        .any(|effect| line.contains(effect))
    });
}

#[test]
fn crates_depend_in_one_direction() {
    let allowed: [(&str, &[&str]); 6] = [
        ("crates/sdk", &[]),
        ("crates/agent", &["sdk"]),
        ("crates/store", &["sdk"]),
        ("crates/models", &["sdk"]),
        ("integrations", &["sdk"]),
        ("tests", &[]),
    ];
    for (place, may) in allowed {
        let manifest = fs::read_to_string(root().join(place).join("Cargo.toml")).unwrap();
        let ours = manifest.lines().filter_map(|line| line.strip_prefix("tercel-")?.split(['.', ' ']).next());
        let wrong: Vec<&str> = ours.filter(|name| !may.contains(name)).collect();
        assert!(wrong.is_empty(), "{place} depends on {wrong:?}");
    }
}

#[test]
fn an_integration_is_mentioned_in_two_lines_outside_its_folder() {
    let list = fs::read_to_string(root().join("integrations/lib.rs")).unwrap();
    for name in integrations() {
        let lines = list.lines().filter(|line| words(line).any(|word| word == name)).count();
        let native = root().join("integrations").join(&name).join("mod.rs").is_file();
        assert!(lines <= if native { 2 } else { 0 }, "{name} is in {lines} lines of integrations/lib.rs");
    }
}

#[test]
fn integrations_import_the_sdk_and_their_own_files() {
    for name in integrations() {
        let files: Vec<Source> = sources(&format!("integrations/{name}"), &[".rs"]);
        if files.is_empty() {
            continue;
        }
        let others: Vec<String> = integrations().into_iter().filter(|other| *other != name).collect();
        no_line(files, |line| {
            let line = line.trim();
            line.contains("reqwest") || others.iter().any(|other| line.contains(&format!("crate::{other}")))
        });
    }
}

#[test]
fn openapi_json_is_what_the_server_serves() {
    let server = Server::start(Options::new());
    let served = server.get("/openapi.json").expect(200);
    let path = root().join("openapi.json");
    let kept = fs::read_to_string(&path).unwrap_or_default();
    if serde_json::from_str::<Value>(&kept).is_ok_and(|kept| kept == served) {
        return;
    }
    if std::env::var_os("UPDATE").is_some() {
        fs::write(&path, format!("{}\n", serde_json::to_string_pretty(&served).unwrap())).unwrap();
        return;
    }
    panic!("openapi.json is not what the server serves: UPDATE=1 writes it anew");
}

#[test]
fn nothing_depends_on_the_machine_it_was_written_on() {
    let endings = [".rs", ".toml", ".md", ".yaml", ".yml", ".json", ".sql", ".lock", "Makefile", "run", ".py", ".sh"];
    let mut found = Vec::new();
    // Git keeps no empty directory: this one is there as soon as something is in it.
    let deploy = root().join("deploy").is_dir().then_some("deploy");
    for place in ["crates", "integrations", "bench", "tests", "docs", ".ci"].into_iter().chain(deploy) {
        for file in sources(place, &endings) {
            for line in file.text.lines() {
                let home = ["/home/", "/Users/", "/root/", "/work/"].iter().any(|start| {
                    line.match_indices(start).any(|(at, _)| {
                        at == 0 || matches!(line.as_bytes()[at - 1], b'"' | b' ' | b'\'' | b'`' | b'=' | b'(')
                    })
                });
                if home && file.path != "tests/invariants.rs" && !line.contains("/home/you/") {
                    found.push(format!("{}: {}", file.path, line.trim()));
                }
            }
        }
    }
    let lock = fs::read_to_string(root().join("tests/payloads/package-lock.json")).unwrap();
    assert!(
        !lock.contains("\"resolved\""),
        "the lock file names a registry: npm config omit-lockfile-registry-resolved"
    );
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn nothing_is_left_for_later() {
    let files = ["crates", "integrations", "bench"].into_iter().flat_map(|place| sources(place, &[".rs"]));
    let marks = ["TODO", "FIXME", "XXX", "todo!(", "unimplemented!("];
    let mut found = Vec::new();
    for file in files {
        found.extend(
            file.text
                .lines()
                .filter(|line| marks.iter().any(|mark| line.contains(mark)))
                .map(|line| format!("{}: {}", file.path, line.trim())),
        );
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn every_test_that_is_about_sqlite_alone_is_there_and_says_why() {
    let tests: String = sources("tests", &[".rs"]).into_iter().map(|file| file.text).collect();
    for (name, why) in tercel_tests::engine::ON_SQLITE {
        assert!(!why.is_empty() && tests.contains(&format!("#[test]\nfn {name}() {{")), "there is no test `{name}`");
    }
}
