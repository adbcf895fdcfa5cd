use super::put;
use crate::github::{client::GitHub, repo::Repo};
use base64::{Engine, engine::general_purpose::STANDARD as BASE64};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tercel_sdk::{Error, Result, text};

const CONTENT: usize = 40_000;

/// Reads a file of a repository, or lists a directory.
#[derive(Deserialize, JsonSchema)]
pub struct GetFile {
    /// The repository as `owner/name`.
    #[schemars(with = "String")]
    repo: Repo,
    /// The path inside the repository; empty for the top directory.
    #[serde(default)]
    path: String,
    /// Branch, tag or commit; the default branch when absent.
    #[serde(default, rename = "ref")]
    reference: Option<String>,
    /// The first line to read, from 1.
    #[serde(default)]
    from_line: Option<usize>,
}

pub async fn get_file(github: GitHub, get: GetFile) -> Result<Value> {
    let inside: Vec<_> = get.path.split('/').filter(|part| !part.is_empty()).collect();
    let query: Vec<_> = get.reference.iter().map(|reference| ("ref", reference.as_str())).collect();
    let answer = github.for_tool(&get.repo)?.get(&[&["contents"], &inside[..]].concat(), &query).await?;
    match answer.json()? {
        Content::Directory(entries) => {
            let entries =
                entries.iter().map(|entry| json!({"path": entry.path, "kind": entry.kind, "size": entry.size}));
            Ok(json!({"kind": "dir", "entries": entries.collect::<Vec<_>>()}))
        }
        Content::One(entry) => entry.told(get.from_line.unwrap_or(1).max(1)),
    }
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Directory(Vec<Entry>),
    One(Entry),
}

#[derive(Deserialize)]
struct Entry {
    path: String,
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    size: u64,
    #[serde(default)]
    encoding: Option<String>,
    #[serde(default)]
    content: Option<String>,
    #[serde(default)]
    target: Option<String>,
}

impl Entry {
    fn told(&self, from_line: usize) -> Result<Value> {
        let mut told = json!({"path": self.path, "kind": self.kind, "size": self.size});
        put(&mut told, "target", self.target.clone());
        let Some(encoded) = self.content.as_deref().filter(|_| self.encoding.as_deref() == Some("base64")) else {
            let why = (self.kind == "file").then(|| "GitHub gives no content of files over 1 MB".to_owned());
            put(&mut told, "note", why);
            return Ok(told);
        };
        let encoded: String = encoded.split_whitespace().collect();
        let bytes =
            BASE64.decode(encoded).map_err(|e| Error::schema(format!("The file's content is not Base64: {e}")))?;
        match String::from_utf8(bytes) {
            Ok(content) => told_text(&mut told, &content, from_line),
            Err(_) => put(&mut told, "note", Some("a binary file".into())),
        }
        Ok(told)
    }
}

fn told_text(told: &mut Value, content: &str, from_line: usize) {
    let lines = content.lines().count();
    let rest: String = content.split_inclusive('\n').skip(from_line - 1).collect();
    let shown = text::cut(&rest, CONTENT);
    let last = from_line - 1 + shown.lines().count();
    told["lines"] = json!(lines);
    let is_cut = shown != rest;
    if from_line > 1 || is_cut {
        let part = match is_cut && last == from_line {
            true => format!("the beginning of line {last} of {lines}, which is too long to be shown whole"),
            false => format!("lines {from_line} to {last} of {lines}"),
        };
        // A line that was cut is read again, unless there is no room for more of it.
        let next = last.max(from_line + 1);
        let more = if is_cut && next <= lines { format!("; continue with from_line {next}") } else { String::new() };
        put(told, "note", Some(format!("{part}{more}")));
    }
    put(told, "content", Some(shown));
}
