//! Reads examples out of the documents, and gives them the indentation back that the documents lost.

use crate::table::{Document, EXAMPLES, Example};
use sha2::{Digest, Sha256};
use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};
use tercel_tests::tree::root;

/// Where the documents are, when they are there.
fn seeds() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("TERCEL_SEEDS") {
        let named = PathBuf::from(named);
        assert!(named.is_dir(), "TERCEL_SEEDS names {}, which is no directory", named.display());
        return Some(named);
    }
    let beside = root().parent().unwrap().join("shared/seeds");
    if beside.is_dir() {
        return Some(beside);
    }
    println!("Not tested: the documents are not in {}, and TERCEL_SEEDS names no other place", beside.display());
    None
}

/// All examples by name; `None` when there are no documents.
pub struct Examples(PathBuf);

impl Examples {
    pub fn read() -> Option<Self> {
        seeds().map(Self)
    }

    /// An example as it was meant.
    #[track_caller]
    pub fn get(&self, name: &str) -> String {
        let example = EXAMPLES.iter().find(|example| example.name == name).unwrap_or_else(|| panic!("no `{name}`"));
        restored(example, &document(&self.0, example))
    }

    /// The lines of an example that are no comment, as JSON texts need them.
    #[track_caller]
    pub fn json(&self, name: &str) -> serde_json::Value {
        let text: Vec<String> =
            self.get(name).lines().filter(|line| !line.starts_with("//")).map(str::to_owned).collect();
        serde_json::from_str(&text.join("\n")).unwrap_or_else(|error| panic!("{name}: {error}"))
    }
}

fn document(seeds: &Path, example: &Example) -> Vec<String> {
    let file = seeds.join(example.document.file());
    let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().map(|line| line.trim().to_owned()).collect()
}

fn restored(example: &Example, lines: &[String]) -> String {
    let (first, last) = example.lines;
    let lines = &lines[first - 1..last];
    let found = hash(lines);
    assert_eq!(
        found, example.hash,
        "the example `{}` is not what it was: look at it, then correct the table",
        example.name
    );
    if example.levels.is_empty() {
        return lines.join("\n") + "\n";
    }
    assert_eq!(example.levels.len(), lines.len(), "{}", example.name);
    let unit = if example.is_yaml() { 2 } else { 4 };
    let level = |digit: char| digit.to_digit(10).unwrap() as usize * unit;
    let indented = example.levels.chars().zip(lines).map(|(digit, line)| format!("{:1$}{line}\n", "", level(digit)));
    indented.collect()
}

fn hash(lines: &[String]) -> String {
    hex::encode(&Sha256::digest(lines.join("\n").as_bytes())[..8])
}

/// Code, as far as a single line shows it.
fn looks_like_code(line: &str) -> bool {
    let word = |text: &str| !text.is_empty() && text.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '.');
    let begins = |starts: &[&str]| starts.iter().any(|start| line.starts_with(start));
    let import = line.strip_prefix("import ").is_some_and(word)
        || line
            .strip_prefix("from ")
            .and_then(|rest| rest.split_once(" import "))
            .is_some_and(|(module, _)| word(module));
    let assigned = line.split_once(" = ").is_some_and(|(name, _)| word(name) && name.is_ascii());
    let quoted = line.strip_prefix('"').is_some_and(|rest| rest.contains("\":"));
    let call = line.strip_prefix('@').and_then(|rest| rest.split_once('(')).is_some_and(|(name, _)| word(name));
    import
        || assigned
        || quoted
        || call
        || begins(&["def ", "async def ", "class ", "//", "# ", "{", "}", "├", "└", "│"])
}

#[test]
fn every_example_of_the_documents_is_in_the_table_and_proved_by_a_test() {
    let Some(Examples(seeds)) = Examples::read() else { return };
    let tests: String = ["connectors", "examples", "folders", "plain", "requests"]
        .map(|name| fs::read_to_string(root().join(format!("tests/documents/{name}.rs"))).unwrap())
        .concat();
    let deploy = fs::read_to_string(root().join("tests/deploy.rs")).unwrap();
    for example in EXAMPLES {
        restored(example, &document(&seeds, example));
        let test = format!("fn {}()", example.proof);
        assert!(
            tests.contains(&test) || deploy.contains(&test),
            "{}: there is no test {}",
            example.name,
            example.proof
        );
    }
    for kind in [Document::Creating, Document::Adding] {
        let inside: Vec<&Example> = EXAMPLES.iter().filter(|example| example.document == kind).collect();
        let covered: BTreeSet<usize> = inside.iter().flat_map(|example| example.lines.0..=example.lines.1).collect();
        let lines = document(&seeds, inside[0]);
        let left: Vec<String> = lines
            .iter()
            .enumerate()
            .filter(|(at, line)| !covered.contains(&(at + 1)) && looks_like_code(line))
            .map(|(at, line)| format!("{}, line {}: {line}", kind.file(), at + 1))
            .collect();
        assert!(left.is_empty(), "no example of the table has these lines:\n{}", left.join("\n"));
    }
}

#[test]
fn a_line_of_code_is_told_from_a_sentence() {
    for code in ["from a.b import c", "import x", "x = 1", "\"a\": 1,", "@f(", "def f():", "{", "// x", "├── a.py"]
    {
        assert!(looks_like_code(code), "{code}");
    }
    for sentence in
        ["Import from the shim:", "from here on, import all", "A value of 1", "@register-decorated functions"]
    {
        assert!(!looks_like_code(sentence), "{sentence}");
    }
}
