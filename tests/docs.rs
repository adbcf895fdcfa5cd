//! The documents are true: their commands run, their links lead somewhere, and what they name is there.

use rustix::process::{Pid, Signal, kill_process_group};
use serde_json::Value;
use std::{
    collections::BTreeSet,
    fs,
    os::unix::{fs::symlink, process::CommandExt},
    path::Path,
    process::{Child, Command, Stdio},
    time::Duration,
};
use tercel_tests::{
    Client, Options, Server,
    python::{python, write},
    tree::{Source, program_text, root, sources},
    wait::until_within,
};

/// The Markdown of this repository.
fn pages() -> Vec<Source> {
    let top = fs::read_dir(root()).unwrap().map(|entry| entry.unwrap().path());
    let top = top.filter(|path| path.extension().is_some_and(|ending| ending == "md")).map(|path| Source {
        text: fs::read_to_string(&path).unwrap(),
        path: path.file_name().unwrap().to_str().unwrap().into(),
    });
    let below = ["docs", "integrations", "crates", "bench", "tests", "deploy"]
        .into_iter()
        .filter(|place| root().join(place).is_dir());
    top.chain(below.flat_map(|place| sources(place, &[".md"]))).collect()
}

fn page(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// What stands after the opening fence, and what is inside.
fn blocks(text: &str) -> Vec<(String, String)> {
    let (mut found, mut open) = (Vec::new(), None::<(String, String)>);
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) => open = Some((info.to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some((_, body)), None) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// The page without its code blocks.
fn prose(text: &str) -> String {
    let mut inside = false;
    let lines = text.lines().filter(|line| {
        let fence = line.starts_with("```");
        inside ^= fence;
        !inside && !fence
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn the_first_five_minutes_go_as_the_readme_says() {
    let said = runs("README.md");
    for word in ["github_get_pr", "verif", "withheld", "pull_request.opened", "\"steps\"", "\"outbox\""] {
        assert!(said.contains(word), "nothing of `{word}` is shown:\n{said}");
    }
}

#[test]
fn the_commands_of_every_other_page_run_as_printed() {
    let with_commands = pages().into_iter().filter(|page| page.path.starts_with("docs/"));
    let with_commands = with_commands.filter(|page| blocks(&page.text).iter().any(|(info, _)| info == "sh"));
    let run: Vec<String> = with_commands.map(|page| runs(&page.path)).collect();
    assert!(run.len() > 2 && run.iter().all(|said| !said.is_empty()), "commands that say nothing");
}

/// Runs the blocks of a page one after the other, in one shell, in a folder that has nothing but what `make run` makes,
/// beside a server that runs there. Answers what they said.
fn runs(path: &str) -> String {
    let options =
        Options::new().with_shared_python().without("API_KEY").without("TERCEL_RATE").without("TERCEL_DATA_DIR");
    let place = options.place().to_owned();
    let makefile = root().join("Makefile");
    let made = Command::new("make").args(["-s", "-f"]).arg(makefile).arg(".env").current_dir(&place).output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    if let Some(url) = options.database_url() {
        let mut text = fs::read_to_string(place.join(".env")).unwrap();
        text.push_str(&format!("DATABASE_URL={url}\n"));
        fs::write(place.join(".env"), text).unwrap();
    }
    let server = Server::start(options);
    let program = server.options.command(&[]).get_program().to_owned();
    for name in ["bin", "target/debug"] {
        fs::create_dir_all(place.join(name)).unwrap();
        symlink(&program, place.join(name).join("tercel")).unwrap();
    }
    let address = server.base.trim_start_matches("http://");
    let script = script(&page(path)).replace("127.0.0.1:8000", address);
    fs::write(place.join("script"), &script).unwrap();
    let file = |name: &str| fs::File::create(place.join(name)).unwrap();
    let mut child = Command::new("bash")
        .arg("script")
        .current_dir(&place)
        .env_clear()
        .env("PATH", format!("{}/bin:/usr/local/bin:/usr/bin:/bin", place.display()))
        .stdin(Stdio::null())
        .stdout(file("said"))
        .stderr(file("steps"))
        .spawn()
        .unwrap();
    let status = until_within(Duration::from_secs(120), path, || child.try_wait().unwrap());
    let read = |name: &str| fs::read_to_string(place.join(name)).unwrap();
    assert!(status.success(), "{path}: {status}\n--- said\n{}\n--- steps\n{}", read("said"), read("steps"));
    read("said")
}

fn script(page: &str) -> String {
    // What the page tells to start is started by the test.
    const ELSEWHERE: [&str; 3] = ["make run", "make test", "make bench"];
    let commands = blocks(page).into_iter().filter(|(info, _)| info == "sh").map(|(_, commands)| commands);
    let commands: String = commands.collect();
    let lines: Vec<&str> = commands.lines().filter(|line| !ELSEWHERE.contains(&line.trim())).collect();
    // An error that the API answers is a failure of the command, here.
    let curl = "curl() { command curl --fail-with-body --max-time 30 \"$@\"; }";
    format!("set -euo pipefail\n{curl}\nset -x\n{}\n", lines.join("\n"))
}

/// Ends a program and all that it started.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        // An error means that it is gone already.
        let _ = kill_process_group(Pid::from_child(&self.0), Signal::KILL);
        let _ = self.0.wait();
    }
}

#[test]
fn make_run_starts_the_server_with_a_key_of_its_own() {
    let options = Options::new();
    let place = options.place();
    let program = options.command(&[]).get_program().to_str().unwrap().to_owned();
    // In the place of cargo, which would build the program once more.
    let cargo = format!("test \"$1 $2 $3 $4\" = 'run -p tercel --' && shift 4 && exec '{program}' \"$@\"\n");
    write(place, &[("cargo", &cargo)]);
    let said = fs::File::create(place.join("said")).unwrap();
    let mut make = Command::new("make");
    make.arg("-f").arg(root().join("Makefile")).args(["run", "CARGO=sh cargo"]).current_dir(place).env_clear();
    make.env("PATH", "/usr/local/bin:/usr/bin:/bin").env("HOME", place.join("home")).process_group(0);
    make.env("TERCEL_LISTEN", "127.0.0.1:0");
    make.envs(options.database_url().map(|url| ("DATABASE_URL", url)));
    make.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said);
    let mut started = Started(make.spawn().unwrap());
    let said = || fs::read_to_string(place.join("said")).unwrap();
    let address = until_within(Duration::from_secs(60), "the server listens", || {
        assert!(started.0.try_wait().unwrap().is_none(), "{}", said());
        fs::read_to_string(place.join("data/address")).ok().filter(|_| said().contains("listens on http://"))
    });
    let settings = fs::read_to_string(place.join(".env")).unwrap();
    let key = settings.lines().find_map(|line| line.strip_prefix("API_KEY=")).unwrap();
    let client = Client { base: format!("http://{}", address.trim()), key: Some(key.to_owned()) };
    client.get("/api/v1/tasks").expect(200);
    Client { key: None, ..client }.get("/api/v1/tasks").expect(401);
}

#[test]
fn the_map_of_the_program_is_short_enough_to_be_read() {
    let lines = page("ARCHITECTURE.md").lines().count();
    assert!(
        lines <= 150,
        "ARCHITECTURE.md has {lines} lines and may have 150: what is about one part belongs to its file"
    );
}

#[test]
fn every_setting_is_described_and_every_described_one_exists() {
    let source = ["config.rs", "config/folders.rs"]
        .map(|file| program_text(&page(&format!("crates/server/src/{file}"))))
        .concat();
    let (before, rest) = source.split_once("const KNOWN").unwrap_or((&source, "];"));
    let after = rest.split_once("];").map_or("", |(_, after)| after);
    let is_name = |text: &&str| {
        text.contains('_') && !text.ends_with('_') && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    let read: BTreeSet<&str> = before.split('"').chain(after.split('"')).filter(is_name).collect();
    let page = page("docs/configuration.md");
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let described: BTreeSet<&str> = rows.map(|(name, _)| name).collect();
    assert!(read.len() > 10, "{read:?}");
    assert_eq!(described, read, "docs/configuration.md, left, is not what config.rs reads");
}

const PROTOCOL: &str = "docs/worker-protocol.md";

#[test]
fn no_page_names_a_setting_that_does_not_exist() {
    // A worker has variables of its own.
    let described = page("docs/configuration.md") + &page(PROTOCOL);
    for page in pages() {
        let words = page.text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
        let ours =
            words.filter(|word| ["TERCEL_", "LLM_"].iter().any(|start| word.starts_with(start) && word != start));
        for name in ours {
            assert!(described.contains(&format!("`{name}`")), "{}: {name} is no setting", page.path);
        }
    }
}

#[test]
fn every_relative_link_leads_somewhere() {
    let mut broken = Vec::new();
    let mut followed = 0;
    for page in pages() {
        let place = Path::new(&page.path).parent().unwrap().to_owned();
        for piece in prose(&page.text).split("](").skip(1) {
            let link = piece.split(')').next().unwrap();
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            followed += 1;
            let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
            let target = if file.is_empty() { root().join(&page.path) } else { root().join(&place).join(file) };
            let exists = !file.starts_with('/') && target.exists();
            if !exists || (!anchor.is_empty() && !headings(&fs::read_to_string(&target).unwrap()).contains(anchor)) {
                broken.push(format!("{}: {link}", page.path));
            }
        }
    }
    assert!(followed > 20, "only {followed} links were found");
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// The anchors of a page.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = text.lines().filter(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#').trim());
    let plain = |title: &str| {
        let kept = title.to_lowercase();
        kept.chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c)).collect::<String>().replace(' ', "-")
    };
    titles.map(plain).collect()
}

#[test]
fn every_file_that_is_named_is_there() {
    let mut missing = Vec::new();
    let mut looked_at = 0;
    for page in pages().into_iter().filter(|page| page.path != "CHANGELOG.md") {
        for name in prose(&page.text).split('`').skip(1).step_by(2) {
            let ours =
                ["crates/", "integrations/", "tests/", "bench/", "docs/"].iter().any(|start| name.starts_with(start));
            // The guide's folder is one to be made, the results of measuring are not kept in the repository.
            let made = name.contains("/board/") || name.starts_with("bench/results");
            if ours && !made && !name.contains(['<', '*', ' ']) {
                looked_at += 1;
                if !root().join(name).exists() {
                    missing.push(format!("{}: {name}", page.path));
                }
            }
        }
    }
    assert!(looked_at > 20, "only {looked_at} names were found");
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

#[test]
fn every_route_that_is_named_is_there() {
    let server = Server::start(Options::new());
    let document = server.get("/openapi.json").expect(200);
    let shape = |path: &str| {
        let parts = path.split('/').map(|part| if part.starts_with(['{', '<', '$']) { "{}" } else { part });
        parts.collect::<Vec<_>>().join("/")
    };
    let paths = document["paths"].as_object().unwrap();
    let there: BTreeSet<(String, String)> = paths
        .iter()
        .flat_map(|(path, methods)| methods.as_object().unwrap().keys().map(move |m| (m.to_uppercase(), shape(path))))
        .collect();
    let mut missing = Vec::new();
    let mut looked_at = 0;
    // The protocol has the routes of workers.
    for page in pages().into_iter().filter(|page| page.path != PROTOCOL) {
        for code in prose(&page.text).split('`').skip(1).step_by(2) {
            let Some((method, path)) = code.split_once(' ') else { continue };
            if !["GET", "POST", "PUT", "PATCH", "DELETE"].contains(&method) || !path.starts_with("/") {
                continue;
            }
            looked_at += 1;
            let path = shape(path.split('?').next().unwrap());
            if !there.contains(&(method.to_owned(), path)) {
                missing.push(format!("{}: {code}", page.path));
            }
        }
    }
    assert!(looked_at >= 5, "only {looked_at} routes were found");
    assert!(missing.is_empty(), "{}\nThere are {there:#?}", missing.join("\n"));
}

#[test]
fn every_command_that_is_named_is_there() {
    let help = Options::new().run(&["help"]).ok();
    let commands: BTreeSet<&str> = help.lines().filter_map(|line| line.strip_prefix("  ")?.split(' ').next()).collect();
    assert!(commands.contains("serve"), "{help}");
    for page in pages() {
        for piece in page.text.split("tercel ").skip(1) {
            let word: String = piece.chars().take_while(|c| c.is_ascii_alphabetic() || *c == '-').collect();
            let is_command =
                page.text.contains(&format!("`tercel {word}")) || page.text.contains(&format!("\ntercel {word}"));
            assert!(!is_command || commands.contains(word.as_str()), "{}: there is no `tercel {word}`", page.path);
        }
    }
}

/// `UPDATE=1` writes the files anew from the page.
#[test]
fn the_integration_of_the_guide_is_the_one_that_is_tested() {
    let guide = page("docs/writing-an-integration/native.md");
    let named = |name: &str| {
        let parts = blocks(&guide).into_iter().filter(|(info, _)| info.ends_with(&format!(" {name}")));
        parts.map(|(_, body)| body).collect::<Vec<_>>().join("\n")
    };
    for name in ["mod.rs", "tests.rs", "fixtures/post.created.json"] {
        let printed = named(name);
        assert!(!printed.is_empty(), "the guide has no {name}");
        let file = root().join("crates/sdk/tests/board").join(name);
        if std::env::var_os("UPDATE").is_some() {
            fs::write(&file, &printed).unwrap();
        }
        let tested = fs::read_to_string(&file).unwrap();
        assert_eq!(printed, tested, "{name}: UPDATE=1 writes it as the guide has it");
    }
}

#[test]
fn the_version_of_the_toolchain_is_the_same_everywhere() {
    let manifest = page("Cargo.toml");
    let version = manifest.lines().find_map(|line| line.strip_prefix("rust-version = ")).unwrap().trim_matches('"');
    for path in ["README.md", "CONTRIBUTING.md"] {
        assert!(page(path).contains(&format!("Rust {version}")), "{path} names another version than {version}");
    }
}

#[test]
fn every_decision_is_in_the_list_of_decisions() {
    let list = page("docs/decisions/README.md");
    let numbered = sources("docs/decisions", &[".md"]).into_iter().filter(|page| !page.path.ends_with("README.md"));
    for (n, page) in (1..).zip(numbered) {
        let name = page.path.rsplit('/').next().unwrap();
        assert!(name.starts_with(&format!("{n:04}-")), "{name} should have the number {n:04}");
        let title = page.text.lines().next().unwrap().trim_start_matches(|c: char| !c.is_alphabetic());
        assert!(list.contains(&format!("({name}) | {title} |")), "{name} or its title is not in the list");
    }
}

#[test]
fn the_description_of_the_api_says_what_each_route_is_for() {
    let server = Server::start(Options::new());
    let document = server.get("/openapi.json").expect(200);
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, route) in methods.as_object().unwrap() {
            let said = [&route["summary"], &route["description"]].into_iter().filter_map(Value::as_str);
            assert!(said.map(str::len).sum::<usize>() > 5, "{method} {path} says nothing");
        }
    }
}

