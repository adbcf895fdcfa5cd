//! Requests that were refused: they leave no row, only this.

use serde::Serialize;
use std::{collections::HashMap, net::IpAddr, sync::Mutex};
use tercel_store::now;

/// The last refusal of an integration, and how many there were.
#[derive(Debug, Clone, Serialize, utoipa::ToSchema)]
pub struct Refused {
    pub count: u64,
    /// Microseconds since 1970.
    pub last_at: i64,
    pub reason: String,
    pub source: Option<String>,
}

/// Refused requests leave no row: only this.
#[derive(Default)]
pub struct Refusals(Mutex<HashMap<String, Refused>>);

impl Refusals {
    pub fn of(&self, integration: &str) -> Option<Refused> {
        self.0.lock().expect("no holder of this lock panics").get(integration).cloned()
    }

    pub fn note(&self, integration: &str, reason: &str, source: Option<IpAddr>) {
        metrics::counter!("tercel_webhooks_refused_total", "integration" => integration.to_owned()).increment(1);
        let mut all = self.0.lock().expect("no holder of this lock panics");
        let count = all.get(integration).map_or(0, |refused| refused.count) + 1;
        let refused = Refused { count, last_at: now(), reason: reason.into(), source: source.map(|ip| ip.to_string()) };
        all.insert(integration.into(), refused);
    }
}
