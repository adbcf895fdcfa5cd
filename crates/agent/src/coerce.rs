//! Mending of values that have the wrong JSON type and only one meaning.

use crate::bounds::{looks, target};
use serde_json::{Map, Number, Value};
use std::cell::Cell;

/// Gives a value the type that its schema asks for, where nothing is lost: `"5"` is 5 and 5 is `"5"`, `"true"` is true,
/// a single value is an array of one, JSON text is the object in it, a null for what may be left out is left out.
/// Whatever has more than one meaning stays as it is, and so does what is left when a schema leads to too many places.
pub(crate) fn coerce(value: Value, schema: &Value) -> Value {
    let left = Cell::new(looks(&value));
    within(value, schema, &Root { schema, left }, DEEPEST)
}

/// Follows `$ref` inside the document.
pub(crate) fn resolve<'s>(mut schema: &'s Value, root: &'s Value) -> &'s Value {
    for _ in 0..DEEPEST {
        let Some(found) = schema.get("$ref").and_then(|reference| target(reference, root)) else { break };
        schema = found;
    }
    schema
}

const DEEPEST: usize = 64;

/// The whole schema, and how many looks are left.
struct Root<'s> {
    schema: &'s Value,
    left: Cell<usize>,
}

impl Root<'_> {
    /// Takes a look, when there is one left and so deep.
    fn look(&self, depth: usize) -> Option<usize> {
        self.left.set(self.left.get().checked_sub(1)?);
        depth.checked_sub(1)
    }
}

fn within(mut value: Value, schema: &Value, root: &Root<'_>, depth: usize) -> Value {
    let Some(depth) = root.look(depth) else { return value };
    let schema = resolve(schema, root.schema);
    for part in list(schema, "allOf") {
        value = within(value, part, root, depth);
    }
    let branches: Vec<&Value> = list(schema, "anyOf").chain(list(schema, "oneOf")).collect();
    if !branches.is_empty() {
        // The first that takes the value as it is, else the first that takes it mended.
        let branch = branches.iter().find(|branch| takes(branch, root, &value, depth)).copied();
        value = match branch {
            Some(branch) => within(value, branch, root, depth),
            None => branches
                .iter()
                .map(|branch| within(value.clone(), branch, root, depth))
                .zip(&branches)
                .find(|(mended, branch)| takes(branch, root, mended, depth))
                .map_or(value, |(mended, _)| mended),
        };
    }
    let value = typed(value, &types(schema));
    let value = chosen(value, schema);
    match value {
        Value::Object(object) => Value::Object(members(object, schema, root, depth)),
        Value::Array(items) => match schema.get("items") {
            Some(of) => Value::Array(items.into_iter().map(|item| within(item, of, root, depth)).collect()),
            None => Value::Array(items),
        },
        other => other,
    }
}

fn members(object: Map<String, Value>, schema: &Value, root: &Root<'_>, depth: usize) -> Map<String, Value> {
    let is_required = |name: &str| list(schema, "required").any(|required| required == name);
    let member = |(name, value): (String, Value)| {
        let Some(of) = schema.get("properties").and_then(|properties| properties.get(&name)) else {
            return Some((name, value));
        };
        if value.is_null() && !is_required(&name) && !takes(of, root, &value, depth) {
            return None;
        }
        let value = within(value, of, root, depth);
        Some((name, value))
    };
    object.into_iter().filter_map(member).collect()
}

/// Whether a schema takes values of this type, as far as it says so by `type`, `enum` and `const`.
fn takes(schema: &Value, root: &Root<'_>, value: &Value, depth: usize) -> bool {
    let Some(depth) = root.look(depth) else { return true };
    let schema = resolve(schema, root.schema);
    let types = types(schema);
    let by_type = types.is_empty() || types.iter().any(|name| is(value, name));
    let by_enum = schema.get("enum").and_then(Value::as_array).is_none_or(|options| options.contains(value));
    let by_constant = schema.get("const").is_none_or(|constant| constant == value);
    let mut branches = list(schema, "anyOf").chain(list(schema, "oneOf")).peekable();
    let by_branch = branches.peek().is_none() || branches.any(|branch| takes(branch, root, value, depth));
    let by_all = list(schema, "allOf").all(|part| takes(part, root, value, depth));
    by_type && by_enum && by_constant && by_branch && by_all
}

fn list<'s>(schema: &'s Value, key: &str) -> impl Iterator<Item = &'s Value> {
    schema.get(key).and_then(Value::as_array).into_iter().flatten()
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(name)) => vec![name],
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn is(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.as_number().is_some_and(|number| whole(number).is_some()),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        // A name that JSON Schema does not know excludes nothing.
        _ => true,
    }
}

fn typed(value: Value, types: &[&str]) -> Value {
    if let Value::Number(number) = &value
        && types.contains(&"integer")
        && !types.contains(&"number")
        && let Some(whole) = whole(number)
    {
        return whole;
    }
    if types.is_empty() || types.iter().any(|name| is(&value, name)) {
        return value;
    }
    // Wrapping fits anything, so it is the last resort.
    let wrap = types.contains(&"array") && !value.is_null();
    match types.iter().find_map(|name| as_type(&value, name)) {
        Some(mended) => mended,
        None if wrap => Value::Array(vec![value]),
        None => value,
    }
}

fn as_type(value: &Value, name: &str) -> Option<Value> {
    match (name, value) {
        ("integer", Value::String(text)) => whole(&number(text)?),
        ("number", Value::String(text)) => number(text).map(Value::Number),
        ("boolean", Value::String(text)) => match text.as_str() {
            "true" | "True" => Some(true.into()),
            "false" | "False" => Some(false.into()),
            _ => None,
        },
        ("string", Value::Number(number)) => Some(number.to_string().into()),
        ("string", Value::Bool(flag)) => Some(flag.to_string().into()),
        ("object", Value::String(text)) => serde_json::from_str(text).ok().filter(Value::is_object),
        ("array", Value::String(text)) => serde_json::from_str(text).ok().filter(Value::is_array),
        _ => None,
    }
}

/// A number that is written back exactly as it was read: not `007`, not one with more digits than fit.
fn number(text: &str) -> Option<Number> {
    let number: Number = serde_json::from_str(text).ok()?;
    (number.to_string() == text).then_some(number)
}

/// 5 of 5 and of 5.0.
fn whole(number: &Number) -> Option<Value> {
    if number.is_i64() || number.is_u64() {
        return Some(Value::Number(number.clone()));
    }
    let exact = number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0)?;
    #[expect(clippy::cast_possible_truncation, reason = "whole and small enough, as just checked")]
    let integer = exact as i64;
    Some(integer.into())
}

/// The option of an `enum` that is written the same: 1 for `"1"`.
fn chosen(value: Value, schema: &Value) -> Value {
    let Some(options) = schema.get("enum").and_then(Value::as_array) else { return value };
    if options.contains(&value) || !(value.is_string() || value.is_number() || value.is_boolean()) {
        return value;
    }
    let written = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let same = options.iter().find(|option| written(option) == written(&value)).cloned();
    same.unwrap_or(value)
}
