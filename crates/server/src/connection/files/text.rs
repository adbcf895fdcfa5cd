//! The text of a connection file: keys with values, and comments that somebody wrote between them.

use anyhow::Result;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use tercel_sdk::{Field, field::FieldType};

/// # Errors
/// For what is no mapping of keys to values.
pub fn parse(text: &str) -> Result<Map<String, Value>> {
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Map::new());
    }
    // The message could quote the line, and a secret may stand in it.
    serde_saphyr::from_str(text).map_err(|error| {
        let place = error.location().map(|at| format!(" (line {}, column {})", at.line(), at.column()));
        anyhow::anyhow!("it is not YAML with keys and values{}", place.unwrap_or_default())
    })
}

/// A text as YAML: what is JSON is that, too.
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// A stored value as a file has it.
pub fn value(field: &Field, stored: &str) -> Value {
    match field.kind {
        FieldType::Checkbox | FieldType::Number => serde_json::from_str(stored).unwrap_or_else(|_| stored.into()),
        _ => stored.into(),
    }
}

/// The same for an example.
pub fn value_or_blank(field: &Field, default: &str) -> Value {
    match field.kind {
        FieldType::Checkbox if default.is_empty() => false.into(),
        _ => value(field, default),
    }
}

/// The text with other values (`None`: without the key). Everything else stays as it is, comments and order.
pub fn with(text: &str, wanted: &BTreeMap<String, Option<String>>) -> String {
    let edited = edited(text, wanted);
    let expected = expected(text, wanted);
    match parse(&edited) {
        Ok(says) if Some(&says) == expected.as_ref() => edited,
        // It is written in a way that is not edited line by line.
        _ => expected.unwrap_or_default().iter().map(|(key, value)| format!("{key}: {value}\n")).collect(),
    }
}

fn expected(text: &str, wanted: &BTreeMap<String, Option<String>>) -> Option<Map<String, Value>> {
    let mut says = parse(text).ok()?;
    for (key, value) in wanted {
        match value {
            Some(value) => _ = says.insert(key.clone(), serde_json::from_str(value).ok()?),
            None => _ = says.remove(key),
        }
    }
    Some(says)
}

fn edited(text: &str, wanted: &BTreeMap<String, Option<String>>) -> String {
    let mut left: BTreeMap<&str, &Option<String>> = wanted.iter().map(|(key, value)| (key.as_str(), value)).collect();
    let (mut out, mut is_replaced) = (String::new(), false);
    for line in text.lines() {
        // The value of a key goes on where lines are indented.
        if line.starts_with([' ', '\t']) {
            if !is_replaced {
                out.push_str(line);
                out.push('\n');
            }
            continue;
        }
        // A blank line may stand in the middle of a value.
        if line.trim().is_empty() {
            out.push('\n');
            continue;
        }
        let key = line.split_once(':').map(|(key, _)| key.trim().trim_matches(['"', '\'']));
        let value = key.filter(|_| !line.starts_with('#')).and_then(|key| Some((key, left.remove(key)?)));
        is_replaced = value.is_some();
        match value {
            Some((key, Some(value))) => out.push_str(&format!("{key}: {value}\n")),
            Some((_, None)) => {}
            None => {
                out.push_str(line);
                out.push('\n');
            }
        }
    }
    for (key, value) in left {
        out.extend(value.iter().map(|value| format!("{key}: {value}\n")));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, wanted: &[(&str, Option<&str>)], expected: &str) {
        let wanted = wanted.iter().map(|(key, value)| ((*key).to_owned(), value.map(str::to_owned)));
        assert_eq!(with(text, &wanted.collect()), expected);
    }

    #[test]
    fn only_the_values_that_are_meant_change() {
        let text = "# Mine\napi_key: sk-1 # the key\n\n# Where\nspace: ws\n";
        check(text, &[("api_key", Some("\"x\""))], "# Mine\napi_key: \"x\"\n\n# Where\nspace: ws\n");
        check(text, &[("space", None)], "# Mine\napi_key: sk-1 # the key\n\n# Where\n");
        check(text, &[("new", Some("1"))], &format!("{text}new: 1\n"));
        check("", &[("a", Some("true"))], "a: true\n");
    }

    #[test]
    fn a_value_of_several_lines_goes_as_a_whole() {
        let key = "key: |\n  -----BEGIN\n  abc\nother: 1\n";
        check(key, &[("key", Some("\"x\""))], "key: \"x\"\nother: 1\n");
        check("\"key\": >-\n  a\n\n  b\nother: 1\n", &[("key", Some("\"x\""))], "key: \"x\"\n\nother: 1\n");
    }

    #[test]
    fn what_is_written_otherwise_is_written_anew() {
        check("{api_key: sk-1, space: ws}\n", &[("api_key", Some("\"x\""))], "api_key: \"x\"\nspace: \"ws\"\n");
        check("? api_key\n: sk-1\n", &[("api_key", Some("\"x\""))], "api_key: \"x\"\n");
    }

    #[test]
    fn what_is_no_mapping_is_refused_without_quoting_it() {
        for wrong in ["- a\n", "sk-secret\n", "a: [\n", "a: 1\na: sk-secret\n"] {
            let error = parse(wrong).unwrap_err().to_string();
            assert!(error.starts_with("it is not YAML") && !error.contains("secret"), "{wrong}: {error}");
        }
        assert!(parse("# nothing\n\n").unwrap().is_empty());
    }
}
