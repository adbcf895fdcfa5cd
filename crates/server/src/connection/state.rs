//! How a connection stands, in one word.

use crate::catalog::Entry;
use serde::Serialize;
use tercel_store::Health;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// The last test passed, and asked the service.
    Connected,
    /// There are values, and no test has shown that they work: nobody tested them, there is no test, it looks only
    /// whether values are there, or somebody insisted.
    Unverified,
    /// The last test failed.
    Failing,
    /// Values are missing that it cannot do without.
    NotConfigured,
}

pub fn of(entry: &Entry, connection: &str) -> State {
    match entry.is_configured(connection) {
        true => entry.healths.get(connection).map_or(State::Unverified, tested),
        false => State::NotConfigured,
    }
}

fn tested(health: &Health) -> State {
    match (health.code.as_str(), health.depth.as_deref()) {
        ("ok", Some("auth" | "target" | "write")) => State::Connected,
        ("ok" | "unsupported" | "not_configured", _) => State::Unverified,
        _ if health.insisted => State::Unverified,
        _ => State::Failing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_test_that_asked_the_service_says_that_something_is_connected() {
        let check = |code: &str, depth: Option<&str>, insisted| {
            tested(&Health { code: code.into(), depth: depth.map(str::to_owned), insisted, ..Health::default() })
        };
        assert_eq!(check("ok", Some("auth"), false), State::Connected);
        assert_eq!(check("ok", Some("write"), false), State::Connected);
        assert_eq!(check("ok", Some("presence"), false), State::Unverified);
        assert_eq!(check("ok", None, false), State::Unverified);
        assert_eq!(check("unsupported", None, false), State::Unverified);
        assert_eq!(check("network", None, false), State::Failing);
        assert_eq!(check("auth", None, true), State::Unverified);
    }
}
