//! `tercel new`: a folder that works and whose tests pass, to be changed into what is wanted.

use super::terminal::say;
use anyhow::{Context, Result, bail};
use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// What the templates call the service.
const TEMPLATE: &str = "myservice";

#[derive(clap::Args)]
pub struct Arguments {
    /// What it is called: a-z, 0-9 and _, a letter first
    name: String,
    /// What it is written in
    #[arg(long = "as", value_name = "WAY")]
    way: Way,
    /// The directory that it is made in
    #[arg(long = "in", value_name = "DIRECTORY", default_value = "integrations")]
    directory: PathBuf,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Way {
    /// No code: a service described in integration.yaml
    Manifest,
    /// A folder of Python files
    Python,
    /// A program in any language, here for Node
    Worker,
    /// A Rust module in a checkout of Tercel
    Native,
}

type File = (&'static str, &'static str);

const MANIFEST: &[File] = &[
    ("README.md", include_str!("new/manifest/README.md")),
    ("integration.yaml", include_str!("new/manifest/integration.yaml")),
    ("fixtures/api.json", include_str!("new/manifest/fixtures/api.json")),
    ("fixtures/message.created.json", include_str!("new/manifest/fixtures/message.created.json")),
    ("skills/myservice.md", include_str!("new/manifest/skills/myservice.md")),
];

const PYTHON: &[File] = &[
    ("README.md", include_str!("new/python/README.md")),
    ("__init__.py", include_str!("new/python/__init__.py")),
    ("config.py", include_str!("new/python/config.py")),
    ("dispatcher.py", include_str!("new/python/dispatcher.py")),
    ("router.py", include_str!("new/python/router.py")),
    ("setup.py", include_str!("new/python/setup.py")),
    ("fixtures/api.json", include_str!("new/python/fixtures/api.json")),
    ("fixtures/message.created.json", include_str!("new/python/fixtures/message.created.json")),
    ("skills/myservice.md", include_str!("new/python/skills/myservice.md")),
    ("tests/test_myservice.py", include_str!("new/python/tests/test_myservice.py")),
    ("tools/__init__.py", include_str!("new/python/tools/__init__.py")),
    ("tools/rooms.py", include_str!("new/python/tools/rooms.py")),
];

const WORKER: &[File] = &[
    ("README.md", include_str!("new/worker/README.md")),
    ("integration.yaml", include_str!("new/worker/integration.yaml")),
    ("worker.mjs", include_str!("new/worker/worker.mjs")),
    ("worker.test.mjs", include_str!("new/worker/worker.test.mjs")),
    ("fixtures/api.json", include_str!("new/worker/fixtures/api.json")),
    ("fixtures/message.created.json", include_str!("new/worker/fixtures/message.created.json")),
    ("skills/myservice.md", include_str!("new/worker/skills/myservice.md")),
];

const NATIVE: &[File] = &[
    ("README.md", include_str!("new/native/README.md")),
    ("mod.rs", include_str!("new/native/mod.rs")),
    ("tests.rs", include_str!("new/native/tests.rs")),
    ("fixtures/api.json", include_str!("new/native/fixtures/api.json")),
    ("fixtures/message.created.json", include_str!("new/native/fixtures/message.created.json")),
    ("skills/myservice.md", include_str!("new/native/skills/myservice.md")),
];

pub fn run(arguments: Arguments) -> Result<ExitCode> {
    let Arguments { name, way, directory } = arguments;
    check_name(&name)?;
    let files = match way {
        Way::Manifest => MANIFEST,
        Way::Python => PYTHON,
        Way::Worker => WORKER,
        Way::Native => NATIVE,
    };
    if way == Way::Native && !(directory.join("lib.rs").is_file() && directory.join("Cargo.toml").is_file()) {
        bail!(
            "{} is not the directory `integrations` of a checkout of Tercel: an integration in Rust is built with the server. \
             Run this in a checkout, or name the directory with --in",
            directory.display()
        );
    }
    let folder = directory.join(&name);
    write(&folder, &name, files)?;
    if way == Way::Manifest {
        write_schema(&directory)?;
    }
    say(&next(way, &folder, &name))?;
    Ok(ExitCode::SUCCESS)
}

fn check_name(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let problem = if name.is_empty() || name.len() > 64 {
        "it has 1 to 64 characters"
    } else if name.contains('-') {
        "a hyphen cannot stand in the name of a module"
    } else if !name.starts_with(|c: char| c.is_ascii_lowercase()) || !name.chars().all(fits) {
        "it is made of a-z, 0-9 and _, a letter first"
    } else if ["utils", "webhook", "none", "internal"].contains(&name) || RUST_AND_PYTHON.contains(&name) {
        "that word has a meaning already"
    } else {
        return Ok(());
    };
    let kept: String = name.to_lowercase().chars().map(|c| if fits(c) { c } else { '_' }).take(64).collect();
    let better = kept.trim_matches('_');
    match better != name && better.starts_with(|c: char| c.is_ascii_lowercase()) {
        true => bail!("`{name}` cannot be the name of an integration: {problem}. Is `{better}` meant?"),
        false => bail!("`{name}` cannot be the name of an integration: {problem}"),
    }
}

/// Words that cannot name a module in one of the languages.
const RUST_AND_PYTHON: [&str; 67] = [
    "abstract", "and", "as", "assert", "async", "await", "become", "box", "break", "class", "const", "continue",
    "crate", "def", "del", "do", "dyn", "elif", "else", "enum", "except", "extern", "false", "final", "finally", "fn",
    "for", "from", "gen", "global", "if", "impl", "import", "in", "is", "lambda", "let", "loop", "macro", "match",
    "mod", "move", "mut", "nonlocal", "not", "or", "override", "pass", "priv", "pub", "raise", "ref", "return", "self",
    "static", "struct", "super", "trait", "true", "try", "type", "unsafe", "use", "where", "while", "with", "yield",
];

/// Makes the folder whole or not at all.
fn write(folder: &Path, name: &str, files: &[File]) -> Result<()> {
    if folder.symlink_metadata().is_ok() {
        bail!("{} is there already; nothing was changed", folder.display());
    }
    let parent = folder.parent().unwrap_or(Path::new("."));
    let cannot = || format!("{} cannot be written", folder.display());
    fs::create_dir_all(parent).with_context(cannot)?;
    // A server that watches the directory passes over names with a dot.
    let draft = tempfile::Builder::new().prefix(".new-").tempdir_in(parent).with_context(cannot)?;
    for (path, text) in files {
        let file = draft.path().join(path.replace(TEMPLATE, name));
        fs::create_dir_all(file.parent().expect("it is below the draft")).with_context(cannot)?;
        fs::write(file, filled(text, name)).with_context(cannot)?;
    }
    let draft = draft.keep();
    open_to_others(&draft).with_context(cannot)?;
    fs::rename(&draft, folder).with_context(cannot)
}

/// What editors complete manifests from: one file for all folders of a directory.
fn write_schema(directory: &Path) -> Result<()> {
    let file = directory.join("integration.schema.json");
    fs::write(&file, tercel_hosts::SCHEMA).with_context(|| format!("{} cannot be written", file.display()))
}

/// A temporary directory is private; a folder of code is not.
fn open_to_others(directory: &Path) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))
}

