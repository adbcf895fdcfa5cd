//! What a manifest says and what cannot be meant: it is read, and fails when it is used.

use super::{Finding, Level};
use crate::{
    description::ToolOf,
    load::is_python,
    manifest::{FILE, Manifest},
    worker::is_reserved,
};
use serde_json::Value;
use std::path::{Path, PathBuf};

const KINDS: [&str; 7] = ["string", "number", "integer", "boolean", "array", "object", "null"];
/// What model providers take.
const LONGEST_TOOL: usize = 64;

pub fn look(id: &str, folder: &Path, text: &str, manifest: &Manifest, path: &str) -> Vec<Finding> {
    let mut found = Found { text, findings: Vec::new() };
    fields(&mut found, manifest);
    tools(&mut found, manifest);
    permissions(&mut found, manifest);
    if let Some(webhook) = &manifest.description.webhook
        && webhook.path.matches("/integrations/").count() > 1
    {
        found.error("path:", format!("`path` is what comes after /integrations/{id}/: leave that out"));
    }
    let process = manifest.description.process.as_ref().map(|process| process.command.as_slice());
    for command in [Some(manifest.command.as_slice()), process].into_iter().flatten() {
        program(&mut found, folder, command, path);
    }
    found.findings
}

struct Found<'t> {
    text: &'t str,
    findings: Vec<Finding>,
}

impl Found<'_> {
    fn error(&mut self, at: &str, message: String) {
        self.add(at, Level::Error, message);
    }

    /// In the first line that has these words.
    fn add(&mut self, at: &str, level: Level, message: String) {
        let line = self.text.lines().position(|line| line.contains(at)).map_or(1, |line| line + 1);
        self.findings.push(Finding { file: FILE.into(), line: u32::try_from(line).ok(), level, message });
    }
}

fn fields(found: &mut Found, manifest: &Manifest) {
    for field in &manifest.description.fields {
        let key = &field.key;
        let at = format!("key: {key}");
        let default =
            field.default.as_ref().map(|value| value.as_str().map_or_else(|| value.to_string(), str::to_owned));
        let Some(default) = default.filter(|default| !default.is_empty()) else { continue };
        let fits = match field.kind.as_str() {
            "number" => default.parse::<f64>().is_ok(),
            "checkbox" => default == "true" || default == "false",
            "url" => default.starts_with("https://") || default.starts_with("http://"),
            _ => true,
        };
        if !fits {
            found.error(&at, format!("The default `{default}` of `{key}` is no {}", field.kind));
        }
    }
}

fn tools(found: &mut Found, manifest: &Manifest) {
    for tool in &manifest.description.tools {
        let name = &tool.name;
        let fits = name.len() <= LONGEST_TOOL && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-".contains(c));
        if !fits {
            found.error(
                name,
                format!(
                    "`{name}` cannot be the name of a tool: it has letters, digits, _ and -, {LONGEST_TOOL} at most"
                ),
            );
        }
        if tool.description.trim().is_empty() {
            found.error(name, format!("`{name}` has no description: it is all that a model knows of it"));
        }
        arguments(found, tool);
    }
}

fn arguments(found: &mut Found, tool: &ToolOf) {
    let name = &tool.name;
    let properties = tool.parameters.get("properties").and_then(Value::as_object);
    for (argument, schema) in properties.into_iter().flatten() {
        let at = format!("{argument}:");
        let Some(schema) = schema.as_object() else {
            found.error(&at, format!("`{argument}` of `{name}` is a table: write {{type: …}}"));
            continue;
        };
        let kinds = match schema.get("type") {
            Some(Value::Array(kinds)) => kinds.clone(),
            Some(kind) => vec![kind.clone()],
            None => Vec::new(),
        };
        for kind in kinds.iter().filter(|kind| !KINDS.iter().any(|known| *kind == known)) {
            let kind = kind.as_str().unwrap_or("this");
            found.error(&at, format!("`{argument}` of `{name}` has the type `{kind}`; there are {}", KINDS.join(", ")));
        }
        if schema.get("enum").is_some_and(|values| !values.is_array()) {
            found.error(&at, format!("`enum` of `{argument}` of `{name}` is a list"));
        }
    }
}

fn permissions(found: &mut Found, manifest: &Manifest) {
    let permissions = &manifest.permissions;
    for host in &permissions.hosts {
        let name = host.strip_prefix("*.").unwrap_or(host);
        if name.is_empty() || name.contains(['/', '*', ' ']) {
            let words = "is no host: write one as api.example.com, *.example.com or api.example.com:8443";
            found.error(host, format!("`{host}` {words}"));
        }
    }
    for scope in &permissions.api {
        if !scope.split_once(':').is_some_and(|(_, right)| right == "read" || right == "write") {
            found.error(scope, format!("`{scope}` is no scope: write it as sessions:write or documents:read"));
        }
    }
    for variable in &manifest.description.variables {
        if is_reserved(&variable.key) {
            found.error(&variable.key, format!("`{}` is set by the server and cannot be a setting", variable.key));
        }
    }
    for path in permissions.read.iter().chain(&permissions.write).filter(|path| path.is_relative()) {
        let shown = path.display().to_string();
        found.error(&shown, format!("`{shown}` is a path from /: what lies in the folder is there anyway"));
    }
}

/// The program is there, and the file of the folder that it is to run.
fn program(found: &mut Found, folder: &Path, command: &[String], path: &str) {
    let Some(program) = command.first() else { return };
    let at = format!("command: [{program}");
    // The folder's own, which is made of this one.
    let sought = if is_python(program) { "python3" } else { program };
    if program.contains('/') {
        if Path::new(program).is_relative() && !is_executable(&folder.join(program)) {
            found.error(
                &at,
                format!("`{program}` is no program in this folder: it is missing, or not executable (chmod +x)"),
            );
        }
    } else if crate::check::program(sought, path).is_none() {
        found.add(&at, Level::Warning, format!("There is no `{sought}` on this machine"));
    }
    let is_file = |word: &&String| {
        let name = PathBuf::from(word);
        name.is_relative() && name.extension().is_some() && !word.starts_with('-')
    };
    if let Some(file) = command.iter().skip(1).find(is_file).filter(|file| !folder.join(file).is_file()) {
        found.error(&at, format!("The command names `{file}`, which is not in this folder"));
    }
}

fn is_executable(file: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    file.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}
