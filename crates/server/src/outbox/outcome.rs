//! What an attempt's failure means: try again, ask a person, give up, or find out.

use std::time::Duration;
use tercel_sdk::{Error, Kind};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing happened there: later.
    Retry,
    /// Nothing happened there, and nothing will until somebody mends the connection.
    Park,
    /// The service says no, for good.
    Refused,
    /// It may have happened.
    Unknown,
}

pub fn verdict(error: &Error) -> Verdict {
    match error.kind {
        Kind::Network | Kind::RateLimited => Verdict::Retry,
        Kind::NotConfigured | Kind::Auth => Verdict::Park,
        Kind::Forbidden | Kind::NotFound | Kind::Schema | Kind::Unsupported | Kind::MissingDependency => {
            Verdict::Refused
        }
        Kind::Timeout | Kind::UnknownOutcome | Kind::Error => Verdict::Unknown,
    }
}

const LONGEST: Duration = Duration::from_secs(600);

/// How long to wait after the n-th attempt (from 1): 1, 2, 4 … seconds, at most ten minutes, up to a quarter more by
/// chance so that many rows do not come at once; or what the service asked for.
pub fn wait(attempt: u32, asked: Option<Duration>) -> Duration {
    let base = Duration::from_secs(1 << (attempt.saturating_sub(1)).min(10)).min(LONGEST);
    let base = asked.map_or(base, |asked| asked.max(base).min(Duration::from_secs(3600)));
    base.mul_f64(1.0 + rand::random::<f64>() / 4.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_obey_the_service() {
        let seconds = |attempt, asked: Option<u64>| wait(attempt, asked.map(Duration::from_secs)).as_secs_f64();
        assert!((1.0..=1.25).contains(&seconds(1, None)));
        assert!((8.0..=10.0).contains(&seconds(4, None)));
        assert!((600.0..=750.0).contains(&seconds(40, None)));
        assert!((30.0..=37.5).contains(&seconds(1, Some(30))));
    }

    #[test]
    fn only_what_surely_did_not_happen_is_sent_again() {
        for (kind, expected) in [
            (Kind::Network, Verdict::Retry),
            (Kind::RateLimited, Verdict::Retry),
            (Kind::Auth, Verdict::Park),
            (Kind::NotFound, Verdict::Refused),
            (Kind::UnknownOutcome, Verdict::Unknown),
            (Kind::Error, Verdict::Unknown),
        ] {
            assert_eq!(verdict(&Error::new(kind, "")), expected, "{kind:?}");
        }
    }
}
