//! Times as they are shown: RFC 3339 with microseconds, in UTC.

use chrono::{DateTime, SecondsFormat};
use serde::{Serialize, Serializer};

/// Microseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, utoipa::ToSchema)]
#[schema(value_type = String, format = DateTime, example = "2026-01-01T00:00:00.000000Z")]
pub struct Time(pub i64);

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&rfc3339(self.0))
    }
}

pub fn rfc3339(micros: i64) -> String {
    let time = DateTime::from_timestamp_micros(micros).unwrap_or_default();
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_has_microseconds_and_is_utc() {
        assert_eq!(rfc3339(1_767_225_600_000_001), "2026-01-01T00:00:00.000001Z");
    }
}
