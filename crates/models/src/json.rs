//! JSON at the beginning of a text that may still be coming.

use serde_json::Value;

pub enum Read {
    /// One or more, and how many bytes they take.
    Values(Vec<Value>, usize),
    Unfinished,
    Not,
}

pub fn value(text: &str) -> Read {
    let mut read = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    match read.next() {
        Some(Ok(value)) => Read::Values(vec![value], read.byte_offset()),
        Some(Err(error)) if error.is_eof() => Read::Unfinished,
        _ => Read::Not,
    }
}

/// As many objects and arrays as follow each other.
pub fn values(text: &str) -> Read {
    let (mut all, mut used) = (Vec::new(), 0);
    loop {
        let gap = text[used..].len() - text[used..].trim_start().len();
        if !text[used + gap..].starts_with(['{', '[']) {
            return if all.is_empty() { Read::Not } else { Read::Values(all, used) };
        }
        match value(&text[used + gap..]) {
            Read::Values(values, length) => {
                all.extend(values);
                used += gap + length;
            }
            other => return other,
        }
    }
}
