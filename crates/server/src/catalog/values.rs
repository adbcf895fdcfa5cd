//! Values of connections' fields: from the database, then the environment, then what the integration says.

use crate::{
    config::Environment,
    consent::{self, Asking, Consent},
};
use serde::de::DeserializeOwned;
use std::{collections::BTreeMap, sync::Arc};
use tercel_sdk::{Field, field::FieldType};
use tercel_store::{Sealer, Setting, now};

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    Db,
    Env,
    Default,
}

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Db => "db",
            Self::Env => "env",
            Self::Default => "default",
        }
    }
}

/// The values of one connection's fields, resolved.
#[derive(Clone, Default)]
pub struct Values {
    pub fields: Arc<BTreeMap<String, String>>,
    pub sources: BTreeMap<String, Source>,
    /// A secret that could not be opened, and why.
    pub broken: BTreeMap<String, String>,
    /// Values that were replaced and count besides the new ones, and until when.
    pub earlier: BTreeMap<String, (String, i64)>,
    /// What a person agreed to.
    pub consent: Option<Arc<Consent>>,
    /// The same before it is saved.
    pub draft: Option<Arc<Consent>>,
    /// Who is asked for it.
    pub asking: Option<Arc<Asking>>,
}

/// Where a stored setting is bound to, for its seal.
pub fn place(integration: &str, connection: &str, key: &str) -> String {
    format!("settings/{integration}.{connection}/{key}")
}

/// Database, then environment, then default.
pub(super) fn resolve(
    integration: &str,
    connection: &str,
    fields: &[Field],
    stored: &BTreeMap<&str, &Setting>,
    env: Option<&Environment>,
    sealer: &Sealer,
) -> Values {
    let mut values = Values::default();
    let mut resolved = BTreeMap::new();
    for field in fields {
        let row = stored.get(field.key.as_str());
        let place = place(integration, connection, &field.key);
        let from_db = row.and_then(|row| {
            sealer
                .open(&place, &row.value)
                .map_err(|error| values.broken.insert(field.key.clone(), error.to_string()))
                .ok()
        });
        let earlier = row.and_then(|row| Some((row.sealed_earlier.as_deref()?, row.earlier_until?)));
        if let Some((sealed, until)) = earlier
            && let Ok(value) = sealer.open(&place, sealed)
        {
            values.earlier.insert(field.key.clone(), (value, until));
        }
        let from_env = || env.and_then(|env| env.get(&field.env)).map(str::to_owned);
        let value = from_db
            .map(|value| (value, Source::Db))
            .or_else(|| from_env().map(|value| (value, Source::Env)))
            .or_else(|| {
                let default = field.default.clone().filter(|value| !value.trim().is_empty())?;
                Some((default, Source::Default))
            });
        if let Some((value, source)) = value {
            resolved.insert(field.key.clone(), value);
            values.sources.insert(field.key.clone(), source);
        }
    }
    values.fields = Arc::new(resolved);
    values.consent = opened(integration, connection, consent::KEY, stored, sealer, &mut values.broken);
    values.asking = opened(integration, connection, consent::ASKING, stored, sealer, &mut values.broken);
    values
}

/// What is kept of a connection beside its fields.
fn opened<T: DeserializeOwned>(
    integration: &str,
    connection: &str,
    key: &str,
    stored: &BTreeMap<&str, &Setting>,
    sealer: &Sealer,
    broken: &mut BTreeMap<String, String>,
) -> Option<Arc<T>> {
    let text = sealer.open(&place(integration, connection, key), &stored.get(key)?.value);
    let read = text.map_err(|error| error.to_string());
    // What serde says may repeat what is in it.
    let read = read.and_then(|text| serde_json::from_str(&text).map_err(|_| "it cannot be read".to_owned()));
    read.map(Arc::new).map_err(|error| broken.insert(key.to_owned(), error)).ok()
}

impl Values {
    /// Of a connection of which nobody has said anything.
    pub fn defaults(fields: &[Field]) -> Self {
        let mut values = Self::default();
        let with_default = fields.iter().filter_map(|field| Some((field, field.default.clone()?)));
        let (mut resolved, mut sources) = (BTreeMap::new(), BTreeMap::new());
        for (field, default) in with_default.filter(|(_, default)| !default.trim().is_empty()) {
            resolved.insert(field.key.clone(), default);
            sources.insert(field.key.clone(), Source::Default);
        }
        (values.fields, values.sources) = (Arc::new(resolved), sources);
        values
    }

    /// The same with each earlier value that still counts in its place.
    pub fn with_earlier(&self) -> impl Iterator<Item = Self> {
        let counting = self.earlier.iter().filter(|(_, (_, until))| *until > now());
        counting.map(|(key, (value, _))| {
            let mut values = self.clone();
            Arc::make_mut(&mut values.fields).insert(key.clone(), value.clone());
            values
        })
    }

    /// Whether a field says where the integration calls. Variables of a Python folder have no type but their name.
    pub fn is_address(field: &Field) -> bool {
        field.kind == FieldType::Url || field.env.ends_with("_URL")
    }

    /// Addresses that the operator gave: they may be called, private or not.
    pub fn granted(&self, fields: &[Field]) -> Vec<url::Url> {
        fields
            .iter()
            .filter(|field| Self::is_address(field))
            .filter(|field| self.sources.get(&field.key) != Some(&Source::Default))
            .filter_map(|field| self.fields.get(&field.key)?.parse().ok())
            .collect()
    }
}
