//! One integration and its connections.

use super::{DEFAULT, Source, Values};
use crate::folders::{Listed, Standing};
use std::{collections::BTreeMap, sync::Arc};
use tercel_sdk::{Field, Integration, integration::Exchange};
use tercel_store::Health;

/// An integration with what is known of its connections.
pub struct Entry {
    /// What can be used of it.
    pub integration: Integration,
    pub listed: Arc<Listed>,
    pub names: Arc<BTreeMap<String, String>>,
    pub exchanges: Arc<[Exchange]>,
    pub connections: BTreeMap<String, Values>,
    pub healths: BTreeMap<String, Health>,
    pub error: Option<String>,
}

impl Entry {
    pub fn values(&self, connection: &str) -> Option<&Values> {
        self.connections.get(connection)
    }

    pub fn field_by_env(&self, name: &str) -> Option<&Field> {
        self.integration.fields.iter().find(|field| field.env == name)
    }

    /// The connection that counts where none is named: the default one, unless another is the only one with values.
    pub fn usual_connection(&self) -> &str {
        if self.is_configured(DEFAULT) {
            return DEFAULT;
        }
        let mut configured = self.connections.keys().filter(|name| self.is_configured(name));
        match (configured.next(), configured.next()) {
            (Some(only), None) => only,
            _ => DEFAULT,
        }
    }

    /// Whether everything that a connection cannot do without has a value, and anything at all was given.
    pub fn is_configured(&self, connection: &str) -> bool {
        let Some(values) = self.values(connection) else { return false };
        let fields = &self.integration.fields;
        let is_given = fields.is_empty() || values.sources.values().any(|source| *source != Source::Default);
        is_given && fields.iter().all(|field| !field.required || values.fields.contains_key(&field.key))
    }

    /// `ready`, `partial`, `not_configured`, `error`, `disabled`, `missing` or `awaiting_approval`.
    pub fn status(&self) -> &'static str {
        match self.listed.standing {
            Standing::Disabled => return "disabled",
            Standing::Missing => return "missing",
            Standing::Awaiting => return "awaiting_approval",
            // It will have more.
            Standing::Preparing => return "partial",
            Standing::Broken | Standing::Works | Standing::Locked(_) => {}
        }
        if self.error.is_some() || self.listed.standing == Standing::Broken {
            return "error";
        }
        let values = &self.connections[self.usual_connection()];
        let is_set = |field: &Field| values.fields.contains_key(&field.key);
        if self.integration.fields.iter().any(|field| field.required && !is_set(field)) {
            return "not_configured";
        }
        let chosen = self.integration.fields.iter().filter(|field| field.default.is_none());
        let (set, unset): (Vec<_>, Vec<_>) = chosen.filter(|field| field.secret).partition(|field| is_set(field));
        match (set.is_empty(), unset.is_empty()) {
            (_, true) => "ready",
            (false, false) => "partial",
            // What it cannot do without is there.
            (true, false) if self.integration.fields.iter().any(|field| field.required) => "partial",
            (true, false) => "not_configured",
        }
    }
}