/// Answers what the worker found wrong with a folder that lies where it was started.
const LOAD: &str = "\
import json, sys
from pathlib import Path
from tercel_worker import folder
from tercel_worker.describe import describe
print(json.dumps(describe(folder.load(Path.cwd(), sys.argv[1], []))['problems']))
";

/// The guide to Rust is carried out by the tests of the sdk.
fn is_about_folders(page: &Source) -> bool {
    let is_guide = page.path.starts_with("docs/writing-an-integration/") && !page.path.ends_with("/native.md");
    is_guide || page.path == "docs/processes.md"
}

#[test]
fn the_folders_of_the_guides_load_and_have_nothing_wrong_with_them() {
    let mut loaded = Vec::new();
    for guide in pages().into_iter().filter(is_about_folders) {
        let options = Options::new().with_python();
        let place = options.place().to_owned();
        let mut names = BTreeSet::new();
        for (info, text) in blocks(&guide.text) {
            if let Some((_, file)) = info.split_once(' ').filter(|(_, file)| file.contains('/')) {
                write(&place.join("integrations"), &[(file, &text)]);
                names.insert(file.split('/').next().unwrap().to_owned());
            }
        }
        for name in names {
            let folder = place.join("integrations").join(&name);
            write(&folder, &[("README.md", "# A title\n")]);
            // The page on processes shows their declaration alone.
            if page_of_processes(&guide) {
                write(&folder, &[("listener.py", ""), ("words.txt", "")]);
            }
            let said = options.run(&["check", folder.to_str().unwrap()]).ok();
            assert!(said.contains("Nothing is wrong"), "{}: {said}", guide.path);
            if let Some(sample) = sample(&folder) {
                let rehearsed = options.run(&["rehearse", folder.to_str().unwrap(), "--event", &sample]).ok();
                assert!(rehearsed.contains("complete") || rehearsed.contains("answer"), "{}: {rehearsed}", guide.path);
            }
            if !folder.join("integration.yaml").is_file() {
                let said = python(&place, &["-c", LOAD, &name]);
                assert!(said.good && said.text.trim().ends_with("[]"), "{}: {}", guide.path, said.text);
            }
            loaded.push(name);
        }
        for script in fs::read_dir(place.join("integrations")).into_iter().flatten().flat_map(|entry| {
            let folder = entry.unwrap().path();
            fs::read_dir(folder)
                .unwrap()
                .map(|file| file.unwrap().path())
                .filter(|file| file.extension().is_some_and(|end| end == "mjs"))
                .collect::<Vec<_>>()
        }) {
            let checked = Command::new("node").arg("--check").arg(&script).output().unwrap();
            assert!(checked.status.success(), "{}: {}", guide.path, String::from_utf8_lossy(&checked.stderr));
        }
    }
    assert_eq!(loaded, ["mychat", "shelf", "panel", "ear", "lamp", "pager", "player", "shop", "siren", "board", "crm"]);
}

