//! Fields of records under the names that an integration reads, and what of each is sent.

use crate::api::no_such;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet};
use tercel_sdk::{Error, Result};

/// By the name that the integration reads: the field of the record. What is not in it keeps its name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(transparent)]
pub struct Mapping(pub BTreeMap<String, String>);

impl Mapping {
    pub fn apply(&self, record: Map<String, Value>) -> Map<String, Value> {
        if self.0.is_empty() {
            return record;
        }
        let mapped: Vec<(String, Value)> = self
            .0
            .iter()
            .map(|(name, field)| (name.clone(), field_of(&record, field).cloned().unwrap_or_default()))
            .collect();
        let mut record = record;
        record.extend(mapped);
        record
    }

    /// Whether its names are read by the integration, and its fields are in any of some records.
    ///
    /// # Errors
    /// `schema`, with the nearest right name.
    pub fn check(&self, reads: &[String], records: &[Map<String, Value>]) -> Result<()> {
        for (name, field) in &self.0 {
            if !reads.is_empty() && !reads.contains(name) {
                let known = reads.iter().map(String::as_str);
                return Err(Error::schema(format!("mapping.{name}: {}", no_such(name, known))));
            }
            if !records.is_empty() && records.iter().all(|record| field_of(record, field).is_none()) {
                let known: BTreeSet<&str> =
                    records.iter().flat_map(|record| record.keys().map(String::as_str)).collect();
                let message = format!("mapping.{name}: no record has it; {}", no_such(field, known.iter().copied()));
                return Err(Error::schema(message));
            }
        }
        Ok(())
    }
}

/// `company.name` is inside of `company`, unless there is a field of that whole name.
fn field_of<'r>(record: &'r Map<String, Value>, field: &str) -> Option<&'r Value> {
    if let Some(value) = record.get(field) {
        return Some(value);
    }
    let (outer, inner) = field.split_once('.')?;
    field_of(record.get(outer)?.as_object()?, inner)
}

/// The same for the same content, in whichever order its keys stand.
pub fn hash(row: &Value) -> String {
    let mut text = String::new();
    write(row, &mut text);
    hex::encode(Sha256::digest(text))
}

fn write(value: &Value, text: &mut String) {
    match value {
        Value::Object(map) => {
            let sorted: BTreeMap<&String, &Value> = map.iter().collect();
            text.push('{');
            for (key, value) in sorted {
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write(value, text);
                text.push(',');
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for value in values {
                write(value, text);
                text.push(',');
            }
            text.push(']');
        }
        other => text.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn mapping(pairs: &[(&str, &str)]) -> Mapping {
        Mapping(pairs.iter().map(|(name, field)| ((*name).to_owned(), (*field).to_owned())).collect())
    }

    #[test]
    fn fields_get_other_names_and_the_rest_stays() {
        let mapped = mapping(&[("title", "position"), ("company", "employer.name"), ("url", "gone")])
            .apply(map(json!({"id": 1, "position": "Cook", "employer": {"name": "Inn"}, "status": "new"})));
        assert_eq!(
            Value::Object(mapped),
            json!({"id": 1, "position": "Cook", "employer": {"name": "Inn"}, "status": "new",
                   "company": "Inn", "title": "Cook", "url": null})
        );
        let swapped = mapping(&[("a", "b"), ("b", "a")]).apply(map(json!({"a": 1, "b": 2})));
        assert_eq!(Value::Object(swapped), json!({"a": 2, "b": 1}));
    }

    #[test]
    fn a_wrong_name_is_told_with_the_right_one() {
        let records = [map(json!({"position": "Cook"}))];
        let reads = ["title".to_owned(), "company".to_owned()];
        let wrong = |pairs: &[(&str, &str)]| mapping(pairs).check(&reads, &records).unwrap_err().message;
        assert!(wrong(&[("titel", "position")]).contains("did you mean `title`?"));
        assert!(wrong(&[("title", "positoin")]).contains("did you mean `position`?"));
        assert_eq!(mapping(&[("title", "position")]).check(&reads, &records), Ok(()));
        assert_eq!(
            mapping(&[("anything", "missing")]).check(&[], &[]),
            Ok(()),
            "nothing is known that it could be held to"
        );
    }

    #[test]
    fn the_order_of_keys_says_nothing() {
        assert_eq!(
            hash(&json!({"a": [1, {"x": "1", "y": null}], "b": 2})),
            hash(&json!({"b": 2, "a": [1, {"y": null, "x": "1"}]}))
        );
        assert_ne!(hash(&json!({"a": "1"})), hash(&json!({"a": 1})));
        assert_ne!(hash(&json!([[1], 2])), hash(&json!([[1, 2]])));
    }
}
