//! JSON at the beginning of a text that may still be coming.

use serde_json::Value;

pub enum Read {
    /// And how many bytes it takes.
    Value(Value, usize),
    Unfinished,
    Not,
}

pub fn value(text: &str) -> Read {
    let mut read = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match read.next() {
        Some(Ok(value)) => Read::Value(value, read.byte_offset()),
        Some(Err(error)) if error.is_eof() => Read::Unfinished,
        _ => Read::Not,
    }
}

/// As many objects and arrays as follow each other, at least one.
pub fn values(mut text: &str) -> Option<Vec<Value>> {
    let mut all = Vec::new();
    loop {
        text = text.trim_start();
        if !text.starts_with(['{', '[']) {
            return (!all.is_empty()).then_some(all);
        }
        let Read::Value(value, length) = value(text) else { return None };
        all.push(value);
        text = &text[length..];
    }
}