fn page_of_processes(page: &Source) -> bool {
    page.path == "docs/processes.md"
}

/// A sample of a folder that takes webhooks.
fn sample(folder: &Path) -> Option<String> {
    let takes = ["router.py", "worker.mjs"].iter().any(|file| folder.join(file).is_file());
    let files = fs::read_dir(folder.join("fixtures")).into_iter().flatten();
    let mut names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    let sample = names.find(|name| takes && name != "api.json")?;
    sample.strip_suffix(".json").map(str::to_owned)
}

/// What is printed and not executed as it stands, and why that is so.
const NOT_RUN: [(&str, &str, &str); 7] = [
    ("docs/operating.md", "tercel restore", "a server would stay: tests/backup.rs restores"),
    ("docs/operating.md", "createuser", "tests/postgres/documented.rs runs it"),
    ("docs/hooks.md", "from standardwebhooks", "tests/clients.rs runs it"),
    ("docs/writing-an-integration/manifest.md", "$ tercel record", "it asks a service, and shows what is answered"),
    ("docs/writing-an-integration/native.md", "cargo run", "it builds: crates/sdk/tests/guide.rs runs the parts"),
    (
        "integrations/home_assistant/README.md",
        "rest_command:",
        "tests/manifests sends by such a command of the real one",
    ),
    ("docs/writing-an-integration/python.md", "pip install", "it fetches: tests/authoring runs those tests"),
];

