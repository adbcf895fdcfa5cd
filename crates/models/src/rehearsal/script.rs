//! `rehearse: <json>` in a user's message: what to answer, one step for each answer of the turn.

use super::Line;
use serde::Deserialize;
use serde_json::Value;
use std::time::Duration;
use tercel_sdk::{Error, Kind, Result};

const MARK: &str = "rehearse:";

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    say: Option<String>,
    #[serde(default)]
    call: Vec<Call>,
    fail: Option<Failure>,
    wait_ms: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Call {
    name: String,
    /// Text is sent as it is, so that malformed arguments can be rehearsed.
    #[serde(default)]
    arguments: Value,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Failure {
    code: Kind,
    message: Option<String>,
    hint: Option<String>,
    status: Option<u16>,
    /// Seconds.
    retry_after: Option<u64>,
}

/// The step after `answered` answers. None when there is no script, or no more of it.
///
/// # Errors
/// What the script says, or `schema` when it cannot be read.
pub fn line(user: &str, answered: usize) -> Result<Option<Line>> {
    let Some(script) = written_in(user) else { return Ok(None) };
    let mut wait = Duration::ZERO;
    let mut passed = 0;
    for step in read(script)? {
        let is_pause = step.say.is_none() && step.call.is_empty() && step.fail.is_none();
        if passed == answered {
            wait += Duration::from_millis(step.wait_ms.unwrap_or(0));
        }
        if is_pause {
            continue;
        }
        if passed == answered {
            return perform(step, wait).map(Some);
        }
        passed += 1;
    }
    Ok(None)
}

fn written_in(user: &str) -> Option<&str> {
    let mut start = 0;
    for line in user.split_inclusive('\n') {
        let indent = line.len() - line.trim_start().len();
        if line[indent..].starts_with(MARK) {
            return Some(&user[start + indent + MARK.len()..]);
        }
        start += line.len();
    }
    None
}

fn read(script: &str) -> Result<Vec<Step>> {
    let mut values = serde_json::Deserializer::from_str(script).into_iter::<Value>();
    let steps = match values.next() {
        Some(Ok(Value::Array(steps))) => steps,
        Some(Ok(step)) => vec![step],
        Some(Err(error)) => return Err(unreadable(&error)),
        None => return Err(Error::schema("The script after `rehearse:` is empty")),
    };
    steps.into_iter().map(|step| serde_json::from_value(step).map_err(|error| unreadable(&error))).collect()
}

fn perform(step: Step, wait: Duration) -> Result<Line> {
    if let Some(failure) = step.fail {
        let mut error = Error::new(failure.code, failure.message.unwrap_or_else(|| "A rehearsed failure".into()))
            .retry_after(failure.retry_after.map(Duration::from_secs));
        error.hint = failure.hint;
        error.status = failure.status;
        return Err(error);
    }
    let calls = step.call.into_iter().map(|call| (call.name, written(call.arguments))).collect();
    Ok(Line { wait, text: step.say.unwrap_or_default(), calls })
}

fn written(arguments: Value) -> String {
    match arguments {
        Value::String(text) => text,
        Value::Null => "{}".into(),
        value => value.to_string(),
    }
}

fn unreadable(error: &serde_json::Error) -> Error {
    Error::schema(format!("The script after `rehearse:` cannot be read: {error}"))
        .hint(r#"Write steps such as [{"call": [{"name": "…", "arguments": {}}]}, {"say": "…"}]"#)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_waits_for_the_pauses_before_it() {
        let script = r#"rehearse: [{"say": "a"}, {"wait_ms": 30}, {"say": "b", "wait_ms": 5}]"#;
        let wait = |answered| line(script, answered).unwrap().map(|line| line.wait.as_millis());
        assert_eq!([wait(0), wait(1), wait(2)], [Some(0), Some(35), None]);
    }
}
