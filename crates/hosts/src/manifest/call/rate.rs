//! How often a service may be asked.

use crate::manifest::keys::Rate;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tercel_sdk::{Error, Kind, Result};
use tokio::time::Instant;

/// Tokens that come back with time, for each key: a connection or a host.
pub struct Limiter {
    rate: Rate,
    pub per_host: bool,
    /// When the last token that was promised is there.
    next: Mutex<HashMap<String, Instant>>,
}

impl Limiter {
    pub fn new(rate: Rate, per_host: bool) -> Self {
        Self { rate, per_host, next: Mutex::default() }
    }

    /// Waits for the turn of a request.
    ///
    /// # Errors
    /// `rate_limited` when that is later than there is time.
    pub async fn turn(&self, key: &str, until: Option<Instant>) -> Result<()> {
        let at = self.book(key, Instant::now(), until)?;
        tokio::time::sleep_until(at).await;
        Ok(())
    }

    /// Up to `count` requests at once, then one each `per / count`.
    fn book(&self, key: &str, now: Instant, until: Option<Instant>) -> Result<Instant> {
        let step = self.rate.per / self.rate.count;
        let burst = self.rate.per - step;
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        // Keys whose pause is over say nothing any more.
        if next.len() > 1000 {
            next.retain(|_, at| *at > now);
        }
        let booked = next.get(key).copied().unwrap_or(now).max(now);
        let at = booked.checked_sub(burst).map_or(now, |at| at.max(now));
        if until.is_some_and(|until| at >= until) {
            let wait = at.saturating_duration_since(now).max(Duration::from_secs(1));
            let message = "The manifest says how often this service may be asked, and its turn is too late";
            return Err(Error::new(Kind::RateLimited, message).retry_after(Some(wait)));
        }
        next.insert(key.into(), booked + step);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_beyond_the_rate_come_one_after_the_other() {
        let limiter = Limiter::new(Rate { count: 2, per: Duration::from_secs(1) }, false);
        let now = Instant::now();
        let waits = |key: &str, count: usize| -> Vec<u128> {
            (0..count).map(|_| (limiter.book(key, now, None).unwrap() - now).as_millis()).collect()
        };
        assert_eq!(waits("a", 5), [0, 0, 500, 1000, 1500]);
        assert_eq!(waits("b", 1), [0], "another connection has its own");
        let later = now + Duration::from_secs(10);
        assert_eq!(limiter.book("a", later, None).unwrap(), later, "it comes back with time");
        let error = limiter.book("c", now, Some(now)).unwrap_err();
        assert_eq!(error.kind, Kind::RateLimited);
    }
}
