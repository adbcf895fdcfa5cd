//! Records that are pushed to the service.

use super::{
    action::action,
    place::{At, Entries},
    text::{Expr, Json},
};
use schemars::JsonSchema;
use serde::Deserialize;

/// How records are pushed to the service.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sync {
    /// Which records.
    pub collection: At<String>,
    /// What a record is known by when nothing else is known of it.
    pub by: Option<Expr>,
    /// What is pushed of a record: unchanged is skipped.
    pub row: Entries<Json>,
    /// Looks for a record at the service.
    pub find: Option<Located>,
    pub create: Option<Located>,
    pub update: Option<Located>,
    /// How a record that is gone is removed there; without this it is kept.
    pub delete: Option<Located>,
    /// Creates or updates several at once.
    pub upsert: Option<Upsert>,
}

action! {
    /// A request about one record.
    pub struct Located {
        /// The service's id of the record; null when it is not there.
        pub id: Option<Expr>,
    }
}

action! {
    /// A request about several records: `items` has their rows.
    pub struct Upsert {
        /// How many at once.
        #[schemars(range(min = 1, max = 1000))]
        pub batch: Option<At<u32>>,
        /// The service's ids, in the order of the rows.
        pub ids: Option<Expr>,
    }
}
