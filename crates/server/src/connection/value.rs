//! What somebody gives for a field, and whether it fits.

use regex::Regex;
use serde_json::Value;
use tercel_sdk::{Field, field::FieldType};
use tercel_store::MASK;

/// Bytes of one value.
const MOST: usize = 64 * 1024;

/// What a given value means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Given {
    /// A mask: what is stored stays.
    Kept,
    /// Null or a blank.
    Nothing,
    Value(String),
}

/// Why a value does not fit its field, for the person who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    TooLarge(String),
    Invalid(String),
}

impl std::fmt::Display for Wrong {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (Self::TooLarge(words) | Self::Invalid(words)) = self;
        f.write_str(words)
    }
}

/// Reads a value. `key` is what the giver calls the field.
pub fn read(field: &Field, key: &str, value: &Value) -> Result<Given, Wrong> {
    let wrong = |expected: &str| Err(Wrong::Invalid(format!("{key}: {expected} is expected")));
    let text = match value {
        Value::Null => return Ok(Given::Nothing),
        Value::String(text) => text.trim().to_owned(),
        Value::Bool(_) | Value::Number(_) => value.to_string(),
        Value::Array(_) | Value::Object(_) => return wrong("a text"),
    };
    if text == MASK {
        return Ok(Given::Kept);
    }
    if text.is_empty() {
        return Ok(Given::Nothing);
    }
    if text.len() > MOST {
        return Err(Wrong::TooLarge(format!("{key}: a value has at most {MOST} bytes")));
    }
    let is_address =
        || text.parse::<url::Url>().is_ok_and(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    match field.kind {
        FieldType::Url if !is_address() => return wrong("an address that begins with https:// or http://"),
        FieldType::Number if text.parse::<f64>().is_err() => return wrong("a number"),
        FieldType::Checkbox if !["true", "false"].contains(&text.as_str()) => return wrong("true or false"),
        _ => {}
    }
    if !field.options.is_empty() && !field.options.contains(&text) {
        return wrong(&format!("one of {}", field.options.join(", ")));
    }
    if let Some(pattern) = &field.pattern {
        let whole = Regex::new(&format!("^(?:{pattern})$"));
        // A pattern that cannot be read is the integration's fault, and keeps nobody from giving a value.
        if whole.is_ok_and(|whole| !whole.is_match(&text)) {
            return wrong(&format!("a value that matches {pattern}"));
        }
    }
    Ok(Given::Value(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn given(field: &Field, value: Value) -> Option<Given> {
        read(field, "X", &value).ok()
    }

    fn value(text: &str) -> Option<Given> {
        Some(Given::Value(text.into()))
    }

    #[test]
    fn a_value_must_fit_its_field_and_a_mask_changes_nothing() {
        let url = Field::url("api_url", "Address");
        assert_eq!(given(&url, json!(" https://a.example ")), value("https://a.example"));
        assert_eq!(given(&url, json!(MASK)), Some(Given::Kept));
        assert_eq!(given(&url, json!(null)), Some(Given::Nothing));
        assert_eq!(given(&url, json!("  ")), Some(Given::Nothing));
        assert_eq!(given(&url, json!("ftp://a.example")), None);
        assert_eq!(given(&url, json!({"a": 1})), None);
    }

    #[test]
    fn options_and_patterns_are_about_the_whole_value() {
        let mode = Field::text("mode", "Mode").options(&["polling", "webhook"]);
        assert_eq!(given(&mode, json!("webhook")), value("webhook"));
        let wrong = read(&mode, "BOT_MODE", &json!("web")).unwrap_err();
        assert_eq!(wrong.to_string(), "BOT_MODE: one of polling, webhook is expected");
        let id = Field::text("id", "Id").pattern("app[0-9]+|none");
        assert_eq!(given(&id, json!("app12")), value("app12"));
        assert_eq!(given(&id, json!("none")), value("none"));
        for wrong in ["app", "xapp1", "app1x", "none\napp1"] {
            assert_eq!(given(&id, json!(wrong)), None, "{wrong:?}");
        }
        assert_eq!(given(&Field::text("id", "Id").pattern("("), json!("anything")), value("anything"));
    }

    #[test]
    fn too_much_is_refused() {
        let text = Field::text("note", "Note");
        assert_eq!(given(&text, json!("x".repeat(MOST))), value(&"x".repeat(MOST)));
        assert!(matches!(read(&text, "X", &json!("x".repeat(MOST + 1))), Err(Wrong::TooLarge(_))));
    }
}
