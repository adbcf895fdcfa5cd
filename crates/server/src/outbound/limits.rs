//! How much goes to one host at once, and when it asked to be left alone.

use super::address::HostPort;
use chrono::{DateTime, Utc};
use http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tercel_sdk::{Error, Kind, Result};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout},
};

const LONGEST_WAIT: Duration = Duration::from_secs(600);
/// What a 429 without `Retry-After` means.
const SHORT_WAIT: Duration = Duration::from_secs(1);
/// Beyond this many, the hosts that nobody is calling are forgotten.
const REMEMBERED: usize = 1_024;

/// Whose calls share a limit: a service counts by account, so each connection has its own.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Caller {
    pub integration: Option<String>,
    pub connection: Option<String>,
    pub place: HostPort,
}

pub struct Limits {
    places: Mutex<HashMap<Caller, Place>>,
    per_host: usize,
    per_host_of_models: usize,
}

struct Place {
    free: Arc<Semaphore>,
    closed_until: Option<Instant>,
}

impl Limits {
    pub fn new(per_host: usize, per_host_of_models: usize) -> Self {
        Self { places: Mutex::default(), per_host, per_host_of_models }
    }

    /// A permit for one call, when there is one within `patience`.
    pub async fn admit(&self, caller: &Caller, patience: Duration) -> Result<OwnedSemaphorePermit> {
        let free = self.open_place(caller)?;
        let all = || {
            Error::new(Kind::Network, format!("All calls to {} that may run at once are under way", caller.place))
                .hint("Nothing was sent; try again when they are done")
        };
        let permit = timeout(patience, free.acquire_owned()).await.map_err(|_| all())?.map_err(|_| all())?;
        // One of those that went first may have been told to wait.
        self.open_place(caller)?;
        Ok(permit)
    }

    /// Remembers that a host asked for a pause.
    pub fn heed(&self, caller: &Caller, status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) {
        let Some(wait) = pause(status, headers, now) else { return };
        let until = Instant::now() + wait.min(LONGEST_WAIT);
        if let Some(place) = self.places().get_mut(caller) {
            place.closed_until = place.closed_until.max(Some(until));
        }
    }

    fn open_place(&self, caller: &Caller) -> Result<Arc<Semaphore>> {
        let now = Instant::now();
        let mut places = self.places();
        if places.len() >= REMEMBERED && !places.contains_key(caller) {
            places.retain(|_, place| Arc::strong_count(&place.free) > 1 || place.closed_until > Some(now));
        }
        let most = if caller.integration.is_some() { self.per_host } else { self.per_host_of_models };
        let place = places
            .entry(caller.clone())
            .or_insert_with(|| Place { free: Arc::new(Semaphore::new(most)), closed_until: None });
        match place.closed_until {
            Some(until) if until > now => {
                let wait = until - now;
                Err(Error::new(Kind::RateLimited, format!("{} asked for a pause, which is not over", caller.place))
                    .hint(format!("Nothing was sent; try again in {} s", wait.as_millis().div_ceil(1_000)))
                    .retry_after(Some(wait)))
            }
            _ => Ok(place.free.clone()),
        }
    }

