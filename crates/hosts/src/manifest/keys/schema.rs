//! The published form of the keys: what editors complete from.

use super::Keys;
use serde_json::Value;

/// JSON Schema of `integration.yaml`.
pub fn schema() -> Value {
    schemars::schema_for!(Keys).to_value()
}
