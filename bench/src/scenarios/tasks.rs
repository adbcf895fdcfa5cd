//! Conversations and runs, as scenarios ask for them.

use crate::{http::Api, in_process::MESSAGE, load};
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);

/// New conversations; their ids.
pub async fn sessions(api: &Api, count: usize) -> Result<Vec<String>> {
    let requests =
        (0..count).map(|n| api.post("/api/v1/sessions", &json!({"client_id": format!("bench:{n}")}))).collect();
    let made = load::gather(api.address, requests, 64.min(count)).await.context("sessions could not be made")?;
    made.iter().map(|answer| text(answer, "session_id")).collect()
}

/// Where a message of a session goes, and a message that the agent shall answer.
pub fn question(session: &str) -> (String, Value) {
    (format!("/api/v1/sessions/{session}/messages"), json!({"content": MESSAGE, "source": "bench", "run_agent": true}))
}

/// Asks one question in each of these sessions; the ids of the tasks.
pub async fn ask_all(api: &Api, sessions: &[String]) -> Result<Vec<String>> {
    let requests =
        sessions.iter().map(|session| question(session)).map(|(path, body)| api.post(&path, &body)).collect();
    let made = load::gather(api.address, requests, 64).await.context("questions could not be asked")?;
    made.iter().map(|answer| text(answer, "task_id")).collect()
}

/// Waits until no task is pending or running. All of them must have come to a good end.
pub async fn until_all_complete(api: &Api) -> Result<()> {
    let begun = Instant::now();
    while has_any(api, "pending").await? || has_any(api, "running").await? {
        if begun.elapsed() > PATIENCE {
            bail!("there are still unfinished tasks after {PATIENCE:?}");
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    for status in ["failed", "waiting", "cancelled"] {
        if let Some(task) = some(api, status).await?.first() {
            bail!("a task is {status}: {}", task["error"]);
        }
    }
    Ok(())
}

pub async fn has_any(api: &Api, status: &str) -> Result<bool> {
    Ok(!some(api, status).await?.is_empty())
}

async fn some(api: &Api, status: &str) -> Result<Vec<Value>> {
    let path = format!("/api/v1/tasks?status={status}&limit=1");
    match api.call(api.get(&path)).await? {
        Value::Array(list) => Ok(list),
        other => bail!("{path}: no list but {other}"),
    }
}

/// A text of an answer.
pub fn text(answer: &Value, key: &str) -> Result<String> {
    let text = answer[key].as_str().with_context(|| format!("no `{key}` in the answer {answer}"))?;
    Ok(text.to_owned())
}

/// A time of a task, in microseconds since 1970.
pub fn time(task: &Value, key: &str) -> Result<i64> {
    let text = text(task, key)?;
    let time = chrono::DateTime::parse_from_rfc3339(&text).with_context(|| format!("`{key}` is `{text}`"))?;
    Ok(time.timestamp_micros())
}
