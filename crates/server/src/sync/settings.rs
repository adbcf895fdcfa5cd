//! How a connection is kept in step: which records, under which names, and when.

use super::Mapping;
use crate::schedules::{When, next_fire};
use serde::{Deserialize, Serialize};
use tercel_sdk::{Error, Result, rate::Rate};
use tercel_store::now;

/// As it is stored.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// The one that the integration names when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collection: Option<String>,
    #[serde(default)]
    pub mapping: Mapping,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub when: Option<When>,
    /// How often the service is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// From when intervals are counted.
    #[serde(default)]
    pub anchor: i64,
}

impl Settings {
    pub fn read(stored: &str) -> Result<Self> {
        serde_json::from_str(stored)
            .map_err(|error| Error::not_configured(format!("The stored settings of its syncs cannot be read: {error}")))
    }

    /// The first time after that one. `None`: never.
    pub fn next(&self, after: i64) -> Option<i64> {
        let timing = self.when.as_ref()?.parse().ok()?;
        next_fire(&timing, self.anchor, after)
    }
}

/// When settings that were just made are due.
///
/// # Errors
/// What is wrong with `when`.
pub fn first(settings: &Settings) -> Result<Option<i64>, String> {
    let Some(when) = &settings.when else { return Ok(None) };
    when.parse()?;
    match settings.next(now()) {
        Some(next) => Ok(Some(next)),
        None => Err("it would never fire: no time fits, or the one there is has passed".into()),
    }
}
