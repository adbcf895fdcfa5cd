//! Texts of the operator's that are filled in from data: `{repository.name}` stands for a value. What is filled in is not
//! looked at again, and nothing in such a text computes.

use super::escape;
use minijinja::{Environment, Error, ErrorKind, Value};

/// Bytes of what comes out.
const LONGEST: usize = 1 << 20;

pub fn add_to(environment: &mut Environment<'_>) {
    environment.add_filter("fill", |text: &Value, data: Value| -> Result<String, Error> {
        match escape::text(text)? {
            Some(text) => fill(&text, &data),
            None => Ok(String::new()),
        }
    });
}

fn fill(text: &str, data: &Value) -> Result<String, Error> {
    let mut filled = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('{') {
        let (before, from) = rest.split_at(start);
        filled.push_str(before);
        // Braces that name nothing are braces.
        match from[1..].split_once('}').filter(|(path, _)| is_path(path)) {
            Some((path, after)) => {
                filled.push_str(&escape::text(&found(data, path)?)?.unwrap_or_default());
                rest = after;
            }
            None => {
                filled.push('{');
                rest = &from[1..];
            }
        }
        if filled.len() > LONGEST {
            return Err(Error::new(ErrorKind::InvalidOperation, "it becomes longer than a megabyte"));
        }
    }
    filled.push_str(rest);
    Ok(filled)
}

/// `a.b[0].c`, or `.` for everything.
fn is_path(path: &str) -> bool {
    !path.is_empty() && path.chars().all(|c| c.is_alphanumeric() || "._-[]".contains(c))
}

fn found(data: &Value, path: &str) -> Result<Value, Error> {
    let mut value = data.clone();
    for step in path.split(['.', '[']).map(|step| step.trim_end_matches(']')).filter(|step| !step.is_empty()) {
        value = match step.parse::<usize>() {
            _ if value.is_undefined() => break,
            Ok(place) if value.kind() == minijinja::value::ValueKind::Seq => value.get_item_by_index(place)?,
            _ => value.get_attr(step)?,
        };
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::template::value;
    use serde_json::json;

    #[test]
    fn a_path_in_braces_stands_for_a_value_and_nothing_else_means_anything() {
        let data =
            json!({"a": {"b": [{"c-d": "x"}, 2.5]}, "on": true, "none": null, "name": "{a.b} {{ a }}", "7": "seven"});
        for (text, expected) in [
            ("{a.b[0].c-d}!", "x!"),
            ("{a.b.1} {on}", "2.5 true"),
            ("[{none}] [{missing.x.y}] [{a.b[9]}]", "[] [] []"),
            ("{name}", "{a.b} {{ a }}"),
            ("{7}", "seven"),
            ("{a.b}", r#"[{"c-d":"x"},2.5]"#),
            ("no { braces } {a b} {} {{name}}", "no { braces } {a b} {} {{a.b} {{ a }}}"),
            ("{\"json\": \"{on}\"}", "{\"json\": \"true\"}"),
            ("{open", "{open"),
            ("", ""),
        ] {
            assert_eq!(fill(text, &value(&data)).unwrap(), expected, "{text}");
        }
        assert_eq!(fill("{.}", &value(&json!({"a": 1}))).unwrap(), r#"{"a":1}"#);
        assert_eq!(fill("{a}", &Value::UNDEFINED).unwrap(), "");
    }

    #[test]
    fn what_becomes_too_long_is_an_error() {
        let data = value(&json!({"a": "x".repeat(100_000)}));
        assert!(fill(&"{a}".repeat(20), &data).is_err());
    }
}
