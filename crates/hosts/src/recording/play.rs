//! Playing back: the same requests get the same answers, and nothing goes out.

use super::{PLACE, REDACTED, Recording, Request, host, take::asked};
use crate::Problem;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::Value;
use std::{
    collections::{BTreeMap, VecDeque},
    fmt, fs,
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};
use tercel_sdk::{
    Error, Integration, Kind, Result,
    grant::Tokens,
    http::{self as wire, Transport},
};

/// How what a folder does differs from what was recorded.
#[derive(Debug, Clone, PartialEq)]
pub struct Wrong(pub String);

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The recordings of a folder, with the files that they are in.
pub fn recordings(folder: &Path) -> (Vec<(String, Recording)>, Vec<Problem>) {
    let (mut found, mut problems) = (Vec::new(), Vec::new());
    let Ok(entries) = fs::read_dir(folder.join(PLACE)) else { return (found, problems) };
    let mut names: Vec<String> = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    for name in names.iter().filter(|name| name.ends_with(".json") && !name.starts_with(['_', '.'])) {
        let file = format!("{PLACE}/{name}");
        match serde_json::from_slice(&fs::read(folder.join(&file)).unwrap_or_default()) {
            Ok(recording) => found.push((file, recording)),
            Err(error) => problems.push(Problem::at(file, error.line() as u32, error.to_string())),
        }
    }
    (found, problems)
}

/// Calls the part of a recording again, and compares.
///
/// # Errors
/// What is different now.
pub async fn replay(integration: &Integration, recording: &Recording) -> Result<(), Wrong> {
    let result = played(integration, recording).await?;
    match result == recording.result {
        true => Ok(()),
        false => Err(Wrong(format!(
            "It makes {result} of the answers, and made {} when this was recorded",
            recording.result
        ))),
    }
}

/// What the part makes of what was recorded.
pub async fn played(integration: &Integration, recording: &Recording) -> Result<Value, Wrong> {
    let mut values = recording.fields.clone();
    for field in integration.fields.iter().filter(|field| field.secret) {
        let made_up = if field.kind == tercel_sdk::field::FieldType::Url {
            "https://redacted.invalid/redacted"
        } else {
            REDACTED
        };
        values.insert(field.key.clone(), made_up.into());
    }
    for field in integration.fields.iter().filter(|field| !field.secret) {
        if let Some(default) = &field.default {
            values.entry(field.key.clone()).or_insert_with(|| default.clone());
        }
    }
    let player =
        Arc::new(Player { left: Mutex::new(recording.exchanges.iter().cloned().collect()), wrong: Mutex::default() });
    let outcome =
        recording.call.make(integration, host(integration, values, player.clone(), Some(Arc::new(Redacted)))).await;
    if let Some(wrong) = player.wrong.lock().unwrap_or_else(PoisonError::into_inner).take() {
        return Err(wrong);
    }
    let left = player.left.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(next) = left.front() {
        return Err(Wrong(format!("It does not ask {} any more", shown(&next.request))));
    }
    outcome.map_err(|error| Wrong(format!("It fails with what was recorded: {error}")))
}

/// In the place of tokens.
struct Redacted;

impl Tokens for Redacted {
    fn access(&self) -> BoxFuture<'_, Result<String>> {
        Box::pin(async { Ok(REDACTED.into()) })
    }

    fn refused<'a>(&'a self, _: &'a str) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

struct Player {
    left: Mutex<VecDeque<super::Exchange>>,
    wrong: Mutex<Option<Wrong>>,
}

impl Transport for Player {
    fn send(&self, request: wire::Request) -> BoxFuture<'_, Result<wire::Response>> {
        let asked = asked(&request);
        let next = self.left.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let answer = match next {
            Some(next) if is_same(&next.request, &asked) => answer(&next.response),
            next => {
                let recorded = next.map_or_else(|| "nothing more".to_owned(), |next| shown(&next.request));
                let words = format!("It asks {}, and what was recorded is {recorded}: record it anew", shown(&asked));
                *self.wrong.lock().unwrap_or_else(PoisonError::into_inner) = Some(Wrong(words.clone()));
                Err(Error::new(Kind::Unsupported, words))
            }
        };
        Box::pin(async move { answer })
    }
}

/// What was taken out of a recording is not compared.
fn is_same(recorded: &Request, asked: &Request) -> bool {
    recorded.method == asked.method && alike(&recorded.path, &asked.path) && same_json(&recorded.body, &asked.body)
}

fn same_json(recorded: &Value, asked: &Value) -> bool {
    match (recorded, asked) {
        (Value::String(a), Value::String(b)) => alike(a, b),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_json(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(key, a)| b.get(key).is_some_and(|b| same_json(a, b)))
        }
        (a, b) => a == b,
    }
}

/// Texts that are equal but for what stands for secrets in them.
fn alike(recorded: &str, asked: &str) -> bool {
    recorded == asked
        || (recorded.contains(REDACTED) && {
            let mut rest = asked;
            recorded.split(REDACTED).enumerate().all(|(place, piece)| {
                let found = if place == 0 { rest.strip_prefix(piece).map(|_| 0) } else { rest.find(piece) };
                found.map(|at| rest = &rest[at + piece.len()..]).is_some()
            })
        })
}

fn shown(request: &Request) -> String {
    let body = match &request.body {
        Value::Null => String::new(),
        body => format!(" with {}", tercel_sdk::text::cut(&body.to_string(), 300)),
    };
    format!("{} {}{body}", request.method, request.path)
}

fn answer(response: &super::Response) -> Result<wire::Response> {
    let status = StatusCode::from_u16(response.status)
        .map_err(|_| Error::schema(format!("The recorded status is {}", response.status)))?;
    let body: Bytes = match &response.body {
        Value::Null => Bytes::new(),
        Value::String(text) => text.clone().into(),
        json => json.to_string().into(),
    };
    let headers: HeaderMap = response
        .headers
        .iter()
        .filter_map(|(name, value)| Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?)))
        .collect();
    Ok(wire::Response::new(status, headers, body))
}

/// Reads of a recording, for rehearsals.
pub fn reads(recordings: &[(String, Recording)]) -> Vec<tercel_sdk::integration::Exchange> {
    let mut reads: BTreeMap<String, tercel_sdk::integration::Exchange> = BTreeMap::new();
    let exchanges = recordings.iter().flat_map(|(_, recording)| &recording.exchanges);
    for exchange in exchanges.filter(|exchange| exchange.request.method == "GET") {
        reads.insert(
            exchange.request.path.clone(),
            tercel_sdk::integration::Exchange {
                method: exchange.request.method.clone(),
                path: exchange.request.path.clone(),
                accept: None,
                status: exchange.response.status,
                body: exchange.response.body.clone(),
            },
        );
    }
    reads.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_taken_out_stands_for_anything() {
        assert!(alike("/a?key=redacted&b=1", "/a?key=xyz&b=1"));
        assert!(alike("redacted", "anything"));
        assert!(!alike("/a?key=redacted&b=1", "/a?key=xyz&b=2"));
        assert!(!alike("/b?key=redacted", "/a?key=xyz"));
        assert!(!alike("/a", "/b"));
    }
}
