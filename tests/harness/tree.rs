//! The source tree of this repository, for the tests of its invariants.

use std::{
    fs,
    path::{Path, PathBuf},
};

pub struct Source {
    /// From the root of the repository: `crates/store/src/lib.rs`.
    pub path: String,
    pub text: String,
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// Text files under a directory of the repository whose names end so, in order.
pub fn sources(under: &str, endings: &[&str]) -> Vec<Source> {
    let mut found = Vec::new();
    walk(&root().join(under), endings, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Code without comments and without its test modules: what the program is made of.
pub fn program_text(source: &str) -> String {
    let program = source.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    let lines = program.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.collect::<Vec<_>>().join("\n")
}

fn walk(directory: &Path, endings: &[&str], found: &mut Vec<Source>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let (path, name) = (entry.path(), entry.file_name().into_string().unwrap());
        if entry.file_type().unwrap().is_dir() {
            if !matches!(name.as_str(), "target" | "node_modules" | ".git" | "data" | "__pycache__" | ".venv") {
                walk(&path, endings, found);
            }
        } else if endings.iter().any(|ending| name.ends_with(ending)) {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            found.push(Source { path: path.strip_prefix(root()).unwrap().to_str().unwrap().into(), text });
        }
    }
}
