//! Values that somebody has given and that are not saved.

use super::value::{Given, Wrong, read};
use crate::catalog::{Entry, Source, Values};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD as BASE64};
use serde_json::{Map, Value};
use std::{collections::BTreeMap, sync::Arc};

/// A value by its field key; `None` removes it.
pub type Change = (String, Option<String>);

/// What would be saved.
pub type Changes = Vec<Change>;

/// A connection as it would be.
pub struct Draft {
    pub values: Values,
    pub changes: Changes,
    /// Secrets that were made here, by field key: the person needs them for the service.
    pub generated: BTreeMap<String, String>,
}

/// Why a draft makes no sense.
pub enum Fault {
    /// A key that no field has.
    Unknown(String),
    Wrong(Wrong),
}

/// The values in force with those that were given over them, and secrets made where none was given and one can be made.
///
/// A blank secret keeps the stored one: forms do not show it.
pub fn draft(entry: &Entry, connection: &str, given: &Map<String, Value>) -> Result<Draft, Fault> {
    let fields = &entry.integration.fields;
    let mut values = entry.values(connection).cloned().unwrap_or_else(|| Values::defaults(fields));
    let mut changes = Changes::new();
    let resolved = Arc::make_mut(&mut values.fields);
    for (key, value) in given {
        let field = fields.iter().find(|field| field.key == *key).ok_or_else(|| Fault::Unknown(key.clone()))?;
        let value = match read(field, key, value).map_err(Fault::Wrong)? {
            Given::Kept => continue,
            Given::Nothing if field.secret => continue,
            Given::Nothing => None,
            Given::Value(value) => Some(value),
        };
        let (in_force, source) = match &value {
            Some(value) => (Some(value), Source::Db),
            None => (field.default.as_ref(), Source::Default),
        };
        match in_force {
            Some(value) => {
                resolved.insert(key.clone(), value.clone());
                values.sources.insert(key.clone(), source);
            }
            None => {
                resolved.remove(key);
                values.sources.remove(key);
            }
        }
        changes.push((key.clone(), value));
    }
    let mut generated = BTreeMap::new();
    for field in fields.iter().filter(|field| field.generate) {
        if !resolved.contains_key(&field.key) {
            let secret = new_secret();
            resolved.insert(field.key.clone(), secret.clone());
            values.sources.insert(field.key.clone(), Source::Db);
            changes.push((field.key.clone(), Some(secret.clone())));
            generated.insert(field.key.clone(), secret);
        }
    }
    Ok(Draft { values, changes, generated })
}

/// What nobody guesses, in letters that survive every form and header.
pub fn new_secret() -> String {
    BASE64.encode(rand::random::<[u8; 32]>())
}