    fn places(&self) -> MutexGuard<'_, HashMap<Caller, Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How long an answer asks to be left alone: seconds or a date with 429, 403 or 503, a moment with a bare 429.
fn pause(status: StatusCode, headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    if !matches!(status.as_u16(), 403 | 429 | 503) {
        return None;
    }
    let said = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()).map(str::trim);
    let seconds = |text: &str| Duration::try_from_secs_f64(text.parse().ok()?).ok();
    let date = |text: &str| (DateTime::parse_from_rfc2822(text).ok()?.with_timezone(&Utc) - now).to_std().ok();
    said.and_then(|text| seconds(text).or_else(|| date(text)))
        .or_else(|| (status == StatusCode::TOO_MANY_REQUESTS).then_some(SHORT_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caller(connection: &str) -> Caller {
        let place = HostPort { host: "api.example.com".into(), port: 443 };
        Caller { integration: Some("example".into()), connection: Some(connection.into()), place }
    }

    /// As if that much time had gone by.
    fn pass(limits: &Limits, time: Duration) {
        for place in limits.places().values_mut() {
            place.closed_until = place.closed_until.map(|until| until - time);
        }
    }

    fn check(status: u16, retry_after: Option<&str>) -> Option<Duration> {
        let now = DateTime::parse_from_rfc2822("Wed, 21 Oct 2026 07:28:00 GMT").unwrap().with_timezone(&Utc);
        let headers = retry_after.map(|value| (RETRY_AFTER, value.parse().unwrap())).into_iter().collect();
        pause(StatusCode::from_u16(status).unwrap(), &headers, now)
    }

    #[test]
    fn a_pause_is_read_from_seconds_and_dates() {
        assert_eq!(check(429, Some("7")), Some(Duration::from_secs(7)));
        assert_eq!(check(429, Some("0.5")), Some(Duration::from_millis(500)));
        assert_eq!(check(503, Some("Wed, 21 Oct 2026 07:29:30 GMT")), Some(Duration::from_secs(90)));
        assert_eq!(check(403, Some("60")), Some(Duration::from_secs(60)));
        assert_eq!(check(429, None), Some(SHORT_WAIT));
        assert_eq!(check(429, Some("soon")), Some(SHORT_WAIT));
        assert_eq!(check(429, Some("-4")), Some(SHORT_WAIT));
        assert_eq!(check(403, None), None);
        assert_eq!(check(503, None), None);
        assert_eq!(check(200, Some("7")), None);
    }

    #[tokio::test]
    async fn a_host_that_asked_for_a_pause_is_left_alone_until_it_is_over() {
        let (limits, ours) = (Limits::new(16, 16), caller("default"));
        let told = |seconds: &str| [(RETRY_AFTER, seconds.parse().unwrap())].into_iter().collect();
        drop(limits.admit(&ours, Duration::ZERO).await.unwrap());
        limits.heed(&ours, StatusCode::TOO_MANY_REQUESTS, &told("30"), Utc::now());
        limits.heed(&ours, StatusCode::TOO_MANY_REQUESTS, &told("5"), Utc::now());
        pass(&limits, Duration::from_secs(10));

        let error = limits.admit(&ours, Duration::ZERO).await.unwrap_err();
        assert_eq!(error.kind, Kind::RateLimited);
        assert_eq!(error.hint.as_deref(), Some("Nothing was sent; try again in 20 s"));
        assert_eq!(error.retry_after.unwrap().as_secs_f32().ceil(), 20.0);
        assert!(limits.admit(&caller("other"), Duration::ZERO).await.is_ok(), "another account is not concerned");
        pass(&limits, Duration::from_secs(20));
        assert!(limits.admit(&ours, Duration::ZERO).await.is_ok());
    }

    #[tokio::test]
    async fn no_host_can_close_itself_for_longer_than_ten_minutes() {
        let (limits, ours) = (Limits::new(16, 16), caller("default"));
        drop(limits.admit(&ours, Duration::ZERO).await.unwrap());
        let told = [(RETRY_AFTER, "1e300".parse().unwrap())].into_iter().collect();
        limits.heed(&ours, StatusCode::TOO_MANY_REQUESTS, &told, Utc::now());
        let told = [(RETRY_AFTER, "86400".parse().unwrap())].into_iter().collect();
        limits.heed(&ours, StatusCode::TOO_MANY_REQUESTS, &told, Utc::now());
        let wait = limits.admit(&ours, Duration::ZERO).await.unwrap_err().retry_after.unwrap();
        assert_eq!(wait.as_secs_f32().ceil(), 600.0);
    }

    #[tokio::test]
    async fn a_call_beyond_the_limit_waits_for_its_turn_and_gives_up_with_nothing_sent() {
        let (limits, ours) = (Limits::new(2, 9), caller("default"));
        let first = limits.admit(&ours, Duration::ZERO).await.unwrap();
        let _second = limits.admit(&ours, Duration::ZERO).await.unwrap();
        let error = limits.admit(&ours, Duration::from_millis(5)).await.unwrap_err();
        assert_eq!(error.kind, Kind::Network);
        let (third, ()) = tokio::join!(limits.admit(&ours, Duration::from_secs(3)), async { drop(first) });
        assert!(third.is_ok());
    }

    #[tokio::test]
    async fn hosts_that_nobody_calls_are_forgotten() {
        let (limits, ours) = (Limits::new(2, 2), caller("default"));
        let _held = limits.admit(&ours, Duration::ZERO).await.unwrap();
        for number in 0..2 * REMEMBERED {
            drop(limits.admit(&caller(&number.to_string()), Duration::ZERO).await.unwrap());
        }
        assert!(limits.places().len() <= REMEMBERED);
        assert!(limits.places().contains_key(&ours));
    }
}
