//! What a model wrote as the arguments of a tool: read, mended where nothing is lost, checked.

use crate::{
    bounds,
    coerce::{coerce, resolve},
};
use jsonschema::{
    ValidationError, Validator,
    error::{TypeKind, ValidationErrorKind},
};
use serde_json::{Map, Value, json};
use std::borrow::Cow;
use tercel_sdk::chat::ToolSpec;

pub struct Checked {
    /// As the tool shall get them; as far as they could be mended when there is a problem.
    pub arguments: Value,
    /// What the model must write otherwise.
    pub problem: Option<String>,
}

/// Reads arguments. Nothing at all counts as an empty object.
///
/// # Errors
/// A sentence that says where the text is not JSON.
pub fn parse(written: &str) -> Result<Value, String> {
    if written.trim().is_empty() {
        return Ok(json!({}));
    }
    match serde_json::from_str(written) {
        Ok(Value::Null) => Ok(json!({})),
        // Some models encode twice.
        Ok(Value::String(inner)) => match serde_json::from_str(&inner) {
            Ok(Value::Object(object)) => Ok(Value::Object(object)),
            _ => Ok(Value::String(inner)),
        },
        Ok(value) => Ok(value),
        Err(error) => Err(format!(
            "The arguments are not valid JSON: {error}, near `{}`. Write one JSON object.",
            near(written, error.line(), error.column())
        )),
    }
}

/// Mends and checks arguments against the tool's schema. Where the schema names properties and does not speak of others,
/// others are refused: a misspelt name would be dropped in silence.
pub fn check(spec: &ToolSpec, arguments: Value) -> Checked {
    let schema = strict(&spec.parameters);
    let arguments = coerce(arguments, &schema);
    let problems = match &arguments {
        Value::Object(_) if !bounds::allow(&schema, &arguments) => {
            vec!["there are too many ways to read them: write less at once".to_owned()]
        }
        Value::Object(_) => problems(&schema, &arguments),
        other => vec![format!("they must be an object, not {}", type_name(other))],
    };
    let problem = (!problems.is_empty()).then(|| {
        let fitting =
            format!("The arguments of `{}` do not fit: {}. {}", spec.name, problems.join("; "), expected(&schema));
        fitting.trim_end().to_owned()
    });
    Checked { arguments, problem }
}

/// Whether arguments can be checked against a schema. Asked once, wherever schemas come in: [`check`] lets through what it
/// cannot compile.
///
/// # Errors
/// What is wrong with the schema.
pub fn usable(schema: &Value) -> Result<(), String> {
    bounds::check(schema)?;
    compile(schema).map(drop)
}

const MOST_PROBLEMS: usize = 20;

fn problems(schema: &Value, arguments: &Value) -> Vec<String> {
    let Ok(validator) = compile(schema) else { return Vec::new() };
    validator.iter_errors(arguments).take(MOST_PROBLEMS).map(|error| sentence(&error, schema)).collect()
}

/// Asks nobody for what a schema names elsewhere.
fn compile(schema: &Value) -> Result<Validator, String> {
    jsonschema::options().offline().build(schema).map_err(|error| match error.instance_path().as_str() {
        "" => error.masked().to_string(),
        place => format!("`{place}`: {}", error.masked()),
    })
}

fn strict(schema: &Value) -> Cow<'_, Value> {
    const SPEAK_OF_OTHERS: [&str; 7] =
        ["additionalProperties", "unevaluatedProperties", "patternProperties", "$ref", "allOf", "anyOf", "oneOf"];
    match schema.as_object() {
        Some(object)
            if object.contains_key("properties") && !SPEAK_OF_OTHERS.iter().any(|key| object.contains_key(*key)) =>
        {
            let mut object = object.clone();
            object.insert("additionalProperties".into(), Value::Bool(false));
            object.entry("type").or_insert_with(|| "object".into());
            Cow::Owned(Value::Object(object))
        }
        _ => Cow::Borrowed(schema),
    }
}

fn sentence(error: &ValidationError, schema: &Value) -> String {
    let at = place(error.instance_path().as_str());
    let is = type_name(error.instance());
    match error.kind() {
        ValidationErrorKind::Type { kind } => format!("{at} must be {}, is {is}", types(kind)),
        ValidationErrorKind::Required { property } => {
            format!("{} is missing", place(&format!("{}/{}", error.instance_path().as_str(), text(property))))
        }
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            let parent = error.schema_path().as_str().rsplit_once('/').map_or("", |(parent, _)| parent);
            let allowed = schema.pointer(parent).and_then(|schema| schema.get("properties")).and_then(Value::as_object);
            let allowed: Vec<&str> = allowed.into_iter().flat_map(Map::keys).map(String::as_str).collect();
            let allowed = if allowed.is_empty() {
                "it takes none".to_owned()
            } else {
                format!("allowed are {}", allowed.join(", "))
            };
            let path = error.instance_path().as_str();
            let unexpected: Vec<String> = unexpected.iter().map(|name| place(&format!("{path}/{name}"))).collect();
            format!("{} is unknown: {allowed}", unexpected.join(", "))
        }
        ValidationErrorKind::Enum { options } => {
            let options = options.as_array().map(Vec::as_slice).unwrap_or_default();
            format!("{at} must be one of {}", options.iter().map(Value::to_string).collect::<Vec<_>>().join(", "))
        }
        ValidationErrorKind::Constant { expected_value } => format!("{at} must be {expected_value}"),
        _ => format!("{at}: {}", error.masked_with(format!("the {is}"))),
    }
}

/// One line per property, so that the model need not look it up.
fn expected(schema: &Value) -> String {
    let Some(properties) = resolve(schema, schema).get("properties").and_then(Value::as_object) else {
        return String::new();
    };
    if properties.is_empty() {
        return "It takes no arguments: send {}.".to_owned();
    }
    let required = resolve(schema, schema).get("required").and_then(Value::as_array);
    let list = properties.iter().map(|(name, property)| {
        let kind = match resolve(property, schema).get("type") {
            Some(Value::Array(types)) => types.iter().map(text).collect::<Vec<_>>().join(" or "),
            Some(kind) => text(kind),
            None => "any".to_owned(),
        };
        let is_required = required.is_some_and(|names| names.iter().any(|other| other == name.as_str()));
        format!("{name} ({kind}{})", if is_required { ", required" } else { "" })
    });
    format!("Expected: {}.", list.collect::<Vec<_>>().join(", "))
}

fn types(kind: &TypeKind) -> String {
    match kind {
        TypeKind::Single(one) => one.to_string(),
        TypeKind::Multiple(several) => several.iter().map(|one| one.to_string()).collect::<Vec<_>>().join(" or "),
    }
}

fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn place(pointer: &str) -> String {
    match pointer.trim_start_matches('/') {
        "" => "the whole".to_owned(),
        path => format!("`{}`", path.replace('/', ".").replace("~1", "/").replace("~0", "~")),
    }
}

/// A few characters around a position that counts bytes from 1.
fn near(written: &str, line: usize, column: usize) -> String {
    let line = written.lines().nth(line.saturating_sub(1)).unwrap_or_default();
    let at = (0..=column.min(line.len())).rev().find(|&at| line.is_char_boundary(at)).unwrap_or(0);
    let before: Vec<char> = line[..at].chars().rev().take(20).collect();
    before.into_iter().rev().chain(line[at..].chars().take(20)).collect()
}