fn filled(text: &str, name: &str) -> String {
    text.replace(TEMPLATE, name).replace("MYSERVICE", &name.to_uppercase()).replace("Myservice", &label(name))
}

/// `my_board` is `MyBoard`, also as the name of a type.
fn label(name: &str) -> String {
    let capital = |word: &str| {
        let (first, rest) = word.split_at(word.len().min(1));
        first.to_uppercase() + rest
    };
    name.split('_').map(capital).collect()
}

fn next(way: Way, folder: &Path, name: &str) -> String {
    let shown = folder.display();
    let made = format!("Made {shown}");
    match way {
        Way::Manifest | Way::Python => format!(
            "{made}\n\nA server that runs here finds it by itself. Without one:\n  tercel check {shown}\n  \
             tercel rehearse {shown} --event message.created"
        ),
        Way::Worker => format!(
            "{made}\n\nA server that runs here finds it by itself. Without one:\n  tercel check {shown}\n  \
             (cd {shown} && node --test)\n  tercel rehearse {shown} --event message.created"
        ),
        Way::Native => format!(
            "{made}\n\nAdd two lines to {}:\n  mod {name};\n  {name}::integration(),   in the list of all()\n\nThen:\n  \
             cargo test -p tercel-integrations {name}\n  \
             cargo run -p tercel -- rehearse {name} --event message.created",
            folder.with_file_name("lib.rs").display()
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cannot_be_one_is_refused_with_one_that_can() {
        for name in ["a", "my_board", "board2", &"a".repeat(64)] {
            check_name(name).unwrap();
        }
        for (name, said) in [
            ("my-board", "`my_board` meant?"),
            ("My Board", "`my_board` meant?"),
            ("_board", "`board` meant?"),
            ("../etc", "`etc` meant?"),
            ("2board", "a letter first"),
            ("", "1 to 64"),
            ("class", "a meaning already"),
            ("webhook", "a meaning already"),
            ("bücher", "`b_cher` meant?"),
        ] {
            let error = check_name(name).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn a_template_says_the_name_in_every_way_it_is_written() {
        assert_eq!(
            filled("myservice MYSERVICE_TOKEN struct Myservice", "my_board"),
            "my_board MY_BOARD_TOKEN struct MyBoard"
        );
        for (path, text) in PYTHON.iter().chain(WORKER).chain(NATIVE).chain(MANIFEST) {
            let left = filled(text, "board").to_lowercase();
            assert!(!left.contains(TEMPLATE), "{path}");
        }
    }

    #[test]
    fn what_is_there_stays_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path().join("board");
        fs::create_dir(&folder).unwrap();
        let said = write(&folder, "board", PYTHON).unwrap_err().to_string();
        assert!(said.contains("is there already"), "{said}");
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 1, "no draft is left");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
    }
}