/// Pages whose blocks are for people at work on the repository, or about other things than this program's use.
const APART: [&str; 5] = [
    "CONTRIBUTING.md",
    "crates/server/src/cli/new/manifest/README.md",
    "crates/server/src/cli/new/python/README.md",
    "crates/server/src/cli/new/worker/README.md",
    "integrations/github/skills/github.md",
];

/// Which test executes, loads or parses a block; `None`: none does.
fn executed(page: &Source, info: &str, text: &str) -> Option<&'static str> {
    let (language, file) = info.split_once(' ').unwrap_or((info, ""));
    let is_in_folder = is_about_folders(page) && file.contains('/');
    let is_of_native = page.path.ends_with("/native.md") && !file.is_empty() && file != "no-run";
    match language {
        "sh" if file.is_empty() && (page.path.starts_with("docs/") || page.path == "README.md") => Some("runs"),
        "python" | "yaml" | "js" | "json" | "markdown" if is_in_folder => Some("the_folders_of_the_guides_load"),
        "rust" | "json" if is_of_native => Some("the_integration_of_the_guide"),
        "json" if file.is_empty() && page.path.starts_with("docs/") => Some("what_is_printed_as_json"),
        "yaml" if page.path == "docs/configuration.md" => Some("a_bot_is_described_as_it_is_printed"),
        // A picture of directories, or lines of a `.env` whose names are compared with the settings.
        "" if text.contains("──") || text.lines().all(|line| line.contains('=')) => Some("it is no code"),
        "" if page.path == "ARCHITECTURE.md" => Some("it is no code"),
        _ => NOT_RUN.iter().find(|(path, start, _)| page.path == *path && text.starts_with(start)).map(|entry| entry.2),
    }
}

