//! How far a schema may lead a check: what makes one endless is refused where the schema comes in, and a check that would
//! look too often is not begun.

use serde_json::Value;
use std::collections::HashMap;

/// Places of a schema, each counted again for every place that leads to it for the same value.
const MOST_PLACES: usize = 10_000;
/// How many of them may lead to one another, one after the other.
const DEEPEST: usize = 64;
/// Keywords that look again at what others have looked at.
const MOST_UNEVALUATED: usize = 4;
/// Looks of one check, and as many more for each value in what is checked.
const MOST_LOOKS: usize = 200_000;
const LOOKS_PER_VALUE: usize = 8;
/// Places and values that one look may be inside of.
const DEEPEST_LOOK: usize = 256;

/// Whether a check by this schema comes to an end, whatever is checked.
///
/// # Errors
/// What in it would not end.
pub(crate) fn check(schema: &Value) -> Result<(), String> {
    if has_another_base(schema, is_draft_4(schema)) {
        return Err("`$id` can only stand at its beginning".into());
    }
    let mut places = Places { root: schema, counts: HashMap::new(), open: vec![schema], sum: 0, unevaluated: 0 };
    while let Some(place) = places.open.pop() {
        places.count(place, 0)?;
    }
    Ok(())
}

/// How often a value may be looked at.
pub(crate) fn looks(value: &Value) -> usize {
    MOST_LOOKS.saturating_add(size(value).saturating_mul(LOOKS_PER_VALUE))
}

/// Whether a check of this value looks at it no more often than it may: schemas that contain themselves are looked at
/// again for all that is in the value.
pub(crate) fn allow(schema: &Value, value: &Value) -> bool {
    Looks { root: schema, left: looks(value) }.look(schema, value, DEEPEST_LOOK).is_some()
}

/// The place in the schema that a `$ref` names.
pub(crate) fn target<'s>(reference: &Value, root: &'s Value) -> Option<&'s Value> {
    root.pointer(reference.as_str()?.strip_prefix('#')?)
}

/// For what the schemas of a keyword are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum For {
    TheSame,
    Members,
    Items,
}

fn of(keyword: &str) -> Option<For> {
    match keyword {
        "allOf" | "anyOf" | "oneOf" | "not" | "if" | "then" | "else" | "dependentSchemas" | "dependencies" => {
            Some(For::TheSame)
        }
        "properties" | "patternProperties" | "additionalProperties" | "unevaluatedProperties" | "propertyNames" => {
            Some(For::Members)
        }
        "items" | "prefixItems" | "additionalItems" | "unevaluatedItems" | "contains" => Some(For::Items),
        _ => None,
    }
}

fn schemas<'s>(keyword: &str, value: &'s Value) -> Vec<&'s Value> {
    let is_named = matches!(keyword, "properties" | "patternProperties" | "dependentSchemas" | "dependencies");
    match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(named) if is_named => named.values().collect(),
        one => vec![one],
    }
}

struct Places<'s> {
    root: &'s Value,
    /// How many places each leads to for the same value, itself included; 0 while that is being counted.
    counts: HashMap<*const Value, usize>,
    /// Those for what is in the value.
    open: Vec<&'s Value>,
    sum: usize,
    unevaluated: usize,
}

impl<'s> Places<'s> {
    fn count(&mut self, place: &'s Value, depth: usize) -> Result<usize, String> {
        match self.counts.get(&std::ptr::from_ref(place)) {
            Some(0) => return Err("it leads back to itself by `$ref` without going into the value".into()),
            Some(known) => return Ok(*known),
            None if depth >= DEEPEST => {
                return Err(format!("more than {DEEPEST} places lead to one another by `$ref`, `allOf` and the like"));
            }
            None => _ = self.counts.insert(std::ptr::from_ref(place), 0),
        }
        let mut count: usize = 1;
        for (keyword, value) in place.as_object().into_iter().flatten() {
            match (keyword.as_str(), of(keyword)) {
                ("$ref", _) => {
                    let elsewhere = || format!("`$ref` can only name a place in the schema, as `#/…`, and is {value}");
                    let target = target(value, self.root).ok_or_else(elsewhere)?;
                    count = count.saturating_add(self.count(target, depth + 1)?);
                }
                ("$dynamicRef" | "$recursiveRef", _) => return Err(format!("`{keyword}` is not taken: use `$ref`")),
                (_, Some(For::TheSame)) => {
                    for part in schemas(keyword, value) {
                        count = count.saturating_add(self.count(part, depth + 1)?);
                    }
                }
                (_, Some(For::Members | For::Items)) => {
                    self.unevaluated += usize::from(keyword.starts_with("unevaluated"));
                    self.open.extend(schemas(keyword, value));
                }
                (_, None) => {}
            }
        }
        self.counts.insert(std::ptr::from_ref(place), count);
        self.sum = self.sum.saturating_add(count);
        if self.sum > MOST_PLACES {
            return Err(format!(
                "it has more than {MOST_PLACES} places, each counted as often as `$ref`, `allOf`, `anyOf` and `oneOf` \
                 lead to it"
            ));
        }
        if self.unevaluated > MOST_UNEVALUATED {
            return Err(format!(
                "more than {MOST_UNEVALUATED} times it has `unevaluatedProperties` or `unevaluatedItems`"
            ));
        }
        Ok(count)
    }
}

struct Looks<'s> {
    root: &'s Value,
    left: usize,
}

impl Looks<'_> {
    /// Looks at a value as a check does that never stops early; nothing when it would look too often.
    fn look(&mut self, place: &Value, value: &Value, depth: usize) -> Option<()> {
        self.left = self.left.checked_sub(1)?;
        let depth = depth.checked_sub(1)?;
        for (keyword, schema) in place.as_object().into_iter().flatten() {
            match (keyword.as_str(), of(keyword), value) {
                ("$ref", ..) => self.look(target(schema, self.root)?, value, depth)?,
                ("properties", _, Value::Object(members)) => {
                    for (name, place) in schema.as_object().into_iter().flatten() {
                        if let Some(member) = members.get(name) {
                            self.look(place, member, depth)?;
                        }
                    }
                }
                (_, Some(For::TheSame), _) => {
                    for place in schemas(keyword, schema) {
                        self.look(place, value, depth)?;
                    }
                }
                (_, Some(For::Members), Value::Object(members)) => {
                    for place in schemas(keyword, schema) {
                        members.values().try_for_each(|member| self.look(place, member, depth))?;
                    }
                }
                (_, Some(For::Items), Value::Array(items)) => {
                    for place in schemas(keyword, schema) {
                        items.iter().try_for_each(|item| self.look(place, item, depth))?;
                    }
                }
                _ => {}
            }
        }
        Some(())
    }
}

fn size(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(size).sum::<usize>(),
        Value::Object(members) => 1 + members.values().map(size).sum::<usize>(),
        _ => 1,
    }
}

fn is_draft_4(schema: &Value) -> bool {
    schema.get("$schema").and_then(Value::as_str).is_some_and(|draft| draft.contains("draft-04"))
}

/// Whether references are read from another place than the beginning somewhere inside.
fn has_another_base(value: &Value, is_draft_4: bool) -> bool {
    let names = |inner: &Value| {
        let has = |key: &str| inner.get(key).is_some_and(Value::is_string);
        has("$id") || is_draft_4 && has("id")
    };
    let is_so = |inner: &Value| names(inner) || has_another_base(inner, is_draft_4);
    match value {
        Value::Array(items) => items.iter().any(is_so),
        Value::Object(members) => members.values().any(is_so),
        _ => false,
    }
}