#[test]
fn no_block_of_a_page_is_passed_over() {
    let (mut left, mut seen) = (Vec::new(), 0);
    for page in pages().into_iter().filter(|page| !APART.contains(&page.path.as_str())) {
        for (info, text) in blocks(&page.text) {
            seen += 1;
            if executed(&page, &info, &text).is_none() {
                left.push(format!("{}: ```{info}: {}", page.path, text.lines().next().unwrap_or_default()));
            }
        }
    }
    assert!(seen > 50, "only {seen} blocks were found");
    assert!(left.is_empty(), "nothing executes or parses these:\n{}", left.join("\n"));
    for (path, start, _) in NOT_RUN {
        assert!(
            blocks(&page(path)).iter().any(|(_, text)| text.starts_with(start)),
            "{path} has no `{start}` any more"
        );
    }
}

#[test]
fn a_bot_is_described_as_it_is_printed() {
    let text = blocks(&page("docs/configuration.md")).into_iter().find(|(info, _)| info == "yaml").unwrap().1;
    let options = Options::new();
    write(options.data_directory(), &[("bots/reviewer.yaml", &text)]);
    let bot = Server::start(options).get("/api/v1/bots/reviewer").expect(200);
    assert_eq!(bot["system_prompt"], "You review code. Say what breaks, with file and line.");
    assert_eq!(
        (&bot["model"], &bot["fallback_models"][0], &bot["tools"][0]),
        (&"gpt-5".into(), &"gpt-5-mini".into(), &"*".into())
    );
}

#[test]
fn what_is_printed_as_json_is_json() {
    let mut read = 0;
    for page in pages().into_iter().filter(|page| page.path.starts_with("docs/")) {
        for (info, text) in blocks(&page.text) {
            if info.split(' ').next() == Some("json") {
                let json: Result<Value, _> = serde_json::from_str(&text);
                assert!(json.is_ok(), "{}: {}\n{text}", page.path, json.unwrap_err());
                read += 1;
            }
        }
    }
    assert!(read > 4, "only {read}");
}
